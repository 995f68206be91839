"""Events of the world: due at the right control periods, the same frames wherever they are played, refused in time."""

import random
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from embodied.errors import EventError, SimulationError, UnknownNameError
from embodied.geometry import Pose
from embodied.rollout.compute import ComputeConfig
from embodied.rollout.episode import EpisodeContext, play
from embodied.rollout.inline import InlineCompute
from embodied.rollout.worker import EpisodeJob, WorkerConfig
from embodied.rollout.world_events import changes_due
from embodied.simulators.bullet import BulletConfig
from embodied.simulators.rendering.choice import RendererChoice
from embodied.types import (
    AfterPhase,
    AtTime,
    MoveBody,
    Outcome,
    PlaceBody,
    SetColour,
    SetJoint,
    SetProperty,
    Waypoint,
    WorldEvent,
    world_from_json,
    world_to_json,
)
from tests.fakes import FakeController, FakeControllerConfig, FakePolicy, FakeSimulator, FakeTask
from tests.rollout.lamp_world import (
    BLINKS,
    CAMERA,
    GREEN,
    PERIOD_S,
    FrameRecorder,
    FrameRecorderConfig,
    LampTask,
    WaitingPolicyConfig,
    arc,
    frame,
    lamp_events,
    lamp_scene,
)

WORKER = WorkerConfig(
    simulator=BulletConfig(),
    controller=FakeControllerConfig(),
    tasks={"lamp": LampTask()},
    policies={"waits": WaitingPolicyConfig()},
    recorder=FrameRecorderConfig(),
)
JOB = EpisodeJob(run="r", episode="lamp/0", task="lamp", policy="waits", seed=0, trajectory=True)


class Watcher(FrameRecorder):
    """Keeps the states beside the frames."""

    def __init__(self):
        super().__init__()
        self.states = []

    def on_begin(self, episode, simulator):
        self.states.append(simulator.state())

    def on_step(self, state, progress):
        self.states.append(state)


def played(events, task=None, simulator=None, policy=None):
    """Plays an episode with `events`; returns its result and all states."""
    task, watcher = task or LampTask(), Watcher()
    simulator = simulator or FakeSimulator()
    context = EpisodeContext(
        simulator,
        task,
        policy or WaitingPolicyConfig().build(),
        lambda episode: {robot.name: FakeController(robot.name) for robot in episode.scene.robots},
    )
    return play(replace(task.sample(3), events=tuple(events)), context, observers=[watcher]), watcher.states


def due(events, after_s, until_s):
    """Returns the changes that are due in a control period."""
    return [one.change for one in changes_due(events, {}, after_s=after_s, until_s=until_s)]


def refused(*events):
    """Returns the reason for which an episode with `events` never starts."""
    result, states = played(events)
    assert result.progress.outcome is Outcome.INVALID
    assert states == []
    return result.progress.reason


@pytest.fixture(scope="module")
def inline_frames():
    with InlineCompute(WORKER) as compute:
        (result,) = compute.run([JOB])
    assert result.record.outcome is Outcome.SUCCESS
    return result.recordings


# --- Must show: the same frames everywhere ----------------------------------------------------------------------------


def test_a_blinking_lamp_and_a_cup_on_an_arc_give_the_same_frames_on_ray(inline_frames, ray_session):
    with ComputeConfig(workers=1, deadline_s=120.0).build(WORKER) as compute:
        (result,) = compute.run([JOB])
    assert result.recordings == inline_frames


def test_a_blinking_lamp_and_a_cup_on_an_arc_give_the_same_frames_after_restore(inline_frames):
    simulator = BulletConfig().build()
    try:
        simulator.reset(lamp_scene())
        simulator.apply(due(lamp_events(), -1.0, 0.0))
        frames = [frame(simulator)]

        def run(periods):
            for _ in range(periods):
                now = simulator.state().time_s
                until = now + simulator.control_period_s
                simulator.apply(due(lamp_events(), now, until))
                simulator.advance({})
                yield frame(simulator)

        half = len(inline_frames) // 2  # The lamp is on and the cup is in the air.
        frames += run(half)
        saved = simulator.save()
        assert list(run(len(inline_frames) - half - 1))[-1] == inline_frames[-1]
        simulator.restore(saved)
        assert frame(simulator) == frames[-1]
        frames += run(len(inline_frames) - half - 1)
    finally:
        simulator.close()
    assert tuple(frames) == inline_frames


