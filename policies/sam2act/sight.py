"""What a batch of frames shows: the cloud of points, the words of the task, the robot's body."""

from typing import NamedTuple

from torch import Tensor

from policies.sam2act.points import Cloud


class Body(NamedTuple):
    """The robot in each frame: tool position (frame, 3) m and orientation (frame, 4) xyzw in the world, gripper, time.

    `gripper` (frame,) is the opening in [0, 1]; `time` (frame,) counts keyframes.
    """

    position_m: Tensor
    orientation: Tensor
    gripper: Tensor
    time: Tensor


class Sight(NamedTuple):
    """All that a policy is shown; `words` int64 (frame, word), 0 where there is none."""

    cloud: Cloud
    words: Tensor
    body: Body
