"""The joint positions in which a robot of a scene starts."""

import numpy as np

from embodied.errors import SceneError
from embodied.robots.robot import RobotModel
from embodied.scenes.scene import RobotPlacement


def start_configuration(placement: RobotPlacement, model: RobotModel) -> np.ndarray:
    """Returns the joints (J,) in which a robot of `model` starts as in `placement`; its home by default.

    Raises `SceneError` for another number of joints, and for joints outside their limits.
    """
    if not model.arms:
        return np.zeros(0)
    start = np.array(model.home_rad if placement.joint_position_rad is None else placement.joint_position_rad)
    if start.shape != (len(model.joints),):
        raise SceneError(
            f"Robot {placement.name!r} must start with {len(model.joints)} joint positions.", value=start.shape
        )
    for arm in model.arms:
        own = start[model.columns(arm.name)]
        if (own < arm.lower_rad).any() or (own > arm.upper_rad).any():
            raise SceneError(f"Robot {placement.name!r} must start within its joint limits.", value=start.tolist())
    return start
