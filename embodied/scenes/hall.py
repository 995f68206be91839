"""A hall as data: a low table with marked spots and one block, a Panda at one side, a mobile Panda at the other."""

from collections.abc import Mapping

import numpy as np

from embodied.geometry import Pose, look_at, quaternion_from_yaw
from embodied.scenes.scene import Body, Box, Camera, Part, Rgba, RobotPlacement, Scene

STANDING, MOBILE = "standing", "mobile"  # The robots.
BLOCK, VIEW = "block", "front"
TABLE_TOP_M = 0.30
BLOCK_M = 0.05
SPOT_M = 0.10
# The middles of the spots on the table, (x, y).
SPOTS_M: Mapping[str, tuple[float, float]] = {
    "spot_a": (0.05, -0.30),
    "spot_b": (0.05, -0.10),
    "spot_c": (0.05, 0.10),
    "spot_d": (0.05, 0.30),
}

_GREY: Rgba = (0.55, 0.56, 0.58, 1.0)
_FLOOR: Rgba = (0.85, 0.85, 0.83, 1.0)
_WOOD: Rgba = (0.62, 0.52, 0.40, 1.0)
_RED: Rgba = (0.75, 0.25, 0.2, 1.0)
_GREEN: Rgba = (0.2, 0.6, 0.3, 1.0)
_TABLE_M = (0.6, 0.9)
# The mobile robot starts where neither arm can touch the other.
_STANDING_X_M, _MOBILE_X_M = -0.48, 1.1
_WRIST_CAMERA = Pose((0.07, 0.0, -0.14), quaternion_from_yaw(np.pi / 2))


def hall(name: str, spots_m: Mapping[str, tuple[float, float]], block_on: str, *, camera_px: int = 128) -> Scene:
    """Returns the hall, called `name`, with the spots at `spots_m` (x, y) and the block on the spot `block_on`.

    Every camera is `camera_px` square: one at the side of the table, and one at the wrist of each robot.
    """
    mark = Part(Box((SPOT_M, SPOT_M, 0.001)), rgba=_RED, collides=False)
    spots = [
        Body(spot, (mark,), Pose((x, y, TABLE_TOP_M + 0.0005)), category="spot") for spot, (x, y) in spots_m.items()
    ]
    x, y = spots_m[block_on]
    block = Part(Box((BLOCK_M, BLOCK_M, BLOCK_M)), rgba=_GREEN)
    top, stand = Part(Box((*_TABLE_M, TABLE_TOP_M)), rgba=_WOOD), Part(Box((0.24, 0.24, TABLE_TOP_M)), rgba=_GREY)
    bodies = (
        Body("floor", (Part(Box((8.0, 8.0, 0.1)), rgba=_FLOOR),), Pose((0.0, 0.0, -0.05))),
        Body("table", (top,), Pose((0.0, 0.0, TABLE_TOP_M / 2)), category="table"),
        Body("stand", (stand,), Pose((_STANDING_X_M, 0.0, TABLE_TOP_M / 2))),
        *spots,
        Body(BLOCK, (block,), Pose((x, y, TABLE_TOP_M + BLOCK_M / 2)), 0.3, category="block", graspable=True),
    )  # fmt: skip
    cameras = (
        Camera(VIEW, look_at((0.9, -1.9, 1.45), (0.2, 0.0, 0.45)), camera_px, camera_px, fov_y_rad=0.7),
        *(
            Camera(f"{robot}_wrist", _WRIST_CAMERA, camera_px, camera_px, fov_y_rad=1.05, mount=robot)
            for robot in (STANDING, MOBILE)
        ),
    )
    robots = (
        RobotPlacement(STANDING, "panda", Pose((_STANDING_X_M, 0.0, TABLE_TOP_M))),
        RobotPlacement(MOBILE, "mobile_panda", Pose((_MOBILE_X_M, 0.0, 0.0), quaternion_from_yaw(np.pi))),
    )
    return Scene(name, bodies, cameras=cameras, robots=robots)