def test_the_frames_show_each_blink_and_the_whole_arc(inline_frames):
    scene, task = lamp_scene(), LampTask()
    simulator = BulletConfig().build()
    try:
        _, states = played(task.events, task, simulator)
        period_s = simulator.control_period_s
    finally:
        simulator.close()
    camera = scene.camera(CAMERA)
    images = np.stack([np.frombuffer(one, np.uint8) for one in inline_frames])
    images = images.reshape(-1, camera.height_px, camera.width_px, 3).astype(int)
    yellow = ((images[..., 0] > 120) & (images[..., 2] < 80) & (images[..., 1] > 100)).sum(axis=(1, 2)) > 3
    assert yellow.tolist() == [state.properties["lamp"]["on"] for state in states]
    assert np.count_nonzero(np.diff(yellow.astype(int)) == -1) == BLINKS
    path = arc(0.0).path
    for index, state in enumerate(states):
        time_s = index * period_s
        if 0.3 <= time_s <= 1.1:
            y, z = np.subtract(state.pose["cup"].position_m, (0.6, 0.0, 0.05))[1:]
            assert 0.29 < np.hypot(y, z) <= 0.3 + 1e-9
    assert np.allclose(states[-1].pose["cup"].position_m, path[-1].pose.position_m, atol=0.01)


# --- When they are due ------------------------------------------------------------------------------------------------


def test_a_lamp_of_period_p_is_on_and_off_at_the_right_control_periods():
    _, states = played(lamp_events())
    for state in states:
        in_period = (state.time_s + 1e-9) % PERIOD_S
        on = in_period < PERIOD_S / 2 and state.time_s < BLINKS * PERIOD_S - 1e-6
        assert state.properties["lamp"]["on"] is on, state.time_s


def test_an_event_follows_its_phase_by_its_delay():
    events = [
        WorldEvent(AfterPhase("taken"), SetJoint("slide", 0.1)),
        WorldEvent(AfterPhase("taken", 0.1), SetJoint("slide", 0.2)),
        WorldEvent(AfterPhase("never"), SetJoint("slide", 0.05)),
    ]
    _, states = played(events, FakeTask(), policy=FakePolicy(privileged=True))
    taken = next(index for index, state in enumerate(states) if "block" in state.held.values())
    positions = [state.joint["slide"] for state in states]
    assert positions[: taken + 1] == [0.0] * (taken + 1)
    assert positions[taken + 1] == 0.1
    assert set(positions[taken + 2 :]) == {0.2}


def test_what_is_due_does_not_depend_on_the_order_of_events():
    events = [*lamp_events(), WorldEvent(AtTime(0.4), SetProperty("lamp", "on", value=False))]
    expected = [due(events, 0.05 * step, 0.05 * step + 0.05) for step in range(30)]
    for seed in range(5):
        random.Random(seed).shuffle(events)
        again = [due(events, 0.05 * step, 0.05 * step + 0.05) for step in range(30)]
        assert again == expected


def test_of_two_paths_that_overlap_the_later_one_holds():
    high, low = (MoveBody("cup", (Waypoint(0.0, pose), Waypoint(1.0, pose))) for pose in (Pose((0, 0, 1)), Pose()))
    events = [WorldEvent(AtTime(0.5), low), WorldEvent(AtTime(0.2), high)]
    assert due(events, 0.6, 0.65)[-1] == PlaceBody("cup", Pose())


# --- What they do -----------------------------------------------------------------------------------------------------


def test_a_fixed_body_is_moved_and_restored_and_a_body_under_way_yields_to_nothing():
    simulator = BulletConfig().build()
    try:
        simulator.reset(lamp_scene())
        simulator.advance({})
        saved, before = simulator.save(), simulator.state()
        # The cup stays in the air for one period; then it falls.
        simulator.apply([PlaceBody("lamp", Pose((0.5, 0.1, 0.0))), PlaceBody("cup", Pose((0.6, -0.3, 0.5)))])
        simulator.advance({})
        state = simulator.state()
        assert state.pose["lamp"] == Pose((0.5, 0.1, 0.0))
        assert state.pose["cup"] == Pose((0.6, -0.3, 0.5))
        simulator.advance({})
        assert simulator.state().pose["cup"].position_m[2] < 0.5
        assert simulator.state().pose["lamp"] == Pose((0.5, 0.1, 0.0))
        simulator.restore(saved)
        assert simulator.state().pose == before.pose
    finally:
        simulator.close()


