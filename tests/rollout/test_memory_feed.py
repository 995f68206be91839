"""The feed logs what happens and changes nothing; policies get back only what they stored, and resume with it."""

import itertools
import math
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from embodied.controllers import ControllerConfig
from embodied.errors import ConfigError, DataError, MemoryBankError
from embodied.geometry import Pose
from embodied.memory import (
    BankService,
    EntitySeen,
    EpisodeEnded,
    Event,
    Interaction,
    MomentStored,
    RelationSet,
    RobotReported,
    SimulatedClock,
    SkillEnded,
    open_bank,
)
from embodied.rollout.bank_feed.decisions import decode_decision, encode_decision
from embodied.rollout.bank_feed.episode_feed import MemoryFeedConfig
from embodied.rollout.bank_feed.event_detection import EventDetector
from embodied.rollout.bank_feed.remembering import Remembering
from embodied.rollout.bank_feed.run_memory import RunMemory
from embodied.rollout.bank_feed.truth_feed import TruthFeed
from embodied.rollout.episode import EpisodeContext, play
from embodied.rollout.job import EpisodeJob
from embodied.rollout.worker import SimulatorWorker, WorkerConfig
from embodied.scenes.scene import Body, Box, Joint, Part, RobotPlacement, Scene, Spring
from embodied.scenes.tabletop import ROBOT
from embodied.simulators.bullet import BulletConfig
from embodied.specs import KEYFRAME, ObservationSpec
from embodied.tasks.memorybench.put_block_back import PutBlockBack
from embodied.tasks.memorybench.reopen_drawer import ReopenDrawer
from embodied.types import (
    Clock,
    Decision,
    DeltaPose,
    Drive,
    GoTo,
    Limits,
    Moment,
    MoveTo,
    Outcome,
    Skill,
    Wait,
    WorldState,
)
from embodied.types import (
    RobotState as TrueRobot,
)
from policies.scripted import Expert
from tests.fakes import (
    BINS,
    DOWN,
    FakeController,
    FakeControllerConfig,
    FakePolicy,
    FakePolicyConfig,
    FakeSimulator,
    FakeSimulatorConfig,
    FakeTask,
    carry_to,
)
from tests.worlds import record_of

NAME = "run/policy/episode"


@pytest.fixture
def bank():
    with open_bank(":memory:", clock=SimulatedClock()) as made:
        yield made


def fed(bank, policy, *, task=None, config=None, seed=3, name=NAME, capacity=64, feed_kind=None):
    """Plays an episode with a feed and returns its ending."""
    task = task or FakeTask()
    episode = task.sample(seed)
    feed = (feed_kind or TruthFeed)(config or MemoryFeedConfig(), bank, name)
    controllers = {robot.name: FakeController(robot.name) for robot in episode.scene.robots}
    stage = EpisodeContext(
        FakeSimulator(), task, Remembering(policy, feed.moments, capacity=capacity), lambda _: controllers
    )
    ending = play(episode, stage, observers=[feed])
    feed.on_end(record_of(episode, ending))
    return ending


def logged(bank, kind=None):
    events = bank.changes_since(0, limit=100_000)
    return [event for event in events if kind is None or isinstance(event.payload, kind)]


# --- What is logged ---------------------------------------------------------------------------------------------------


def test_the_feed_changes_nothing(bank):
    task = FakeTask()
    for privileged in (True, False):
        policy = FakePolicy(privileged=privileged)
        plain = play(
            task.sample(3), EpisodeContext(FakeSimulator(), task, policy, lambda _: {"arm": FakeController("arm")})
        )
        watched = fed(bank, FakePolicy(privileged=privileged), name=f"run/{privileged}/3")
        assert watched == plain


def test_an_episode_is_logged_from_beginning_to_end_with_its_range(bank):
    bank.append(Event("somebody", 1, 0.0, EntitySeen("x", "y", Pose())))
    ending = fed(bank, FakePolicy(privileged=True))
    events = logged(bank)[1:]
    assert events[0].kind == "episode_begun"
    last = events[-1].payload
    assert isinstance(last, EpisodeEnded)
    assert (last.outcome, last.phases, last.first_seq) == ("success", ("taken", "binned"), events[0].seq)
    assert events[-1].valid_time_s == ending.sim_time_s
    assert {event.task for event in events} == {NAME}
    assert [event.payload.subtask for event in events if event.kind == "subtask_ended"] == [
        f"{NAME}/taken", f"{NAME}/binned",
    ]  # fmt: skip


