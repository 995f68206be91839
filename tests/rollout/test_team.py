"""Several robots in one loop: their own policies, cameras and instructions, assignments, failures and latency."""

from dataclasses import dataclass, field

import pytest

from embodied.errors import ConfigError
from embodied.rollout.episode import EpisodeContext, play
from embodied.rollout.latency import LatencyConfig
from embodied.rollout.team import Agent
from embodied.types import (
    Assignment,
    Cancel,
    Clock,
    ControllerReport,
    ControllerStatus,
    Decision,
    Limits,
    MoveTo,
    Outcome,
    Progress,
    Wait,
)
from tests.fakes import BINS, DOWN, FakeController, FakePolicy, FakeSimulator, FakeTask, ScriptedPolicy, carry_to

HIGH, BELOW = (0.2, 0.2, 0.5), (0.2, 0.2, -0.1)


def move(place):
    return MoveTo(place, DOWN, gripper_open=True)


@dataclass(kw_only=True)
class Carrying(FakeTask):
    """Goes on after failures; the block in the right bin is a success, as in `FakeTask`."""

    robots: tuple[str, ...] = ("arm", "leg", "wheel")

    def after_failure(self, episode, progress, feedback, robot):
        return progress


@dataclass
class Recorder:
    """What observers see of intents that ended, and when."""

    feedback: list = field(default_factory=list)
    time_s: float = 0.0

    def on_begin(self, episode, simulator): ...
    def on_decision(self, request, decision): ...
    def on_end(self, record): ...

    def on_feedback(self, robot, feedback):
        self.feedback.append((robot, feedback.status, feedback.reason))

    def on_step(self, state, progress):
        self.time_s = state.time_s


@dataclass
class Dispatching:
    """Answers with one mapping of assignments after another, and keeps the snapshots."""

    answers: list
    rate_hz: float | None = None
    seen: list = field(default_factory=list)

    def assign(self, snapshot):
        self.seen.append(snapshot)
        return self.answers.pop(0) if self.answers else {}


def context(task, agents, *, dispatcher=None, latency=None, policy=None):
    return EpisodeContext(
        FakeSimulator(),
        task,
        policy or ScriptedPolicy([]),
        lambda episode: {robot.name: FakeController(robot.name) for robot in episode.scene.robots},
        agents=agents,
        make_dispatcher=None if dispatcher is None else lambda _: dispatcher,
        latency=latency,
    )


def test_each_robot_has_its_own_policy_cameras_and_instruction():
    arm, leg = ScriptedPolicy([], cameras=None), ScriptedPolicy([], cameras=("front",))
    others = ScriptedPolicy([], cameras=None)
    task = Carrying(overrides={"limits": Limits(sim_time_s=1.0)})
    agents = {"arm": Agent(arm, "a"), "leg": Agent(leg, "b", cameras=(), instruction="stand still")}
    play(task.sample(0), context(task, agents, policy=others))
    assert {tuple(request.observation.images) for request in arm.seen} == {("front", "wrist")}
    assert {(tuple(request.observation.images), request.instruction) for request in leg.seen} == {((), "stand still")}
    assert {request.observation.robot for request in others.seen} == {"wheel"}
    assert {tuple(request.observation.images) for request in others.seen} == {("front",)}, "not through arm's wrist"


def test_robots_that_share_a_policy_are_asked_together():
    shared = FakePolicy()
    task = Carrying(overrides={"limits": Limits(sim_time_s=0.2)})
    play(task.sample(0), context(task, {"arm": Agent(shared), "wheel": Agent(shared)}))
    assert shared.batches == [2]


def test_an_agent_of_a_robot_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match=r"'lag'.*Did you mean 'leg'"):
        play(Carrying().sample(0), context(Carrying(), {"lag": Agent(FakePolicy())}))


