"""Belief is what robots perceive and do: it agrees with the truth, bears names of its own, and leads to no truth."""

import gc
import math
import pickle
from collections import deque
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from embodied.controllers import ControllerConfig
from embodied.errors import ConfigError
from embodied.geometry import Pose
from embodied.memory import (
    BankClient,
    BankService,
    EntitySeen,
    EpisodeEnded,
    EventFilter,
    Interaction,
    Outbox,
    SimulatedClock,
    SubtaskEnded,
    open_bank,
)
from embodied.memory.perception import Known, SceneTracker
from embodied.memory.perception.known import measured
from embodied.planning import ScheduleConfig
from embodied.rollout.bank_feed.belief_feed import BeliefConfig, BeliefFeed, Source
from embodied.rollout.bank_feed.episode_feed import MemoryFeedConfig
from embodied.rollout.bank_feed.looking import Looking, shuffled_masks
from embodied.rollout.bank_feed.own_actions import Containment
from embodied.rollout.bank_feed.remembering import Remembering
from embodied.rollout.bank_feed.truth_feed import TruthFeed
from embodied.rollout.bank_feed.truth_report import TruthReport, append_truth
from embodied.rollout.dispatch import Dispatch
from embodied.rollout.episode import EpisodeContext, play
from embodied.rollout.job import EpisodeJob
from embodied.rollout.worker import SimulatorWorker, WorkerConfig
from embodied.scenes.scene import Scene
from embodied.scenes.tabletop import ROBOT
from embodied.simulators.bullet import BulletConfig
from embodied.tasks.memorybench.put_block_back import PutBlockBack
from embodied.types import (
    CameraImage,
    Decision,
    Episode,
    Moment,
    Observation,
    Progress,
    Request,
    Truth,
    Wait,
    WorldState,
)
from launch.benchmarks.belief.cups import hidden_swap
from launch.parts import POLICIES
from launch.schema import MemoryConfig
from policies.scripted import Expert
from tests.fakes import (
    FakeController,
    FakeControllerConfig,
    FakePolicy,
    FakePolicyConfig,
    FakeSimulatorConfig,
    FakeTask,
)

NAME = "run/policy/episode"
OWN = BeliefConfig()


@pytest.fixture(scope="module")
def simulator():
    made = BulletConfig().build()
    yield made
    made.close()


class States:
    """An observer that keeps every state of the world."""

    def __init__(self):
        self.states = []

    def on_begin(self, episode, simulator):
        self.states.append(simulator.state())

    def on_decision(self, request, decision): ...

    def on_feedback(self, robot, feedback): ...

    def on_step(self, state, progress):
        self.states.append(state)

    def on_end(self, record): ...


def played(simulator, bank, *, belief=OWN, task=None, seed=3):
    """Plays an episode of the expert with a feed of beliefs; returns its scene and all states."""
    task = task or PutBlockBack()
    feed, states = BeliefFeed(MemoryFeedConfig(), belief, bank, NAME), States()
    period_s = simulator.control_period_s

    def controllers(episode):
        return {ROBOT: ControllerConfig().build(episode.scene, ROBOT, period_s=period_s)}

    episode = task.sample(seed)
    result = play(episode, EpisodeContext(simulator, task, Expert(), controllers), observers=[feed, states])
    feed.settle()
    assert result.progress.done
    return episode.scene, states.states


@pytest.fixture(scope="module")
def believed(simulator):
    with open_bank(":memory:", clock=SimulatedClock()) as bank:
        scene, states = played(simulator, bank)
        yield bank, scene, states


def sightings(bank):
    found = bank.changes_since(0, wanted=EventFilter(kinds=("entity_seen",)), limit=10_000)
    return [event.payload for event in found if event.payload.category != "tool"]


def name_of(bank, pose):
    return min(sightings(bank), key=lambda seen: math.dist(seen.pose.position_m, pose.position_m)).entity


# --- What is believed -------------------------------------------------------------------------------------------------