def test_times_are_on_the_site_clock_and_poses_at_their_rate_and_at_decisions(bank):
    ending = fed(bank, FakePolicy(privileged=True), config=MemoryFeedConfig(start_s=1000.0, pose_rate_hz=2.0))
    times = [event.valid_time_s - 1000.0 for event in logged(bank, RobotReported)]
    decisions = [event.valid_time_s - 1000.0 for event in logged(bank) if event.kind == "tool_called"]
    ticks = [0.5 * i for i in range(1, int(ending.sim_time_s * 2 + 1e-6) + 1)]
    assert times == pytest.approx(sorted([0.0, *decisions, *ticks, ending.sim_time_s]))
    assert logged(bank, RobotReported)[0].payload.tool.position_m == (0.0, 0.0, 0.5)
    tool = f"{NAME}/arm/tool"
    assert bank.where_is(tool).pose.position_m == pytest.approx(BINS[FakeTask().sample(3).choice_goal.target], abs=0.03)
    assert bank.where_is(tool, as_of_s=1000.0).pose.position_m == (0.0, 0.0, 0.5)


def test_a_thing_that_is_carried_is_where_it_was_seen_last_and_still_ones_are_logged_once(bank):
    fed(bank, FakePolicy(privileged=True))
    place = bank.where_is(f"{NAME}/block")
    assert place.pose.position_m == pytest.approx(BINS[FakeTask().sample(3).choice_goal.target], abs=0.03)
    assert (place.predicate, place.parent) == ("held_by", "arm")
    seen = Counter(event.payload.entity for event in logged(bank, EntitySeen))
    assert seen[f"{NAME}/left"] == seen[f"{NAME}/right"] == 1
    assert seen[f"{NAME}/block"] > 2


def test_the_same_episode_logs_the_same_and_nothing_twice(bank):
    fed(bank, FakePolicy(privileged=True))
    before = logged(bank)
    fed(bank, FakePolicy(privileged=True))
    assert logged(bank) == before
    with open_bank(":memory:", clock=SimulatedClock()) as other:
        fed(other, FakePolicy(privileged=True))
        assert [untimed(event) for event in logged(other)] == [untimed(event) for event in before]
    with pytest.raises(MemoryBankError, match="number twice"):
        fed(bank, FakePolicy(privileged=True), seed=4)


def untimed(event):
    return msgspec.structs.replace(event, received_time_s=0.0)


def test_what_happens_is_caused_by_the_decision_before_it(bank):
    fed(bank, FakePolicy(privileged=True))
    held = next(
        event for event in logged(bank) if event.kind == "relation_set" and event.payload.predicate == "held_by"
    )
    decision, itself = bank.why(held.seq)[-2:]
    assert itself == held
    step, (intent,) = decode_decision(decision.payload.arguments)
    assert (step, intent) == (0, carry_to(BINS["left"])[0])


def test_two_robots_log_each_by_itself(bank):
    task = FakeTask(robots=("a", "b"))
    fed(bank, FakePolicy(privileged=True), task=task)
    assert {event.writer for event in logged(bank)} == {f"a/{NAME}", f"b/{NAME}"}
    assert all(event.writer.startswith(event.robot) for event in logged(bank, RobotReported))


@pytest.mark.parametrize("wrong", [{"pose_rate_hz": 0.0}, {"pose_rate_hz": 21.0}, {"start_s": float("nan")}])
def test_wild_rates_and_times_are_refused(bank, wrong):
    with pytest.raises(ConfigError):
        TruthFeed(MemoryFeedConfig(**wrong), bank, NAME)


