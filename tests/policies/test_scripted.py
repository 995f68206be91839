"""Scripted policies, without a simulator: what they know, what they draw, and that batches change nothing."""

from dataclasses import replace

import numpy as np
import pytest

from embodied.errors import ConfigError, GoalError
from embodied.geometry import rotation_matrix
from embodied.scenes.tabletop import ROBOT, TABLE_TOP_M
from embodied.tasks.memorybench.suite import MEMORYBENCH
from embodied.tasks.registry import make_task
from embodied.types import Choice, Mission, MoveTo, Observation, Progress, Request, Truth, Wait
from policies.scripted import ExpertConfig, GuesserConfig, RandomPolicyConfig
from tests.tasks.worlds import initial_state

EXPERTS = {name: make_task(name).expert for name in MEMORYBENCH.tasks}
OBSERVATION = Observation(ROBOT, {}, np.zeros(0, np.float32), 1.0, None)


def request(episode, step=0, *, carry=None, progress=None, state=None, expert=None):
    progress = progress or Progress(reached=("pressed",))
    truth = Truth(episode, state or initial_state(episode), progress, expert or EXPERTS.get(episode.task))
    return Request(OBSERVATION, episode.instruction, step, seed=step + 1000 * episode.seed, carry=carry, truth=truth)


def keyframes(policy, episode, count=14):
    """The intents of a policy whose world never changes, with the press taken as counted."""
    intents, carry = [], None
    for step in range(count):
        (decision,) = policy.act([request(episode, step, carry=carry)])
        (intent,) = decision.intents
        intents.append(intent)
        carry = decision.carry
    return intents


@pytest.mark.parametrize(("name", "count"), [("reopen_drawer", 10), ("put_block_back", 12), ("rearrange_block", 11)])
def test_the_expert_gives_as_many_keyframes_as_published_and_then_waits(name, count):
    intents = keyframes(ExpertConfig().build(), make_task(name).sample(0))
    assert all(isinstance(intent, MoveTo) for intent in intents[:count])
    assert all(isinstance(intent, Wait) for intent in intents[count:])


@pytest.mark.parametrize("name", MEMORYBENCH.tasks)
def test_the_guesser_never_reads_the_target(name):
    episode = make_task(name).sample(1)
    lies = [
        replace(episode, goal=Choice(episode.choice_goal.candidates, candidate))
        for candidate in episode.choice_goal.candidates
    ]
    runs = [keyframes(GuesserConfig().build(), lie) for lie in lies]
    assert all(run == runs[0] for run in runs)


@pytest.mark.parametrize("name", MEMORYBENCH.tasks)
def test_the_expert_does_not_use_the_target_before_the_decision(name):
    episode = make_task(name).sample(1)
    goals = [Choice(episode.choice_goal.candidates, target) for target in episode.choice_goal.candidates]
    runs = [keyframes(ExpertConfig().build(), replace(episode, goal=goal)) for goal in goals]
    expert, state = EXPERTS[name], initial_state(episode)
    begun = expert.begin(episode, state, episode.choice_goal.target)
    decision = expert.course(episode, state, begun).decision
    assert all(run[:decision] == runs[0][:decision] for run in runs)
    assert len({run[decision] for run in runs}) == len(episode.choice_goal.candidates)


def test_an_expert_plays_tasks_without_a_choice_and_a_guesser_does_not():
    class Patient:
        def begin(self, episode, state, choice):
            return {"choice": choice}

        def next_intent(self, robot, episode, progress, state, expert_state):
            return Wait(0.1), expert_state

    episode = replace(make_task("reopen_drawer").sample(1), goal=Mission(("done",)))
    asked = request(episode, 1)
    asked = replace(asked, truth=replace(asked.truth, episode=episode, expert=Patient()))
    (decision,) = ExpertConfig().build().act([asked])
    assert (decision.intents, decision.carry) == ((Wait(0.1),), {"choice": ""})
    with pytest.raises(GoalError):
        GuesserConfig().build().act([asked])


@pytest.mark.parametrize("name", MEMORYBENCH.tasks)
def test_an_expert_at_the_choice_goes_on_where_the_expert_is_then(name):
    episode = make_task(name).sample(1)
    state, progress = initial_state(episode), Progress(reached=("pressed",))
    course = keyframes(ExpertConfig().build(), episode)
    pressed = max(
        i for i, intent in enumerate(course) if isinstance(intent, MoveTo) and _low_over_button(episode, intent)
    )
    expert_state, rest = EXPERTS[name].at_choice(episode, state, episode.choice_goal.target), []
    for _ in course[pressed + 1 :]:
        intent, expert_state = EXPERTS[name].next_keyframe(episode, progress, state, expert_state)
        rest.append(intent)
    assert rest == course[pressed + 1 :]


def _low_over_button(episode, intent):
    x, y, _ = episode.scene.body("button_base").pose.position_m
    return intent.position_m[:2] == (x, y) and intent.position_m[2] < 0.85