def test_blocks_are_believed_where_they_are_and_on_what_they_lie(believed):
    bank, scene, states = believed
    block = name_of(bank, scene.body("block").pose)
    resting = [
        now for before, now in zip(states, states[20:])  # noqa: B905 - pairs a second apart
        if math.dist(before.pose["block"].position_m, now.pose["block"].position_m) < 1e-4
    ]  # fmt: skip
    assert len(resting) > 50
    for state in resting:
        there = bank.where_is(block, as_of_s=state.time_s)
        assert math.dist(there.pose.position_m, state.pose["block"].position_m) < 0.015, state.time_s
    first, last = bank.where_is(block, as_of_s=0.1), bank.where_is(block)
    assert first.predicate == last.predicate == "on"
    assert first.parent == last.parent == name_of(bank, Pose((*scene.body("block").pose.position_m[:2], 0.753)))


def test_what_the_robot_did_is_bound_to_what_it_saw(believed):
    bank, scene, _ = believed
    events = bank.changes_since(0, wanted=EventFilter(kinds=("interaction",)), limit=100)
    done = [event.payload for event in events]
    block, cap, centre = (name_of(bank, scene.body(name).pose) for name in ("block", "button_base", "centre"))
    assert [one.action for one in done] == ["pick_place", "press", "pick_place"]
    assert done[0].entity == done[2].entity == block
    assert done[0].target == done[2].source == centre
    assert done[1].entity in (cap, *bank.contents(cap))
    assert all(isinstance(one, Interaction) and one.success for one in done)


def test_robots_report_once_per_time_and_say_while_they_hold_something(believed):
    bank, _, states = believed
    reports = bank.changes_since(0, wanted=EventFilter(kinds=("robot_state",)), limit=10_000)
    times_s = [event.valid_time_s for event in reports]
    assert len(set(times_s)) == len(times_s)
    assert max(after - before for before, after in pairwise(times_s)) <= 0.5 + 1e-6
    held = {round(state.time_s, 2): state.held[ROBOT] is not None for state in states}
    agreeing = [(event.payload.status == "holding") == held[round(event.valid_time_s, 2)] for event in reports]
    assert "holding" in {event.payload.status for event in reports}
    assert sum(agreeing) >= 0.9 * len(agreeing), "a gripper is felt to have closed a tenth of a second later"


def test_things_have_names_of_the_bank_and_no_word_of_the_simulator(believed):
    bank, scene, _ = believed
    named = {one.entity for one in sightings(bank)}
    assert named
    assert all(name.startswith((f"{NAME}/panda/object-", f"{NAME}/panda/surface-")) for name in named)
    content = b"".join(msgspec.json.encode(event.payload) for event in bank.changes_since(0, limit=10_000))
    for body in scene.bodies:
        assert f'"{body.name}"'.encode() not in content
        assert f"/{body.name}".encode() not in content
    assert {"block", "patch", "button"}.isdisjoint(one.category for one in sightings(bank))


def test_the_outcome_and_the_phases_are_the_judges(believed):
    bank, _, _ = believed
    kinds = {type(event.payload) for event in bank.changes_since(0, limit=10_000)}
    assert SubtaskEnded not in kinds
    feed = BeliefFeed(MemoryFeedConfig(), OWN, bank, "other")
    assert feed._ended(None) == EpisodeEnded("other", "ended")


def test_playing_it_again_adds_nothing(simulator, believed):
    bank, _, _ = believed
    head = bank.head
    played(simulator, bank)
    assert bank.head == head


def test_given_names_and_labels_are_those_of_the_simulator(simulator):
    given = BeliefConfig(identity=Source.given, labels=Source.given, look_hz=0.0)
    with open_bank(":memory:", clock=SimulatedClock()) as bank:
        scene, _ = played(simulator, bank, belief=given)
        seen = {(one.entity, one.category) for one in sightings(bank)}
    assert {(f"{NAME}/block", "block"), (f"{NAME}/centre", "patch"), (f"{NAME}/button_base", "button")} <= seen
    assert {name.removeprefix(f"{NAME}/") for name, _ in seen} <= {body.name for body in scene.bodies}