def test_decisions_are_kept_exactly_and_strange_ones_are_refused():
    intents = (
        MoveTo((0.1, np.float64(1 / 3), 0.3), DOWN, gripper_open=True, avoid_collisions=False),
        DeltaPose((0.0, 0.1, 0.0), (0.0, 0.0, 1e-17), gripper_open=False),
        Drive(0.1, 0.2, 3.0), GoTo((1.0, 2.0), yaw_rad=None), Skill("pick", {"object": "cup"}), Wait(0.5),
    )  # fmt: skip
    assert decode_decision(encode_decision(7, Decision(intents))) == (7, intents)
    for text in ("{", "{}", '{"step": 1, "intents": [{"type": "Jump"}]}', '{"step": 1, "intents": [{"type": "Wait"}]}'):
        with pytest.raises(DataError):
            decode_decision(text)


# --- What happens -----------------------------------------------------------------------------------------------------

BOX = (Part(Box((0.1, 0.1, 0.1))),)
SCENE = Scene(
    name="happenings",
    bodies=(
        Body("table", BOX),
        Body("shelf", BOX, pose=Pose((2.0, 0.0, 0.0))),
        Body("mark", (Part(Box((0.2, 0.2, 0.001)), collides=False),), pose=Pose((1.0, 0.0, 0.05))),
        Body("block", BOX, pose=Pose((0.0, 0.0, 0.1)), mass_kg=1.0, category="toy"),
        Body("brick", BOX, pose=Pose((0.5, 0.0, 0.1)), mass_kg=1.0),
        Body("drawer", BOX, mass_kg=1.0),
        Body("cap", BOX, mass_kg=1.0),
    ),
    joints=(
        Joint("slide", "prismatic", "shelf", "drawer", upper=0.2),
        Joint("button", "prismatic", "table", "cap", upper=0.008, spring=Spring(1.0, 1.0)),
    ),
    robots=(RobotPlacement("arm", "panda"), RobotPlacement("leg", "panda")),
)


class Story:
    """A world that the test moves by hand, and what is logged of it; 20 states a second."""

    def __init__(self):
        self.happenings = EventDetector(SCENE, lambda body: body)
        self.ticks = 0
        self.held = {"arm": None, "leg": None}
        self.pose = {body.name: body.pose for body in SCENE.bodies}
        self.joint = {"slide": 0.0, "button": 0.0}
        self.contact = {("block", "table"), ("brick", "table")}
        self.logged = list(self.happenings.begin())

    @property
    def now_s(self):
        return self.ticks / 20

    def go_on(self, seconds=0.05):
        for _ in range(round(seconds * 20)):
            self.ticks += 1
            robots = dict.fromkeys(self.held, TrueRobot(np.zeros(0), np.zeros(0), Pose()))
            state = WorldState(
                self.now_s, dict(self.pose), dict(self.joint), frozenset(self.contact), dict(self.held), robots
            )
            self.logged += self.happenings.see(state, self.now_s)

    def news(self):
        news, self.logged = self.logged, []
        return [(happening.robot, summary(happening.payload)) for happening in news]

    def put(self, body, at, *on):
        self.pose[body] = Pose(at)
        self.contact = {pair for pair in self.contact if body not in pair}
        self.contact |= {(min(body, other), max(body, other)) for other in on}


def summary(payload):
    if isinstance(payload, Interaction):
        times_s = (payload.pick_start_s, payload.carry_start_s, payload.place_start_s, payload.place_end_s)
        return (
            payload.action,
            payload.entity,
            payload.source,
            payload.target,
            payload.success,
            *np.round(times_s, 3).tolist(),
        )
    if isinstance(payload, SkillEnded):
        return (payload.skill, payload.context, payload.success, round(payload.duration_s, 3), payload.reason)
    return (type(payload).__name__, payload.subject, payload.predicate, payload.object, payload.expected_version)


