"""Robots by name: those of this project, those of installed plugins, and those of model files."""

from pathlib import Path
from typing import Any

from embodied.geometry import Pose, Vector3
from embodied.plugins import Registry
from embodied.robots.model_file import is_model_path, load_robot
from embodied.robots.robot import Arm, DifferentialDrive, Gripper, HolonomicDrive, RobotCamera, RobotModel, RoundChassis
from embodied.scenes.tabletop import WRIST_CAMERA, WRIST_FOV_Y_RAD

_PEDESTAL_SIZE_M = (0.3, 0.8, 0.4)
# Where the mobile manipulator's arm is mounted, in the frame of the base, which lies on the floor between the wheels.
_ON_WHEELS_M = (0.1, 0.0, 0.32)
_WRIST_CAMERA = RobotCamera("wrist", WRIST_CAMERA, fov_y_rad=WRIST_FOV_Y_RAD)


def _panda_arm(name: str, *, prefix: str = "", mount_m: Vector3 = (0.0, 0.0, 0.0)) -> Arm:
    return Arm(
        name=name,
        urdf="franka_panda/panda.urdf",
        joints=tuple(f"{prefix}panda_joint{index}" for index in range(1, 8)),
        # Tool 0.548 m ahead of the base, 0.55 m above it, pointing down. MemoryBench states a home 0.72 m above it,
        # which this arm cannot reach with an upright tool.
        home_rad=(0.0, 0.003, 0.0, -1.4912, 0.0, 1.4942, 0.785398),
        # Franka's published soft limits: tighter than the URDF's hard stops.
        lower_rad=(-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973),
        upper_rad=(2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973),
        velocity_limit_radps=(2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61),
        effort_limit_nm=(87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0),
        tool_link=f"{prefix}panda_hand",
        tool_in_link=Pose((0.0, 0.0, 0.1034)),
        gripper=Gripper(
            joints=(f"{prefix}panda_finger_joint1", f"{prefix}panda_finger_joint2"),
            links=(f"{prefix}panda_leftfinger", f"{prefix}panda_rightfinger"),
            stroke_m=0.04,
            force_n=20.0,
            closed_at=(0.0, 0.0),
            open_at=(0.04, 0.04),
            tip_m=0.009,
        ),
        prefix=prefix,
        mount_m=mount_m,
        reach_m=0.855,
        payload_kg=3.0,
        stow_rad=(0.0, -1.45, 0.0, -2.9, 0.0, 1.45, 0.785398),  # Above the mobile base, the tool pointing down.
    )


BASE_DRIVE = DifferentialDrive(
    left_joints=("left_wheel_joint",),
    right_joints=("right_wheel_joint",),
    wheel_radius_m=0.1,
    track_m=0.5,
    linear_limit_mps=1.0,
    angular_limit_radps=2.0,
    wheel_torque_nm=40.0,
)
ROUND_DRIVE = DifferentialDrive(
    left_joints=("left_wheel_joint",),
    right_joints=("right_wheel_joint",),
    wheel_radius_m=0.08,
    track_m=0.36,
    linear_limit_mps=1.0,
    angular_limit_radps=2.0,
    wheel_torque_nm=40.0,
)
HOLONOMIC_DRIVE = HolonomicDrive(
    linear_limit_mps=1.0, lateral_limit_mps=1.0, angular_limit_radps=2.0, force_n=300.0, torque_nm=80.0
)

_MODELS = {
    model.name: model
    for model in (
        RobotModel("panda", arms=(_panda_arm("gripper"),), cameras=(_WRIST_CAMERA,)),
        RobotModel(
            "kuka",
            arms=(
                Arm(
                    name="flange",
                    urdf="kuka_iiwa/model.urdf",
                    joints=tuple(f"lbr_iiwa_joint_{index}" for index in range(1, 8)),
                    home_rad=(0.0, 0.5, 0.0, -1.4, 0.0, 1.24, 0.0),
                    lower_rad=(-2.9670, -2.0943, -2.9670, -2.0943, -2.9670, -2.0943, -3.0543),
                    upper_rad=(2.9670, 2.0943, 2.9670, 2.0943, 2.9670, 2.0943, 3.0543),
                    velocity_limit_radps=(1.7, 1.7, 1.75, 2.2, 2.4, 3.1, 3.1),
                    effort_limit_nm=(300.0,) * 7,
                    tool_link="lbr_iiwa_link_7",
                    tool_in_link=Pose((0.0, 0.0, 0.045)),
                    reach_m=0.8,  # Both arms of the series reach this far; the URDF states no type and no payload.
                ),
            ),
        ),
        RobotModel("differential_base", drive=BASE_DRIVE),
        # As wide as the robot of FindingDory, and as high.
        RobotModel("round_base", drive=ROUND_DRIVE, chassis=RoundChassis(radius_m=0.25, height_m=0.16, mast_m=1.41)),
        RobotModel("holonomic_base", drive=HOLONOMIC_DRIVE),
        RobotModel(
            "holonomic_panda",
            arms=(_panda_arm("gripper", mount_m=_ON_WHEELS_M),),
            drive=HOLONOMIC_DRIVE,
        ),
        RobotModel(
            "mobile_panda",
            arms=(_panda_arm("gripper", mount_m=_ON_WHEELS_M),),
            drive=BASE_DRIVE,
        ),
        RobotModel(
            "dual_panda",
            arms=tuple(
                _panda_arm(side, prefix=f"{side}_", mount_m=(0.0, y_m, _PEDESTAL_SIZE_M[2]))
                for side, y_m in (("left", 0.3), ("right", -0.3))
            ),
            pedestal_size_m=_PEDESTAL_SIZE_M,
        ),
    )
}


def robot_model(name: str) -> RobotModel:
    """Returns the robot called `name`, or the robot of the model file at the path `name`.

    Raises `UnknownNameError` with the nearest right name, `PluginError` for a broken robot of a plugin, and what
    `model_file.load_robot` raises.
    """
    return load_robot(name) if is_model_path(name) else ROBOTS[name]


def robot_names() -> tuple[str, ...]:
    """Returns the names of all robots, sorted, without loading those of plugins."""
    return tuple(sorted(ROBOTS))


def _accepted(name: str, value: Any) -> RobotModel:
    """Returns the robot that a package offers as a model or as the path of a model file. Raises `TypeError`."""
    if isinstance(value, str | Path):
        value = load_robot(str(value))
    if not isinstance(value, RobotModel):
        raise TypeError(f"{name!r} must be a RobotModel or the path of a model file, not {value!r}.")
    return value


ROBOTS: Registry[RobotModel] = Registry("robots", "robot model", _MODELS, _accepted)
