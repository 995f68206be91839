"""A stand-in for habitat-sim: the part of its interface that our worker uses, by ray casting and a grid of cells.

It keeps the conventions of the real one: y up, cameras look along -z, depth along the optical axis and 0 beyond the far
plane, positions and orientations of sensors as float32 arrays. Tests run the shipped worker on it where habitat-sim is
not installed. `FAKE_HABITAT` in the environment plants a fault.
"""

import os
import signal
import time
from types import SimpleNamespace

import numpy as np
from magnum import Quaternion, Vector3

from habitat_sim.seeing import Model, cast
from habitat_sim.walking import Floor

FAULT = os.environ.get("FAKE_HABITAT", "")
if FAULT == "absent":
    raise ImportError("No module named 'habitat_sim._ext'")

__version__ = "stand-in"
built_with_bullet = False
gfx = SimpleNamespace(NO_LIGHT_KEY="no_lights")
physics = SimpleNamespace(MotionType=SimpleNamespace(KINEMATIC="MotionType.KINEMATIC", STATIC="MotionType.STATIC"))
SensorType = SimpleNamespace(COLOR="COLOR", DEPTH="DEPTH", SEMANTIC="SEMANTIC")
SensorSubType = SimpleNamespace(PINHOLE="PINHOLE")


class SimulatorConfiguration(SimpleNamespace):
    pass


class AgentConfiguration(SimpleNamespace):
    pass


class CameraSensorSpec(SimpleNamespace):
    clear_color = None

    def __setattr__(self, name, value):
        if name in ("position", "orientation") and getattr(value, "dtype", None) != np.float32:
            raise TypeError("incompatible function arguments")
        super().__setattr__(name, value)


class Configuration:
    def __init__(self, sim_cfg, agents):
        self.sim_cfg, self.agents = sim_cfg, agents


class NavMeshSettings:
    include_static_objects = False

    def set_defaults(self):
        self.cell_size, self.agent_radius, self.agent_height = 0.05, 0.1, 1.5


class ShortestPath:
    geodesic_distance = float("inf")


class Node:
    def __init__(self):
        self.translation, self.rotation = Vector3(0, 0, 0), Quaternion(Vector3(0, 0, 0), 1)

    @property
    def matrix(self):
        x, y, z, w = *self.rotation.vector, self.rotation.scalar
        matrix = np.eye(4)
        matrix[:3, :3] = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
        matrix[:3, 3] = list(self.translation)
        return matrix


class Thing(Node):
    def __init__(self, handle, template):
        super().__init__()
        self.handle, self.model = handle, Model.read(template.render_asset_handle)
        self.motion_type, self.semantic_id = physics.MotionType.STATIC, 0


class Things:
    def __init__(self, templates):
        self._templates, self.things, self._count = templates, {}, 0

    def add_object_by_template_handle(self, handle):
        template = self._templates.registered[handle]
        self._count += 1
        thing = Thing(f"{handle}_:{self._count:04d}", template)
        self.things[thing.handle] = thing
        return thing

    def remove_object_by_handle(self, handle):
        del self.things[handle]

    def get_objects_by_handle_substring(self, text):
        return {handle: thing for handle, thing in self.things.items() if text in handle}


class Templates:
    def __init__(self):
        self.registered = {}

    def create_new_template(self, handle, register):
        assert not register
        return SimpleNamespace(handle=handle)

    def register_template(self, template, handle):
        self.registered[handle] = template


class PathFinder:
    floor = None

    @property
    def is_loaded(self):
        return self.floor is not None

    def is_navigable(self, point, max_y_delta):
        return bool(abs(point[1] - self.floor.height_m) <= max_y_delta and self.floor.contains(point))

    def snap_point(self, point):
        return self.floor.snap(point)

    def find_path(self, path):
        path.geodesic_distance = self.floor.distance_m(path.requested_start, path.requested_end)
        return np.isfinite(path.geodesic_distance)


class Simulator:
    def __init__(self, configuration):
        assert configuration.sim_cfg.gpu_device_id == -1
        self.pathfinder = PathFinder()
        self._templates = Templates()
        self._things = Things(self._templates)
        self._agents = [
            SimpleNamespace(scene_node=Node(), specs=agent.sensor_specifications) for agent in configuration.agents
        ]

    def get_physics_simulation_library(self):
        return "PhysicsSimulationLibrary.NoPhysics"

    def get_agent(self, number):
        return self._agents[number]

    def get_object_template_manager(self):
        return self._templates

    def get_rigid_object_manager(self):
        return self._things

    def get_sensor_observations(self, agents):
        plant_fault()
        return {number: self._observe(self._agents[number]) for number in agents}

    def recompute_navmesh(self, pathfinder, settings):
        static = [one for one in self._things.things.values() if one.motion_type == physics.MotionType.STATIC]
        pathfinder.floor = Floor.of(static, settings)
        return pathfinder.floor is not None

    def close(self):
        pass

    def _observe(self, agent):
        if not agent.specs:
            return {}
        colour, depth, ids = cast(self._things.things.values(), agent.scene_node.matrix, agent.specs[0])
        seen = {"COLOR": colour, "DEPTH": depth, "SEMANTIC": ids}
        return {spec.uuid: seen[spec.sensor_type] for spec in agent.specs}


def plant_fault():
    if FAULT == "hang":
        time.sleep(600)
    if FAULT == "die":
        print("Segmentation fault in the renderer", flush=True)  # noqa: T201
        os.kill(os.getpid(), signal.SIGKILL)
    if FAULT == "raise":
        raise RuntimeError("GL::Context: cannot retrieve OpenGL version")
