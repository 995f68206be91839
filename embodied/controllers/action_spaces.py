"""The action spaces of a robot, as data: the declarations of the rows of its `ActionChunk`s.

Orientations of `ee_pose` are the first two columns of the rotation matrix, one after the other. Unlike quaternions they
have no sign ambiguity, so that a network can regress and average them; they are made orthonormal before use. Source: Y.
Zhou et al., "On the Continuity of Rotation Representations in Neural Networks", CVPR 2019.
"""

from collections.abc import Callable, Mapping

import numpy as np

from embodied.controllers.settings import ControllerSettings
from embodied.errors import unknown_name
from embodied.robots.robot import Arm, DifferentialDrive, HolonomicDrive, RobotModel
from embodied.specs import EVENT_PACED, FARTHEST_TARGET_M, ActionSpec, Field
from embodied.specs import KEYFRAME as MOVE_TO

JOINT_POSITION, EE_POSE, EE_DELTA = "joint_position", "ee_pose", "ee_delta"
BASE_VELOCITY, KEYFRAME = "base_velocity", "keyframe"
WORLD = "world"
USUAL_RATE_HZ = 20.0
GRIPPER = Field("gripper", (1,), lower=0.0, upper=1.0)  # The opening: 0 closed, 1 open.
POSITION = Field("position", (3,), unit="m", frame=WORLD, lower=-FARTHEST_TARGET_M, upper=FARTHEST_TARGET_M)


def action_space(
    name: str,
    model: RobotModel,
    settings: ControllerSettings,
    *,
    rate_hz: float = USUAL_RATE_HZ,
    end_effector: str = "",
) -> ActionSpec:
    """Returns the space `name` of a robot of `model` at `rate_hz`, which must divide the control rate to be used.

    `settings` bound the steps and speeds. Spaces of an arm are those of the one with `end_effector`, "" for the only
    one. Raises `UnknownNameError` where such a robot has no such space or end effector, and `SpecError` where an end
    effector must be named.
    """
    if name == BASE_VELOCITY and model.drive is not None:
        return ActionSpec(name, _base_velocity(model.drive), rate_hz)
    if name not in ARM_SPACES or not model.arms:
        raise unknown_name(f"action space of {model.name}", name, action_space_names(model))
    arm = model.end_effector(end_effector)
    fields = ARM_SPACES[name](arm, settings, rate_hz)
    return ActionSpec(name, fields, EVENT_PACED if name == KEYFRAME else rate_hz, end_effector)


def action_space_names(model: RobotModel) -> tuple[str, ...]:
    """Returns the names of the action spaces of a robot of `model`, sorted."""
    return tuple(sorted([*(ARM_SPACES if model.arms else ()), *([BASE_VELOCITY] if model.drive is not None else [])]))


def _joint_position(arm: Arm, settings: ControllerSettings, rate_hz: float) -> tuple[Field, ...]:
    del settings, rate_hz
    joints = Field("joints", (len(arm.joints),), unit="rad", lower=arm.lower_rad, upper=arm.upper_rad)
    return (joints, *_gripper(arm))


def _ee_pose(arm: Arm, settings: ControllerSettings, rate_hz: float) -> tuple[Field, ...]:
    del settings, rate_hz
    return (POSITION, Field("rotation_6d", (6,), frame=WORLD, lower=-1.0, upper=1.0), *_gripper(arm))


def _ee_delta(arm: Arm, settings: ControllerSettings, rate_hz: float) -> tuple[Field, ...]:
    shift, turn = settings.tool_speed_mps / rate_hz, settings.tool_turn_radps / rate_hz
    return (
        Field("translation", (3,), unit="m", frame=WORLD, lower=-shift, upper=shift),
        Field("rotation", (3,), unit="rad", frame=WORLD, lower=-turn, upper=turn),
        *_gripper(arm),
    )


def _keyframe(arm: Arm, settings: ControllerSettings, rate_hz: float) -> tuple[Field, ...]:
    """Returns the fields of `MoveTo`, one after the other: an action ends when the tool has arrived."""
    del settings, rate_hz
    return tuple(field for field in MOVE_TO.fields if arm.gripper is not None or field.name != GRIPPER.name)


def _base_velocity(drive: DifferentialDrive | HolonomicDrive) -> tuple[Field, ...]:
    names = ("forward", "left", "turn") if isinstance(drive, HolonomicDrive) else ("forward", "turn")
    return tuple(
        Field(name, (1,), unit="rad/s" if name == "turn" else "m/s", frame="base", lower=-limit, upper=limit)
        for name, limit in zip(names, drive.velocity_limits, strict=True)
    )


def _gripper(arm: Arm) -> tuple[Field, ...]:
    return () if arm.gripper is None else (GRIPPER,)


ARM_SPACES: Mapping[str, Callable[[Arm, ControllerSettings, float], tuple[Field, ...]]] = {
    JOINT_POSITION: _joint_position,
    EE_POSE: _ee_pose,
    EE_DELTA: _ee_delta,
    KEYFRAME: _keyframe,
}


def rotation_from_6d(values: np.ndarray) -> np.ndarray | None:
    """Returns the rotation (3, 3) whose first columns are those of `values` (6,), orthonormalised.

    None where they are too short, or too nearly parallel, to define a rotation.
    """
    first, second = values[:3], values[3:]
    length = float(np.linalg.norm(first))
    if length < 1e-3:
        return None
    x = first / length
    across = second - (x @ second) * x
    length = float(np.linalg.norm(across))
    if length < 1e-3:
        return None
    y = across / length
    return np.stack([x, y, np.cross(x, y)], axis=1)


def rotation_to_6d(rotation: np.ndarray) -> np.ndarray:
    """Returns the first two columns (6,) of a rotation (3, 3), as `ee_pose` takes them."""
    return np.concatenate([rotation[:, 0], rotation[:, 1]])