def test_alike_cups_that_were_hidden_together_may_be_one_another(simulator):
    for swap in (True, False):
        pair = hidden_swap(simulator, 1, colours=("blue", "blue"), swap=swap)
        assert all(len(cup.candidates) == 1 for cup in pair), "the images do not show whether they changed places"
    for cup in hidden_swap(simulator, 1, colours=("blue", "yellow"), swap=True):
        assert not cup.candidates
        assert cup.error_m < 0.015


def test_sightings_of_what_may_be_another_thing_are_unsure(simulator, monkeypatch):
    with open_bank(":memory:", clock=SimulatedClock()) as bank:
        monkeypatch.setattr("launch.benchmarks.belief.cups.open_bank", lambda _, **__: nullcontext(bank))
        hidden_swap(simulator, 1, colours=("blue", "blue"), swap=True)
        first, last = {}, {}
        for seen in sightings(bank):
            first.setdefault(seen.entity, seen.confidence)
            last[seen.entity] = seen.confidence
        cups = [name for name in last if bank.where_is(name).candidates]
    assert len(cups) == 2
    assert min(first[name] for name in cups) > 0.8
    assert [last[name] for name in cups] == [0.5, 0.5]


def test_a_rate_out_of_range_is_refused():
    with pytest.raises(ConfigError, match="look_hz"):
        BeliefFeed(MemoryFeedConfig(), BeliefConfig(look_hz=21.0), None, NAME)


def test_what_holds_a_thing_is_never_believed_to_be_held_by_it():
    points = np.random.default_rng(0).uniform((-0.1, -0.1, 0.0), (0.1, 0.1, 0.2), (200, 3))
    small, large = measured(points * 0.6, points * 0.0, 200), measured(points, points * 0.0, 200)
    tracker, containment = SceneTracker(str), Containment()
    for index, (name, seen) in enumerate({"small": small, "large": large}.items(), start=1):
        tracker.things[name] = Known(name, "object", seen, 0.0, index)
    assert containment.settle(tracker.things["small"], tracker).object == "large"
    containment.parents["large"] = ("on", "small")
    containment.parents.pop("small")
    assert containment.settle(tracker.things["small"], tracker) is None


# --- Masks and names --------------------------------------------------------------------------------------------------


def test_masks_are_shuffled_in_every_image_and_alike_when_played_again():
    ids = np.arange(16, dtype=np.int32).reshape(4, 4)
    image = CameraImage(np.zeros((4, 4, 3), np.uint8), np.ones((4, 4), np.float32), ids, np.eye(3), np.eye(4))
    looks = [("front", 1), ("front", 2), ("left", 1)]
    shuffled = [shuffled_masks(image, 7, *look) for look in looks]
    assert len({one.instance.tobytes() for one, _ in shuffled}) == len(looks)
    for (one, old), look in zip(shuffled, looks, strict=True):
        assert one.instance[0, 0] == 0, "the background stays what it is"
        np.testing.assert_array_equal(old[one.instance], ids)
        np.testing.assert_array_equal(shuffled_masks(image, 7, *look)[0].instance, one.instance)


def test_robots_are_shown_other_ids_than_the_simulators_in_every_look(simulator):
    episode = PutBlockBack().sample(3)
    simulator.reset(episode.scene)
    looking = Looking(episode.scene, simulator, seed=episode.seed)
    robots, true = simulator.state().robots, simulator.observe(ROBOT, ("front",)).images["front"].instance
    looks = [looking.looks(ROBOT, ("front",), robots, {}, time_s=time_s)[0] for time_s in (0.0, 0.5)]
    shown = [look.image.instance for look in looks]
    assert not any(np.array_equal(one, true) for one in shown)
    assert not np.array_equal(*shown)
    assert not any(look.given for look in looks)