def test_a_failed_intent_is_feedback_and_the_others_go_on():
    task = Carrying()
    episode = task.sample(1)
    clumsy = ScriptedPolicy([[move(BELOW), move(HIGH)], [move(HIGH)]])
    carrier = ScriptedPolicy([carry_to(BINS[episode.choice_goal.target])])
    recorder = Recorder()
    ending = play(episode, context(task, {"arm": Agent(clumsy), "leg": Agent(carrier)}), observers=[recorder])
    assert ending.progress.outcome is Outcome.SUCCESS
    assert ("arm", ControllerStatus.FAILED, "below the table") in recorder.feedback
    assert [request.feedback and request.feedback.status for request in clumsy.seen[:3]] == [
        None, ControllerStatus.FAILED, ControllerStatus.DONE,
    ]  # fmt: skip
    assert clumsy.seen[1].step == 1, "the intent queued behind the failed one was dropped"
    assert ending.robots["arm"].failed == 1
    assert ending.robots["leg"].failed == ending.robots["leg"].cancelled == 0
    assert ending.steps == sum(robot.intents for robot in ending.robots.values())


def test_a_failure_ends_the_episode_where_the_task_says_so():
    task = FakeTask(robots=("arm", "leg"))
    ending = play(task.sample(0), context(task, {"leg": Agent(ScriptedPolicy([[move(BELOW)]]))}))
    assert (ending.progress.outcome, ending.sim_time_s) == (Outcome.FAILURE, 0.0), "nothing moved any more"


def test_a_policy_that_fails_at_every_period_is_asked_once_a_period():
    task = Carrying(overrides={"limits": Limits(sim_time_s=1.0)})
    clumsy = ScriptedPolicy([[move(BELOW)]] * 100)
    ending = play(task.sample(0), context(task, {"arm": Agent(clumsy)}))
    assert ending.progress.outcome is Outcome.TIMEOUT
    assert ending.robots["arm"].failed == len(clumsy.seen) == 20


def test_with_a_dispatcher_robots_wait_for_their_assignments():
    policy = ScriptedPolicy([])
    dispatcher = Dispatching([{"leg": Assignment("fetch it", "fetch")}])
    task = Carrying(overrides={"limits": Limits(sim_time_s=0.5)})
    ending = play(task.sample(0), context(task, {}, policy=policy, dispatcher=dispatcher))
    assert {(request.observation.robot, request.instruction) for request in policy.seen} == {("leg", "fetch it")}
    assert [ending.robots[name].decisions for name in ("arm", "leg", "wheel")] == [0, 1, 0]
    first = dispatcher.seen[0]
    assert (first.instruction, first.time_s, set(first.robots)) == ("put the block into its bin", 0.0, set(task.robots))
    assert not any(robot.busy or robot.assignment for robot in first.robots.values())


def test_a_robot_is_cancelled_and_reassigned_while_another_goes_on():
    """The arm is sent far away, then called off and assigned to carry the block; the leg goes on."""
    task = Carrying()
    episode = task.sample(0)

    @dataclass
    class ByInstruction(ScriptedPolicy):
        def _decide(self, request):
            if request.instruction == "carry":
                return Decision(
                    carry_to(BINS[episode.choice_goal.target]), report=ControllerReport(ControllerStatus.DONE)
                )
            return Decision((Wait(60.0),), carry={"kept": True})

    policy, leg = ByInstruction([]), ScriptedPolicy([[Wait(0.3)]] * 100)
    recorder = Recorder()
    dispatcher = Dispatching(
        [{"arm": Assignment("wait"), "leg": Assignment("wait")}, {}, {"arm": Assignment("carry", "carry it")}]
    )
    agents = {"leg": Agent(leg)}
    ending = play(episode, context(task, agents, policy=policy, dispatcher=dispatcher), observers=[recorder])
    assert ending.progress.outcome is Outcome.SUCCESS
    assert ("arm", ControllerStatus.CANCELLED, "replaced by 'carry'") in recorder.feedback
    assert ending.robots["arm"].cancelled == 1
    assert ending.robots["leg"].cancelled == 0
    assert [(request.instruction, request.carry) for request in policy.seen] == [
        ("wait", None),
        ("carry", {"kept": True}),
    ]
    assert dispatcher.seen[-1].robots["arm"].report is not None


