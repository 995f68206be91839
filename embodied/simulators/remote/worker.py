"""The other side of a remote simulator: serves Habitat-Sim over a socket. Needs Python >= 3.9, numpy and msgpack.

It runs in the environment of Habitat-Sim, whose pins clash with ours, so it imports nothing of this project. Messages
are msgpack in the dialect of `embodied.codec`, behind eight bytes: a mark and the length. Images go through shared
memory. What differs between versions 0.3.2 and 0.3.4 is found by looking for features, never by version. Frames are
those of Habitat: y up, cameras look along -z. Poses are (7,): position in metres, quaternion xyzw.
"""

# pyright: reportMissingImports=false, reportReturnType=false
from __future__ import annotations

import math
import mmap
import os
import signal
import socket
import struct
import sys
import traceback
from typing import Any

PROTOCOL = 1
MARK, HEADER = b"EMRS", struct.Struct("<4sI")
LARGEST_BYTES = 64 * 2**20
CONFIG, NO_STAGE = "default", "NONE"
KINDS = ("rgb", "depth_m", "instance")


class HabitatServer:
    """One Habitat simulator: its models, cameras and navigation mesh. Each public method is a call of the protocol."""

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._sim: Any = None
        self._cameras: list[str] = []
        self._objects: dict[str, Any] = {}
        self._templates: set[str] = set()
        self._corners: list[Any] = []
        self._from_corners: dict[tuple[float, ...], Any] = {}

    def hello(self) -> dict[str, Any]:
        """Returns the protocol, and what is installed here."""
        import numpy as np

        found: dict[str, Any] = {
            "protocol": PROTOCOL,
            "python": sys.version.split()[0],
            "numpy": np.__version__,
            "missing": "",
        }
        try:
            import habitat_sim
            import magnum  # noqa: F401
        except ImportError as error:
            return {**found, "missing": str(error)}
        features = {
            "navmesh_of_static_objects": hasattr(habitat_sim.NavMeshSettings(), "include_static_objects"),
            "sensor_registry": hasattr(habitat_sim.Simulator, "create_sensor"),
        }
        version = str(getattr(habitat_sim, "__version__", "unknown"))
        return {**found, "habitat": version, "features": features, "bullet": bool(habitat_sim.built_with_bullet)}

    def open(self, cameras: Any, range_m: Any, dataset: str, scene: str, folder: str) -> dict[str, Any]:
        """Starts a simulator on `scene` of `dataset`, "" for an empty place, with one agent for each of `cameras`.

        They see the distances `range_m`. Habitat reads its default settings from data/ in the current `folder`.
        """
        import habitat_sim

        self.close()
        if folder:
            os.chdir(folder)
        backend = habitat_sim.SimulatorConfiguration()
        backend.scene_id = scene or NO_STAGE
        backend.scene_dataset_config_file = dataset or CONFIG
        backend.gpu_device_id = -1
        backend.enable_physics = True
        backend.load_semantic_mesh = bool(dataset or scene)
        backend.override_scene_light_defaults = True
        backend.scene_light_setup = habitat_sim.gfx.NO_LIGHT_KEY
        agents = [_agent(camera, *range_m) for camera in cameras] or [habitat_sim.AgentConfiguration()]
        if not cameras:
            agents[0].sensor_specifications = []
        self._sim = habitat_sim.Simulator(habitat_sim.Configuration(backend, agents))
        self._cameras = [camera["name"] for camera in cameras]
        return {"physics": str(self._sim.get_physics_simulation_library()), "things": self._things()}

    def add(self, objects: Any) -> None:
        """Adds or replaces `objects`, each with a name, a model (the path of a GLB) and the id of its pixels."""
        for one in objects:
            self.remove([one["name"]])
            self._objects[one["name"]] = self._added(one["model"], one["id"])

    def remove(self, names: Any = None) -> None:
        """Removes objects by name, None for all that were added; unknown ones are ignored."""
        for name in list(self._objects) if names is None else names:
            if name in self._objects:
                self._sim.get_rigid_object_manager().remove_object_by_handle(self._objects.pop(name).handle)

    def draw(self, poses: Any, cameras: Any, size: int) -> None:
        """Puts objects at their `poses` by name, then writes what `cameras` see to shared memory of `size` bytes.

        Of each camera: its name, pose, and `offsets` of its colours uint8 (H, W, 3), its depth float32 (H, W), 0
        beyond the far plane, and its ids int32 (H, W).
        """
        import numpy as np

        for name, pose in poses.items():
            _put(self._objects[name], pose)
        agents = [self._cameras.index(camera["name"]) for camera in cameras]
        for agent, camera in zip(agents, cameras):  # noqa: B905 - Python 3.9 has no `strict`
            _put(self._sim.get_agent(agent).scene_node, camera["pose"])
        seen = self._sim.get_sensor_observations(agents) if agents else {}
        if not agents:
            return
        with mmap.mmap(self._memory, size) as shared:
            for agent, camera in zip(agents, cameras):  # noqa: B905
                arrays = [np.asarray(seen[agent][f"{camera['name']} {kind}"]) for kind in KINDS]
                arrays[0] = arrays[0][..., :3]
                for array, offset, dtype in zip(arrays, camera["offsets"], ("u1", "<f4", "<i4")):  # noqa: B905
                    content = np.ascontiguousarray(array, dtype=dtype).tobytes()
                    shared[offset : offset + len(content)] = content

    def plan(self, obstacles: str, settings: Any) -> dict[str, Any]:
        """Makes the navigation mesh anew: of the place and its static things, or of the GLB file `obstacles` alone."""
        import habitat_sim

        wanted = habitat_sim.NavMeshSettings()
        wanted.set_defaults()
        for name, value in settings.items():
            if hasattr(wanted, name):
                setattr(wanted, name, value)
        wanted.include_static_objects = True
        ground = self._added(obstacles, 0, motion="STATIC") if obstacles else None
        try:
            made = self._sim.recompute_navmesh(self._sim.pathfinder, wanted)
        finally:
            if ground is not None:
                self._sim.get_rigid_object_manager().remove_object_by_handle(ground.handle)
        self._corners, self._from_corners = _corners(self._sim.pathfinder), {}
        return {"made": bool(made) and bool(self._sim.pathfinder.is_loaded)}

    def free(self, points: Any, height_m: float) -> Any:
        """Returns which points (N, 3) are on the navigation mesh, up to `height_m` above or below it."""
        import numpy as np

        finder = self._sim.pathfinder
        return np.array([finder.is_navigable(np.array(point, "f4"), height_m) for point in points], dtype=bool)

    def snap(self, points: Any) -> Any:
        """Returns the nearest point of the navigation mesh to each of (N, 3), NaN where there is none."""
        import numpy as np

        found = [np.asarray(self._sim.pathfinder.snap_point(np.array(point, "f4"))) for point in points]
        return np.array(found, dtype="f8").reshape(-1, 3)

    def distances(self, start: Any, goals: Any) -> Any:
        """Returns the length of the shortest path from `start` (3,) to each of `goals` (N, 3), infinite for none.

        Detour's search over polygons is not exact: it may pass an obstacle on the longer side. So the shortest of all
        paths counts that it finds directly, in either direction, and by way of one corner of the mesh.
        """
        import numpy as np

        found = [min(self._distance(start, goal), self._distance(goal, start)) for goal in goals]
        if self._corners and len(goals):
            first = self._by_corner(start)
            found = [min(one, float((first + self._by_corner(goal)).min())) for one, goal in zip(found, goals)]  # noqa: B905
        return np.array(found, dtype="f8")

    def close(self) -> None:
        """Frees the simulator; the next call of `open` starts another one."""
        if self._sim is not None:
            self._objects, self._templates = {}, set()
            self._sim.close()
            self._sim = None

    def _by_corner(self, point: Any) -> Any:
        """Returns the lengths of the paths from a point (3,) to all corners of the mesh, computed once for each."""
        import numpy as np

        key = tuple(map(float, point))
        if key not in self._from_corners:
            self._from_corners[key] = np.array([self._distance(point, corner) for corner in self._corners])
        return self._from_corners[key]

    def _distance(self, start: Any, goal: Any) -> float:
        import habitat_sim
        import numpy as np

        path = habitat_sim.ShortestPath()
        path.requested_start, path.requested_end = np.array(start, "f4"), np.array(goal, "f4")
        return float(path.geodesic_distance) if self._sim.pathfinder.find_path(path) else math.inf

    def _things(self) -> list[dict[str, Any]]:
        """Returns what a place of a dataset holds: the rigid objects of its scene instance."""
        manager = self._sim.get_rigid_object_manager()
        return [
            {
                "handle": handle,
                "id": int(thing.semantic_id),
                "static": str(thing.motion_type).endswith("STATIC"),
                "pose": [
                    *map(float, thing.translation),
                    *map(float, thing.rotation.vector),
                    float(thing.rotation.scalar),
                ],
            }
            for handle, thing in sorted(manager.get_objects_by_handle_substring("").items())
        ]

    def _added(self, model: str, pixel_id: int, motion: str = "KINEMATIC") -> Any:
        import habitat_sim
        import numpy as np

        templates = self._sim.get_object_template_manager()
        if model not in self._templates:
            template = templates.create_new_template(model, False)
            template.render_asset_handle = template.collision_asset_handle = model
            template.com = np.zeros(3, dtype="f4")  # The frame of an object is that of its model.
            template.compute_COM_from_shape = False
            template.is_collidable = False
            template.force_flat_shading = True
            templates.register_template(template, model)
            self._templates.add(model)
        added = self._sim.get_rigid_object_manager().add_object_by_template_handle(model)
        if added is None:
            raise ValueError(f"Habitat could not load {model}")
        added.motion_type = getattr(habitat_sim.physics.MotionType, motion)
        added.semantic_id = pixel_id
        return added


