"""Plays an episode with both banks, and compares their answers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from embodied.memory import Bank, EntitySeen, EventFilter, LocationBelief, SimulatedClock, open_bank
from embodied.memory.perception import Known
from embodied.protocols import Controller, Simulator, Task
from embodied.rollout.bank_feed.belief_feed import BeliefConfig, BeliefFeed
from embodied.rollout.bank_feed.episode_feed import MemoryFeedConfig
from embodied.rollout.bank_feed.truth_feed import TruthFeed
from embodied.rollout.episode import EpisodeContext, play
from embodied.scenes.scene import Scene
from embodied.types import Decision, Episode, EpisodeRecord, IntentFeedback, Observation, Progress, Request, WorldState
from launch.benchmark import BenchmarkRun
from launch.benchmarks.belief.config import BeliefBenchConfig
from policies.scripted import ExpertConfig

SITE = "bench"
SAME_PLACE_M = 0.03
BLOCK, DRAWER = "block", "drawer"


@dataclass
class EpisodeComparison:
    """The comparison of belief and truth in one episode.

    `errors_m` are those of visible blocks, at looks; `queries` counts by kind of thing and `right` the correct answers;
    `wrong` describes some of the others. `missed` blocks were never found.
    """

    errors_m: list[float] = field(default_factory=list)
    queries: dict[str, int] = field(default_factory=dict)
    right: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)


class Watched:
    """A simulator that counts the pixels of bodies in each look; all calls go to the inner one."""

    def __init__(self, simulator: Simulator, scene: Scene, visible_px: int) -> None:
        self.seen: dict[float, set[str]] = {}
        self._simulator = simulator
        self._names = {number: name for name, number in scene.instance_ids().items()}
        self._visible_px = visible_px

    def __getattr__(self, name: str) -> Any:
        return getattr(self._simulator, name)

    def observe(self, robot: str, cameras: Sequence[str] | None = None) -> Observation:
        """Returns the observation of the inner simulator, and counts pixels."""
        observation = self._simulator.observe(robot, cameras)
        for image in observation.images.values():
            counts = np.bincount(np.asarray(image.instance).ravel())
            shown = {self._names[number] for number in np.flatnonzero(counts >= self._visible_px).tolist() if number}
            self.seen.setdefault(self._simulator.state().time_s, set()).update(shown)
        return observation


class HistoryRecorder:
    """An observer that keeps every state, and the belief feed's first view of things."""

    def __init__(self, feed: BeliefFeed) -> None:
        self.states: list[WorldState] = []
        self.first: dict[str, Known] = {}
        self._feed = feed

    def on_begin(self, episode: Episode, simulator: Simulator) -> None:
        """Keeps the first state."""
        del episode
        self.states.append(simulator.state())

    def on_decision(self, request: Request, decision: Decision) -> None:
        """Decisions are not recorded."""

    def on_feedback(self, robot: str, feedback: IntentFeedback) -> None:
        """Feedback is not recorded."""

    def on_step(self, state: WorldState, progress: Progress) -> None:
        """Keeps the state."""
        del progress
        self.states.append(state)

    def on_end(self, record: EpisodeRecord) -> None:
        """The states are kept."""


def controllers(run: BenchmarkRun, episode: Episode) -> Mapping[str, Controller]:
    """Returns the controllers of an episode's robots."""
    world = run.simulator.world
    return {
        robot.name: run.controller.build(
            episode.scene, robot.name, period_s=world.control_period_s, asset_root=world.asset_root
        )
        for robot in episode.scene.robots
    }


def compare(
    run: BenchmarkRun, config: BeliefBenchConfig, task: Task, simulator: Simulator, seed: int
) -> EpisodeComparison:
    """Plays the episode of `seed` of a `task` with the expert and both banks, and compares belief with truth.

    `run` and `config` are the settings; `simulator` is reset.
    """
    episode = task.sample(seed)
    watched = Watched(simulator, episode.scene, config.visible_px)
    with (
        open_bank(":memory:", clock=SimulatedClock()) as believed,
        open_bank(":memory:", clock=SimulatedClock()) as true,
    ):
        belief = BeliefFeed(MemoryFeedConfig(), BeliefConfig(look_hz=config.look_hz), believed, SITE)
        truth = TruthFeed(MemoryFeedConfig(pose_rate_hz=20.0), true, SITE)
        historian = HistoryRecorder(belief)
        context = EpisodeContext(
            cast("Simulator", watched), task, ExpertConfig().build(), lambda one: controllers(run, one)
        )
        play(episode, context, observers=[belief, truth, historian])
        belief.settle()
        truth.settle()
        return _compared(episode.scene, historian.states, watched.seen, (believed, true), config.query_s)


