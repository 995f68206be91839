"""Events of bodies that robots hold wait for the release, or end at the grasp: no policy makes an episode INVALID."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from embodied.controllers import ControllerConfig
from embodied.errors import EventError
from embodied.geometry import Pose
from embodied.rollout.episode import EpisodeContext, play
from embodied.scenes.changes import check_effect, check_not_held, moved_bodies
from embodied.scenes.scene import Body, Joint, Scene
from embodied.simulators.bullet import BulletConfig
from embodied.simulators.rendering.choice import RendererChoice
from embodied.types import (
    AfterPhase,
    AtTime,
    Limits,
    MoveBody,
    MoveTo,
    Outcome,
    PlaceBody,
    Progress,
    SetColour,
    SetJoint,
    Wait,
    Waypoint,
    WorldEvent,
)
from tests.controllers.worlds import PANDA, TABLE, box
from tests.fakes import BLOCK_START, DOWN, PERIOD_S, FakeController, FakeSimulator, FakeTask, ScriptedPolicy

AWAY = (0.2, -0.3, 0.7)
SHELF, TOP = Pose((0.0, 0.4, 0.9)), Pose((0.0, 0.4, 1.2))
HOLD_AND_RELEASE = (
    (MoveTo(BLOCK_START, DOWN, gripper_open=False), MoveTo(AWAY, DOWN, gripper_open=False), Wait(1.0)),
    (MoveTo(AWAY, DOWN, gripper_open=True),),
)


@dataclass
class UntilTheLimit(FakeTask):
    """Reaches `taken` once the block is held, and ends at its limit of time."""

    def advance(self, episode, progress, state):
        taken = "block" in state.held.values() or progress.reached
        return Progress(reached=("taken",) if taken else ())


@dataclass
class Watcher:
    """Keeps all states."""

    states: list = field(default_factory=list)

    def on_begin(self, episode, simulator):
        self.states.append(simulator.state())

    def on_step(self, state, progress):
        self.states.append(state)

    def on_decision(self, request, decision):
        pass

    def on_feedback(self, robot, feedback):
        pass


class StartsHolding(FakeSimulator):
    """Its robot holds the block from the start, in a closed gripper."""

    def reset(self, scene):
        super().reset(scene)
        self._held["arm"], self._gripper["arm"] = "block", 0.0


def played(*effects, script=HOLD_AND_RELEASE, trigger=None, simulator=None):
    """Plays events with the effects `effects`; returns all states."""
    task = UntilTheLimit(overrides={"limits": Limits(intents=100, sim_time_s=6.0)})
    events = tuple(WorldEvent(trigger or AfterPhase("taken"), effect) for effect in effects)
    context = EpisodeContext(
        simulator or FakeSimulator(), task, ScriptedPolicy(script), lambda _: {"arm": FakeController("arm")}
    )
    watcher = Watcher()
    result = play(replace(task.sample(3), events=events), context, observers=[watcher])
    assert (result.progress.outcome, result.progress.reason) == (Outcome.TIMEOUT, "time limit of 6 s")
    return watcher.states


def release(states):
    """Returns the number of the first state in which the block is free again."""
    held = ["block" in state.held.values() for state in states]
    return held.index(False, held.index(True))


def heights(states):
    return [state.pose["block"].position_m[2] for state in states]


def in_the_gripper(state):
    return state.pose["block"].position_m == pytest.approx(state.robots["arm"].tool.position_m)


def test_a_path_of_a_held_body_waits_for_the_release_and_is_then_played_whole():
    states = played(MoveBody("block", (Waypoint(0.1, SHELF), Waypoint(0.3, TOP))))
    free = release(states)
    assert all(in_the_gripper(state) for state in states[:free] if state.held["arm"])
    assert heights(states[free : free + 6]) == pytest.approx([0.7, 0.975, 1.05, 1.125, 1.2, 1.2], abs=1e-6)


def test_a_body_that_is_grasped_on_its_path_stays_in_the_gripper_and_the_path_never_goes_on():
    passing = MoveBody(
        "block", (Waypoint(0.0, Pose(BLOCK_START)), Waypoint(2.0, Pose(BLOCK_START)), Waypoint(5.0, TOP))
    )
    states = played(passing, trigger=AtTime(0.0))
    free = release(states)
    assert free * PERIOD_S < 5.0
    assert all(in_the_gripper(state) for state in states[:free] if state.held["arm"])
    assert all(state.pose["block"].position_m == pytest.approx(AWAY) for state in states[free:])


def test_a_body_that_is_held_from_the_start_is_moved_once_it_is_released():
    script = ((Wait(0.5),), (MoveTo((0.0, 0.0, 0.5), DOWN, gripper_open=True),))
    states = played(
        MoveBody("block", (Waypoint(0.0, SHELF),)), script=script, trigger=AtTime(0.0), simulator=StartsHolding()
    )
    free = release(states)
    assert free > 9
    assert all(in_the_gripper(state) for state in states[1:free])
    assert heights(states[free : free + 2]) == [0.5, 0.9]


def test_of_events_that_have_waited_for_one_body_the_one_that_was_triggered_last_holds():
    task = UntilTheLimit(overrides={"limits": Limits(intents=100, sim_time_s=6.0)})
    for first, second in ((SHELF, TOP), (TOP, SHELF)):
        events = tuple(
            WorldEvent(AfterPhase("taken", delay_s), MoveBody("block", (Waypoint(0.0, pose),)))
            for delay_s, pose in ((0.31, second), (0.19, first))
        )
        watcher = Watcher()
        context = EpisodeContext(
            FakeSimulator(), task, ScriptedPolicy(HOLD_AND_RELEASE), lambda _: {"arm": FakeController("arm")}
        )
        play(replace(task.sample(3), events=events), context, observers=[watcher])
        assert watcher.states[-1].pose["block"] == Pose(second.position_m)


def test_colours_do_not_wait_for_a_release():
    red = (1.0, 0.0, 0.0, 1.0)
    states = played(SetColour("block", red))
    taken = next(index for index, state in enumerate(states) if state.held["arm"])
    assert states[taken + 1].held["arm"] == "block"
    assert states[taken + 1].colours == {"block": {"": red}}


def test_a_body_moves_what_hangs_on_it_so_a_held_drawer_keeps_its_cabinet_still():
    parts = (TABLE.parts[0],)
    scene = Scene(
        "chest",
        (Body("chest", parts, mass_kg=1.0), Body("drawer", parts, mass_kg=1.0), Body("knob", parts, mass_kg=1.0)),
        (
            Joint("slide", "prismatic", "chest", "drawer", upper=0.2),
            Joint("glue", "fixed", "drawer", "knob"),
        ),
    )
    assert moved_bodies(MoveBody("chest", (Waypoint(0.0, Pose()),)), scene) == {"chest", "drawer", "knob"}
    assert moved_bodies(SetJoint("slide", 0.1), scene) == {"drawer", "knob"}
    assert moved_bodies(SetColour("chest", (1.0, 0.0, 0.0, 1.0)), scene) == frozenset()
    change = PlaceBody("chest", Pose())
    check_effect(scene, change)
    check_not_held(change, scene, [None])
    with pytest.raises(EventError, match=r"must not move a body that a robot holds\. Got 'knob'"):
        check_not_held(change, scene, [None, "knob"])


def test_in_pybullet_a_block_is_snatched_from_its_path_and_another_event_waits_for_the_release():
    scene = Scene("bench", (TABLE, box("block", (0.05, 0.05, 0.05), (0.55, 0.2, 0.0255), 0.3)), robots=(PANDA,))
    here, there = Pose((0.55, 0.2, 0.0255)), Pose((0.55, -0.2, 0.5))

    def down(z, *, is_open):
        return MoveTo((0.55, 0.2, z), DOWN, is_open)

    script = (
        (down(0.15, is_open=True), down(0.025, is_open=True), down(0.025, is_open=False), down(0.2, is_open=False)),
        (down(0.2, is_open=True),),
    )
    task = UntilTheLimit(robots=("robot",), overrides={"scene": scene, "limits": Limits(intents=100, sim_time_s=12.0)})
    events = (
        WorldEvent(AtTime(0.0), MoveBody("block", (Waypoint(0.0, here), Waypoint(9.0, here), Waypoint(11.0, there)))),
        WorldEvent(AfterPhase("taken"), MoveBody("block", (Waypoint(0.0, there),))),
    )
    simulator = BulletConfig(renderer=RendererChoice.tiny).build()
    try:
        controller = ControllerConfig().build(scene, "robot", period_s=simulator.control_period_s)
        watcher = Watcher()
        context = EpisodeContext(simulator, task, ScriptedPolicy(script), lambda _: {"robot": controller})
        result = play(replace(task.sample(3), events=events), context, observers=[watcher])
    finally:
        simulator.close()
    assert (result.progress.outcome, result.progress.reason) == (Outcome.TIMEOUT, "time limit of 12 s")
    states = watcher.states
    free = release(states)
    carried = [state for state in states[:free] if state.held["robot"]]
    away_m = [np.subtract(one.pose["block"].position_m, one.robots["robot"].tool.position_m) for one in carried]
    assert carried[-1].pose["block"].position_m[2] > 0.19
    assert np.linalg.norm(away_m, axis=1).max() < 0.01
    assert states[free + 1].pose["block"] == there