@pytest.mark.parametrize("renderer", [RendererChoice.opengl, RendererChoice.tiny])
def test_colours_of_events_and_properties_are_rendered_and_restored(renderer):
    simulator = BulletConfig(renderer=renderer).build()
    try:
        simulator.reset(lamp_scene())
        saved, off = simulator.save(), frame(simulator)
        simulator.apply([SetProperty("lamp", "on", value=True)])
        lit = frame(simulator)
        assert lit != off
        simulator.apply([SetColour("lamp", GREEN, ("bulb",))])
        assert simulator.state().colours == {"lamp": {"bulb": GREEN}}
        green = frame(simulator)
        assert green not in (lit, off)
        simulator.apply([SetProperty("lamp", "on", value=False)])
        assert frame(simulator) == green  # A colour that was set outlasts those of properties.
        simulator.restore(saved)
        assert frame(simulator) == off
        assert simulator.state().properties == {"lamp": {"on": False}}
        simulator.apply([SetProperty("lamp", "on", value=True)])
        simulator.reset(lamp_scene())
        assert frame(simulator) == off
    finally:
        simulator.close()


def test_a_written_state_is_placed_again_with_its_properties_and_colours():
    simulator = BulletConfig().build()
    try:
        simulator.reset(lamp_scene())
        simulator.apply([SetProperty("lamp", "on", value=True), SetColour("cabinet", GREEN)])
        simulator.advance({})
        text, seen = world_to_json(simulator.state()), frame(simulator)
        simulator.reset(lamp_scene())
        simulator.place(world_from_json(text))
        assert frame(simulator) == seen
        assert simulator.state().properties == {"lamp": {"on": True}}
        with pytest.raises(SimulationError, match="properties of the scene"):
            simulator.place(replace(simulator.state(), properties={}))
        assert simulator.state().properties == {"lamp": {"on": True}}
    finally:
        simulator.close()


def test_events_belong_to_the_digest_and_travel_exactly():
    plain, eventful = replace(LampTask().sample(0), events=()), LampTask().sample(0)
    assert plain.digest != eventful.digest
    assert eventful.digest == LampTask().sample(0).digest
    for codec in (msgspec.json, msgspec.msgpack):
        assert codec.decode(codec.encode(lamp_events()), type=tuple[WorldEvent, ...]) == lamp_events()


def test_policies_are_not_shown_what_will_happen():
    policy = WaitingPolicyConfig().build()
    played(lamp_events(), policy=policy)
    assert policy.seen
    assert all(request.truth is None and "WorldEvent" not in repr(request) for request in policy.seen)


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effect", "reason"),
    [
        (SetProperty("lamb", "on", value=True), "Did you mean 'lamp'"),
        (SetProperty("lamp", "onn", value=True), "Did you mean 'on'"),
        (SetProperty("lamp", "on", value=1), "must stay of type bool"),
        (SetJoint("slid", 0.0), "Did you mean 'slide'"),
        (SetJoint("slide", 0.3), "within its limits of 0 to 0.1"),
        (SetColour("lamp", GREEN, ("bulp",)), "Did you mean 'bulb'"),
        (MoveBody("arm", (Waypoint(0.0, Pose()),)), "UnknownNameError: A body must be one that exists"),
        (MoveBody("drawer", (Waypoint(0.0, Pose()),)), "must not hang on a joint"),
    ],
)
def test_an_event_that_does_not_fit_the_scene_is_refused_before_the_episode_starts(effect, reason):
    assert reason in refused(WorldEvent(AtTime(5.0), effect))


def test_a_change_that_is_refused_changes_nothing():
    simulator = BulletConfig().build()
    try:
        simulator.reset(lamp_scene())
        before = simulator.state()
        with pytest.raises(UnknownNameError):
            simulator.apply([SetProperty("lamp", "on", value=True), SetJoint("nothing", 0.0)])
        assert simulator.state() is before
    finally:
        simulator.close()


@pytest.mark.parametrize(
    "make",
    [
        lambda: AtTime(-1.0),
        lambda: AtTime(float("nan")),
        lambda: AfterPhase(""),
        lambda: MoveBody("cup", ()),
        lambda: MoveBody("cup", (Waypoint(1.0, Pose()), Waypoint(1.0, Pose()))),
        lambda: SetColour("cup", (2.0, 0.0, 0.0, 1.0)),
        lambda: SetJoint("slide", float("inf")),
        lambda: SetProperty("cup", "charge", float("nan")),
    ],
)
def test_an_event_that_cannot_be_is_refused_when_it_is_made(make):
    with pytest.raises(EventError):
        make()
