"""Discrete driving: steps of 0.25 m ahead and turns of 10 degrees, along the shortest path, without sliding."""

from collections.abc import Callable

import numpy as np

from embodied.scenes.distance_field import DistanceField
from embodied.scenes.geodesics import Geodesics
from embodied.scenes.occupancy import PointLike
from embodied.tasks.findingdory.steps import FORWARD, FORWARD_M, TURN_LEFT, TURN_RAD, TURN_RIGHT

HEADINGS = 36
TURN_COST_M = 0.004  # Of the way that a turn of 10 degrees must save: about what a step off by that angle loses.
LEAST_GAIN_M = 0.02
_DIRECTIONS = np.stack([np.cos(np.arange(HEADINGS) * TURN_RAD), np.sin(np.arange(HEADINGS) * TURN_RAD)], axis=1)


class Follower:
    """Drives a base on `floor` to goals; its pose is `at` (2,) in metres and `heading`, in tens of degrees.

    `act` is called with every action, after the pose has changed.
    """

    def __init__(self, floor: Geodesics, at: PointLike, heading: int, act: Callable[[int], None]) -> None:
        self._floor = floor
        self.at = np.array([float(at[0]), float(at[1])])
        self.heading = heading % HEADINGS
        self._act = act

    @property
    def pose(self) -> np.ndarray:
        """The present pose (3,): x, y in metres, yaw in radians within (-pi, pi]."""
        yaw = (self.heading if self.heading <= HEADINGS // 2 else self.heading - HEADINGS) * TURN_RAD
        return np.array([*self.at, yaw])

    def drive(self, field: DistanceField, *, within_m: float, most_steps: int = 400) -> bool:
        """Drives until the goal of `field` is `within_m` away or no step comes nearer; returns whether it is near.

        The field must be that of the goal; it gives up after `most_steps` actions.
        """
        steps = 0
        while (left_m := field.at(self.at)) > within_m and steps < most_steps:
            heading, reached_m = self._best(field)
            if reached_m > left_m - LEAST_GAIN_M:
                return False
            steps += self._turn(heading) + 1
            self.at = self.at + FORWARD_M * _DIRECTIONS[heading]
            self._act(FORWARD)
        return left_m <= within_m

    def face(self, point_m: PointLike) -> None:
        """Turns towards (x, y), to within 5 degrees."""
        self._turn(heading_towards(self.at, point_m))

    def _best(self, field: DistanceField) -> tuple[int, float]:
        """Returns the heading of the best next step, and the distance that is left after it."""
        ahead = self.at + FORWARD_M * _DIRECTIONS
        left = field.at_all(ahead)
        left[~self._floor.open_lines(self.at, ahead)] = np.inf
        turns = np.abs(_turns(self.heading, np.arange(HEADINGS)))
        heading = int(np.argmin(left + TURN_COST_M * turns))
        return heading, float(left[heading])

    def _turn(self, heading: int) -> int:
        """Turns to `heading` by the shorter way; returns the number of actions."""
        turns = int(_turns(self.heading, heading))
        for _ in range(abs(turns)):
            self.heading = (self.heading + (1 if turns > 0 else -1)) % HEADINGS
            self._act(TURN_LEFT if turns > 0 else TURN_RIGHT)
        return abs(turns)


def heading_towards(at: np.ndarray, point_m: PointLike) -> int:
    """Returns the heading, in tens of degrees from 0 to 35, that is nearest to the direction from `at` to a point."""
    angle = np.arctan2(float(point_m[1]) - at[1], float(point_m[0]) - at[0])
    return int(np.rint(angle / TURN_RAD)) % HEADINGS


def _turns(heading: int, wanted: np.ndarray | int) -> np.ndarray:
    return (np.asarray(wanted) - heading + HEADINGS // 2) % HEADINGS - HEADINGS // 2
