"""Convex shapes of robots and scene bodies for collision checks (coal)."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import coal  # pyright: ignore[reportMissingImports]  # Lies behind a .pth file.
import numpy as np
import pinocchio as pin  # pyright: ignore[reportMissingImports]  # Lies behind a .pth file.

from embodied.errors import SceneError
from embodied.paths import confined
from embodied.robots.assets import asset_root, urdf_path
from embodied.robots.kinematics import configuration, joint_transforms, robot_tree, transform_from_pose
from embodied.robots.robot import RobotModel
from embodied.scenes.scene import Body, Box, Cylinder, Mesh, Shape, Sphere


@dataclass(frozen=True, eq=False)
class Solid:
    """A convex shape of `owner`, a link or a body, at `placement` in the frame of the joint `joint` (0: the base)."""

    owner: str
    shape: coal.CollisionGeometry
    joint: int
    placement: pin.SE3

    def __post_init__(self) -> None:
        self.shape.computeLocalAABB()  # Queries start from the bounding boxes.


@lru_cache(maxsize=16)
def robot_solids(model: RobotModel) -> tuple[Solid, ...]:
    """Returns the convex hulls of a robot's collision geometry, in the order of its URDF."""
    tree = robot_tree(model)
    path = str(urdf_path(model, visuals=False))
    geometry = pin.buildGeomFromUrdf(tree, path, pin.GeometryType.COLLISION)
    return tuple(
        Solid(tree.frames[item.parentFrame].name, _convex(item.geometry), int(item.parentJoint), item.placement)
        for item in geometry.geometryObjects
    )


@lru_cache(maxsize=32)
def self_pairs(model: RobotModel, end_effector: str = "") -> tuple[tuple[int, int], ...]:
    """Returns the pairs of `robot_solids` that must not meet while one arm moves, "" for the only one.

    They hold no neighbours, nothing that touches at home, and no two links that both stand still.
    """
    if not model.arms:
        return ()
    solids, parents = robot_solids(model), robot_tree(model).parents
    open_wide = dict.fromkeys(model.end_effectors, 1.0)
    joints = joint_transforms(model, configuration(model, np.array(model.home_rad), open_wide))
    movers = moving_joints(model, end_effector)
    # Parts of one end effector are no obstacles to each other: its maker keeps them apart.
    end_effector_joints = finger_joints(model, end_effector) | {tool_joint(model, end_effector)}
    pairs = []
    for second, b in enumerate(solids):
        for first, a in enumerate(solids[:second]):
            neighbours = a.joint == b.joint or parents[a.joint] == b.joint or parents[b.joint] == a.joint
            if neighbours or {a.joint, b.joint} <= end_effector_joints or not {a.joint, b.joint} & movers:
                continue
            if not meet(a.shape, joints[a.joint] * a.placement, b.shape, joints[b.joint] * b.placement):
                pairs.append((first, second))
    return tuple(pairs)


@lru_cache(maxsize=1024)
def body_solids(body: Body, assets: str) -> tuple[Solid, ...]:
    """Returns the colliding parts of a scene body in its own frame; `assets` as in `WorldConfig.asset_root`."""
    return tuple(
        Solid(body.name, scene_shape(part.shape, assets), 0, transform_from_pose(part.pose))
        for part in body.parts
        if part.collides
    )


def scene_shape(shape: Shape, assets: str = "") -> coal.CollisionGeometry:
    """Returns coal's form of a scene shape; a mesh becomes its convex hull. Raises `SceneError`, `PathError`."""
    match shape:
        case Box():
            return coal.Box(*shape.size_m)
        case Cylinder():
            return coal.Cylinder(shape.radius_m, shape.height_m)
        case Sphere():
            return coal.Sphere(shape.radius_m)
        case Mesh():
            path = confined(Path(assets) if assets else asset_root(), shape.file)
            return _convex(coal.MeshLoader().load(str(path), np.array(shape.scale)))
    raise SceneError("A shape must be a box, cylinder, sphere or mesh.", value=type(shape).__name__)


def meet(a: coal.CollisionGeometry, a_at: pin.SE3, b: coal.CollisionGeometry, b_at: pin.SE3) -> bool:
    """Returns whether the shape `a` at the pose `a_at` and the shape `b` at `b_at` touch or overlap."""
    result = coal.CollisionResult()
    at = [coal.Transform3s(placed.rotation, placed.translation) for placed in (a_at, b_at)]
    return bool(coal.collide(a, at[0], b, at[1], coal.CollisionRequest(), result))


def moving_joints(model: RobotModel, end_effector: str = "") -> frozenset[int]:
    """Returns the joints of `robot_tree` that belong to one arm or its fingers, "" for the only arm."""
    arm = model.end_effector(end_effector)
    return _joint_ids(arm.joints + (arm.gripper.joints if arm.gripper else ()), model)


def finger_joints(model: RobotModel, end_effector: str = "") -> frozenset[int]:
    """Returns the joints of `robot_tree` that move with the fingers of one arm, "" for the only one."""
    gripper = model.end_effector(end_effector).gripper
    return _joint_ids(gripper.joints if gripper else (), model)


def tool_joint(model: RobotModel, end_effector: str = "") -> int:
    """Returns the joint of `robot_tree` that carries the tool of one arm, "" for the only one."""
    tree = robot_tree(model)
    return int(tree.frames[tree.getFrameId(model.end_effector(end_effector).tool_link)].parentJoint)


def _joint_ids(names: tuple[str, ...], model: RobotModel) -> frozenset[int]:
    return frozenset(robot_tree(model).getJointId(name) for name in names)


def _convex(geometry: coal.CollisionGeometry) -> coal.CollisionGeometry:
    if not isinstance(geometry, coal.BVHModelBase):
        return geometry
    geometry.buildConvexHull(True, "Qt")
    return geometry.convex