def test_a_block_is_taken_and_set_down_with_its_four_times_and_one_parent():
    story = Story()
    story.go_on()
    assert story.news() == [
        ("", ("RelationSet", "drawer", "part_of", "shelf", 0)),
        ("", ("RelationSet", "cap", "part_of", "table", 0)),
        ("", ("RelationSet", "block", "on", "table", 0)),
        ("", ("RelationSet", "brick", "on", "table", 0)),
    ]
    story.happenings.decided("arm", story.now_s)
    story.go_on(0.45)
    story.held["arm"] = "block"
    story.put("block", (1.0, 0.0, 0.5))
    story.go_on(0.5)
    story.happenings.decided("arm", story.now_s)
    story.go_on(0.5)
    story.held["arm"] = None
    story.go_on(0.1)  # It falls.
    story.put("block", (1.05, 0.0, 0.1), "table")
    story.go_on(0.5)
    assert story.news() == [
        ("arm", ("RelationSet", "block", "held_by", "arm", 1)),
        ("arm", ("pick", "toy", True, 0.5, "")),
        ("arm", ("RelationEnded", "block", "held_by", "arm", 2)),
        ("arm", ("RelationSet", "block", "on", "mark", 3)),
        ("arm", ("pick_place", "block", "table", "mark", True, 0.05, 0.55, 1.0, 1.55)),
        ("arm", ("place", "toy", True, 0.55, "")),
    ]


def test_a_block_on_a_block_is_not_on_the_mark_below_and_a_push_is_seen_at_the_next_decision():
    story = Story()
    story.go_on()
    story.news()
    story.put("block", (1.0, 0.0, 0.1), "table")
    story.put("brick", (1.0, 0.0, 0.2), "block")
    story.go_on()
    assert story.news() == []
    story.happenings.decided("leg", story.now_s)
    story.go_on()
    assert story.news() == [
        ("", ("RelationSet", "block", "on", "mark", 1)), ("", ("RelationSet", "brick", "on", "block", 1)),
    ]  # fmt: skip


def test_a_block_that_never_comes_to_rest_was_not_placed():
    story = Story()
    story.go_on()
    for end_by_waiting in (True, False):
        story.held["arm"] = "block"
        story.go_on()
        story.put("block", (5.0, 0.0, 0.5))
        story.held["arm"] = None
        story.go_on(0.5)
        story.news()
        if end_by_waiting:
            story.go_on(0.8)
        else:
            story.logged += story.happenings.finish(story.now_s)
        (robot, interaction), (_, failed) = story.news()
        assert (robot, *interaction[:2], *interaction[3:5]) == ("arm", "pick_place", "block", "", False)
        assert (failed[:3], failed[4]) == (("place", "toy", False), "it came to rest on nothing")


@pytest.mark.parametrize(("giver", "taker"), [("arm", "leg"), ("leg", "arm")])
def test_a_block_can_be_handed_over(giver, taker):
    story = Story()
    story.go_on()
    story.held[giver] = "block"
    story.put("block", (0.0, 0.0, 0.5))
    story.go_on()
    story.news()
    story.held.update({giver: None, taker: "block"})
    story.go_on()
    assert story.news() == [
        (giver, ("RelationEnded", "block", "held_by", giver, 2)),
        (taker, ("RelationSet", "block", "held_by", taker, 3)),
        (taker, ("pick", "toy", True, 0.0, "")),
    ]


def test_a_block_that_both_robots_hold_during_a_hand_over_belongs_to_the_taker():
    story = Story()
    story.go_on()
    story.held["arm"] = "block"
    story.put("block", (0.0, 0.0, 0.5))
    story.go_on()
    story.news()
    story.held["leg"] = "block"
    story.go_on()
    handed = [
        ("arm", ("RelationEnded", "block", "held_by", "arm", 2)),
        ("leg", ("RelationSet", "block", "held_by", "leg", 3)),
        ("leg", ("pick", "toy", True, 0.0, "")),
    ]
    assert story.news() == handed
    story.held["arm"] = None
    story.go_on()
    assert story.news() == []


def test_a_taker_that_lets_go_first_gives_the_block_back():
    story = Story()
    story.go_on()
    story.put("block", (0.0, 0.0, 0.5))
    for held in ({"arm": "block"}, {"leg": "block"}, {"leg": None}):
        story.news()
        story.held.update(held)
        story.go_on()
    assert [(robot, event[:4]) for robot, event in story.news()[:2]] == [
        ("leg", ("RelationEnded", "block", "held_by", "leg")),
        ("arm", ("RelationSet", "block", "held_by", "arm")),
    ]