@pytest.mark.parametrize(("look_hz", "looks"), [(2.0, 4), (0.0, 0)])
def test_robots_look_at_their_own_rate_and_a_decision_uses_a_look_that_is_fresh(simulator, monkeypatch, look_hz, looks):
    episode, observe, times_s = PutBlockBack().sample(3), simulator.observe, []
    simulator.reset(episode.scene)
    state = simulator.state()
    request = Request(Observation(ROBOT, {}, np.zeros(15, np.float32), 1.0, None), "wait", step=0, seed=0)
    with open_bank(":memory:", clock=SimulatedClock()) as bank:
        feed = BeliefFeed(MemoryFeedConfig(), BeliefConfig(look_hz=look_hz), bank, NAME)
        feed.on_begin(episode, simulator)
        monkeypatch.setattr(simulator, "observe", lambda *given: times_s.append(feed.now_s) or observe(*given))
        for period in range(1, 41):
            feed.on_step(replace(state, time_s=0.05 * period), Progress())
        assert len(times_s) == looks
        feed.on_decision(request, Decision((Wait(0.1),)))
        assert len(times_s) == max(1, looks), "at 2 s a robot has just looked, or not since the beginning"
        feed.settle()


def test_no_two_runs_attempts_or_robots_give_one_name_and_the_same_attempt_gives_the_same(simulator):
    first = EpisodeJob("run-1", "put_block_back/strict/test/3", "put_block_back/strict", "expert", seed=3)
    jobs = [
        first,
        replace(first, run="run-2"),
        replace(first, attempt=2),
        replace(first, policy="guesser"),
        replace(first, control="wiped"),
        replace(first, episode="put_block_back/strict/test/4", seed=4),
    ]
    with BankService(open_bank(":memory:", clock=SimulatedClock())) as service:
        memory = MemoryConfig(url="sqlite:///run.db").build(service)
        found = [_first_names(simulator, memory, job) for job in jobs]
        again = _first_names(simulator, memory, first)
    assert all(len(names) >= 5 for names in found)
    assert len(set().union(*found)) == sum(len(names) for names in found)
    assert again == found[0]


def _first_names(simulator, memory, job):
    """Returns the names that a feed gives to what its robot sees at the beginning, as another process would."""
    episode = PutBlockBack().sample(job.seed)
    simulator.reset(episode.scene)
    bank = memory.connect()
    feed = BeliefFeed(memory.feed_of(job), memory.belief, bank, memory.name_of(job))
    feed.on_begin(episode, simulator)
    bank.close()
    assert all("/panda/" in name for name in feed._tracker.things)
    return set(feed._tracker.things)


# --- No way to the truth ----------------------------------------------------------------------------------------------

FORBIDDEN = (Truth, Episode, WorldState, Scene, TruthFeed, TruthReport, BeliefFeed, SimulatorWorker)
MOST_VISITED = 300_000


def reachable(start):
    """Yields everything that can be reached from an object through attributes, contents and closures.

    Modules, classes and the globals of functions are left out: they are the program, which anybody can import.
    """
    seen, waiting = {id(start)}, deque([start])
    while waiting and len(seen) < MOST_VISITED:
        one = waiting.popleft()
        yield one
        for other in gc.get_referents(one):
            program = isinstance(other, type | type(math)) or (isinstance(other, dict) and "__builtins__" in other)
            if id(other) not in seen and not program:
                seen.add(id(other))
                waiting.append(other)
    assert not waiting, "the walk must be complete"


def assert_no_truth(start, *, texts=()):
    for one in reachable(start):
        assert not isinstance(one, FORBIDDEN), (type(start), type(one))
        assert not (hasattr(one, "observe") and hasattr(one, "teleport")), "a simulator"
        if isinstance(one, str):
            assert not any(text in one for text in texts), one


class Noting(FakePolicy):
    """An unprivileged policy that stores a moment at each decision, so that it gets some back."""

    def _decide(self, request):
        moment = Moment(np.eye(1, 4, dtype=np.float32)[0], None, "m", 0.0, (0.0, 0.0, 0.0), "arm", "")
        return Decision((Wait(0.2),), moments=(moment,))


