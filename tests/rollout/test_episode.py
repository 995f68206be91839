from dataclasses import replace

import numpy as np
import pytest

from embodied.errors import ConfigError, MissingDependencyError
from embodied.rollout.episode import EpisodeContext, play
from embodied.seeding import derive_seed
from embodied.types import Clock, Drive, Limits, MoveTo, Outcome, Wait
from tests.fakes import (
    BINS,
    BLOCK_START,
    DOWN,
    FakeController,
    FakePolicy,
    FakeSimulator,
    FakeTask,
    ScriptedPolicy,
    carry_to,
)

NOWHERE = (0.0, 0.0, 0.5)


class Setup:
    """A stage whose controllers can be looked at afterwards."""

    def __init__(self, policy, task=None):
        self.simulator, self.policy, self.task = FakeSimulator(), policy, task or FakeTask()
        self.controllers = {}

    def play(self, seed=3, observers=(), **overrides):
        episode = replace(self.task.sample(seed), **overrides)
        return play(episode, self.stage(), observers=observers)

    def stage(self):
        return EpisodeContext(self.simulator, self.task, self.policy, self._make)

    def _make(self, episode):
        self.controllers = {robot.name: FakeController(robot.name) for robot in episode.scene.robots}
        return self.controllers


class Witness:
    """Writes down the calls of an observer."""

    def __init__(self):
        self.logged = []

    def on_begin(self, episode, simulator):
        self.logged.append("begin")

    def on_decision(self, request, decision):
        self.logged.append(("decision", request.step))

    def on_feedback(self, robot, feedback):
        pass

    def on_step(self, state, progress):
        self.logged.append(("step", round(state.time_s, 2), progress.outcome))

    def on_end(self, record):
        self.logged.append("end")


def move(place, *, gripper_open=True):
    return MoveTo(place, DOWN, gripper_open=gripper_open)


# --- Outcomes ---------------------------------------------------------------------------------------------------------


def test_an_expert_succeeds_and_its_phases_and_choice_are_kept():
    ending = Setup(FakePolicy(privileged=True)).play()
    assert ending.progress.outcome is Outcome.SUCCESS
    assert ending.progress.reached == ("taken", "binned")
    assert ending.progress.choice in BINS
    assert ending.steps == 2
    assert 0.0 < ending.sim_time_s < 5.0


def test_the_task_may_end_an_episode_as_a_failure_in_its_own_words():
    episode = FakeTask().sample(3)
    wrong = next(name for name in BINS if name != episode.choice_goal.target)
    ending = Setup(ScriptedPolicy([carry_to(BINS[wrong])])).play()
    assert ending.progress.outcome is Outcome.FAILURE
    assert ending.progress.reason == f"wrong bin: {wrong}"


def test_the_time_limit_ends_an_episode_at_its_exact_period():
    ending = Setup(ScriptedPolicy([[Wait(60.0)]])).play(limits=Limits(intents=25, sim_time_s=1.5))
    assert ending.progress.outcome is Outcome.TIMEOUT
    assert ending.progress.reason == "time limit of 1.5 s"
    assert ending.sim_time_s == pytest.approx(1.5)


def test_success_in_the_last_period_is_a_success_and_no_timeout():
    expert = FakePolicy(privileged=True)
    needed_s = Setup(expert).play().sim_time_s
    assert Setup(expert).play(limits=Limits(intents=25, sim_time_s=needed_s)).progress.outcome is Outcome.SUCCESS
    assert Setup(expert).play(limits=Limits(intents=25, sim_time_s=needed_s - 0.05)).progress.outcome is Outcome.TIMEOUT


def test_the_limit_of_intents_lets_the_last_intent_end():
    ending = Setup(ScriptedPolicy([[Wait(0.1)]] * 9)).play(limits=Limits(intents=4, sim_time_s=20.0))
    assert ending.progress.outcome is Outcome.TIMEOUT
    assert ending.progress.reason == "limit of 4 intents"
    assert ending.steps == 4
    assert ending.sim_time_s == pytest.approx(0.4)


def test_a_policy_is_not_asked_for_intents_that_could_not_run():
    policy = ScriptedPolicy([[Wait(0.1)]] * 9)
    Setup(policy).play(limits=Limits(intents=4, sim_time_s=20.0))
    assert [request.step for request in policy.seen] == [0, 1, 2, 3]


def test_an_intent_beyond_the_limit_is_not_begun_though_it_was_decided():
    setup = Setup(ScriptedPolicy([[Wait(0.1)] * 6]))
    assert setup.play(limits=Limits(intents=4, sim_time_s=20.0)).steps == 4
    assert len(setup.controllers["arm"].begun) == 4


