"""Logs what robots perceive, do and report of an episode: the bank that policies, planners and people read."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from embodied.errors import ConfigError
from embodied.geometry import Pose
from embodied.memory import (
    CONTAINMENT,
    AbsenceSeen,
    EntitySeen,
    EpisodeEnded,
    Event,
    PlaceDefined,
    RelationEnded,
    RelationSet,
    ReportedStatus,
    RobotReported,
)
from embodied.memory.perception import (
    Change,
    ChangeKind,
    Known,
    SceneTracker,
)
from embodied.protocols import Simulator
from embodied.rollout.bank_feed.episode_feed import EpisodeFeed, EventBank, MemoryFeedConfig, far
from embodied.rollout.bank_feed.looking import Looking
from embodied.rollout.bank_feed.own_actions import Containment, OwnActions
from embodied.rollout.bank_feed.refusals import REFUSED, Refusals
from embodied.types import Command, Episode, EpisodeRecord, Progress, WorldState, holder_name

FASTEST_LOOK_HZ = 20.0
CONFIRM_S = 5.0  # The shortest time between two logged sightings of a thing that has not moved.
LARGEST_SHIFT_M, LARGEST_TURN = 0.002, 1e-4
PLACE_GROWTH_M = 0.05
ABOVE_M, BELOW_M = 0.5, 0.01
UNSURE = 0.5  # The confidence in the identity of a thing that may be another one.
MAY_BE = "may_be"
SLACK_S = 1e-9
FRESH_S = 0.1  # A look this recent is reused for a decision.


class Source(StrEnum):
    """Where the identities or the categories of things come from: perception itself, or the simulator."""

    own = "own"
    given = "given"


@dataclass(kw_only=True)
class BeliefConfig:
    """What perception works out itself, and how often robots look beside their decisions.

    With `identity` given, things have the names of the simulator; with `labels` given, its categories. `look_hz` is in
    simulated time, 0 for decisions alone.
    """

    identity: Source = Source.own
    labels: Source = Source.own
    look_hz: float = 2.0

    def check(self) -> None:
        """Raises `ConfigError` for a rate out of range."""
        if not 0.0 <= self.look_hz <= FASTEST_LOOK_HZ:
            raise ConfigError(
                "memory.look_hz must lie in [0, 20].", value=self.look_hz, remedy="Control runs at 20 Hz; 0: decisions."
            )


class BeliefFeed(EpisodeFeed):
    """Logs what the robots of an episode know: their own state, actions and reports, and what they perceive.

    It is given the simulator's state, of which it reads the robots' own: what proprioception and odometry measure.
    Robots look through the cameras that stand still, one after another, else through their own; all of them at the
    beginning, one at each decision and `look_hz` times per simulated second.

    Things have names of the bank's own, `<name>/<robot>/object-0007`, after the robot that saw them first. No two
    things of a bank share one: `name` stands for one run, policy, episode and attempt (`RunMemory.name_of`). Only where
    the same attempt is played again do the same things get the same names, and the bank has their events already.
    Events that the bank refuses are left out, see `Refusals`.
    """

    def __init__(self, config: MemoryFeedConfig, belief: BeliefConfig, bank: EventBank, name: str) -> None:
        config.check()
        belief.check()
        super().__init__(config, bank, name)
        self._belief = belief
        self._refusals = Refusals(bank, self._left_out)
        self._counts: Counter[str] = Counter()
        self._looker = ""
        self._tracker = SceneTracker(self._new_name)
        self._containment = Containment()
        self._actions = OwnActions(self._tracker, self._containment)
        self._logged: dict[str, tuple[Pose, float]] = {}
        self._confused: set[tuple[str, str]] = set()
        self._looked_s = 0.0
        self._reported_s = -math.inf

    @property
    def refused(self) -> int:
        """How many events of the episode the bank has refused."""
        return self._refusals.count

    def with_refused(self, metrics: Mapping[str, float]) -> Mapping[str, float]:
        """Returns the metrics of the episode with how many events the bank has refused, where it has refused any."""
        return {**metrics, REFUSED: float(self.refused)} if self.refused else metrics

    def on_commands(self, commands: Mapping[str, Command]) -> None:
        """Keeps the commands of the robots' own grippers."""
        self._actions.command(commands)

    def _begin(self, episode: Episode, simulator: Simulator) -> None:
        names_under = self.name if self._belief.identity is Source.given else ""
        labels = self._belief.labels is Source.given
        self._looking = Looking(episode.scene, simulator, seed=episode.seed, names_under=names_under, labels=labels)
        self._log("", PlaceDefined(self.name, "site"))
        self._log_robots()
        for robot in self._robots:
            self._look_through(robot, self._looking.cameras(robot))

    def _take(self, state: WorldState) -> None:
        super()._take(state)
        self._robots = state.robots

    def _follow(self, state: WorldState, progress: Progress) -> None:
        del progress
        for one in self._actions.follow(state.robots, self.now_s):
            self._log(one.robot, one.payload)
            if isinstance(one.payload, RelationSet):
                self._log_sighting(one.robot, self._tracker.things[one.payload.subject])
        look_due = (self.now_s - self._looked_s) * self._belief.look_hz >= 1.0 - SLACK_S
        if look_due or (self.now_s - self._reported_s) * self._config.pose_rate_hz >= 1.0 - SLACK_S:
            self._log_robots()
        if look_due:
            robot = next(iter(state.robots))
            self._look_through(robot, self._looking.next_camera(robot))

    def _look(self, robot: str) -> None:
        robot = robot or next(iter(self._robots))
        self._log_robots()
        if self.now_s - self._looked_s >= FRESH_S:
            self._look_through(robot, self._looking.next_camera(robot))

    def _decided(self, robot: str) -> None:
        self._actions.decided(robot, self.now_s)

    def _finish(self) -> None:
        """Does nothing: no interaction is logged late."""

    def _ended(self, record: EpisodeRecord) -> EpisodeEnded:
        """Returns the end of the episode without its outcome, which only the judge knows."""
        del record
        return EpisodeEnded(self.name, "ended", first_seq=self._first_seq)

    def _new_name(self, kind: str) -> str:
        prefix = f"{self.name}/{self._looker}/{kind}"
        self._counts[prefix] += 1
        return f"{prefix}-{self._counts[prefix]:04d}"

    def _look_through(self, robot: str, cameras: Sequence[str]) -> None:
        self._looker, self._looked_s = robot, self.now_s
        tools = self._actions.tools(self._robots)
        for look in self._looking.looks(robot, cameras, self._robots, tools, time_s=self.now_s):
            self._log_changes(robot, self._tracker.look(look))

    def _log_changes(self, robot: str, changes: Sequence[Change]) -> None:
        things = self._tracker.things
        changed = [things[one.name] for one in changes if one.kind not in (ChangeKind.CONFIRMED, ChangeKind.GONE)]
        for thing in sorted(changed, key=lambda one: not one.measured.surface):
            self._tracker.stand(thing)
            if self._log_sighting(robot, thing):
                self._log_contents(robot, thing)
        for one in changes:
            if one.kind is ChangeKind.GONE:
                self._log(robot, AbsenceSeen(one.name, one.share))
            elif one.kind is ChangeKind.CONFIRMED and self.now_s >= self._logged[one.name][1] + CONFIRM_S:
                self._log_sighting(robot, things[one.name], again=True)
        if changed:
            for thing in things.values():
                settled = self._containment.settle(thing, self._tracker)
                if settled is not None:
                    self._log(robot, settled)
        self._log_candidates(robot, [things[one.name] for one in changes])

    def _log_contents(self, robot: str, thing: Known) -> None:
        """Logs the contents of a thing again: the bank assumes that they have moved with it, which was not seen."""
        for name, (_, parent) in self._containment.parents.items():
            inner = self._tracker.things[name]
            if parent == thing.name and not inner.held:
                self._log_sighting(robot, inner, again=True)

    def _append(self, events: Sequence[Event]) -> list[int]:
        return self._refusals.append(events)

    def _left_out(self, event: Event) -> None:
        payload = event.payload
        if isinstance(payload, RelationSet | RelationEnded) and payload.predicate in CONTAINMENT:
            self._containment.correct(payload.subject, self._bank.where_is(payload.subject))

    def _log_sighting(self, robot: str, thing: Known, *, again: bool = False) -> bool:
        """Logs the pose of a thing for `robot`, unless it was logged before; returns whether it was.

        Surfaces are places too.
        """
        before = self._logged.get(thing.name)
        pose = thing.box.pose
        moved = before is None or far(pose, before[0], shift_m=LARGEST_SHIFT_M, turn=LARGEST_TURN)
        if not (moved or again or thing.held):
            return False
        self._logged[thing.name] = pose, self.now_s
        if thing.measured.surface and moved:
            self._log_place(thing)
        pixels = thing.measured.pixels
        self._log(
            robot,
            EntitySeen(
                thing.name,
                thing.category,
                pose,
                size_m=thing.box.size_m,
                labels=(thing.measured.colour.name, thing.shape),
                confidence=UNSURE if thing.candidates else pixels / (pixels + 10.0),
            ),
        )
        return True

    def _log_place(self, thing: Known) -> None:
        """Logs a surface as a place that reaches half a metre up."""
        x, y, _ = thing.box.pose.position_m
        half_x, half_y = thing.box.size_m[0] / 2, thing.box.size_m[1] / 2
        corners = (
            (x - half_x, y - half_y),
            (x + half_x, y - half_y),
            (x + half_x, y + half_y),
            (x - half_x, y + half_y),
        )
        place = PlaceDefined(thing.name, "carrier", self.name, corners, thing.top_m - BELOW_M, thing.top_m + ABOVE_M)
        self._places = [one for one in self._places if one.place != thing.name] + [place]
        self._log("", place)

    def _log_candidates(self, robot: str, things: Sequence[Known]) -> None:
        """Logs which things may have changed places while both were hidden."""
        for thing in things:
            for other in sorted(thing.candidates):
                pair = (min(thing.name, other), max(thing.name, other))
                if pair not in self._confused:
                    self._confused.add(pair)
                    self._log(robot, RelationSet(pair[0], MAY_BE, pair[1]))
                    for name in pair:
                        self._log_sighting(robot, self._tracker.things[name], again=True)

    def _log_robots(self) -> None:
        """Logs poses and states of all robots, unless that was done at this time already."""
        if self._reported_s == self.now_s:
            return
        self._reported_s = self.now_s
        for name, robot in self._robots.items():
            tool = robot.tool if len(robot.end_effectors) == 1 else None
            holding = any(self._containment.parents.get(thing.name) == ("held_by", name)
                          for thing in self._tracker.things.values() if thing.held)  # fmt: skip
            status = ReportedStatus.HOLDING if holding else ReportedStatus.IDLE
            self._log(name, RobotReported(robot.base, status=status, tool=tool))
            for end_effector, one in robot.end_effectors.items():
                holder = holder_name(name, end_effector, only=tool is not None)
                self._log(name, EntitySeen(f"{self.name}/{holder}/tool", "tool", one.tool))
