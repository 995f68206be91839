"""Recorded episodes of one robot, one file each: declared features at any rate, checked, without pickle.

A file of format 2 is a ZIP that `numpy.load` opens too (see `container`). Its header declares every column (name,
shape, dtype, unit, frame, rate and precision) and the action spaces. T - 1 actions lie between T observations::

    observation.rgb.<camera>                uint8   (T, H, W, 3)   lossless
    observation.depth_m.<camera>            float32 (T, H, W)      metres along the optical axis, 0 unknown
    observation.intrinsics.<camera>         float64 (T, 3, 3)      pixels
    observation.world_from_camera.<camera>  float64 (T, 4, 4)      camera x right, y down, z forward
    observation.proprio                     float32 (T, Q)         its entries are named
    observation.gripper                     float64 (T,)           opening, 0 closed to 1 open
    observation.time_s                      float64 (T,)           what the clock showed, NaN where it is hidden
    action.<space>                          float64 (T - 1, size)  the fields of the space side by side; where a robot
                                                                   has several arms, `.<end effector>` follows

Recordings of keyframes have one row per decision and are exact. Recordings at a rate have their rows at t / rate_hz
seconds since the reset, and the intents as decided in `decisions`. Their depth is rounded to the precision that the
header declares, and what is too far for 16 bits is 0. Format 1 is described in `format1`; it is read, and no longer
written.
"""

from embodied.trajectories.columns import keyframe_trajectory
from embodied.trajectories.decisions import RecordedDecision
from embodied.trajectories.features import Feature, action_feature, describe_difference
from embodied.trajectories.header import SCHEMA_VERSION, SUFFIX
from embodied.trajectories.label import Label, goal_from_json, goal_to_json
from embodied.trajectories.reader import TrajectoryReader, open_trajectory, read_trajectory
from embodied.trajectories.trajectory import Trajectory, image_sizes
from embodied.trajectories.writer import write_trajectory

__all__ = [
    "SCHEMA_VERSION",
    "SUFFIX",
    "Feature",
    "Label",
    "RecordedDecision",
    "Trajectory",
    "TrajectoryReader",
    "action_feature",
    "describe_difference",
    "goal_from_json",
    "goal_to_json",
    "image_sizes",
    "keyframe_trajectory",
    "open_trajectory",
    "read_trajectory",
    "write_trajectory",
]
