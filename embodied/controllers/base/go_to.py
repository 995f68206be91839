"""GoTo: drives the base to a place in the world, around obstacles."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from embodied.controllers.base.follow import FollowHandler, FollowPath
from embodied.controllers.checks import check_number, check_position
from embodied.controllers.handler import HandlerContext
from embodied.controllers.motion.footprint import loaded_radius_m, turning_radius_m
from embodied.controllers.motion.move_to import MoveToHandler
from embodied.controllers.routine import Routine, RoutineRunner, failed
from embodied.geometry import compose
from embodied.robots.assets import asset_root
from embodied.robots.catalogue import robot_model
from embodied.robots.kinematics import kinematics
from embodied.robots.robot import RobotModel
from embodied.scenes.free_space import FreeSpace
from embodied.scenes.occupancy import GridOptions, occupancy_grid
from embodied.types import Command, ControllerReport, ControllerStatus, GoTo, MoveTo, RobotState, WorldState

SAFETY_M = 0.02  # Added to the turning radius for deviations from the path.
LOWEST_M, ABOVE_ARM_M = 0.03, 1.6  # Bodies between these heights above the floor are obstacles.
LOWEST_WITHOUT_ARM_M = 0.4
FOLDED_M = 0.02  # A robot that protrudes further than this from its base folds its arms.
BACK_OFF_M = 1.0  # The largest straight motion of a base without space to turn.
REPLANS = 1


class GoToHandler:
    """Folds the arms where they protrude, plans on the floor plan of the scene, and follows the path.

    The robot is represented by a disc that contains it at any heading. A base without space to turn first backs off, or
    goes ahead, straight. A blocked path is planned again once.
    """

    def __init__(self, context: HandlerContext) -> None:
        self._context = context
        self._runner = RoutineRunner({FollowPath: FollowHandler(context), MoveTo: MoveToHandler(context)})
        self._assets = Path(context.asset_root) if context.asset_root else asset_root()

    @staticmethod
    def suits(model: RobotModel, /) -> bool:
        """Returns whether the robot has wheels."""
        return model.drive is not None

    def begin(self, intent: GoTo, state: WorldState, *, seed: int) -> ControllerReport | None:
        """Starts; returns a FAILED report where there is no way. Raises `IntentError`."""
        check_position(intent.position_m, "GoTo.position_m", 2)
        if intent.yaw_rad is not None:
            check_number(intent.yaw_rad, "GoTo.yaw_rad")
        return self._runner.begin(self._go(intent, state), state, seed=seed)

    def tick(self, state: WorldState) -> Command | ControllerReport:
        """Returns the next command, or how the drive ended."""
        return self._runner.tick(state)

    def _go(self, intent: GoTo, state: WorldState) -> Routine:
        report = failed("the way is blocked")
        for move in self._folding(state):
            state, report = yield move
            if report.status is not ControllerStatus.DONE:
                return failed(f"the arm cannot be folded for driving: {report.reason}")
        for _ in range(1 + REPLANS):
            space = self._space(state, intent)
            here = state.robots[self._context.robot].base.position_m[:2]
            if not space.contains(here):
                escape = self._escape(space, state)
                if escape is None:
                    return failed(f"the base has no room to turn beside {space.grid.nearest_body(here)!r}")
                state, report = yield escape
                space, here = self._space(state, intent), state.robots[self._context.robot].base.position_m[:2]
            corners = space.path(here, intent.position_m)
            if corners is None:
                return failed(_why_not(space, here, intent.position_m))
            state, report = yield FollowPath(corners, intent.yaw_rad, obstacle=self._obstacle)
            if report.status is ControllerStatus.DONE:
                break
        return report

    def _folding(self, state: WorldState) -> Iterator[MoveTo]:
        model, here = self._context.model, state.robots[self._context.robot]
        if not model.arms or self._radius_m(state) <= self._base_radius_m() + FOLDED_M:
            return
        for arm in model.arms:
            if arm.stow_rad is not None:
                stow = compose(here.base, kinematics(model, arm.name).tool(np.array(arm.stow_rad)))
                one = here.end_effector(arm.name)
                is_open = one.held is None and one.gripper > 0.5
                yield MoveTo(stow.position_m, stow.orientation, is_open, end_effector=arm.name)

    def _base_radius_m(self) -> float:
        stowed = [arm.stow_rad or arm.home_rad for arm in self._context.model.arms]
        return turning_radius_m(self._context.model, np.array([angle for arm in stowed for angle in arm]))

    def _radius_m(self, state: WorldState) -> float:
        context = self._context
        return loaded_radius_m(context.scene, context.model, state.robots[context.robot], state, context.asset_root)

    def _space(self, state: WorldState, intent: GoTo) -> FreeSpace:
        context = self._context
        here = state.robots[context.robot]
        floor_m = here.base.position_m[2]
        top_m = ABOVE_ARM_M if context.model.arms else LOWEST_WITHOUT_ARM_M
        options = GridOptions(
            heights_m=(floor_m + LOWEST_M, floor_m + top_m),
            floor_m=floor_m,
            without={one.held for one in here.end_effectors.values() if one.held is not None},
            asset_root=self._assets,
        )
        others = {
            robot.name: _disc(robot_model(robot.model), state.robots[robot.name])
            for robot in context.scene.robots
            if robot.name != context.robot
        }
        (x, y, _), (goal_x, goal_y) = here.base.position_m, intent.position_m
        around = [(x, y), (float(goal_x), float(goal_y))]
        grid = occupancy_grid(context.scene, state.pose, options, around_m=around, discs=others)
        return FreeSpace(grid, self._radius_m(state) + SAFETY_M)

    def _escape(self, space: FreeSpace, state: WorldState) -> FollowPath | None:
        """Returns the shortest straight way back or ahead to a place with room to turn, None where there is none."""
        base = state.robots[self._context.robot].base
        here, ahead = np.array(base.position_m[:2]), np.array([np.cos(base.yaw_rad), np.sin(base.yaw_rad)])
        gap_m = space.grid.clearance_at(here)
        for sign in (-1.0, 1.0):
            for distance in np.arange(space.grid.cell_m, BACK_OFF_M, space.grid.cell_m):
                place = here + sign * distance * ahead
                if space.grid.clearance_at(place) < gap_m - space.grid.cell_m:
                    break
                if space.contains(place):
                    return FollowPath(np.array([here, place + sign * 0.03 * ahead]), backwards=sign < 0)
        return None

    def _obstacle(self, state: WorldState, rest_m: np.ndarray) -> str:
        """Returns the name of what blocks the rest of the path now, "" for nothing."""
        goal_x, goal_y = rest_m[-1]
        space = self._space(state, GoTo((float(goal_x), float(goal_y))))
        # A small deviation from the path does not count as blocked.
        bare = FreeSpace(space.grid, space.radius_m - 2 * SAFETY_M)
        for begin, end in pairwise(rest_m):
            place = bare.first_blocked(begin, end)
            if place is not None:
                return space.grid.nearest_body(place)
        return ""


def _disc(model: RobotModel, state: RobotState) -> tuple[float, float, float]:
    x, y, _ = state.base.position_m
    return x, y, turning_radius_m(model, state.joint_position_rad)


def _why_not(space: FreeSpace, start_m: tuple[float, ...], goal_m: tuple[float, float]) -> str:
    if not space.contains(goal_m):
        return f"the goal is too near {space.grid.nearest_body(goal_m)!r} for the base"
    place = space.first_blocked(start_m, goal_m)
    return f"the way is blocked by {space.grid.nearest_body(place or goal_m)!r}"
