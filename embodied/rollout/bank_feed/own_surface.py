"""The surface of a robot from its joint angles and its base, which perception must not take for a thing."""

from functools import lru_cache

import numpy as np
import pinocchio as pin  # pyright: ignore[reportMissingImports]  # Lies behind a .pth file.

from embodied.robots.assets import stock_urdf_path
from embodied.robots.catalogue import robot_model, robot_names
from embodied.robots.kinematics import robot_tree
from embodied.robots.meshes import visual_meshes
from embodied.types import RobotState

POINTS_PER_MESH = 8


class OwnSurface:
    """Some points on the surface of a robot of `model`, which follow its own joint angles and its base."""

    def __init__(self, model: str) -> None:
        self._model = robot_model(model)
        points, joints = [], []
        tree = robot_tree(self._model)
        for mesh in visual_meshes(stock_urdf_path(self._model)):
            frame = tree.frames[tree.getFrameId(mesh.link)]
            some = mesh.vertices[:: 1 + len(mesh.vertices) // POINTS_PER_MESH]
            points.append(some @ frame.placement.rotation.T + frame.placement.translation)
            joints.append(np.full(len(some), frame.parentJoint))
        points_m, self._joint = np.concatenate(points), np.concatenate(joints)
        self._points_m = np.concatenate([points_m, np.ones((len(points_m), 1))], axis=1)  # Homogeneous.
        self._tree, self._scratch = tree, tree.createData()
        self._values = pin.neutral(tree)
        self._arms = [tree.joints[tree.getJointId(name)].idx_q for name in self._model.joints]
        self._fingers = {
            arm.name: [tree.joints[tree.getJointId(name)].idx_q for name in arm.gripper.joints]
            for arm in self._model.arms if arm.gripper is not None
        }  # fmt: skip

    def points_m(self, state: RobotState) -> np.ndarray:
        """Returns the points (N, 3) in the world, none for a state without the joints of the model."""
        fingers = {name: one.fingers for name, one in state.end_effectors.items()}
        fits = len(state.joint_position_rad) == len(self._arms)
        if not fits or any(len(fingers.get(name, ())) < len(columns) for name, columns in self._fingers.items()):
            return np.zeros((0, 3))
        self._values[self._arms] = state.joint_position_rad
        for name, columns in self._fingers.items():
            self._values[columns] = fingers[name][: len(columns)]
        pin.forwardKinematics(self._tree, self._scratch, self._values)
        transforms = state.base.matrix @ np.array([one.homogeneous for one in self._scratch.oMi])
        return np.einsum("nij,nj->ni", transforms[self._joint, :3], self._points_m)


@lru_cache(maxsize=16)
def own_surface(model: str) -> OwnSurface | None:
    """Returns the surface of a robot of the catalogue, None for an unknown one."""
    return OwnSurface(model) if model in robot_names() else None
