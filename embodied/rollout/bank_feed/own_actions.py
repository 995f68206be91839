"""Detects the actions of a robot from its own state: grasping, releasing, pressing, opening and closing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np

from embodied.geometry import Pose
from embodied.memory import Interaction, LocationBelief, RelationEnded, RelationSet, SkillEnded, ToolCalled
from embodied.memory.perception import Known, SceneTracker, support_of
from embodied.rollout.bank_feed.event_detection import DetectedEvent
from embodied.rollout.bank_feed.moment_reader import MICRO
from embodied.types import Command, EndEffectorState, RobotState, holder_name

CLOSE, OPEN = "gripper.close", "gripper.open"
BLOCKED = 0.03  # In units of the opening: a gripper that stops this far from its command holds something.
STEADY, STEADY_PERIODS = 0.002, 2
CLOSED = 0.3  # The widest command with which a robot presses.
LIFTED_M, SHIFTED_M = 0.015, 0.02


class Containment:
    """The believed containment and support of things, with the version numbers of the bank."""

    def __init__(self) -> None:
        self.parents: dict[str, tuple[str, str]] = {}
        self._versions: dict[str, int] = {}

    def put(self, name: str, predicate: str, parent: str) -> RelationSet:
        """Returns the event that sets `parent` as the `predicate` parent of the thing `name`."""
        version = self._versions.get(name, 0)
        self.parents[name], self._versions[name] = (predicate, parent), version + 1
        return RelationSet(name, predicate, parent, expected_version=version)

    def end(self, name: str) -> RelationEnded | None:
        """Returns the event that leaves a thing without a parent, None where it has none."""
        if name not in self.parents:
            return None
        predicate, parent = self.parents.pop(name)
        version = self._versions[name]
        self._versions[name] = version + 1
        return RelationEnded(name, predicate, parent, expected_version=version)

    def correct(self, name: str, there: LocationBelief | None) -> None:
        """Takes over what the bank has of a thing, whose last event it has refused: another writer may be at work."""
        self._versions[name] = 0 if there is None else there.version
        self.parents.pop(name, None)
        if there is not None and there.parent:
            self.parents[name] = there.predicate, there.parent

    def settle(self, thing: Known, tracker: SceneTracker) -> RelationSet | None:
        """Returns the event of a containment or support that was seen, None where it is known or undecided."""
        if thing.held or thing.measured.surface:
            return None
        support = support_of(thing, tracker.things.values())
        if support is None or self.parents.get(thing.name) == (support[0], support[1].name):
            return None
        if thing.name in self._above(support[1].name):  # Of two overlapping boxes each may seem to contain the other.
            return None
        return self.put(thing.name, support[0], support[1].name)

    def _above(self, name: str) -> set[str]:
        """Returns the parents of a thing up to the root."""
        found: set[str] = set()
        while name in self.parents and name not in found:
            found.add(name)
            name = self.parents[name][1]
        return found | {name}


@dataclass(eq=False)
class _Gripper:
    """One gripper: its commanded opening, measured opening, and what it holds since when."""

    commanded: float = 1.0
    opening: float = 1.0
    steady: int = 0
    gripped_at: float | None = None
    thing: str = ""
    begun_s: float = 0.0
    contact_s: float = 0.0
    source: tuple[str, str] = ("", "")
    start: Pose = field(default_factory=Pose)
    lifted: bool = False
    touching: str = ""

    def update(self, opening: float) -> str:
        """Returns `CLOSE` once the gripper has closed on something, `OPEN` once it lets go, else ""."""
        still, self.opening = abs(opening - self.opening) < STEADY, opening
        if self.gripped_at is not None:
            if self.commanded > self.gripped_at + BLOCKED and opening > self.gripped_at + BLOCKED / 2:
                self.gripped_at, self.steady = None, 0
                return OPEN
            return ""
        self.steady = self.steady + 1 if still and self.commanded < opening - BLOCKED else 0
        if self.steady < STEADY_PERIODS:
            return ""
        self.gripped_at = opening
        return CLOSE


class OwnActions:
    """Follows the grippers of all robots and relates their actions to what was seen there."""

    def __init__(self, tracker: SceneTracker, containment: Containment) -> None:
        self._tracker = tracker
        self._containment = containment
        self._grippers: dict[str, _Gripper] = {}
        self._decided_s: dict[str, float] = {}

    def decided(self, robot: str, now_s: float) -> None:
        """Notes that `robot` has decided: its next actions begin here."""
        self._decided_s[robot] = now_s

    def command(self, commands: Mapping[str, Command]) -> None:
        """Keeps the commanded openings of the grippers."""
        for robot, command in commands.items():
            if isinstance(command.gripper, Mapping):
                for end_effector, opening in command.gripper.items():
                    self._gripper(f"{robot}/{end_effector}").commanded = opening
                    self._gripper(robot).commanded = opening  # An only gripper has the name of its robot.
            elif command.gripper is not None:
                self._gripper(robot).commanded = command.gripper

    def tools(self, robots: Mapping[str, RobotState]) -> dict[str, Pose]:
        """Returns the tools that hold something, by the name of what they hold."""
        return {
            self._grippers[holder].thing: one.tool
            for _, holder, one in _end_effectors(robots)
            if holder in self._grippers and self._grippers[holder].thing
        }

    def follow(self, robots: Mapping[str, RobotState], now_s: float) -> Iterator[DetectedEvent]:
        """Yields the actions of the robots in one control period."""
        for robot, holder, one in _end_effectors(robots):
            gripper = self._gripper(holder)
            felt = gripper.update(one.gripper)
            if felt == CLOSE:
                yield from self._closed(robot, gripper, one, now_s)
            elif felt == OPEN:
                yield from self._opened(robot, gripper, one, now_s)
            elif gripper.thing:
                gripper.lifted |= one.tool.position_m[2] - gripper.start.position_m[2] > LIFTED_M
            else:
                yield from self._pressed(robot, gripper, one, now_s)

    def _closed(self, robot: str, gripper: _Gripper, one: EndEffectorState, now_s: float) -> Iterator[DetectedEvent]:
        yield DetectedEvent(robot, _tool_call(CLOSE, one))
        thing = self._tracker.at(one.tool.position_m)
        if thing is None or thing.held:
            return
        gripper.thing, gripper.start, gripper.lifted, gripper.touching = thing.name, one.tool, False, ""
        gripper.begun_s, gripper.contact_s = self._decided_s.get(robot, now_s), now_s
        gripper.source = self._containment.parents.get(thing.name, ("", ""))
        self._tracker.hold(thing.name, one.tool)
        yield DetectedEvent(robot, self._containment.put(thing.name, "held_by", robot))
        yield _ended("pick", thing, robot, now_s - gripper.begun_s)

    def _opened(self, robot: str, gripper: _Gripper, one: EndEffectorState, now_s: float) -> Iterator[DetectedEvent]:
        yield DetectedEvent(robot, _tool_call(OPEN, one))
        if not gripper.thing:
            return
        name, gripper.thing = gripper.thing, ""
        thing = self._tracker.release(name, one.tool, now_s)
        ended = self._containment.end(name)
        if ended is not None:
            yield DetectedEvent(robot, ended)
        settled = self._containment.settle(thing, self._tracker)
        if settled is not None:
            yield DetectedEvent(robot, settled)
        yield from self._interaction(robot, gripper, thing, one.tool, now_s)

    def _interaction(
        self, robot: str, gripper: _Gripper, thing: Known, tool: Pose, now_s: float
    ) -> Iterator[DetectedEvent]:
        """Yields the whole interaction, from closing to opening."""
        began_s = max(gripper.contact_s, self._decided_s.get(robot, now_s))
        if gripper.lifted:
            target = self._containment.parents.get(thing.name, ("", ""))[1]
            times_s = (gripper.begun_s, gripper.contact_s, began_s, now_s)
            payload = Interaction(
                "pick_place", thing.name, *times_s, source=gripper.source[1], target=target, success=bool(target)
            )
            yield DetectedEvent(robot, payload)
            reason = "" if target else "nothing was seen where it was put"
            yield _ended("place", thing, robot, now_s - began_s, reason=reason)
            return
        shift = np.subtract(tool.position_m, gripper.start.position_m)
        if np.linalg.norm(shift) >= SHIFTED_M:
            action = self._slid(thing, gripper.source, shift)
            yield DetectedEvent(
                robot, Interaction(action, thing.name, gripper.begun_s, gripper.contact_s, gripper.contact_s, now_s)
            )
            yield _ended(action, thing, robot, now_s - gripper.begun_s)

    def _slid(self, thing: Known, source: tuple[str, str], shift: np.ndarray) -> str:
        """Returns the action on a thing that was moved without being lifted.

        It came out of its container, or went into it.
        """
        outer = self._tracker.things.get(source[1])
        if outer is None or outer.measured.surface:
            return "slide"
        out = np.subtract(thing.box.pose.position_m, outer.box.pose.position_m)
        return "open" if float(out[:2] @ shift[:2]) > 0 else "close"

    def _pressed(self, robot: str, gripper: _Gripper, one: EndEffectorState, now_s: float) -> Iterator[DetectedEvent]:
        thing = self._tracker.at(one.tool.position_m) if gripper.commanded < CLOSED else None
        name = "" if thing is None else thing.name
        if name and not gripper.touching:
            gripper.touching, gripper.begun_s, gripper.contact_s = name, self._decided_s.get(robot, now_s), now_s
        elif not name and gripper.touching:
            touched, gripper.touching = self._tracker.things[gripper.touching], ""
            times_s = (gripper.begun_s, gripper.contact_s, gripper.contact_s, now_s)
            yield DetectedEvent(robot, Interaction("press", touched.name, *times_s))
            yield _ended("press", touched, robot, now_s - gripper.begun_s)

    def _gripper(self, holder: str) -> _Gripper:
        return self._grippers.setdefault(holder, _Gripper())


def _end_effectors(robots: Mapping[str, RobotState]) -> Iterator[tuple[str, str, EndEffectorState]]:
    """Yields robot, holder and state of every end effector that can grasp."""
    for robot, state in robots.items():
        for name, one in state.end_effectors.items():
            if one.fingers:
                yield robot, holder_name(robot, name, only=len(state.end_effectors) == 1), one


def _tool_call(tool: str, one: EndEffectorState) -> ToolCalled:
    """Returns the event of a gripper's action, at the pose of its tool."""
    content = {
        "position_m": one.tool.position_m,
        "orientation": one.tool.orientation,
        "opening": round(one.gripper, MICRO),
    }
    return ToolCalled(tool, msgspec.json.encode(content).decode())


def _ended(skill: str, thing: Known, robot: str, duration_s: float, *, reason: str = "") -> DetectedEvent:
    return DetectedEvent(robot, SkillEnded(skill, not reason, thing.category, round(duration_s, MICRO), reason))
