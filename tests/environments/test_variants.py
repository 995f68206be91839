"""The variants of actions, observations and rewards that learners can choose."""

from dataclasses import fields
from inspect import signature

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import RescaleAction

import embodied.environments  # noqa: F401 - registers the tasks
from embodied.environments.actions import WORKSPACE_M, Actions
from embodied.environments.keyframe import KeyframeEnv
from embodied.errors import ConfigError, UnknownNameError
from embodied.geometry import Pose, angle_between, compose, pose_from_matrix, rotation_matrix
from embodied.simulators.rendering import opengl
from embodied.tasks.registry import SUITES
from embodied.testing import check_environment

TASKS = ("ReopenDrawer", "PutBlockBack", "RearrangeBlock")
BASE = Pose((-0.27, 0.0, 0.752))


def made(task="ReopenDrawer", **options):
    return gymnasium.make(f"embodied/{task}-strict-v0", camera_px=16, **options)


# --- Actions ----------------------------------------------------------------------------------------------------------


def test_an_action_has_a_name_and_bounds_for_every_entry():
    assert Actions("keyframe").names == (
        "x_m", "y_m", "z_m", "qx", "qy", "qz", "qw", "gripper_open", "avoid_collisions"
    )  # fmt: skip
    for name, size in (("keyframe", 9), ("pose6d", 8), ("tool_down", 5)):
        actions = Actions(name)
        assert (len(actions.names), actions.space.shape) == (size, (size,))
        low, high = actions.bounds
        assert (low < high).all()
        if name != "keyframe":
            np.testing.assert_array_equal([low[:3], high[:3]], np.transpose(WORKSPACE_M))
            assert (actions.space.low, actions.space.high) == (pytest.approx(-1), pytest.approx(1))


def moved(actions, *values):
    """The keyframe of an action in metres, radians and flags of 0 and 1."""
    low, high = actions.bounds
    return actions.move((2.0 * (np.array(values) - low) / (high - low) - 1.0).astype(np.float32), BASE)


def test_a_rotation_vector_turns_the_tool_from_pointing_down():
    actions = Actions("pose6d")
    down = moved(actions, 0.5, 0.1, 0.2, 0, 0, 0, 1, 0)
    np.testing.assert_allclose(rotation_matrix(down.orientation) @ [0, 0, 1], [0, 0, -1], atol=1e-6)
    np.testing.assert_allclose(down.position_m, (0.23, 0.1, 0.952), atol=1e-6)
    assert (down.gripper_open, down.avoid_collisions) == (True, False)
    ahead = moved(actions, 0.5, 0.1, 0.2, 0, -np.pi / 2, 0, 0, 1)
    np.testing.assert_allclose(rotation_matrix(ahead.orientation) @ [0, 0, 1], [1, 0, 0], atol=1e-6)
    assert (ahead.gripper_open, ahead.avoid_collisions) == (False, True)


def test_a_tool_that_points_down_has_a_yaw():
    yaw, actions = 0.4, Actions("tool_down")
    move = moved(actions, 0.5, 0.0, 0.2, yaw, 0.0)
    turned = moved(Actions("pose6d"), 0.5, 0, 0.2, 0, 0, yaw, 0, 0)
    assert angle_between(move.orientation, turned.orientation) < 1e-6
    assert not move.avoid_collisions


def test_most_random_places_of_the_workspace_are_reached():
    env = made(observations="low_dim", actions="tool_down")
    env.reset(seed=0)
    env.action_space.seed(0)
    failures = [env.step(env.action_space.sample())[4]["keyframe_failure"] for _ in range(20)]
    env.close()
    assert sum(reason.startswith("unreachable") for reason in failures) <= 5


@pytest.mark.parametrize("metres", [False, True])
def test_actions_are_in_the_frame_of_the_base_and_can_be_rescaled_to_metres(metres):
    env = made("PutBlockBack", observations="low_dim", actions="tool_down")
    if metres:
        low, high = (bound.astype(np.float32) for bound in env.unwrapped.action_bounds)
        env = RescaleAction(env, low, high)
    _, info = env.reset(seed=0)
    middle = compose(pose_from_matrix(info["world_from_base"]), Pose((0.5, 0.0, 0.25)))
    seen, *_, info = env.step(np.float32([0.5, 0.0, 0.25, 0.0, 1.0]) if metres else np.zeros(5, np.float32))
    names = env.unwrapped.observation_names
    tool = [seen[names.index(f"tool_{axis}_m")] for axis in "xyz"]
    env.close()
    assert info["keyframe_failure"] == ""
    np.testing.assert_allclose(tool, middle.position_m, atol=0.01)


@pytest.mark.parametrize("workspace_m", [((0, 1), (0, 1)), ((0, 1), (0, 1), (1, 0)), "table", [[0.0, np.nan]] * 3])
def test_a_workspace_is_three_ordered_pairs(workspace_m):
    with pytest.raises(ConfigError, match="three pairs"):
        Actions("tool_down", workspace_m)