def test_a_cancelled_robot_holds_still():
    policy = ScriptedPolicy([[move((0.5, 0.5, 0.5))]])
    dispatcher = Dispatching([{"arm": Assignment("go")}, {"arm": Cancel("enough")}], rate_hz=10.0)
    task = Carrying(overrides={"limits": Limits(sim_time_s=1.0)})
    recorder = Recorder()
    ending = play(task.sample(0), context(task, {}, policy=policy, dispatcher=dispatcher), observers=[recorder])
    assert recorder.feedback == [("arm", ControllerStatus.CANCELLED, "enough")]
    assert (ending.robots["arm"].decisions, len(policy.seen)) == (1, 1)
    assert len(dispatcher.seen) >= 10, "it is asked at its own rate as well"


def test_an_assignment_of_a_robot_that_is_not_there_makes_the_episode_invalid():
    dispatcher = Dispatching([{"lag": Assignment("go")}])
    ending = play(Carrying().sample(0), context(Carrying(), {}, dispatcher=dispatcher))
    assert ending.progress.outcome is Outcome.INVALID
    assert "Did you mean 'leg'" in ending.progress.reason


def test_a_dispatcher_sees_no_time_where_the_clock_is_hidden():
    dispatcher = Dispatching([], rate_hz=5.0)
    task = Carrying(overrides={"limits": Limits(sim_time_s=0.5), "clock": Clock.KEYFRAMES})
    play(task.sample(0), context(task, {}, dispatcher=dispatcher))
    assert {snapshot.time_s for snapshot in dispatcher.seen} == {None}


@pytest.mark.parametrize("latency_s", [0.0, 0.2, 0.23])
def test_with_latency_a_decision_is_delivered_later_while_the_world_goes_on(latency_s):
    begun = []

    @dataclass(kw_only=True)
    class Noting(Carrying):
        def advance(self, episode, progress, state):
            begun.append((round(state.time_s, 2), state.robots["arm"].joint_position_rad[2] > 0.5))
            return Progress(outcome=Outcome.SUCCESS) if state.time_s > 0.45 else progress

    policy = ScriptedPolicy([[move((0.0, 0.0, 0.9))]])
    latency = LatencyConfig(mean_s=latency_s).build()
    play(Noting().sample(0), context(Noting(), {"arm": Agent(policy)}, latency=latency))
    first_moved = next(time_s for time_s, moved in begun if moved)
    assert first_moved == {0.0: 0.05, 0.2: 0.25, 0.23: 0.3}[latency_s], "the first period after the decision is there"


def test_a_drawn_latency_is_the_same_in_every_run_and_has_its_mean():
    model = LatencyConfig(mean_s=0.4, deviation_s=0.2).build()
    draws = [model.seconds(7, "arm", count) for count in range(4000)]
    assert draws[:5] == [model.seconds(7, "arm", count) for count in range(5)]
    assert draws[0] != model.seconds(7, "leg", 0) != model.seconds(8, "leg", 0)
    assert sum(draws) / len(draws) == pytest.approx(0.4, rel=0.03)
    assert min(draws) > 0.0


@pytest.mark.parametrize("settings", [{"mean_s": -1.0}, {"mean_s": float("nan")}, {"deviation_s": 0.1}])
def test_a_latency_that_cannot_be_is_refused(settings):
    with pytest.raises(ConfigError):
        LatencyConfig(**settings).build()


def test_the_same_team_plays_the_same_episode_again():
    task = Carrying()
    episode = task.sample(3)
    agents = {"leg": Agent(ScriptedPolicy([carry_to(BINS[episode.choice_goal.target])]))}
    latency = LatencyConfig(mean_s=0.1, deviation_s=0.05).build()
    endings = [play(episode, context(task, agents, latency=latency)) for _ in range(2)]
    assert endings[0] == endings[1]