def test_a_robot_that_moves_a_block_from_one_gripper_to_its_other_goes_on_holding_it():
    story = Story()
    story.held = {"arm/left": None, "arm/right": None}
    story.go_on()
    story.news()
    story.held["arm/left"] = "block"
    story.put("block", (0.0, 0.0, 0.5))
    story.go_on()
    assert story.news() == [
        ("arm", ("RelationSet", "block", "held_by", "arm", 1)),
        ("arm", ("pick", "toy", True, 0.0, "")),
    ]
    for held in ({"arm/right": "block"}, {"arm/left": None}):
        story.held.update(held)
        story.go_on()
        assert story.news() == []
    story.held["arm/right"] = None
    story.go_on()
    assert story.news() == [("arm", ("RelationEnded", "block", "held_by", "arm", 2))]


def test_a_drawer_is_opened_and_closed_by_who_holds_it():
    story = Story()
    story.go_on()
    story.news()
    story.happenings.decided("leg", story.now_s)
    story.held["leg"] = "drawer"
    story.go_on(0.2)
    for opening in (0.05, 0.1, 0.15):
        story.joint["slide"] = opening
        story.go_on()
    story.go_on(0.5)
    assert story.news() == [
        ("leg", ("open", "drawer", "", "", True, 0.05, 0.3, 0.3, 0.65)), ("leg", ("open", "thing", True, 0.6, "")),
    ]  # fmt: skip
    story.joint["slide"] = 0.0
    story.go_on()
    assert story.news() == []
    story.logged += story.happenings.finish(story.now_s)
    (robot, interaction), (_, skill) = story.news()
    assert (robot, interaction[:2], skill[:3]) == ("leg", ("close", "drawer"), ("close", "thing", True))


def test_a_drawer_that_is_only_nudged_was_not_opened():
    story = Story()
    story.go_on()
    story.news()
    story.joint["slide"] = 0.015
    story.go_on(1.0)
    assert story.news() == []


def test_a_press_is_logged_once_until_the_button_is_up_again():
    story = Story()
    story.go_on()
    story.news()
    story.happenings.decided("leg", story.now_s)
    story.contact.add(("cap", "leg"))
    for travel in (0.001, 0.002, 0.004, 0.008, 0.002, 0.006):
        story.joint["button"] = travel
        story.go_on()
    assert story.news() == [
        ("leg", ("press", "cap", "", "", True, 0.05, 0.1, 0.1, 0.2)), ("leg", ("press", "thing", True, 0.15, "")),
    ]  # fmt: skip
    story.joint["button"] = 0.0
    story.go_on()
    story.joint["button"] = 0.005
    story.go_on()
    assert len(story.news()) == 2


# --- Policies that remember through the bank --------------------------------------------------------------------------

HINTED = np.eye(2, dtype=np.float32)


@dataclass
class RememberingPolicy:
    """Sees the right bin at its first request only, stores a moment of it, and goes by its moments ever after.

    It has no carry. It stands for a policy that saw the scene before it was rearranged.
    """

    privileged: bool = True
    cameras: Sequence[str] | None = ()
    dies_at: int | None = None
    once: str = ""
    memories: tuple = ()

    action_spec = KEYFRAME

    @property
    def observation_spec(self) -> ObservationSpec:
        return ObservationSpec(cameras=None if self.cameras is None else tuple(self.cameras))

    def act(self, requests):
        return [self._decide(request) for request in requests]

    def _decide(self, request):
        if request.step == self.dies_at and not (self.once and Path(self.once).exists()):
            Path(self.once or os.devnull).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        self.memories = (*self.memories, request.memory.moments)
        robot = request.observation.robot
        if request.step == 0:
            index = sorted(BINS).index(request.truth.episode.choice_goal.target)
            moment = Moment(HINTED[index], HINTED, "hint", 0.0, (0.5, 0.0, 0.1), robot, "mine", ("block",))
            return Decision((Wait(0.3),), moments=(moment,))
        if not request.memory.moments:
            return Decision((Wait(0.3),))
        chosen = sorted(BINS)[int(np.argmax(request.memory.moments[0].embedding))]
        take, put = carry_to(BINS[chosen])
        return Decision((take,) if request.step < 3 else (put,))


