"""Top-down grasps of bodies, and their sizes, from their shapes and present poses."""

from pathlib import Path

import numpy as np

from embodied.controllers.handler import HandlerContext
from embodied.geometry import Pose, quaternion_from_matrix, rotation_matrix, transform_points, vector3
from embodied.robots.assets import asset_root
from embodied.scenes.meshing import triangulate
from embodied.scenes.scene import Body, Part
from embodied.types import WorldState

FINGER_DEPTH_M = 0.03  # The largest depth of the finger tips below the top of a body.
SIDE_GAP_M = 0.004  # The smallest gap between the open fingers and a body, both sides together.


def parts_of(context: HandlerContext, body: Body) -> list[tuple[Part, np.ndarray]]:
    """Returns the colliding parts of a body with their vertices (V, 3) in its frame, metres."""
    root = Path(context.asset_root) if context.asset_root else asset_root()
    return [
        (part, transform_points(part.pose.matrix, triangulate(part.shape, asset_root=root).vertices.astype(float)))
        for part in body.parts
        if part.collides
    ]


def vertices_of(context: HandlerContext, body: Body, pose: Pose) -> np.ndarray:
    """Returns the vertices (V, 3) of the colliding parts of `body` at `pose`, in the world; its middle if it has none.

    Meshes come from the scene of `context`.
    """
    parts = [vertices for _, vertices in parts_of(context, body)]
    return transform_points(pose.matrix, np.concatenate(parts) if parts else np.zeros((1, 3)))


def top_down_grasps(context: HandlerContext, body: Body, state: WorldState, opening_m: float) -> list[Pose]:
    """Returns tool poses that grasp `body` straight from above, those with the least turn of the wrist first.

    The poses are those in `state`, for the robot of `context`. `opening_m` is the width of the open gripper. Empty
    where the body is too wide in both directions of its footprint.
    """
    pose = state.pose[body.name]
    vertices = vertices_of(context, body, pose)
    top, middle = float(vertices[:, 2].max()), (vertices.max(axis=0) + vertices.min(axis=0)) / 2
    height = max(float(middle[2]), top - FINGER_DEPTH_M)
    axes = rotation_matrix(pose.orientation)
    level = [axis[:2] for axis in axes.T if np.linalg.norm(axis[:2]) > 0.9]
    base = state.robots[context.robot].base.yaw_rad
    found: list[tuple[float, Pose]] = []
    for axis in level:
        across = axis / np.linalg.norm(axis)
        spread = vertices[:, :2] @ across
        if spread.max() - spread.min() > opening_m - SIDE_GAP_M:
            continue
        along = np.array([across[1], -across[0]])
        at = along * ((vertices[:, :2] @ along).max() + (vertices[:, :2] @ along).min()) / 2
        at = at + across * (spread.max() + spread.min()) / 2
        for sign in (1.0, -1.0):
            y = np.array([*(sign * across), 0.0])
            x = np.cross(y, [0.0, 0.0, -1.0])
            turn = abs(float((np.arctan2(x[1], x[0]) - base + np.pi) % (2 * np.pi) - np.pi))
            rotation = np.stack([x, y, [0.0, 0.0, -1.0]], axis=1)
            found.append((turn, Pose(vector3([*at, height]), quaternion_from_matrix(rotation))))
    return [pose for _, pose in sorted(found, key=lambda one: one[0])]
