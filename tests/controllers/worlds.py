"""Scenes and states for the controllers' tests."""

from collections.abc import Mapping

import numpy as np

from embodied.geometry import Pose, Vector3, compose, quaternion_from_euler
from embodied.robots.catalogue import robot_model
from embodied.robots.kinematics import kinematics
from embodied.scenes.scene import Body, Box, Part, RobotPlacement, Scene
from embodied.types import EndEffectorState, RobotState, WorldState, held_bodies

DOWN = quaternion_from_euler(np.pi, 0.0, 0.0)
HOME = np.array(robot_model("panda").arm.home_rad)
TABLE = Body("table", (Part(Box((1.2, 1.6, 0.04))),), Pose((0.4, 0.0, -0.02)))
PANDA = RobotPlacement("robot", "panda")


def box(name: str, size_m: Vector3, at_m: Vector3, mass_kg: float = 0.0) -> Body:
    return Body(name, (Part(Box(size_m)),), Pose(at_m), mass_kg=mass_kg, graspable=mass_kg > 0)


WALL = box("wall", (0.3, 0.02, 0.4), (0.5, 0.0, 0.2))


def table_scene(*bodies: Body, robots: tuple[RobotPlacement, ...] = (PANDA,)) -> Scene:
    return Scene("table", (TABLE, *bodies), robots=robots)


def world_state(
    scene: Scene,
    joints_rad: np.ndarray = HOME,
    *,
    held: str | None = None,
    gripper: float = 1.0,
    poses: Mapping[str, Pose] | None = None,
) -> WorldState:
    """The state in which the first robot of `scene` is at `joints_rad` and the others are at home."""
    robots = {}
    for index, placed in enumerate(scene.robots):
        model = robot_model(placed.model)
        joints = np.array(joints_rad if index == 0 and model.arms else model.home_rad, dtype=float)
        end_effectors = {}
        for name in model.end_effectors:
            tool = compose(placed.base, kinematics(model, name).tool(joints[model.columns(name)]))
            end_effectors[name] = EndEffectorState(tool, gripper, held if index == 0 else None)
        robots[placed.name] = RobotState(joints, np.zeros(len(joints)), placed.base, end_effectors)
    placed = {body.name: body.pose for body in scene.bodies} | dict(poses or {})
    return WorldState(0.0, placed, {}, frozenset(), held_bodies(robots), robots)