BUILT: list[RememberingPolicy] = []  # The policies of this process, in the order of their episodes.


@dataclass(kw_only=True)
class RememberingPolicyConfig:
    dies_at: int | None = None
    once: str = ""

    def build(self):
        BUILT.append(RememberingPolicy(dies_at=self.dies_at, once=self.once))
        return BUILT[-1]


@pytest.mark.parametrize("seed", range(4))
def test_a_policy_remembers_through_the_bank_alone_and_is_lost_without(bank, seed):
    policy = RememberingPolicy()
    assert fed(bank, policy, seed=seed).progress.outcome is Outcome.SUCCESS
    assert policy.memories[0] == ()
    (moment,) = policy.memories[-1]
    assert (moment.model_id, moment.robot, moment.episode, moment.entities) == ("hint", "arm", "", ("block",))
    np.testing.assert_array_equal(moment.tokens, HINTED)
    assert fed(
        bank, RememberingPolicy(), seed=seed, name="amnesia", capacity=1, feed_kind=ForgetfulPolicy
    ).progress.outcome is (Outcome.TIMEOUT)


class ForgetfulPolicy(TruthFeed):
    """A feed that gives no moments back."""

    def __init__(self, config, bank, name):
        super().__init__(config, bank, name)
        self.moments.moments = lambda robot, *, limit: ()


def test_moments_come_oldest_first_at_most_as_many_as_fit_and_of_this_robot_and_episode(bank):
    class LoggingObserver(FakePolicy):
        def _decide(self, request):
            vector = np.zeros(64, np.float32)
            vector[request.step] = 1.0
            moment = Moment(vector, None, "diary", 0.0, (0.0, 0.0, 0.0), "x", "y")
            return Decision((Wait(0.2),), moments=(moment,))

    task = FakeTask(robots=("a", "b"), overrides={"limits": Limits(intents=25, sim_time_s=2.0)})
    fed(bank, LoggingObserver(), task=task, name="other")
    policy = LoggingObserver()
    fed(bank, policy, task=task, capacity=3)
    steps = {
        robot: [
            [int(np.argmax(moment.embedding)) for moment in request.memory.moments]
            for request in policy.seen if request.observation.robot == robot
        ] for robot in ("a", "b")
    }  # fmt: skip
    assert steps["a"] == steps["b"]
    assert steps["a"][:6] == [[], [0], [0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4]]


@pytest.mark.parametrize(("clock", "expected"), [(Clock.SECONDS, [0.0, 0.2, 0.4]), (Clock.HIDDEN, [0.0, 1.0, 2.0])])
def test_the_times_of_moments_show_no_more_than_the_clock_of_the_episode(bank, clock, expected):
    class LoggingObserver(FakePolicy):
        def _decide(self, request):
            moment = Moment(HINTED[0], None, "diary", 0.0, (0.0, 0.0, 0.0), "x", "y")
            return Decision((Wait(0.2),), moments=(moment,))

    policy = LoggingObserver()
    task = FakeTask(overrides={"limits": Limits(intents=25, sim_time_s=0.7), "clock": clock})
    fed(bank, policy, task=task, config=MemoryFeedConfig(start_s=500.0))
    assert [moment.time_s for moment in policy.seen[3].memory.moments] == pytest.approx(expected)


@pytest.mark.parametrize("clock", list(Clock))
def test_moments_keep_the_step_at_which_they_were_stored_whatever_was_stored_or_recalled_since(bank, clock):
    class LoggingObserver(FakePolicy):
        def _decide(self, request):
            moment = Moment(HINTED[0], None, "diary", 0.0, (0.0, 0.0, 0.0), "x", "y")
            return Decision((Wait(0.2),), moments=(moment,) * (0, 1, 2)[request.step % 3])

    policy = LoggingObserver()
    task = FakeTask(overrides={"limits": Limits(intents=25, sim_time_s=2.0), "clock": clock})
    fed(bank, policy, task=task, capacity=3, config=MemoryFeedConfig(start_s=0.1))
    given = [request.memory.moments for request in policy.seen]
    assert [[moment.step for moment in moments] for moments in given[:9]] == [
        [], [], [1], [1, 2, 2], [1, 2, 2], [2, 2, 4], [4, 5, 5], [4, 5, 5], [5, 5, 7],
    ]  # fmt: skip
    if clock is not Clock.SECONDS:
        assert all(moment.time_s == moment.step for moments in given for moment in moments)