def _agent(camera: Any, near_m: float, far_m: float) -> Any:
    """Returns an agent that carries the three sensors of a camera at its own place."""
    import habitat_sim
    import numpy as np

    kinds = (habitat_sim.SensorType.COLOR, habitat_sim.SensorType.DEPTH, habitat_sim.SensorType.SEMANTIC)
    specs = []
    for name, kind in zip(KINDS, kinds):  # noqa: B905
        spec = habitat_sim.CameraSensorSpec()
        spec.uuid, spec.sensor_type = f"{camera['name']} {name}", kind
        spec.sensor_subtype = habitat_sim.SensorSubType.PINHOLE
        spec.resolution = [camera["height"], camera["width"]]
        # Of the types that a vector could have only float32 arrays are taken by all versions.
        spec.position, spec.orientation = np.zeros(3, dtype="f4"), np.zeros(3, dtype="f4")
        spec.hfov, spec.near, spec.far = camera["hfov_deg"], near_m, far_m
        if hasattr(spec, "clear_color") and name == "rgb":
            spec.clear_color = np.array([*camera["background"], 1.0], dtype="f4")
        specs.append(spec)
    agent = habitat_sim.AgentConfiguration()
    agent.sensor_specifications = specs
    return agent


def _corners(finder: Any) -> list[Any]:
    """Returns up to 300 corners (3,) of the navigation mesh, evenly chosen of all."""
    import numpy as np

    if not finder.is_loaded or not hasattr(finder, "build_navmesh_vertices"):
        return []
    found = np.unique(np.array(finder.build_navmesh_vertices(), dtype="f4").reshape(-1, 3).round(3), axis=0)
    return list(found[:: max(1, math.ceil(len(found) / 300))])