def _compared(
    scene: Scene,
    states: Sequence[WorldState],
    seen: Mapping[float, set[str]],
    banks: tuple[Bank, Bank],
    query_s: float,
) -> EpisodeComparison:
    believed, true = banks
    found = EpisodeComparison()
    names = _names(scene, believed, states)
    wanted = [body.name for body in scene.bodies if body.category in (BLOCK, DRAWER)]
    found.missed = [name for name in wanted if name not in names]
    for state in states:
        for body in sorted(seen.get(state.time_s, set()).intersection(names)):
            if scene.body(body).category == BLOCK:
                there = believed.where_is(names[body][0], as_of_s=state.time_s)
                pose = None if there is None else there.pose
                error_m = math.inf if pose is None else math.dist(pose.position_m, state.pose[body].position_m)
                found.errors_m.append(error_m)
                if error_m > 0.015:
                    found.wrong.append(f"{state.time_s:.2f} s: {body} is {error_m:.3f} m off")
    every = max(1, round(query_s / (states[1].time_s - states[0].time_s)))
    for state in states[::every]:
        for body in wanted:
            if body not in names or state.time_s < names[body][1]:
                continue
            there = true.where_is(f"{SITE}/{body}", as_of_s=state.time_s)
            answer = believed.where_is(names[body][0], as_of_s=state.time_s)
            if there is None or not there.parent:
                continue
            kind = str(scene.body(body).category)
            found.queries[kind] = found.queries.get(kind, 0) + 1
            if _agree(there, answer, {name: one for name, (one, _) in names.items()}):
                found.right[kind] = found.right.get(kind, 0) + 1
            else:
                what = "unknown" if answer is None else f"{answer.predicate} {answer.parent}"
                found.wrong.append(f"{state.time_s:.2f} s: {body} {there.predicate} {there.parent}, believed {what}")
    return found


def _names(scene: Scene, believed: Bank, states: Sequence[WorldState]) -> dict[str, tuple[str, float]]:
    """Returns for each body the name under which it was first seen at its place, and when that was."""
    names: dict[str, tuple[str, float]] = {}
    period_s = states[1].time_s - states[0].time_s
    for event in believed.changes_since(0, wanted=EventFilter(kinds=("entity_seen",)), limit=100_000):
        payload = event.payload
        if (
            not isinstance(payload, EntitySeen)
            or payload.category == "tool"
            or payload.entity in {name for name, _ in names.values()}
        ):
            continue
        state = states[min(len(states) - 1, round((event.valid_time_s - states[0].time_s) / period_s))]
        able = [
            (_distance_m(scene, body.name, payload.pose.position_m, state), body.name)
            for body in scene.bodies
            if body.name not in names and (body.category == "table") == ("surface" in payload.labels)
        ]
        distance_m, body = min(able, default=(math.inf, ""))
        if body and (distance_m <= SAME_PLACE_M or "surface" in payload.labels or scene.body(body).category == DRAWER):
            names[body] = payload.entity, event.valid_time_s
    return names


def _distance_m(scene: Scene, body: str, point_m: Sequence[float], state: WorldState) -> float:
    """Returns the distance of a point from the middle of a body; for a drawer, of its visible front."""
    if scene.body(body).category == DRAWER:
        return abs(state.pose[body].position_m[2] - point_m[2])
    return math.dist(state.pose[body].position_m, point_m)


def _agree(true: LocationBelief, answer: LocationBelief | None, names: Mapping[str, str]) -> bool:
    """Returns whether belief is right: the same robot, or the same thing under its own name.

    A part that is fixed to a thing, such as a drawer to its chest, is seen as lying in it.
    """
    if answer is None:
        return False
    parent = true.parent.removeprefix(f"{SITE}/")
    predicates = ("in", "on") if true.predicate in ("in", "on", "part_of") else (true.predicate,)
    return answer.predicate in predicates and answer.parent in (names.get(parent), true.parent)
