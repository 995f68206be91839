"""ActionChunk: consecutive actions of a rated space, each carried out in exactly its own period."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from embodied.controllers.action_spaces import (
    BASE_VELOCITY,
    EE_DELTA,
    JOINT_POSITION,
    KEYFRAME,
    action_space,
    action_space_names,
    rotation_from_6d,
)
from embodied.controllers.checks import check_end_effector
from embodied.controllers.handler import HandlerContext
from embodied.controllers.motion.tool_track import InfeasibleRowError, MovingBaseTrack, ToolTrack, require_speed
from embodied.controllers.shared_grasp import other_holder, shared_grasp
from embodied.errors import IntentError, SpecError
from embodied.robots.commands import arm_command
from embodied.robots.kinematics import kinematics
from embodied.robots.robot import RobotModel
from embodied.specs import ActionSpec, Field, periods_per_row
from embodied.types import ActionChunk, Command, ControllerReport, ControllerStatus, WorldState


class ChunkHandler:
    """Carries out the rows of a chunk in time: N rows take exactly N periods of the space's rate.

    Between rows, joints and tool poses are interpolated at the control rate, from where the arm was last commanded;
    base velocities and gripper openings are those of the present row. Steps of `ee_delta` add up on the commanded pose,
    not on the measured one. Collisions are not checked. All joint targets are computed when the chunk begins, so a row
    that is out of reach, or that requires more than the full speed of a joint, fails the chunk before anything moves;
    motions are never slowed down. On wheels, tool poses stay fixed in the world while the base still rolls or yields:
    their joint targets are computed again in each period from the pose of the base.
    """

    def __init__(self, context: HandlerContext) -> None:
        self._context = context
        self._arm_commands = np.zeros((0, 0))

    @staticmethod
    def suits(model: RobotModel, /) -> bool:
        """Returns whether the robot has an arm or wheels."""
        return bool(model.arms) or model.drive is not None

    def begin(self, intent: ActionChunk, state: WorldState, *, seed: int) -> ControllerReport | None:
        """Starts on all rows, or on none: returns a FAILED report that names the first row that cannot be done.

        Raises `IntentError` for a space that the robot lacks, a rate that does not divide the control rate, and rows
        of the wrong shape or out of bounds.
        """
        del seed
        space, periods = self._checked(intent)
        rows = np.array(intent.values, dtype=np.float64)  # A copy: the caller may change its array.
        self._rows, self._periods, self._period = rows, periods, 0
        self._gripper = space.columns("gripper") if "gripper" in {field.name for field in space.fields} else None
        self._space = space.name
        if space.name == BASE_VELOCITY:
            return None
        self._arm = self._context.model.end_effector(space.end_effector)
        try:
            self._arm_commands = self._arm_targets(space, rows, state)
        except InfeasibleRowError as error:
            return ControllerReport(ControllerStatus.FAILED, str(error))
        return self._refusal(state)

    def tick(self, state: WorldState) -> Command | ControllerReport:
        """Returns the command of the next control period; DONE once every row has had its own.

        FAILED where another gripper of the robot has come to hold the same body.
        """
        row, period = self._period // self._periods, self._period
        if row == len(self._rows):
            return ControllerReport(ControllerStatus.DONE)
        report = self._refusal(state)
        if report is not None:
            return report
        self._period += 1
        if self._space == BASE_VELOCITY:
            return Command(base_velocity=self._rows[row])
        joints = self._arm_commands[period]
        if self._track is not None:
            try:
                joints = self._track.joints(period, state.robots[self._context.robot].base)
            except InfeasibleRowError as error:
                return ControllerReport(ControllerStatus.FAILED, f"row {row}: {error}")
        gripper = None if self._gripper is None else float(np.clip(self._rows[row, self._gripper][0], 0.0, 1.0))
        return arm_command(self._context.model, self._arm, joints, gripper)

    def _refusal(self, state: WorldState) -> ControllerReport | None:
        if self._space == BASE_VELOCITY or other_holder(state, self._context.robot, self._arm.name) is None:
            return None
        moving = kinematics(self._context.model, self._arm.name)
        return shared_grasp(self._context.robot, state, moving, self._arm_commands[self._period : self._opens(state)])

    def _opens(self, state: WorldState) -> int | None:
        """Returns the first period to come in which the gripper is asked to open, None where there is none."""
        name, begun = self._arm.name, -(-self._period // self._periods)
        if self._gripper is None:
            return None
        now = state.robots[self._context.robot].end_effectors[name].gripper
        openings = [self._context.targets.gripper.get(name, now), *self._rows[begun:, self._gripper][:, 0]]
        wider = (begun + row for row, (last, new) in enumerate(pairwise(openings)) if new > last)
        first = next(wider, None)
        return None if first is None else first * self._periods

    def _checked(self, intent: ActionChunk) -> tuple[ActionSpec, int]:
        settings, model = self._context.settings, self._context.model
        given = intent.space
        if not isinstance(given, ActionSpec):
            raise IntentError("ActionChunk.space must be an ActionSpec.", value=type(given).__name__)
        rated = [name for name in action_space_names(model) if name != KEYFRAME]
        if given.name not in rated or given.rate_hz is None:
            raise IntentError(
                f"A chunk for {self._context.robot!r} ({model.name}) must be of one of its rated spaces, {rated}.",
                value=(given.name, given.rate_hz),
            )
        if given.name != BASE_VELOCITY:
            check_end_effector(given.end_effector, self._context.robot, model)
        own = action_space(given.name, model, settings, rate_hz=given.rate_hz, end_effector=given.end_effector)
        if _layout(given) != _layout(own):
            raise IntentError(
                f"Space {given.name!r} must have the fields that {self._context.robot!r} takes, {_layout(own)}.",
                value=_layout(given),
                remedy="Take the space from `controllers.action_spaces.action_space`.",
            )
        given.check(intent.values)
        own.check(intent.values)
        try:
            return own, periods_per_row(
                given.rate_hz, 1.0 / self._context.period_s, what=f"action space {given.name!r}"
            )
        except SpecError as error:
            raise IntentError(error.rule, value=error.value, remedy=error.remedy) from error

    def _arm_targets(self, space: ActionSpec, rows: np.ndarray, state: WorldState) -> np.ndarray:
        """Returns joint targets (N * periods, J). Raises `InfeasibleRowError` naming the row."""
        moving, here = kinematics(self._context.model, space.end_effector), state.robots[self._context.robot]
        measured = here.joint_position_rad[moving.columns]
        commanded = self._context.targets.joint_position_rad.get(moving.arm.name, measured)
        start = np.clip(commanded, moving.lower_rad, moving.upper_rad)
        self._track = None
        if space.name == JOINT_POSITION:
            goals = np.clip(rows[:, space.columns("joints")], moving.lower_rad, moving.upper_rad)
            path = np.concatenate(list(_interpolated(start, goals, self._periods)))
        else:
            track = ToolTrack(moving, here.base, start, self._periods)
            if space.name == EE_DELTA:
                path = track.follow_steps(rows[:, space.columns("translation")], rows[:, space.columns("rotation")])
            else:
                turns = [_rotation(index, row[space.columns("rotation_6d")]) for index, row in enumerate(rows)]
                path = track.follow(rows[:, space.columns("position")], turns)
            if not self._context.model.fixed:
                self._track = MovingBaseTrack(moving, track.poses, start, period_s=self._context.period_s)
        require_speed(moving.arm, np.concatenate([start[None], path]), self._context.period_s, self._periods)
        return path


def _rotation(row: int, values: np.ndarray) -> np.ndarray:
    rotation = rotation_from_6d(values)
    if rotation is None:
        raise IntentError(
            "The two columns of rotation_6d must differ in direction and not vanish.",
            value=(row, values.tolist()),
            remedy="The whole chunk was refused and nothing moved.",
        )
    return rotation


def _interpolated(start: np.ndarray, goals: np.ndarray, periods: int) -> Iterator[np.ndarray]:
    share = np.arange(1, periods + 1)[:, None] / periods
    for before, after in zip([start, *goals[:-1]], goals, strict=True):
        yield before + share * (after - before)


def _layout(space: ActionSpec) -> list[tuple[str, tuple[int, ...], str, str]]:
    def described(field: Field) -> tuple[str, tuple[int, ...], str, str]:
        return field.name, field.shape, field.unit, field.frame

    return [described(field) for field in space.fields]