def test_an_expert_that_needs_all_its_keyframes_still_succeeds():
    assert (
        Setup(FakePolicy(privileged=True)).play(limits=Limits(intents=2, sim_time_s=20.0)).progress.outcome
        is Outcome.SUCCESS
    )
    assert (
        Setup(FakePolicy(privileged=True)).play(limits=Limits(intents=1, sim_time_s=20.0)).progress.outcome
        is Outcome.TIMEOUT
    )


def test_a_failed_report_is_a_failure_that_keeps_what_was_reached():
    script = [[move(BLOCK_START, gripper_open=False)], [move((0.5, 0.0, 0.3), gripper_open=False)], [move((0, 0, -1))]]
    ending = Setup(ScriptedPolicy(script)).play()
    assert ending.progress.outcome is Outcome.FAILURE
    assert ending.progress.reason == "controller: below the table"
    assert ending.progress.reached == ("taken",)


@pytest.mark.parametrize(
    ("intents", "reason"),
    [
        ([Drive(1.0, 0.0, 1.0)], "IntentError: The fake controller takes MoveTo and Wait. Got 'Drive'."),
        ([move((float("nan"), 0.0, 0.0))], "IntentError: The numbers of an intent must be finite"),
        ([move((199.0, 0.0, 0.0))], "CommandError: The target of joint 'x' of 'arm' must lie in [-100.0000, 100.0000]"),
        ([move((99.0, 0.0, 0.0))], "SimulationError: The physics must stay finite."),
        ([], "PolicyFaultError: A policy must return decisions with at least one intent."),
    ],
)
def test_what_cannot_be_done_makes_the_episode_invalid_and_the_next_one_is_sound(intents, reason):
    setup = Setup(ScriptedPolicy([intents]))
    ending = setup.play(limits=Limits(intents=25, sim_time_s=60.0))
    assert ending.progress.outcome is Outcome.INVALID
    assert ending.progress.reason.startswith(reason)
    setup.policy = FakePolicy(privileged=True)
    assert setup.play().progress.outcome is Outcome.SUCCESS


def test_a_policy_that_answers_too_few_makes_the_episode_invalid():
    policy = FakePolicy()
    policy.act = lambda requests: []
    assert "must answer all 1 requests" in Setup(policy).play().progress.reason


def test_a_missing_library_is_no_fault_of_the_episode_and_is_raised():
    policy = FakePolicy()

    def act(requests):
        raise MissingDependencyError("torch must be installed.")

    policy.act = act
    with pytest.raises(MissingDependencyError):
        Setup(policy).play()


def test_a_bug_outside_of_policies_is_raised_and_not_recorded_as_an_invalid_episode():
    setup = Setup(FakePolicy())
    setup.simulator.advance = lambda commands: 1 / 0
    with pytest.raises(ZeroDivisionError):
        setup.play()


# --- What a policy sees -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clock", "times"), [(Clock.SECONDS, [0.0, 0.2]), (Clock.KEYFRAMES, [0.0, 2.0]), (Clock.HIDDEN, [None, None])]
)
def test_the_clock_shows_what_the_episode_allows(clock, times):
    policy = ScriptedPolicy([[Wait(0.1), Wait(0.1)], [Wait(5.0)]])
    Setup(policy).play(clock=clock, limits=Limits(intents=25, sim_time_s=1.0))
    assert [request.observation.time_s for request in policy.seen] == pytest.approx(times)
    assert [request.step for request in policy.seen] == [0, 2]


@pytest.mark.parametrize("privileged", [False, True])
def test_truth_and_instances_are_shown_to_the_privileged_alone(privileged):
    policy = ScriptedPolicy([[Wait(1.0)]], privileged=privileged, cameras=None)
    Setup(policy).play(limits=Limits(intents=25, sim_time_s=0.5))
    (request,) = policy.seen
    assert sorted(request.observation.images) == ["front", "wrist"]
    assert all((image.instance is not None) == privileged for image in request.observation.images.values())
    assert (request.truth is not None) == privileged


@pytest.mark.parametrize("carry", [3, ["a list"], {"place": object()}, {"seen": np.array([None])}, {1: 2}])
def test_a_carry_that_could_not_cross_processes_is_refused_in_words(carry):
    class Carrying(FakePolicy):
        def act(self, requests):
            return [replace(decision, carry=carry) for decision in super().act(requests)]

    progress = Setup(Carrying()).play().progress
    assert progress.outcome is Outcome.INVALID
    assert progress.reason.startswith("PolicyFaultError: A policy must return a carry of names")