# --- Random agents ----------------------------------------------------------------------------------------------------


def random_steps(task, actions, count):
    """Plays random actions, through as many episodes as it takes, and returns how they ended."""
    env = made(task, observations="low_dim", actions=actions, reward="shaped")
    env.action_space.seed(1)
    env.reset(seed=1)
    ended = []
    for _ in range(count):
        seen, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert env.observation_space.contains(seen)
        assert np.isfinite(reward)
        if terminated or truncated:
            ended.append((info["outcome"], info["reason"]))
            env.reset()
    env.close()
    return ended


@pytest.mark.parametrize("actions", ["keyframe", "pose6d", "tool_down"])
@pytest.mark.parametrize("task", TASKS)
def test_random_actions_are_played_without_an_exception(task, actions):
    random_steps(task, actions, 6)


@pytest.mark.proof
@pytest.mark.timeout(1200)
def test_a_thousand_random_actions_are_played_without_an_exception():
    ended = [
        ending
        for task in TASKS
        for actions in ("keyframe", "pose6d", "tool_down")
        for ending in random_steps(task, actions, 112)
    ]
    assert len(ended) >= 36
    # A block that was knocked off the table falls until the simulator refuses to follow it.
    assert all("must stay within 100 m" in reason for outcome, reason in ended if outcome == "invalid")


# --- Observations -----------------------------------------------------------------------------------------------------


def test_a_single_camera_is_a_flat_dictionary():
    env = made(observations="single_camera", camera="wrist", depth=True)
    seen, _ = env.reset(seed=0)
    full = made()
    everything, _ = full.reset(seed=0)
    assert env.observation_space.contains(seen)
    assert not any(isinstance(space, spaces.Dict) for space in env.observation_space.values())
    assert set(seen) == {"rgb", "depth_m", "proprio", "time_s"}
    assert (seen["rgb"] == everything["cameras"]["wrist"]["rgb"]).all()
    assert "depth_m" not in made(observations="single_camera").observation_space.spaces
    env.close()
    full.close()


def test_a_low_dimensional_observation_names_and_holds_the_state_of_the_task():
    env = made(observations="low_dim")
    seen, info = env.reset(seed=3)
    state = env.unwrapped._simulator.state()
    value = dict(zip(env.unwrapped.observation_names, seen.tolist(), strict=True))
    base = pose_from_matrix(info["world_from_base"])
    cabinet = compose(base, Pose(tuple(value[f"cabinet/{axis}_m"] for axis in "xyz")))
    np.testing.assert_allclose(cabinet.position_m, state.pose["cabinet"].position_m, atol=1e-6)
    opening = {name: value[f"{name}/position"] for name in state.joint}
    np.testing.assert_allclose(list(opening.values()), list(state.joint.values()), atol=1e-6)
    assert not any("table" in name for name in value)
    assert [value[f"reached/{phase}"] for phase in ("closed", "pressed", "reopened")] == [0.0] * 3
    env.close()


@pytest.mark.parametrize("task", TASKS)
def test_a_low_dimensional_observation_does_not_hold_what_must_be_remembered(task):
    env = made(task, observations="low_dim")
    env.reset(seed=5)
    core = env.unwrapped
    episode, state = core._episode, core._simulator.state()
    other = core._task.counterfactual(episode)
    assert other.choice_goal.target != episode.choice_goal.target
    seen = core._simulator.observe("panda", ())
    read = [core._observations.read(seen, one, state, core._performance.progress) for one in (episode, other)]
    np.testing.assert_array_equal(*read)
    env.close()


def test_nothing_is_rendered_for_a_low_dimensional_observation(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("OpenGL was started")

    monkeypatch.setattr(opengl, "create_context", refuse)
    env = made(observations="low_dim", actions="tool_down")
    env.reset(seed=0)
    env.step(env.action_space.sample())
    env.close()


@pytest.mark.parametrize("options", [{"actions": "tool_down", "observations": "low_dim", "reward": "shaped"}])
def test_the_variants_keep_the_contract(options):
    check_environment(lambda: KeyframeEnv("put_block_back", "strict", camera_px=16, **options), steps=1)


@pytest.mark.parametrize(
    ("options", "near"),
    [
        ({"actions": "tooldown"}, "tool_down"),
        ({"observations": "lowdim"}, "low_dim"),
        ({"reward": "shape"}, "shaped"),
        ({"observations": "single_camera", "camera": "wirst"}, "wrist"),
    ],
)
def test_an_unknown_variant_is_refused_with_the_nearest_right_one(options, near):
    with pytest.raises(UnknownNameError, match=f"Did you mean '{near}'"):
        made(**options)


def test_no_option_of_a_task_has_the_name_of_a_variant():
    own = set(signature(KeyframeEnv.__init__).parameters)
    for suite in SUITES.own.values():
        for kind in suite.tasks.values():
            assert own & {field.name for field in fields(kind)} <= {"tier"}
