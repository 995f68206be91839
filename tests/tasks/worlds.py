"""Hand-made world states: what a simulator would report, without one."""

from dataclasses import replace

import numpy as np

from embodied.geometry import Pose, quaternion_from_euler
from embodied.scenes.tabletop import BLOCK_M, BUTTON, ROBOT, TABLE_TOP_M, on_table
from embodied.types import EndEffectorState, Episode, Progress, RobotState, WorldState


def initial_state(episode: Episode) -> WorldState:
    """Returns the state in which `episode` starts, the arm at home."""
    scene = episode.scene
    poses = {body.name: body.pose for body in scene.bodies}
    for joint in scene.joints:
        parent = poses[joint.parent].matrix @ joint.pose.matrix
        shift = parent[:3, :3] @ (np.array(joint.axis) * joint.position)
        x, y, z = (float(value) for value in parent[:3, 3] + shift)
        poses[joint.child] = Pose((x, y, z), poses[joint.parent].orientation)
    return WorldState(
        time_s=0.0,
        pose=poses,
        joint={joint.name: joint.position for joint in scene.joints},
        contact=frozenset(),
        held={ROBOT: None},
        robots={ROBOT: robot_at((0.278, 0.0, 1.302))},
    )


def robot_at(position_m) -> RobotState:
    """Returns the arm with its tool at `position_m`, pointing down."""
    tool = Pose(position_m, quaternion_from_euler(np.pi, 0.0, 0.0))
    return RobotState(
        np.zeros(7), np.zeros(7), Pose((-0.27, 0.0, TABLE_TOP_M)), {"gripper": EndEffectorState(tool, 1.0)}
    )


def with_block(state: WorldState, name: str, place: Pose, *, up_m: float = 0.0, held: bool = False) -> WorldState:
    """Returns the state with a block over `place`, `up_m` above lying there."""
    x, y, _ = place.position_m
    there = on_table(x, y, place.yaw_rad, height_m=BLOCK_M / 2 + up_m)
    return replace(state, pose={**state.pose, name: there}, held={ROBOT: name if held else None})


def with_button(state: WorldState, travel_m: float) -> WorldState:
    """Returns the state with the button down by `travel_m`."""
    return with_joint(state, BUTTON, travel_m)


def with_joint(state: WorldState, joint: str, position: float) -> WorldState:
    """Returns the state with a joint elsewhere; poses stay."""
    return replace(state, joint={**state.joint, joint: position})


def judge(task, episode: Episode, states) -> Progress:
    """Returns the progress after all `states`, the first one being the start."""
    first, *rest = states
    progress = task.begin(episode, first)
    for state in rest:
        progress = task.advance(episode, progress, state)
    return progress