def test_guesses_are_uniform_one_per_episode_and_independent_of_the_target():
    task = make_task("put_block_back")
    guesser = GuesserConfig().build()
    drawn = []
    for seed in range(200):
        episode = task.sample(seed)
        (first,) = guesser.act([request(episode)])
        (again,) = guesser.act([request(episode)])
        assert first.carry == again.carry
        drawn.append((first.carry["choice"], episode.choice_goal.target))
    counts = [sum(choice == name for choice, _ in drawn) for name in task.candidates]
    assert min(counts) > 30
    right = sum(choice == target for choice, target in drawn)
    assert 30 < right < 72, "A quarter, within four standard deviations."


@pytest.mark.parametrize("config", [ExpertConfig(), GuesserConfig(), RandomPolicyConfig()])
def test_a_batch_gives_what_its_rows_give_one_by_one(config):
    policy = config.build()
    requests = [request(make_task(name).sample(seed), seed) for name in MEMORYBENCH.tasks for seed in range(3)]
    together = policy.act(requests)
    alone = [policy.act([one])[0] for one in requests]
    assert [(d.intents, d.carry) for d in together] == [(d.intents, d.carry) for d in alone]
    backwards = policy.act(requests[::-1])[::-1]
    assert [d.intents for d in backwards] == [d.intents for d in together]


def test_the_button_is_pressed_until_the_task_counts_it():
    task = make_task("put_block_back", options={"distractor_presses": 1})
    episode = task.sample(0)
    expert, carry, down = ExpertConfig().build(), None, []
    for step in range(14):
        reached = ("pressed",) if step > 9 else ("pressed_1",)
        asked = request(episode, step, carry=carry, progress=Progress(reached=reached), expert=task.expert)
        (decision,) = expert.act([asked])
        carry = decision.carry
        at = decision.intents[0]
        x, y, _ = episode.scene.body("button_base").pose.position_m
        down.append(at.position_m[:2] == (x, y) and at.position_m[2] < 0.85)
    assert [step for step, pressing in enumerate(down) if pressing] == [6, 8]


@pytest.mark.parametrize("name", MEMORYBENCH.tasks)
@pytest.mark.parametrize("tier", ["faithful", "strict"])
def test_blocks_and_buttons_are_approached_from_above_and_in_line_with_their_sides(name, tier):
    for seed in range(6):
        episode = make_task(name, tier=tier).sample(seed)
        first = keyframes(ExpertConfig().build(), episode)[1]
        approach = rotation_matrix(first.orientation)[:, 2]
        if name == "reopen_drawer":
            assert abs(approach[2]) < 1e-9
            continue
        assert approach == pytest.approx((0.0, 0.0, -1.0))
        state = initial_state(episode)
        block = min(
            (name for name in state.pose if name.startswith("block")),
            key=lambda n: np.linalg.norm(np.subtract(state.pose[n].position_m, first.position_m)),
        )
        across = rotation_matrix(first.orientation)[:, 1] @ rotation_matrix(state.pose[block].orientation)
        assert np.abs(across).max() == pytest.approx(1.0)


def test_an_expert_without_truth_or_without_a_plan_is_refused():
    episode = make_task("put_block_back").sample(0)
    blind = replace(request(episode), truth=None)
    with pytest.raises(ConfigError, match="shown the truth"):
        ExpertConfig().build().act([blind])
    # A name that begins as that of another task gives no expert.
    with pytest.raises(ConfigError, match=r"must have an expert here\. Got 'put_block_back_twice'"):
        ExpertConfig().build().act([request(replace(episode, task="put_block_back_twice"))])


def test_random_keyframes_fill_what_the_arm_reaches_of_the_workspace_and_depend_on_the_seed_alone():
    policy = RandomPolicyConfig(tilt_limit_rad=0.3).build()
    requests = [Request(OBSERVATION, "", 0, seed=seed) for seed in range(300)]
    moves = [decision.intents[0] for decision in policy.act(requests)]
    positions = np.array([move.position_m for move in moves])
    assert (positions.min(axis=0) >= (-0.3, -0.5, TABLE_TOP_M + 0.03)).all()
    assert (positions.max(axis=0) <= (0.7, 0.5, 1.6)).all()
    assert (np.ptp(positions, axis=0) > (0.6, 0.9, 0.5)).all()
    wrists = np.add(positions, (0.27, 0.0, 0.21 - TABLE_TOP_M - 0.333))
    assert (np.linalg.norm(wrists, axis=1) <= 0.66).all()
    leans = [np.arccos(-rotation_matrix(move.orientation)[2, 2]) for move in moves]
    assert max(leans) <= 0.3 + 1e-9
    assert {move.gripper_open for move in moves} == {True, False}
    assert policy.act(requests[:1])[0].intents[0] == moves[0]
    assert not policy.privileged


def test_a_tilt_beyond_a_half_turn_is_refused():
    with pytest.raises(ConfigError, match="tilt_limit_rad"):
        RandomPolicyConfig(tilt_limit_rad=4.0).build()
