"""The extent of a robot around its base at a posture: the space that it needs to turn."""

import numpy as np
import pinocchio as pin  # pyright: ignore[reportMissingImports]  # Lies behind a .pth file.

from embodied.controllers.motion.shapes import Solid, body_solids, robot_solids
from embodied.robots.kinematics import configuration, joint_transforms, transform_from_pose
from embodied.robots.robot import RobotModel
from embodied.scenes.scene import Scene
from embodied.types import RobotState, WorldState


def turning_radius_m(model: RobotModel, joints_rad: np.ndarray) -> float:
    """Returns the radius in metres of the upright cylinder around the base frame that holds the robot.

    `joints_rad` (J,) are those of all arms; grippers count as open.
    """
    openings = dict.fromkeys(model.end_effectors, 1.0)
    joints = joint_transforms(model, configuration(model, joints_rad, openings))
    return max(_radius(solid, joints[solid.joint] * solid.placement) for solid in robot_solids(model))


def loaded_radius_m(scene: Scene, model: RobotModel, robot: RobotState, state: WorldState, assets: str) -> float:
    """Returns `turning_radius_m` of a `robot` of `model` with what it holds in `state`, at its present posture.

    Held bodies are those of `scene`, their meshes lie in `assets`.
    """
    radius = turning_radius_m(model, robot.joint_position_rad)
    base = transform_from_pose(robot.base)
    for end_effector in robot.end_effectors.values():
        if end_effector.held is not None:
            body = base.actInv(transform_from_pose(state.pose[end_effector.held]))
            solids = body_solids(scene.body(end_effector.held), assets)
            radius = max([radius, *(_radius(solid, body * solid.placement) for solid in solids)])
    return radius


def _radius(solid: Solid, at: pin.SE3) -> float:
    low, high = solid.shape.aabb_local.min_, solid.shape.aabb_local.max_
    corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
    return float(np.linalg.norm((corners @ at.rotation.T + at.translation)[:, :2], axis=1).max())