def test_a_policy_gets_its_cameras_its_own_seed_and_its_carry_back():
    policy = ScriptedPolicy([[Wait(0.1)], [Wait(0.1)], [Wait(5.0)]], cameras=("wrist",))
    Setup(policy).play(seed=11, limits=Limits(intents=25, sim_time_s=1.0))
    assert [request.carry for request in policy.seen] == [None, {"turn": 1}, {"turn": 2}]
    assert [request.seed for request in policy.seen] == [derive_seed(11, "policy", "arm", step) for step in range(3)]
    assert all(list(request.observation.images) == ["wrist"] for request in policy.seen)


@pytest.mark.parametrize("name", ["wirst", "spectator"])
def test_a_policy_that_names_an_unknown_camera_stops_the_run_instead_of_spoiling_every_episode(name):
    policy = ScriptedPolicy([[Wait(1.0)]], cameras=("front", name))
    with pytest.raises(ConfigError, match=r"camera of the policy .*front, wrist"):
        Setup(policy).play()
    assert policy.seen == []


# --- Several robots ---------------------------------------------------------------------------------------------------


def test_robots_that_are_idle_at_once_ask_in_one_batch_and_the_busy_do_not():
    class Uneven(FakePolicy):
        def _decide(self, request):
            decision = super()._decide(request)
            longer = request.observation.robot == "slow"
            return replace(decision, intents=(Wait(0.2 if longer else 0.1),))

    policy = Uneven()
    Setup(policy, FakeTask(robots=("slow", "fast"))).play(limits=Limits(intents=25, sim_time_s=0.4))
    asked = [(request.observation.robot, request.step) for request in policy.seen]
    assert policy.batches == [2, 1, 2, 1]
    assert asked == [("slow", 0), ("fast", 0), ("fast", 1), ("slow", 1), ("fast", 2), ("fast", 3)]


def test_every_robot_counts_its_own_keyframes_and_the_row_counts_all():
    setup = Setup(ScriptedPolicy([[Wait(0.1)]] * 9), FakeTask(robots=("one", "two")))
    ending = setup.play(limits=Limits(intents=3, sim_time_s=20.0))
    assert ending.progress.reason == "limit of 3 intents"
    assert ending.steps == 6


# --- Placement noise --------------------------------------------------------------------------------------------------


def begun(script, **overrides):
    setup = Setup(ScriptedPolicy(script))
    setup.play(
        limits=Limits(intents=len([intent for intents in script for intent in intents]), sim_time_s=20.0), **overrides
    )
    return [np.array(intent.position_m) for intent in setup.controllers["arm"].begun]


def test_moves_are_disturbed_only_while_a_free_body_is_held_and_alike_within_one_grasp():
    lift, away = (0.5, 0.0, 0.4), (0.1, 0.1, 0.4)
    wanted = [BLOCK_START, lift, away, BLOCK_START, NOWHERE]
    script = [[move(place, gripper_open=index >= 2)] for index, place in enumerate(wanted)]
    shifts = [got - place for got, place in zip(begun(script, placement_noise_m=0.02), wanted, strict=True)]
    assert np.allclose(shifts[0], 0.0)  # Nothing is held yet.
    assert abs(shifts[1][:2]).max() > 1e-4
    assert np.allclose(shifts[1], shifts[2])
    assert np.allclose(shifts[3], 0.0)  # It was set down.
    assert np.allclose(shifts[4], 0.0)


def test_the_second_grasp_draws_anew():
    lift = (0.5, 0.0, 0.4)
    first = [move(BLOCK_START, gripper_open=False), move(lift)]
    set_down = begun([first], placement_noise_m=0.02)[1]
    second = [move(tuple(set_down), gripper_open=False), move(lift)]
    moves = begun([first, second], placement_noise_m=0.02)
    assert np.allclose(moves[1], set_down)
    assert np.allclose(moves[2], set_down)  # The hand was empty, so it comes down where it was asked to.
    assert abs(moves[3] - moves[1]).max() > 1e-4


def test_a_drawer_on_its_joint_is_no_free_body():
    drawer = (0.0, 0.0, 0.0)
    script = [[move(drawer, gripper_open=False)], [move((0.1, 0.0, 0.1), gripper_open=False)]]
    moves = begun(script, placement_noise_m=0.02)
    assert np.allclose(moves[1], (0.1, 0.0, 0.1))


# --- Observers --------------------------------------------------------------------------------------------------------


def test_an_observer_hears_of_the_reset_each_decision_and_each_period_in_order():
    witness = Witness()
    Setup(ScriptedPolicy([[Wait(0.1)], [Wait(0.05)]])).play(
        observers=[witness], limits=Limits(intents=2, sim_time_s=20.0)
    )
    running = Outcome.RUNNING
    assert witness.logged == [
        "begin",
        ("decision", 0),
        ("step", 0.05, running),
        ("step", 0.1, running),
        ("decision", 1),
        ("step", 0.15, running),
    ]
