"""The true state of the world. Privileged: only tasks, experts and judges read it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from embodied.errors import SpecError, unknown_name
from embodied.geometry import Pose
from embodied.types.events import PartColours, Properties


@dataclass(frozen=True, eq=False)
class EndEffectorState:
    """One end effector, privileged.

    `tool` is the pose of its tool frame in the world; `gripper` the opening in [0, 1], 0 where it cannot grasp;
    `held` the name of the grasped body, or None; `fingers` the positions of the finger joints, m or rad.
    """

    tool: Pose
    gripper: float = 0.0
    held: str | None = None
    fingers: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class RobotState:
    """One robot, privileged. `joint_position_rad` and `joint_velocity_radps` (J,) of all arms, J = 0 without one.

    `base` is the pose of its base frame in the world; `end_effectors` by name, in the order of the model's arms;
    `wheels_rad` the angles of its wheels, which cameras see, () where a simulator has none.
    """

    joint_position_rad: np.ndarray
    joint_velocity_radps: np.ndarray
    base: Pose
    end_effectors: Mapping[str, EndEffectorState] = field(default_factory=dict)
    wheels_rad: tuple[float, ...] = ()

    def end_effector(self, name: str = "") -> EndEffectorState:
        """Returns the end effector called `name`, "" for the only one.

        Raises `UnknownNameError`, and `SpecError` where a name is needed or there is none.
        """
        if name:
            if name not in self.end_effectors:
                raise unknown_name("end effector", name, self.end_effectors)
            return self.end_effectors[name]
        if len(self.end_effectors) != 1:
            raise SpecError(
                "The end effector of a robot must be named where it has other than one.",
                value=name,
                remedy=f"It has: {', '.join(self.end_effectors) or 'none'}.",
            )
        return next(iter(self.end_effectors.values()))

    @property
    def tool(self) -> Pose | None:
        """The tool pose of the only end effector, None without one. Raises `SpecError` where there are several."""
        return self.end_effector().tool if self.end_effectors else None

    @property
    def gripper(self) -> float:
        """The opening of the only end effector, 0 without one. Raises `SpecError` where there are several."""
        return self.end_effector().gripper if self.end_effectors else 0.0


@dataclass(frozen=True, eq=False)
class WorldState:
    """The true state of the world. Privileged: it never leaves the worker, and only tasks and experts read it.

    `pose` by body name; `joint` by scene joint name, m or rad; `contact` pairs of body or robot names, sorted within
    the pair (a robot whose arms touch each other pairs with itself); `held` as `held_bodies` makes it: the grasped
    body, or None, by holder. `properties` of those bodies that have any; `colours` are those that events have set.
    """

    time_s: float
    pose: Mapping[str, Pose]
    joint: Mapping[str, float]
    contact: frozenset[tuple[str, str]]
    held: Mapping[str, str | None]
    robots: Mapping[str, RobotState]
    properties: Properties = field(default_factory=dict)
    colours: PartColours = field(default_factory=dict)


def holder_name(robot: str, end_effector: str, *, only: bool) -> str:
    """Returns the key of an end effector in `WorldState.held`, its holder.

    It is the robot's name for the `only` one of a robot, else `robot/end_effector`; names of robots have no slash.
    """
    return robot if only else f"{robot}/{end_effector}"


def robot_of(holder: str) -> str:
    """Returns the robot to which a key of `WorldState.held` belongs."""
    return holder.partition("/")[0]


def held_bodies(robots: Mapping[str, RobotState]) -> dict[str, str | None]:
    """Returns `WorldState.held` of these robots, keyed by `holder_name`; a robot without end effectors holds None."""
    held: dict[str, str | None] = {}
    for robot, state in robots.items():
        only = len(state.end_effectors) == 1
        if not state.end_effectors:
            held[robot] = None
        for name, end_effector in state.end_effectors.items():
            held[holder_name(robot, name, only=only)] = end_effector.held
    return held
