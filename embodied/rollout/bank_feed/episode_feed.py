"""What every feed logs of an episode: its beginning and end, decisions, stored moments, and how moves ended."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from embodied.errors import ConfigError
from embodied.geometry import Pose
from embodied.memory import (
    EpisodeBegun,
    EpisodeEnded,
    Event,
    EventFilter,
    LocationBelief,
    MomentStored,
    Observed,
    Payload,
    PlaceDefined,
    Query,
    Recalled,
    SkillEnded,
    ToolCalled,
)
from embodied.protocols import Simulator
from embodied.rollout.bank_feed.decisions import ACT, decode_decision, encode_decision
from embodied.rollout.bank_feed.instruction_embedding import MODEL_ID, embed
from embodied.rollout.bank_feed.moment_reader import MICRO, MomentReader
from embodied.rollout.bank_feed.refusals import Appending
from embodied.rollout.bank_feed.robot_skills import MOVE, registration
from embodied.rollout.bank_feed.scene_places import without_extent
from embodied.rollout.bank_feed.stored_moments import recalled_moment, stored
from embodied.types import (
    Clock,
    ControllerStatus,
    Decision,
    Episode,
    EpisodeRecord,
    IntentFeedback,
    MoveTo,
    Progress,
    Request,
    WorldState,
)

SLACK_S = 1e-9
FULLEST = 500
MOST_RECORDED = 100_000


class EventBank(Appending, Protocol):
    """The methods of a bank that a feed uses; `Bank` and `BankClient` have them."""

    def recall(self, query: Query) -> list[Recalled]:
        """Returns the moments that pass all filters."""
        ...

    def last_of_writer(self, writer: str) -> tuple[int, float]:
        """Returns the last number and valid time of a writer."""
        ...

    def changes_since(self, seq: int, *, wanted: EventFilter | None = None, limit: int = 1000) -> list[Event]:
        """Returns the events after number `seq` that match `wanted`, at most `limit`, in order."""
        ...

    def advance(self, to_s: float) -> float:
        """Moves the simulated clock of the bank to `to_s`, seconds, and returns its time then."""
        ...

    def where_is(self, entity: str) -> LocationBelief | None:
        """Returns where a thing is believed to be, None for one without events."""
        ...


@dataclass(kw_only=True)
class MemoryFeedConfig:
    """Robot poses are logged `pose_rate_hz` times per simulated second, and at every decision.

    `start_s` is the position of the episode's time 0 on the site clock. With `resume`, decisions of this episode that
    the bank already has are repeated (see `remembering`).
    """

    pose_rate_hz: float = 2.0
    start_s: float = 0.0
    resume: bool = False

    def check(self) -> None:
        """Raises `ConfigError` for values out of range."""
        if not 0.0 < self.pose_rate_hz <= 20.0:
            raise ConfigError(
                "memory.pose_rate_hz must lie in (0, 20].", value=self.pose_rate_hz, remedy="Control runs at 20 Hz."
            )
        if not math.isfinite(self.start_s):
            raise ConfigError("memory.start_s must be finite.", value=self.start_s)


@dataclass(eq=False)
class _Stream:
    """The events of one robot, numbered here, so that the same episode logs the same events again."""

    writer: str
    number: int = 0
    decided: tuple[int, ...] = ()
    moving_since_s: float | None = None
    failure: str = ""


class EpisodeFeed(ABC):
    """Observes an episode and logs it in a bank; the episode itself runs as it would without.

    Robots keep their names in the bank; everything else is called `<name>/...`, since each episode is a separate world.
    The writer of a robot is `<robot>/<name>`, with its own sequence numbers: playing the same episode again adds
    nothing. The episode is a site called `name`, whose places lose their extents when it ends, because the next world
    has the same coordinates. A decision whose keyframes are all reached is a success of the skill `move`; one that a
    controller reports as failed is a failure. Policies get `moments` alone.
    """

    def __init__(self, config: MemoryFeedConfig, bank: EventBank, name: str) -> None:
        self.name = name
        self.moments = MomentReader(bank, name, config.start_s)
        self._config = config
        self._bank = bank
        self._streams: dict[str, _Stream] = {}
        self._pending: list[Event] = []
        self._poses = 0
        self._first_seq = 0
        self._places: list[PlaceDefined] = []

    def on_begin(self, episode: Episode, simulator: Simulator) -> None:
        """Logs the participating robots and the known part of the world before anything moves."""
        self._episode = episode
        self._take(simulator.state())
        self._first = episode.scene.robots[0].name
        self.moments.clock_shown = episode.clock is Clock.SECONDS
        self._streams = {robot.name: _Stream(f"{robot.name}/{self.name}") for robot in episode.scene.robots}
        if self._config.resume and any(
            self._bank.last_of_writer(stream.writer)[0] for stream in self._streams.values()
        ):
            self.moments.recorded = self._recorded()
        self._log("", _begun(self.name, episode.instruction))
        self._first_seq = self._flush()[0]
        for robot in episode.scene.robots:
            self._log(robot.name, registration(robot))
        self._begin(episode, simulator)
        self._flush()

    def on_decision(self, request: Request, decision: Decision) -> None:
        """Logs a keyframe: the poses, the decision of the policy, and the moments it stores."""
        robot = request.observation.robot
        self._moved(robot)
        self._look(robot)
        self._log(robot, Observed(f"{self.name}#{robot}/{request.step}"))
        stream, place = self._streams[robot], len(self._pending)
        self._log(robot, ToolCalled(ACT, encode_decision(request.step, decision)))
        for moment in decision.moments:
            self._log(robot, stored(moment, self.name, step=request.step))
        stream.decided = (self._flush()[place],)
        stream.moving_since_s = self.now_s if any(isinstance(one, MoveTo) for one in decision.intents) else None
        self._decided(robot)

    def on_feedback(self, robot: str, feedback: IntentFeedback) -> None:
        """Keeps the reason of a robot's failure, to be logged with its next decision or at the end."""
        if feedback.status is ControllerStatus.FAILED:
            self._streams[robot].failure = feedback.reason

    def on_step(self, state: WorldState, progress: Progress) -> None:
        """Logs the events of one control period, and poses at their rate."""
        self._take(state)
        self._follow(state, progress)
        if len(self._pending) >= FULLEST:
            self._flush()

    def on_end(self, record: EpisodeRecord) -> None:
        """Logs how it ended; an episode that failed to start is not logged."""
        if not self._streams:
            return
        self.settle()
        for place in self._places:
            if place.polygon:
                self._log("", without_extent(place))
        self._log("", self._ended(record))
        self._flush()

    def settle(self) -> None:
        """Logs interactions still in progress, reasons of failure, and all poses."""
        self._finish()
        for robot, stream in self._streams.items():
            if stream.failure:
                self._moved(robot)
        self._look("")
        self._flush()

    @property
    def now_s(self) -> float:
        """The last state's time on the site clock."""
        return self.moments.now_s

    @abstractmethod
    def _begin(self, episode: Episode, simulator: Simulator) -> None:
        """Logs the known part of the world before anything moves."""

    @abstractmethod
    def _follow(self, state: WorldState, progress: Progress) -> None:
        """Logs what has changed in a control period."""

    @abstractmethod
    def _look(self, robot: str) -> None:
        """Logs all poses, at a decision of `robot`, or "" at the end."""

    @abstractmethod
    def _decided(self, robot: str) -> None:
        """Notes that `robot` has decided."""

    @abstractmethod
    def _finish(self) -> None:
        """Logs interactions that were in progress when the episode ended."""

    @abstractmethod
    def _ended(self, record: EpisodeRecord) -> EpisodeEnded:
        """Returns the payload of the end of the episode."""

    def _take(self, state: WorldState) -> None:
        self.moments.now_s = self._config.start_s + state.time_s

    def _poses_due(self, state: WorldState) -> bool:
        """Returns whether robot poses must be logged now, and counts them as logged."""
        if state.time_s * self._config.pose_rate_hz < self._poses + 1 - SLACK_S:
            return False
        self._poses = math.floor(state.time_s * self._config.pose_rate_hz + SLACK_S)
        return True

    def _moved(self, robot: str) -> None:
        """Logs that a robot has carried out the keyframes of its last decision, or why it failed."""
        stream = self._streams[robot]
        if stream.moving_since_s is not None:
            duration_s = round(self.now_s - stream.moving_since_s, MICRO)
            succeeded = not stream.failure
            self._log(robot, SkillEnded(MOVE, succeeded, duration_s=duration_s, reason=stream.failure))
        stream.moving_since_s, stream.failure = None, ""

    def _recorded(self) -> dict[tuple[str, int], Decision]:
        """Returns the decisions of this episode in the bank, by robot and step, with the moments they stored."""
        wanted = EventFilter(kinds=("tool_called", "moment_stored"), task=self.name)
        found: dict[tuple[str, int], Decision] = {}
        newest: dict[str, tuple[str, int]] = {}
        for event in self._bank.changes_since(0, wanted=wanted, limit=MOST_RECORDED):
            payload = event.payload
            if isinstance(payload, ToolCalled) and payload.tool == ACT:
                step, intents = decode_decision(payload.arguments)
                newest[event.robot] = event.robot, step
                found[event.robot, step] = Decision(intents)
            elif isinstance(payload, MomentStored):
                key = newest[event.robot]
                found[key] = replace(found[key], moments=(*found[key].moments, recalled_moment(event, payload)))
        return found

    def _log(self, robot: str, payload: Payload) -> None:
        """Adds an event of `robot`, caused by its last decision; events of no robot come from the first one."""
        stream = self._streams[robot or self._first]
        stream.number += 1
        event = Event(
            stream.writer, stream.number, self.now_s, payload, robot=robot, task=self.name, cause=stream.decided
        )
        self._pending.append(event)

    def _flush(self) -> list[int]:
        pending, self._pending = self._pending, []
        self._bank.advance(self.now_s)  # Simulated time is that of the episode that has come furthest.
        return self._append(pending)

    def _append(self, events: Sequence[Event]) -> list[int]:
        """Appends events to the bank and returns their sequence numbers. Raises `MemoryBankError` for refused ones."""
        return self._bank.append(events)


def far(pose: Pose, logged: Pose | None, *, shift_m: float, turn: float) -> bool:
    """Returns whether `pose` differs from the `logged` one by over `shift_m`, or by over `turn`, 1 - |q . q'|."""
    if logged is None:
        return True
    if math.dist(pose.position_m, logged.position_m) > shift_m:
        return True
    cosine = sum(one * other for one, other in zip(pose.orientation, logged.orientation, strict=True))
    return 1.0 - abs(cosine) > turn


def _begun(name: str, instruction: str) -> EpisodeBegun:
    vector = embed(instruction)
    return (
        EpisodeBegun(name, instruction)
        if vector is None
        else EpisodeBegun(name, instruction, MODEL_ID, vector.tobytes())
    )
