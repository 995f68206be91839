"""A robot with two arms, a long block in front of it, and the keyframes that hand it from left to right."""

import numpy as np

from embodied.geometry import Pose, look_at, quaternion_from_euler
from embodied.scenes.scene import Body, Box, Camera, Part, RobotPlacement, Scene
from embodied.types import MoveTo

DOWN = quaternion_from_euler(np.pi, 0.0, np.pi / 2)  # Fingers open along x.
TABLE_TOP_M = 0.4
BLOCK = Body(
    "block", (Part(Box((0.04, 0.24, 0.04))),), Pose((0.5, 0.2, TABLE_TOP_M + 0.02)), mass_kg=0.2, graspable=True
)
SCENE = Scene(
    "two arms",
    (Body("table", (Part(Box((0.6, 1.2, TABLE_TOP_M))),), Pose((0.6, 0.0, TABLE_TOP_M / 2))), BLOCK),
    robots=(RobotPlacement("dual", "dual_panda"),),
    cameras=(Camera("front", look_at((2.2, 0.0, 1.6), (0.3, 0.0, 0.6)), 48, 48, 0.8),),
)


def move(end_effector: str, x: float, y: float, up_m: float, *, open_: bool, avoid: bool = True) -> MoveTo:
    return MoveTo((x, y, TABLE_TOP_M + up_m), DOWN, open_, avoid_collisions=avoid, end_effector=end_effector)


PICK = (
    move("left", 0.5, 0.28, 0.15, open_=True),
    move("left", 0.5, 0.28, 0.02, open_=False, avoid=False),
    move("left", 0.5, 0.08, 0.25, open_=False),
)
TAKE = (move("right", 0.5, -0.08, 0.38, open_=True), move("right", 0.5, -0.08, 0.25, open_=False, avoid=False))
LET_GO = (move("left", 0.5, 0.08, 0.25, open_=True, avoid=False), move("left", 0.45, 0.3, 0.4, open_=True))
PLACE = (move("right", 0.5, -0.28, 0.1, open_=False), move("right", 0.5, -0.28, 0.023, open_=True, avoid=False))
