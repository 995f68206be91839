"""Detects events in the sequence of a world's states: grasps, placements, openings, presses."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from embodied.geometry import rotation_matrix
from embodied.memory import Interaction, Payload, RelationEnded, RelationSet, SkillEnded
from embodied.scenes.scene import Body, Box, Joint, Scene
from embodied.types import WorldState, robot_of

PRESSED, RELEASED = 0.375, 0.125  # Of a button's travel: 3 mm and 1 mm of 8, as tasks judge.
MOVED, OPENED, STILL = 0.02, 0.1, 0.002  # Of a joint's range.
STILL_PERIODS = 5
SETTLING_S = 1.0
MICRO = 6  # Decimals: where on the site clock an episode lies must not show in its durations.


@dataclass(frozen=True)
class DetectedEvent:
    """An action of a robot, or a change that it has caused."""

    robot: str
    payload: Payload


@dataclass(frozen=True)
class _OngoingInteraction:
    """An interaction that has begun; times in seconds on the site clock."""

    robot: str
    begun_s: float
    contact_s: float
    source: str = ""
    place_start_s: float = 0.0
    place_end_s: float = 0.0


@dataclass(eq=False)
class _Motion:
    """The motion of one joint: where it last stood still, since when it has been moving, and which robot moves it."""

    rest: float
    last: float
    ongoing: _OngoingInteraction | None = None
    still: int = 0
    pressed: bool = False


@dataclass(eq=False)
class EventDetector:
    """Detects events from one state after another. `name_of` gives bodies their names in the bank.

    With each pick, place, press, opening and closing goes a `SkillEnded` in the context of the body's category, from
    the decision that began it to its end. A place fails where the body does not come to rest on anything. A gripper
    that closes on nothing, or pulls at a drawer without moving it, is not detected.

    An interaction counts from the robot's last decision (`decided`). A body is on what it touches from above, or on the
    mark (a body that collides with nothing) under its middle. Containment is logged with versions counted from 0, so no
    other writer may log it for these names.
    """

    scene: Scene
    name_of: Callable[[str], str]
    _held: dict[str, str | None] = field(default_factory=dict)
    _decided_s: dict[str, float] = field(default_factory=dict)
    _parents: dict[str, tuple[str, str]] = field(default_factory=dict)
    _versions: dict[str, int] = field(default_factory=dict)
    _carrying: dict[str, _OngoingInteraction] = field(default_factory=dict)
    _placing: dict[str, _OngoingInteraction] = field(default_factory=dict)
    _motions: dict[str, _Motion] = field(default_factory=dict)

    def __post_init__(self) -> None:
        jointed = {joint.child for joint in self.scene.joints}
        self._robots = [robot.name for robot in self.scene.robots]
        self._free = [body.name for body in self.scene.bodies if body.mass_kg > 0 and body.name not in jointed]
        self._marks = [body for body in self.scene.bodies if is_mark(body)]
        self._joints = [joint for joint in self.scene.joints if joint.upper > joint.lower]
        self._unsettled = set(self._free)
        self._motions = {joint.name: _Motion(joint.position, joint.position) for joint in self._joints}

    def begin(self) -> Iterator[DetectedEvent]:
        """Yields the part relations of the scene."""
        for joint in self.scene.joints:
            yield DetectedEvent("", self._put(joint.child, "part_of", self.name_of(joint.parent)))

    def decided(self, robot: str, now_s: float) -> None:
        """Notes that a robot has decided; the supports of all bodies are determined again."""
        self._decided_s[robot] = now_s
        self._unsettled.update(self._free)

    def see(self, state: WorldState, now_s: float) -> Iterator[DetectedEvent]:
        """Yields the new events in `state`, at `now_s` on the site clock."""
        before, self._held = self._held, dict(state.held)
        changed = [holder for holder, body in state.held.items() if body != before.get(holder)]
        for holder in changed:  # Releases come before grasps: a body may be handed over within one period.
            yield from self._let_go(robot_of(holder), before.get(holder), now_s)
        for holder, body in state.held.items():
            if holder in changed or body not in self._carrying:
                yield from self._take(robot_of(holder), body, now_s)
        yield from self._settle(state, now_s)
        for joint in self._joints:
            yield from self._follow(joint, state, now_s)

    def finish(self, now_s: float) -> Iterator[DetectedEvent]:
        """Yields the interactions that were in progress when the episode ended."""
        for body in list(self._placing):
            yield from self._placed(body, target="")
        for joint in self._joints:
            if joint.spring is None:
                yield from self._stop(joint, self._motions[joint.name], now_s)

    def _take(self, robot: str, body: str | None, now_s: float) -> Iterator[DetectedEvent]:
        carrying = self._carrying.get(body) if body is not None else None
        if body is None or body not in self._free or (carrying is not None and carrying.robot == robot):
            return
        if carrying is not None:  # In a hand-over the giver still holds it.
            yield from self._end_carrying(body, now_s)
        _, source = self._parents.get(body, ("", ""))
        self._placing.pop(body, None)
        ongoing = self._carrying[body] = _OngoingInteraction(robot, self._begun_s(robot, now_s), now_s, source)
        yield DetectedEvent(robot, self._put(body, "held_by", robot))
        yield self._ended("pick", body, robot, now_s - ongoing.begun_s)

    def _let_go(self, robot: str, body: str | None, now_s: float) -> Iterator[DetectedEvent]:
        if body is None or body not in self._carrying or self._carrying[body].robot != robot:
            return
        if not any(held == body and robot_of(holder) == robot for holder, held in self._held.items()):
            yield from self._end_carrying(body, now_s)

    def _end_carrying(self, body: str, now_s: float) -> Iterator[DetectedEvent]:
        ongoing = self._carrying.pop(body)
        robot = ongoing.robot
        self._placing[body] = replace(ongoing, place_start_s=self._begun_s(robot, now_s), place_end_s=now_s)
        self._unsettled.add(body)
        predicate, parent = self._parents.pop(body)
        version = self._versions[body]
        self._versions[body] = version + 1
        yield DetectedEvent(robot, RelationEnded(self.name_of(body), predicate, parent, expected_version=version))

    def _settle(self, state: WorldState, now_s: float) -> Iterator[DetectedEvent]:
        for body in sorted(self._unsettled.difference(filter(None, state.held.values()))):
            support = self._support(body, state)
            ongoing = self._placing.get(body)
            if support is None:
                if ongoing is not None and now_s > ongoing.place_end_s + SETTLING_S:
                    yield from self._placed(body, target="")
                continue
            self._unsettled.discard(body)
            if self._parents.get(body) != ("on", support):
                yield DetectedEvent("" if ongoing is None else ongoing.robot, self._put(body, "on", support))
            if ongoing is not None:
                yield from self._placed(body, target=support)

    def _placed(self, body: str, *, target: str) -> Iterator[DetectedEvent]:
        ongoing = self._placing.pop(body)
        times_s = (
            ongoing.begun_s,
            ongoing.contact_s,
            max(ongoing.contact_s, ongoing.place_start_s),
            ongoing.place_end_s,
        )
        payload = Interaction(
            "pick_place", self.name_of(body), *times_s, source=ongoing.source, target=target, success=bool(target)
        )
        yield DetectedEvent(ongoing.robot, payload)
        reason = "" if target else "it came to rest on nothing"
        yield self._ended("place", body, ongoing.robot, ongoing.place_end_s - ongoing.place_start_s, reason=reason)

    def _support(self, body: str, state: WorldState) -> str | None:
        """Returns the name of the support of a body: the highest of what it touches below its middle, or a mark."""
        touched = [pair[0] if pair[1] == body else pair[1] for pair in state.contact if body in pair]
        below = [
            other for other in touched
            if other in state.pose and state.pose[other].position_m[2] < state.pose[body].position_m[2]
        ]  # fmt: skip
        if not below:
            return None
        highest = max(below, key=lambda other: (state.pose[other].position_m[2], other))
        middle = np.array(state.pose[body].position_m)
        if self.scene.body(highest).mass_kg == 0:
            highest = next((mark.name for mark in self._marks if covers(mark, middle)), highest)
        return self.name_of(highest)

    def _follow(self, joint: Joint, state: WorldState, now_s: float) -> Iterator[DetectedEvent]:
        motion, value = self._motions[joint.name], state.joint[joint.name]
        travel = joint.upper - joint.lower
        if motion.ongoing is None and abs(value - motion.rest) > MOVED * travel:
            robot = self._actor(joint.child, state)
            motion.ongoing = _OngoingInteraction(robot, self._begun_s(robot, now_s), now_s)
        motion.still = motion.still + 1 if abs(value - motion.last) <= STILL * travel else 0
        motion.last = value
        if joint.spring is not None:
            yield from self._press(joint, motion, value / travel, now_s)
        elif motion.still >= STILL_PERIODS:
            yield from self._stop(joint, motion, now_s)

    def _press(self, joint: Joint, motion: _Motion, share: float, now_s: float) -> Iterator[DetectedEvent]:
        if share < RELEASED:
            motion.pressed, motion.ongoing = False, None
        elif share > PRESSED and not motion.pressed and motion.ongoing is not None:
            motion.pressed = True
            yield from self._acted("press", joint, motion.ongoing, now_s)

    def _stop(self, joint: Joint, motion: _Motion, now_s: float) -> Iterator[DetectedEvent]:
        ongoing, moved = motion.ongoing, motion.last - motion.rest
        motion.rest, motion.ongoing = motion.last, None
        if ongoing is not None and abs(moved) > OPENED * (joint.upper - joint.lower):
            yield from self._acted("open" if moved > 0 else "close", joint, ongoing, now_s)

    def _acted(self, action: str, joint: Joint, ongoing: _OngoingInteraction, now_s: float) -> Iterator[DetectedEvent]:
        times_s = (ongoing.begun_s, ongoing.contact_s, ongoing.contact_s, now_s)
        yield DetectedEvent(ongoing.robot, Interaction(action, self.name_of(joint.child), *times_s))
        yield self._ended(action, joint.child, ongoing.robot, now_s - ongoing.begun_s)

    def _ended(self, skill: str, body: str, robot: str, duration_s: float, *, reason: str = "") -> DetectedEvent:
        payload = SkillEnded(skill, not reason, category_of(self.scene.body(body)), round(duration_s, MICRO), reason)
        return DetectedEvent(robot, payload)

    def _actor(self, body: str, state: WorldState) -> str:
        """Returns the robot that holds a body, else one that touches it, else the first of the scene."""
        touching = [robot for robot in self._robots if (min(robot, body), max(robot, body)) in state.contact]
        holding = [robot_of(holder) for holder, held in state.held.items() if held == body]
        return [*holding, *touching, *self._robots][0]

    def _begun_s(self, robot: str, now_s: float) -> float:
        return self._decided_s.get(robot, now_s)

    def _put(self, body: str, predicate: str, parent: str) -> RelationSet:
        version = self._versions.get(body, 0)
        self._versions[body] = version + 1
        self._parents[body] = (predicate, parent)
        return RelationSet(self.name_of(body), predicate, parent, expected_version=version)


def category_of(body: Body) -> str:
    """Returns the category under which a body is logged."""
    return body.category or "thing"


def is_mark(body: Body) -> bool:
    """Returns whether a body only marks a place: one fixed box that collides with nothing."""
    return body.mass_kg == 0 and not any(part.collides for part in body.parts) and _box(body) is not None


def _box(body: Body) -> Box | None:
    shape = body.parts[0].shape
    return shape if len(body.parts) == 1 and isinstance(shape, Box) else None


def covers(mark: Body, point_m: np.ndarray) -> bool:
    """Returns whether a point lies over or under a mark."""
    box = _box(mark)
    local = rotation_matrix(mark.pose.orientation).T @ (point_m - mark.pose.position_m)
    return box is not None and bool(np.all(np.abs(local[:2]) <= np.array(box.size_m[:2]) / 2))
