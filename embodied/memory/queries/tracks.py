"""The knowledge about one thing by some time: a believed pose and the evidence that determined it."""

from dataclasses import dataclass, replace

from embodied.geometry import Pose, compose, invert
from embodied.memory.queries.containment_history import NEVER
from embodied.memory.queries.map_frames import MapFrames
from embodied.memory.queries.validity_intervals import ParentInterval, ValidityIntervals
from embodied.memory.schema.event import Event, LogPosition
from embodied.memory.schema.kinds import RobotReported


@dataclass(frozen=True)
class Belief:
    """A pose, None where it is unknown, and the evidence that determined it.

    `guesses` are the events of relations on which the pose rests with unknown relative transform: the difference of two
    poses of a thing is its motion only where the guesses of the first are among those of the second.
    """

    pose: Pose | None
    position: LogPosition
    guesses: frozenset[int] = frozenset()


NOTHING = Belief(None, NEVER)


@dataclass(frozen=True)
class Track:
    """The knowledge about one thing by some time: the position and the pose of its last sighting, and its parents."""

    seen_at: LogPosition
    seen: Belief
    intervals: ValidityIntervals

    def inside(self, interval: ParentInterval) -> bool:
        """Returns whether the last sighting is of this interval or a later one."""
        return self.seen_at >= interval.position

    def root_of_guess(self, interval: ParentInterval) -> LogPosition:
        """Returns the event with which a guess about an interval begins: its last sighting, or its start."""
        return self.seen_at if self.inside(interval) else interval.position


def position_of(position: LogPosition, belief: Belief | None) -> LogPosition:
    """Returns the position of a belief, or of the sighting that it is where there is none."""
    return position if belief is None else belief.position


def moved(thing: Belief, there: Belief, here: Belief) -> Belief:
    """Returns the pose of a `thing` that has moved rigidly with its holder from `there` to `here`."""
    guesses = thing.guesses | here.guesses
    position = thing.position if here.position == there.position else max(thing.position, here.position)
    if here.pose == there.pose or not (thing.pose and there.pose and here.pose):
        return Belief(thing.pose, position, guesses)
    return Belief(compose(here.pose, compose(invert(there.pose), thing.pose)), position, guesses)


def tool_of(robot: Belief, event: Event, maps: MapFrames) -> Belief | None:
    """Returns the tool of a `robot` by the `event` with which it reported its state last, in the frame of `maps`.

    It is None where the event has no tool, or the pose of the robot is unknown.
    """
    state = event.payload
    if robot.pose is None or not isinstance(state, RobotReported) or state.tool is None:
        return None
    if robot.position == event.position:
        return replace(robot, pose=maps.tool(event))
    return replace(robot, pose=compose(robot.pose, compose(invert(state.pose), state.tool)))