def test_an_episode_that_is_played_again_recalls_what_it_did_the_first_time_and_not_its_future(bank):
    recalled = []
    for _ in range(2):
        policy = RememberingPolicy()
        fed(bank, policy)
        recalled.append([[moment.time_s for moment in moments] for moments in policy.memories])
    assert recalled[0] == recalled[1]
    assert recalled[0][0] == []


def test_policies_get_nothing_that_others_logged(bank):
    policy = FakePolicy()
    fed(bank, policy)
    assert all(request.memory.moments == () for request in policy.seen)
    assert all(request.truth is None for request in policy.seen)


# --- Workers ----------------------------------------------------------------------------------------------------------

JOB = EpisodeJob(
    run="r", episode="bin_block/strict/test/3", task="bin_block/strict", policy="remembering_policy", seed=3
)


def config_of(link, *, resume=True, dies_at=None, once=""):
    return WorkerConfig(
        simulator=FakeSimulatorConfig(),
        controller=FakeControllerConfig(),
        tasks={JOB.task: FakeTask()},
        policies={
            "remembering_policy": RememberingPolicyConfig(dies_at=dies_at, once=once),
            "expert": FakePolicyConfig(privileged=True),
        },
        memory=RunMemory(link=link, feed=MemoryFeedConfig(resume=resume)),
    )


def row(record):
    return replace(record, wall_s=0.0, attempt=0)


@pytest.mark.parametrize("dies_at", [1, 3])
def test_a_worker_killed_in_mid_episode_resumes_with_its_memory(tmp_path, dies_at):
    code = (
        "import sys\n"
        "from tests.rollout.test_memory_feed import *\n"
        "with BankService(open_bank(sys.argv[1], clock=SimulatedClock())) as service:\n"
        "    SimulatorWorker(config_of(service, dies_at=int(sys.argv[2]))).run(JOB)\n"
    )
    url = f"sqlite:///{tmp_path / 'run.db'}"
    killed = subprocess.run([sys.executable, "-c", code, url, str(dies_at)], check=False)
    assert killed.returncode == -signal.SIGKILL
    with BankService(open_bank(url, clock=SimulatedClock())) as service:
        before = service.head()
        worker = SimulatorWorker(config_of(service))
        resumed = worker.run(replace(JOB, attempt=2)).record
        asked = [len(moments) for moments in BUILT[-1].memories]  # Of the policy that this episode was given.
        worker.close()
        whole = [untimed(event) for event in logged(service._bank)]
    assert before > 0
    assert resumed.outcome is Outcome.SUCCESS
    assert asked == [1] * (resumed.steps - dies_at)  # What it had decided before is not asked again.
    with BankService(open_bank(":memory:", clock=SimulatedClock())) as service:
        worker = SimulatorWorker(config_of(service))
        assert row(worker.run(JOB).record) == row(resumed)
        worker.close()
        assert [untimed(event) for event in logged(service._bank)] == whole


def test_a_worker_killed_without_resuming_is_lost_without_its_carry_and_begins_anew_under_a_new_name(bank):
    with BankService(bank) as service:
        worker = SimulatorWorker(config_of(service, resume=False))
        for attempt in (1, 2):
            assert worker.run(replace(JOB, attempt=attempt)).record.outcome is Outcome.SUCCESS
        worker.close()
        begun = [event.payload.episode for event in logged(bank) if event.kind == "episode_begun"]
        assert begun == [
            "r/remembering_policy/bin_block/strict/test/3",
            "r/remembering_policy/bin_block/strict/test/3#2",
        ]
        assert len(logged(bank, MomentStored)) == 2


