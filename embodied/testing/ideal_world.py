"""A world without physics for checks: robots that reach their commands at once, in a static scene."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from embodied.geometry import Pose, compose, quaternion_from_axis_angle, quaternion_from_yaw
from embodied.robots.catalogue import robot_model
from embodied.robots.commands import arm_targets, openings
from embodied.robots.kinematics import kinematics
from embodied.robots.robot import RobotModel
from embodied.scenes.scene import Joint, RobotPlacement, Scene
from embodied.types import Command, EndEffectorState, RobotState, WorldState, held_bodies

Follow = Callable[[WorldState, Command], WorldState]


def home_state(scene: Scene) -> WorldState:
    """Returns the state at time 0 in which every body and robot is where `scene` places it. Raises `UnknownNameError`.

    Robots must be of the catalogue. Nothing is in contact or held.
    """
    robots = {placed.name: _placed(placed) for placed in scene.robots}
    return WorldState(
        time_s=0.0,
        pose=_body_poses(scene),
        joint={joint.name: joint.position for joint in scene.joints if joint.kind != "fixed"},
        contact=frozenset(),
        held=held_bodies(robots),
        robots=robots,
    )


def obedient(scene: Scene, robot: str, *, period_s: float) -> Follow:
    """Returns a function from a state and a command of `robot` in `scene` to the state `period_s` later.

    Joints and grippers reach their targets within the period; a base moves at the last commanded velocity.
    """
    model = robot_model(scene.robot(robot).model)
    velocity = np.zeros(0 if model.drive is None else len(model.drive.velocity_limits))

    def follow(state: WorldState, command: Command) -> WorldState:
        if command.base_velocity is not None:
            velocity[:] = command.base_velocity
        here = _obeyed(model, state.robots[robot], command, velocity, period_s)
        robots = {**state.robots, robot: here}
        return replace(state, time_s=state.time_s + period_s, robots=robots, held=held_bodies(robots))

    return follow


def _placed(placed: RobotPlacement) -> RobotState:
    model = robot_model(placed.model)
    joints = np.array(placed.joint_position_rad or model.home_rad, dtype=float)
    openings_now = {arm.name: placed.gripper if arm.gripper is not None else 0.0 for arm in model.arms}
    return RobotState(
        joint_position_rad=joints,
        joint_velocity_radps=np.zeros(len(joints)),
        base=placed.base,
        end_effectors=_end_effectors(model, placed.base, joints, openings_now),
    )


def _obeyed(model: RobotModel, here: RobotState, command: Command, velocity: np.ndarray, period_s: float) -> RobotState:
    base = here.base
    if model.drive is not None:
        forward, *left, turn = (float(value) for value in velocity * period_s)  # Left for holonomic bases alone.
        base = compose(base, Pose((forward, sum(left), 0.0), quaternion_from_yaw(turn)))
    joints = here.joint_position_rad.copy()
    for name, target in arm_targets(model, command).items():
        joints[model.columns(name)] = target
    gripper = {name: state.gripper for name, state in here.end_effectors.items()} | openings(model, command)
    speed = (joints - here.joint_position_rad) / period_s
    return RobotState(joints, speed, base, _end_effectors(model, base, joints, gripper))


def _end_effectors(
    model: RobotModel, base: Pose, joints_rad: np.ndarray, gripper: Mapping[str, float]
) -> dict[str, EndEffectorState]:
    found = {}
    for name in model.end_effectors:
        tool = compose(base, kinematics(model, name).tool(joints_rad[model.columns(name)]))
        found[name] = EndEffectorState(tool, gripper[name])
    return found


def _body_poses(scene: Scene) -> dict[str, Pose]:
    above = {joint.child: joint for joint in scene.joints}

    def pose_of(name: str) -> Pose:
        joint = above.get(name)
        if joint is None:
            return scene.body(name).pose
        return compose(compose(pose_of(joint.parent), joint.pose), _motion(joint))

    return {body.name: pose_of(body.name) for body in scene.bodies}


def _motion(joint: Joint) -> Pose:
    along = np.multiply(joint.axis, joint.position)
    if joint.kind == "revolute":
        return Pose(orientation=quaternion_from_axis_angle(along))
    return Pose((float(along[0]), float(along[1]), float(along[2])))
