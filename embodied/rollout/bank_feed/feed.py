"""Logs an episode in the memory bank as it runs, and gives its policies their own stored moments."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from embodied.errors import ConfigError
from embodied.geometry import Pose, Vector3
from embodied.memory import (
    EntitySeen,
    EpisodeBegun,
    EpisodeEnded,
    Event,
    EventFilter,
    MomentStored,
    Observed,
    Order,
    Payload,
    PlaceDefined,
    Query,
    Recalled,
    RelationSet,
    RobotReported,
    SkillEnded,
    SubtaskEnded,
    ToolCalled,
)
from embodied.protocols import Simulator
from embodied.rollout.bank_feed.decisions import decode_decision, encode_decision
from embodied.rollout.bank_feed.event_detection import MICRO, DetectedEvent, EventDetector, category_of
from embodied.rollout.bank_feed.instruction_embedding import MODEL_ID, embed
from embodied.rollout.bank_feed.robot_skills import MOVE, registration
from embodied.rollout.bank_feed.scene_places import scene_places, without_extent
from embodied.rollout.bank_feed.stored_moments import recalled_moment, stored
from embodied.scenes.scene import Body, Box
from embodied.types import (
    Clock,
    ControllerStatus,
    Decision,
    Episode,
    EpisodeRecord,
    IntentFeedback,
    Moment,
    MoveTo,
    Progress,
    Request,
    WorldState,
    holder_name,
    robot_of,
)

ACT = "policy.act"
SLACK_S = 1e-9
LARGEST_SHIFT_M = 0.001
LARGEST_TURN = 1e-5  # 1 - |q . q'|, which is 0.5 degrees
FULLEST = 500
MOST_RECORDED = 100_000


class EventBank(Protocol):
    """What a feed needs of a bank; `Bank` and `BankClient` have it."""

    def append(self, events: Sequence[Event]) -> list[int]:
        """Returns the sequence numbers of events once they are durable: all or none."""
        ...

    def recall(self, query: Query) -> list[Recalled]:
        """Returns the moments that pass all filters."""
        ...

    def last_of_writer(self, writer: str) -> tuple[int, float]:
        """Returns the last number and valid time of a writer."""
        ...

    def changes_since(self, seq: int, *, wanted: EventFilter | None = None, limit: int = 1000) -> list[Event]:
        """Returns the events after `seq`, in order."""
        ...


@dataclass(kw_only=True)
class MemoryFeedConfig:
    """Robot poses are logged `pose_rate_hz` times per simulated second, and at every decision.

    `start_s` is where the episode's time 0 lies on the site clock. With `resume`, decisions that the bank has of this
    episode are carried out again (see `remembering`).
    """

    pose_rate_hz: float = 2.0
    start_s: float = 0.0
    resume: bool = False

    def build(self, bank: EventBank, name: str) -> "MemoryFeed":
        """Returns the feed of one episode, called `name` in the bank and nowhere else used. Raises `ConfigError`."""
        self.check()
        return MemoryFeed(self, bank, name)

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
    """The events of one robot, numbered here, so that the same episode logs the same events again.

    `stored` has the steps of the moments that it stored, in order, by their time on the site clock.
    """

    writer: str
    number: int = 0
    decided: tuple[int, ...] = ()
    stored: dict[float, list[int]] = field(default_factory=dict)
    moving_since_s: float | None = None
    failure: str = ""


class MemoryFeed:
    """Observes an episode and logs it in the bank; the episode itself runs as it would without.

    Bodies are called `<name>/<body>`, since each episode is a world of its own; robots keep their names. The writer
    of a robot is `<robot>/<name>`, with its own sequence numbers: playing the same episode again adds nothing. What is
    logged is the truth of the simulator; policies get nothing of it, only `moments` that they have stored themselves.

    The episode is a site of its own, called `name`, whose places lose their extents when it ends: the next world has
    the same coordinates. A decision with keyframes that is carried out is a success of the skill `move`; the one that
    a controller reports as failed is a failure.
    """

    def __init__(self, config: MemoryFeedConfig, bank: EventBank, name: str) -> None:
        self.name = name
        self._config = config
        self._bank = bank
        self._streams: dict[str, _Stream] = {}
        self._pending: list[Event] = []
        self._logged: dict[str, Pose] = {}
        self._phases = 0
        self._poses = 0
        self._first_seq = 0
        self._places: list[PlaceDefined] = []
        self.recorded: dict[tuple[str, int], Decision] = {}

    def on_begin(self, episode: Episode, simulator: Simulator) -> None:
        """Logs which robots take part, and where everything is."""
        self._episode, self._state = episode, simulator.state()
        self._first = episode.scene.robots[0].name
        self._streams = {robot.name: _Stream(f"{robot.name}/{self.name}") for robot in episode.scene.robots}
        self._detector = EventDetector(episode.scene, self.entity)
        if self._config.resume and any(
            self._bank.last_of_writer(stream.writer)[0] for stream in self._streams.values()
        ):
            self.recorded = self._recorded()
        self._log("", _begun(self.name, episode.instruction))
        self._first_seq = self._flush()[0]
        for robot in episode.scene.robots:
            self._log(robot.name, registration(robot))
        for payload in scene_places(episode.scene, self.name, self.entity):
            self._log("", payload)
            if isinstance(payload, PlaceDefined):
                self._places.append(payload)
        self._log_all(self._detector.begin())
        self._log_poses(self._state)
        self._flush()

    def on_decision(self, request: Request, decision: Decision) -> None:
        """Logs a keyframe: where everything is, what the policy decided, and the moments it stores."""
        robot = request.observation.robot
        self._moved(robot)
        self._log_poses(self._state)
        self._log(robot, Observed(f"{self.name}#{robot}/{request.step}"))
        self._flush()
        stream = self._streams[robot]
        self._log(robot, ToolCalled(ACT, encode_decision(request.step, decision)))
        for moment in decision.moments:
            self._log(robot, stored(moment, self.name))
            stream.stored.setdefault(self.now_s, []).append(request.step)
        stream.decided = (self._flush()[0],)
        stream.moving_since_s = self.now_s if any(isinstance(one, MoveTo) for one in decision.intents) else None
        self._detector.decided(robot, self.now_s)

    def on_feedback(self, robot: str, feedback: IntentFeedback) -> None:
        """Keeps why a robot has failed, to be logged with its next decision or at the end."""
        if feedback.status is ControllerStatus.FAILED:
            self._streams[robot].failure = feedback.reason

    def on_step(self, state: WorldState, progress: Progress) -> None:
        """Logs what has happened in one control period, poses at their rate, and phases that are completed."""
        self._state = state
        self._log_all(self._detector.see(state, self.now_s))
        if state.time_s * self._config.pose_rate_hz >= self._poses + 1 - SLACK_S:
            self._poses = math.floor(state.time_s * self._config.pose_rate_hz + SLACK_S)
            self._log_robots(state)
        for phase in progress.reached[self._phases :]:
            self._log("", SubtaskEnded(f"{self.name}/{phase}", "success"))
        self._phases = len(progress.reached)
        if len(self._pending) >= FULLEST:
            self._flush()

    def on_end(self, record: EpisodeRecord) -> None:
        """Logs how it ended; an episode that failed to start is not logged."""
        if not self._streams:
            return
        self._log_all(self._detector.finish(self.now_s))
        for robot, stream in self._streams.items():
            if stream.failure:
                self._moved(robot)
        self._log_poses(self._state)
        for place in self._places:
            if place.polygon:
                self._log("", without_extent(place))
        payload = EpisodeEnded(self.name, str(record.outcome), record.reason, record.phases, self._first_seq)
        self._log("", payload)
        self._flush()

    @property
    def now_s(self) -> float:
        """The last state's time on the site clock."""
        return self._config.start_s + self._state.time_s

    def entity(self, body: str) -> str:
        """Returns what a body is called in the bank."""
        return f"{self.name}/{body}"

    def moments(self, robot: str, *, limit: int) -> tuple[Moment, ...]:
        """Returns the newest moments that a robot has stored in this episode before now, oldest first.

        Their `step` is that at which they were stored. Their `time_s` counts seconds since the reset where the
        episode's clock shows them, else it is the step. Another attempt's moments are not among them.
        """
        before_s = math.nextafter(self.now_s, -math.inf)
        query = Query(
            time_s=(-math.inf, before_s), robot=robot, episode=self.name, top_k=limit, order=Order.NEWEST,
        )  # fmt: skip
        shown = self._episode.clock is Clock.SECONDS
        steps = {at_s: list(stored) for at_s, stored in self._streams[robot].stored.items()}
        given: list[Moment] = []
        for moment in (recalled.moment for recalled in self._bank.recall(query)):
            if steps.get(moment.time_s):
                step = steps[moment.time_s].pop()  # The newest first, as they are recalled.
                # Rounded, so that a policy sees the same wherever its episode lies on the site clock.
                time_s = round(moment.time_s - self._config.start_s, MICRO) if shown else float(step)
                given.append(replace(moment, time_s=time_s, step=step))
        return tuple(given[::-1])

    def _moved(self, robot: str) -> None:
        """Logs that a robot has carried out the keyframes of its last decision, or why it could not."""
        stream = self._streams[robot]
        if stream.moving_since_s is not None:
            duration_s = round(self.now_s - stream.moving_since_s, MICRO)
            succeeded = not stream.failure
            self._log(robot, SkillEnded(MOVE, succeeded, duration_s=duration_s, reason=stream.failure))
        stream.moving_since_s, stream.failure = None, ""

    def _recorded(self) -> dict[tuple[str, int], Decision]:
        """Returns the decisions that the bank has of this episode, by robot and step, with the moments they stored."""
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

    def _log_poses(self, state: WorldState) -> None:
        """Logs the poses of robots, and of all bodies that have moved since their last logged pose."""
        self._log_robots(state)
        for body in self._episode.scene.bodies:
            pose = state.pose[body.name]
            if _far(pose, self._logged.get(body.name)):
                self._log_body(body, pose)

    def _log_robots(self, state: WorldState) -> None:
        """Logs robots' states, their tools, and what they hold after it, since a thing held is where it was seen."""
        for name, robot in state.robots.items():
            tool = robot.tool if len(robot.end_effectors) == 1 else None
            held = [body for holder, body in state.held.items() if body is not None and robot_of(holder) == name]
            self._log(name, RobotReported(robot.base, status="holding" if held else "idle", tool=tool))
            for end_effector, one in robot.end_effectors.items():
                holder = holder_name(name, end_effector, only=tool is not None)
                self._log(name, EntitySeen(self.entity(f"{holder}/tool"), "tool", one.tool))
            for body in dict.fromkeys(held):
                self._log_body(self._episode.scene.body(body), state.pose[body])

    def _log_body(self, body: Body, pose: Pose) -> None:
        self._logged[body.name] = pose
        self._log("", EntitySeen(self.entity(body.name), category_of(body), pose, size_m=_size_m(body)))

    def _log_all(self, detected: Iterator[DetectedEvent]) -> None:
        """Logs what has happened, and where a thing lies that has come to lie on another."""
        for one in detected:
            payload = one.payload
            self._log(one.robot, payload)
            if isinstance(payload, RelationSet) and payload.predicate == "on":
                body = self._episode.scene.body(payload.subject.removeprefix(self.entity("")))
                self._log_body(body, self._state.pose[body.name])

    def _log(self, robot: str, payload: Payload) -> None:
        """Adds an event of a robot, caused by its last decision; events of no robot come from the first one."""
        stream = self._streams[robot or self._first]
        stream.number += 1
        event = Event(
            stream.writer, stream.number, self.now_s, payload, robot=robot, task=self.name, cause=stream.decided
        )
        self._pending.append(event)

    def _flush(self) -> list[int]:
        pending, self._pending = self._pending, []
        return self._bank.append(pending)


def _begun(name: str, instruction: str) -> EpisodeBegun:
    vector = embed(instruction)
    return (
        EpisodeBegun(name, instruction)
        if vector is None
        else EpisodeBegun(name, instruction, MODEL_ID, vector.tobytes())
    )


def _size_m(body: Body) -> Vector3 | None:
    shape = body.parts[0].shape
    return shape.size_m if len(body.parts) == 1 and isinstance(shape, Box) else None


def _far(pose: Pose, logged: Pose | None) -> bool:
    """Returns whether a pose differs enough from the last logged one to be logged."""
    if logged is None:
        return True
    shift_m = float(np.linalg.norm(np.subtract(pose.position_m, logged.position_m)))
    return shift_m > LARGEST_SHIFT_M or 1.0 - abs(float(np.dot(pose.orientation, logged.orientation))) > LARGEST_TURN