def test_a_record_is_the_same_with_and_without_a_bank(bank):
    with BankService(bank) as service:
        job = replace(JOB, policy="expert")
        worker = SimulatorWorker(config_of(service))
        with_bank = worker.run(job).record
        worker.close()
        assert row(SimulatorWorker(replace(config_of(service), memory=None)).run(job).record) == row(with_bank)


@pytest.mark.usefixtures("ray_session")
def test_workers_on_ray_log_to_one_bank_and_resume_when_one_is_killed(tmp_path):
    from embodied.memory.service.ray_service import Host, hosted
    from embodied.rollout.compute import ComputeConfig, ComputeKind

    url = f"sqlite:///{tmp_path / 'run.db'}"
    jobs = [replace(JOB, episode=f"bin_block/strict/test/{seed}", seed=seed) for seed in range(4)]
    with hosted(Host(url, name="run", simulated=True)) as link:
        config = config_of(link, dies_at=3, once=str(tmp_path / "died"))
        with ComputeConfig(kind=ComputeKind.local, workers=2).build(config) as compute:
            records = [result.record for result in compute.run(jobs)]
    assert [record.outcome for record in records] == [Outcome.SUCCESS] * 4
    assert sorted(record.attempt for record in records) == [1, 1, 1, 2]
    with open_bank(url, clock=SimulatedClock()) as bank:
        ended = [event.payload for event in logged(bank, EpisodeEnded)]
        assert sorted(payload.episode for payload in ended) == [
            f"r/remembering_policy/bin_block/strict/test/{i}" for i in range(4)
        ]
        assert len(logged(bank, MomentStored)) == 4
        assert not bank.verify().problems


# --- Real physics -----------------------------------------------------------------------------------------------------


class Witness:
    """Keeps every state of a world."""

    def __init__(self):
        self.states = []

    def on_begin(self, episode, simulator):
        self.states.append(simulator.state())

    def on_decision(self, request, decision):
        pass

    def on_feedback(self, robot, feedback):
        pass

    def on_step(self, state, progress):
        self.states.append(state)

    def on_end(self, record):
        pass


@pytest.mark.parametrize(
    ("task", "interactions"),
    [
        (
            PutBlockBack(spec=1),
            ["pick_place patch_0 block centre", "press  button_cap ", "pick_place centre block patch_0"],
        ),
        (ReopenDrawer(spec=1), ["close  drawer_top ", "press  button_cap ", "open  drawer_top "]),
    ],
)
def test_what_the_expert_does_on_the_table_is_logged(bank, task, interactions):
    episode = task.sample(3)
    feed = TruthFeed(MemoryFeedConfig(), bank, NAME)
    simulator, controllers = BulletConfig().build(), ControllerConfig()
    period_s = simulator.control_period_s
    stage = EpisodeContext(
        simulator, task, Expert(), lambda episode: {ROBOT: controllers.build(episode.scene, ROBOT, period_s=period_s)}
    )
    witness = Witness()
    ending = play(episode, stage, observers=[feed, witness])
    feed.on_end(record_of(episode, ending))
    simulator.close()
    assert ending.progress.outcome is Outcome.SUCCESS
    for state in witness.states:
        if "block" in state.pose and state.held[ROBOT] is None:
            believed = bank.where_is(f"{NAME}/block", as_of_s=state.time_s).pose
            assert math.dist(believed.position_m, state.pose["block"].position_m) < 0.01, state.time_s
    for event, following in itertools.pairwise(logged(bank)):
        payload = event.payload  # At the beginning everything is logged at once.
        if isinstance(payload, RelationSet) and payload.predicate == "on" and event.valid_time_s > 0.0:
            assert (following.payload.entity, following.valid_time_s) == (event.payload.subject, event.valid_time_s)
    done = [event.payload for event in logged(bank, Interaction)]
    names = [
        f"{payload.action} {payload.source} {payload.entity} {payload.target}".replace(f"{NAME}/", "")
        for payload in done
    ]
    assert names == interactions
    assert all(payload.success and payload.pick_start_s < payload.place_end_s for payload in done)
    assert bank.nth_interaction(2).payload.action == "press"