def _put(node: Any, pose: Any) -> None:
    import magnum

    x, y, z, qx, qy, qz, qw = (float(value) for value in pose)
    node.translation = magnum.Vector3(x, y, z)
    node.rotation = magnum.Quaternion(magnum.Vector3(qx, qy, qz), qw)


def packed(value: Any) -> bytes:
    """Returns a message: plain values, and arrays as maps of their bytes, dtype and shape."""
    import msgpack
    import numpy as np

    def plain(one: Any) -> Any:
        if not isinstance(one, np.ndarray):
            raise TypeError(f"{type(one).__name__} cannot be sent")
        little = np.ascontiguousarray(one, dtype=one.dtype.newbyteorder("<"))
        return {b"__ndarray__": True, b"data": little.tobytes(), b"dtype": little.dtype.str, b"shape": list(one.shape)}

    return msgpack.packb(value, default=plain)


def unpacked(content: bytes) -> Any:
    """Returns the value of a message; see `packed`."""
    import msgpack
    import numpy as np

    def value(found: dict[Any, Any]) -> Any:
        named = {key.decode() if isinstance(key, bytes) else key: one for key, one in found.items()}
        if "__ndarray__" in named:
            return np.frombuffer(named["data"], np.dtype(named["dtype"])).reshape(named["shape"])
        return named

    return msgpack.unpackb(content, raw=False, object_hook=value)


def received(connection: socket.socket, count: int) -> bytes:
    """Returns `count` bytes. Raises `EOFError` where the other side has gone."""
    parts, left = [], count
    while left:
        part = connection.recv(min(left, 2**20))
        if not part:
            raise EOFError
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def answer(server: HabitatServer, content: bytes) -> bytes:
    """Returns the reply to one message: a result, or an error as text."""
    try:
        message = unpacked(content)
        # A call that hangs inside Habitat ends this process, also where the other side no longer lives to do so.
        signal.alarm(math.ceil(message["seconds"]) + 5)
        method = message["call"]
        if method.startswith("_"):
            raise ValueError(f"no call is named {method!r}")
        return packed({"result": getattr(server, method)(**message["values"])})
    except Exception as error:  # Whatever Habitat raises is reported to the other side.
        traceback.print_exc()
        return packed({"error": f"{type(error).__name__}: {error}"})
    finally:
        signal.alarm(0)


def serve(connection: socket.socket, memory: int) -> None:
    """Answers calls until the other side closes the connection."""
    server = HabitatServer(memory)
    try:
        while True:
            mark, length = HEADER.unpack(received(connection, HEADER.size))
            if mark != MARK or length > LARGEST_BYTES:
                raise ValueError("messages must begin with their mark and length")
            reply = answer(server, received(connection, length))
            connection.sendall(HEADER.pack(MARK, len(reply)) + reply)
    except (EOFError, ConnectionError):
        server.close()


if __name__ == "__main__":
    del sys.path[0]  # Modules beside this file belong to another environment.
    if sys.version_info < (3, 9):  # noqa: UP036 - it runs in an environment of its own
        sys.exit("The worker of a remote simulator needs Python 3.9 or newer.")
    serve(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]))
