from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embodied.geometry import Pose, angle_between, quaternion_from_euler, rotation_matrix
from embodied.rollout.action_noise import moved_holder, with_action_noise
from embodied.specs import ActionSpec, Field
from embodied.types import ActionChunk, EndEffectorState, MoveTo, RobotState, Wait, WorldState, held_bodies
from tests.fakes import DOWN, FakeTask

MOVE = MoveTo((0.3, 0.1, 0.2), DOWN, gripper_open=True)
NOISY = replace(FakeTask().sample(7), placement_noise_m=0.03, placement_noise_rad=0.4)


@given(seed=st.integers(0, 2**40), grasp=st.integers(1, 50))
def test_noise_stays_within_its_bounds_and_off_the_height(seed, grasp):
    moved = with_action_noise(replace(NOISY, seed=seed), "arm", grasp_count=grasp, intent=MOVE)
    shift = np.subtract(moved.position_m, MOVE.position_m)
    assert abs(shift[:2]).max() <= 0.03 + 1e-12
    assert shift[2] == 0.0
    assert angle_between(moved.orientation, MOVE.orientation) <= 0.4 + 1e-6
    assert moved.gripper_open is True


def test_one_grasp_has_one_offset_and_the_next_another():
    def offset(episode, robot, grasp, intent):
        moved = with_action_noise(episode, robot, grasp_count=grasp, intent=intent)
        return tuple(np.round(np.subtract(moved.position_m, intent.position_m), 12))

    other = replace(MOVE, position_m=(0.0, 0.0, 0.5))
    same = offset(NOISY, "arm", 1, MOVE)
    assert offset(NOISY, "arm", 1, other) == same
    different = [
        offset(NOISY, "arm", 2, MOVE),
        offset(NOISY, "other", 1, MOVE),
        offset(replace(NOISY, seed=8), "arm", 1, MOVE),
    ]
    assert len({same, *different}) == 4


def test_the_yaw_turns_about_the_world_axis_and_not_the_tool_axis():
    tilted = replace(MOVE, orientation=quaternion_from_euler(2.6, 0.3, 0.2))
    moved = with_action_noise(NOISY, "arm", grasp_count=1, intent=tilted)
    turn = rotation_matrix(moved.orientation) @ rotation_matrix(tilted.orientation).T
    assert np.allclose(turn[2], [0.0, 0.0, 1.0])
    assert abs(turn[0, 1]) > 1e-3


def test_offsets_spread_evenly_over_the_square():
    moves = [with_action_noise(replace(NOISY, seed=seed), "arm", grasp_count=1, intent=MOVE) for seed in range(400)]
    shift = np.subtract([move.position_m for move in moves], MOVE.position_m)[:, :2] / 0.03
    assert abs(shift.mean(axis=0)).max() < 0.1
    assert abs((shift**2).mean(axis=0) - 1 / 3).max() < 0.06


def test_without_noise_and_for_other_intents_nothing_changes():
    quiet = FakeTask().sample(7)
    assert with_action_noise(quiet, "arm", grasp_count=1, intent=MOVE) is MOVE
    wait = Wait(1.0)
    assert with_action_noise(NOISY, "arm", grasp_count=1, intent=wait) is wait


def test_a_move_that_is_not_finite_is_left_for_the_controller_to_refuse():
    broken = replace(MOVE, position_m=(float("nan"), 0.0, 0.0))
    assert with_action_noise(NOISY, "arm", grasp_count=1, intent=broken) is broken


@pytest.mark.parametrize(
    ("position", "orientation"),
    [((0.3, 0.0), (0.0, 0.0, 0.0, 1.0)), (None, (0.0, 0.0, 0.0, 1.0)), ((0.3, 0.0, 1.0), (0.0, 0.0, 0.0, 2.0))],
)
def test_a_malformed_intent_is_left_to_the_controller_to_refuse(position, orientation):
    intent = MoveTo(position, orientation, gripper_open=False)
    assert with_action_noise(NOISY, "arm", grasp_count=1, intent=intent) is intent


def test_what_an_intent_moves_is_looked_up_by_its_end_effector_where_a_robot_has_several():
    hands = {name: EndEffectorState(Pose()) for name in ("left", "right")}
    robots = {
        "two": RobotState(np.zeros(14), np.zeros(14), Pose(), hands),
        "one": RobotState(np.zeros(7), np.zeros(7), Pose(), {"gripper": EndEffectorState(Pose())}),
    }
    state = WorldState(0.0, {}, {}, frozenset(), held_bodies(robots), robots)
    move = replace(MOVE, end_effector="right")
    chunk = ActionChunk(ActionSpec("reach", (Field("x", (1,)),), 10.0, end_effector="left"), np.zeros((1, 1)))
    assert moved_holder(state, "two", move) == "two/right"
    assert moved_holder(state, "two", chunk) == "two/left"
    assert (
        moved_holder(state, "one", MOVE) == moved_holder(state, "one", replace(MOVE, end_effector="gripper")) == "one"
    )
    assert moved_holder(state, "two", Wait(1.0)) not in state.held