def test_nothing_that_a_policy_is_handed_leads_to_the_truth(tmp_path):
    secret = f"sqlite:///{tmp_path}/truth.db"
    with (
        BankService(open_bank(":memory:", clock=SimulatedClock())) as service,
        open_bank(secret, clock=SimulatedClock()) as truth,
    ):
        memory = MemoryConfig(url="sqlite:///run.db", truth_url=secret).build(service)
        policy = Noting()
        config = WorkerConfig(
            simulator=FakeSimulatorConfig(), controller=FakeControllerConfig(),
            tasks={"bin_block/strict": FakeTask()}, policies={"p": Fixed(policy)}, memory=memory,
        )  # fmt: skip
        worker = SimulatorWorker(config)
        result = worker.run(EpisodeJob("r", "e", "bin_block/strict", "p", seed=3))
        append_truth(truth, result.truth)
        assert truth.head > 0
        assert policy.seen[-1].memory.moments
        for request in policy.seen:
            assert_no_truth(request, texts=(secret, "truth.db"))
        for start in (*POLICIES.own.values(), FakePolicyConfig(), ScheduleConfig(), memory.belief, memory.feed):
            assert_no_truth(start, texts=(secret, "truth.db"))
        client = BankClient(service, Outbox(None), writer="w")
        for one in reachable(client):
            assert not isinstance(one, FORBIDDEN)
            assert not (isinstance(one, str) and "truth.db" in one)
        reader = Remembering(policy, worker._remember(EpisodeJob("r", "f", "t", "p", seed=1)).moments, capacity=3)
        assert_no_truth(reader._reader, texts=("truth.db",))
        client.close()
        worker.close()


class Fixed:
    """A config that gives one policy."""

    def __init__(self, policy):
        self.policy = policy

    def build(self):
        return self.policy


def test_a_snapshot_of_the_team_holds_no_truth():
    snapshots = []

    class Listening:
        rate_hz = None

        def assign(self, snapshot):
            snapshots.append(snapshot)
            return {}

    episode = FakeTask().sample(3)
    Dispatch(Listening(), episode, {}, lambda *_: None).advance(
        WorldState(time_s=0.0, pose={}, joint={}, contact=frozenset(), held={}, robots={})
    )
    assert len(snapshots) == 1
    assert_no_truth(snapshots[0])


def test_what_travels_to_workers_does_not_say_where_the_truth_is():
    class Link:
        """A link that travels."""

    settings = MemoryConfig(url="sqlite:///run.db", truth_url="sqlite:///hidden/truth.db")
    memory = settings.build(None)
    assert memory.report_truth
    assert b"hidden" not in pickle.dumps(memory)
    assert "hidden" not in repr(memory)


def test_the_walk_finds_what_is_there():
    episode = FakeTask().sample(3)
    hidden = Fixed(FakePolicy())
    hidden.policy.notes = {"a": [episode]}
    for start in ({"a": [episode]}, lambda: episode, hidden):
        with pytest.raises(AssertionError):
            assert_no_truth(start)


# --- The way of the truth ---------------------------------------------------------------------------------------------


def test_a_report_of_the_truth_is_appended_once_with_its_references():
    task = FakeTask()
    report = TruthReport()
    feed = TruthFeed(MemoryFeedConfig(), report, NAME)
    episode = task.sample(3)
    controllers = {robot.name: FakeController(robot.name) for robot in episode.scene.robots}
    context = EpisodeContext(FakeSimulatorConfig().build(), task, FakePolicy(privileged=True), lambda _: controllers)
    play(episode, context, observers=[feed])
    feed.settle()
    with open_bank(":memory:", clock=SimulatedClock()) as bank, open_bank(":memory:", clock=SimulatedClock()) as direct:
        bank.append([*_others()])
        append_truth(bank, report.encoded())
        head = bank.head
        append_truth(bank, report.encoded())
        assert bank.head == head
        again = TruthFeed(MemoryFeedConfig(), direct, NAME)
        context = replace(context, simulator=FakeSimulatorConfig().build())
        play(episode, context, observers=[again])
        again.settle()
        shifted = [event.cause for event in bank.changes_since(1, limit=10_000)]
        assert shifted == [tuple(seq + 1 for seq in event.cause) for event in direct.changes_since(0, limit=10_000)]
        assert any(shifted)


def _others():
    from embodied.memory import Event

    yield Event("other", 1, 0.0, EntitySeen("cup", "cup", Pose()))
