"""MoveTo: a planned, collision-checked reach, then the gripper."""

from enum import Enum, auto

import numpy as np

from embodied.controllers.checks import check_end_effector, check_flag, check_orientation, check_position
from embodied.controllers.handler import HandlerContext
from embodied.controllers.motion.collision_world import CollisionWorld
from embodied.controllers.motion.planner import Planner
from embodied.controllers.motion.timing import timed_path
from embodied.controllers.shared_grasp import other_holder, refusal, shared_grasp
from embodied.geometry import Pose, angle_between, compose
from embodied.robots.commands import arm_command
from embodied.robots.kinematics import kinematics, transform_from_pose
from embodied.robots.robot import RobotModel
from embodied.types import Command, ControllerReport, ControllerStatus, MoveTo, RobotState, WorldState

DONE = ControllerReport(ControllerStatus.DONE)


class _Phase(Enum):
    MOVE = auto()
    SETTLE = auto()
    GRIP = auto()


class MoveToHandler:
    """Brings one arm's tool to a keyframe: path, settling, gripper, in this order."""

    def __init__(self, context: HandlerContext) -> None:
        self._scene = context.scene
        self._robot = context.robot
        self._model = context.model
        self._settings = context.settings
        self._period_s = context.period_s
        self._assets = context.asset_root
        self._worlds: dict[tuple[str, str | None], CollisionWorld] = {}  # By end effector and held body.
        self.plan_method = ""

    @staticmethod
    def suits(model: RobotModel, /) -> bool:
        """Returns whether the robot has an arm."""
        return bool(model.arms)

    def begin(self, intent: MoveTo, state: WorldState, *, seed: int) -> ControllerReport | None:
        """Plans the move; returns a FAILED report with the reason where there is no way. Raises `IntentError`."""
        check_end_effector(intent.end_effector, self._robot, self._model)
        check_position(intent.position_m, "MoveTo.position_m")
        check_orientation(intent.orientation, "MoveTo.orientation")
        check_flag(intent.gripper_open, "MoveTo.gripper_open")
        check_flag(intent.avoid_collisions, "MoveTo.avoid_collisions")
        self._intent, self._seed = intent, seed
        self._moving = kinematics(self._model, intent.end_effector)
        self._target = Pose(intent.position_m, intent.orientation)
        self._corrections_left = 0 if self._model.fixed else self._settings.arrival.corrections
        self._opening = float(intent.gripper_open) if self._moving.arm.gripper is not None else None
        return self._plan(state) if self._shared_with(state) is None else self._stay(state)

    def _world_at(self, state: WorldState, end_effector: str) -> CollisionWorld:
        """Returns the obstacles of the arm; their geometry is reused when it holds the same body again."""
        key = (end_effector, state.robots[self._robot].end_effector(end_effector).held)
        world = self._worlds.get(key)
        if world is None or not world.renew(state):
            world = CollisionWorld(self._scene, self._robot, state, end_effector=end_effector, assets=self._assets)
            self._worlds[key] = world
        return world

    def _plan(self, state: WorldState) -> ControllerReport | None:
        here, intent = state.robots[self._robot], self._intent
        target = transform_from_pose(here.base).actInv(transform_from_pose(self._target))
        world = None
        if intent.avoid_collisions:
            world = self._world_at(state, intent.end_effector)
        planner = Planner(self._moving, self._settings.planner)
        plan = planner.plan(here.joint_position_rad[self._moving.columns], target, world, seed=self._seed)
        self.plan_method = plan.method
        if plan.waypoints_rad is None:
            return ControllerReport(ControllerStatus.FAILED, plan.reason)
        limits = self._settings.speed_limits(self._moving.arm)
        self._path = timed_path(self._moving, plan.waypoints_rad, limits, self._period_s)
        self._enter(_Phase.MOVE)
        self._last_opening = self._opening_of(here)
        return None

    def _shared_with(self, state: WorldState) -> str | None:
        return other_holder(state, self._robot, self._moving.arm.name)

    def _stay(self, state: WorldState) -> ControllerReport | None:
        """Keeps an arm still that must not move; FAILED unless the tool counts as having arrived where it is."""
        here, name = state.robots[self._robot], self._moving.arm.name
        if self._judge(here) is not DONE:
            return refusal(state, self._robot, name, self._shared_with(state) or "")
        self._path = here.joint_position_rad[None, self._moving.columns]
        self._corrections_left = 0
        self._enter(_Phase.MOVE)
        self._last_opening = self._opening_of(here)
        return None

    def tick(self, state: WorldState) -> Command | ControllerReport:
        """Returns the next command, or how the move ended."""
        here = state.robots[self._robot]
        if self._phase is _Phase.MOVE and self._periods == len(self._path):
            self._enter(_Phase.SETTLE)
        if self._phase is _Phase.MOVE:
            report = shared_grasp(self._robot, state, self._moving, self._path[self._periods :])
            if report is not None:
                return report
        if self._phase is _Phase.SETTLE:
            report = self._arrived(state)
            if report is not None and (report.status is ControllerStatus.FAILED or self._opening is None):
                return report
            if report is not None:
                self._enter(_Phase.GRIP)
        if self._phase is _Phase.GRIP and self._gripped(here):
            return DONE
        goal = self._path[min(self._periods, len(self._path) - 1)] if self._phase is _Phase.MOVE else self._path[-1]
        self._periods += 1
        # Until the tool has arrived the gripper keeps its last target, so that it does not drop a body.
        opening = self._opening if self._phase is _Phase.GRIP else None
        return arm_command(self._model, self._moving.arm, goal, opening)

    def _arrived(self, state: WorldState) -> ControllerReport | None:
        here = state.robots[self._robot]
        report = self._settled(here)
        if report is None or self._corrections_left == 0 or self._error(here)[0] <= self._settings.arrival.correction_m:
            return report
        self._corrections_left -= 1
        return self._plan(state)

    def _enter(self, phase: _Phase) -> None:
        self._phase, self._periods, self._still = phase, 0, 0

    def _settled(self, here: RobotState) -> ControllerReport | None:
        arrival = self._settings.arrival
        own = self._moving.columns
        error = np.abs(here.joint_position_rad[own] - self._path[-1]).max()
        speed = np.abs(here.joint_velocity_radps[own]).max()
        self._still = self._still + 1 if speed <= arrival.still_radps else 0
        if error <= arrival.joint_tolerance_rad and self._still > 0:
            return self._judge(here)
        late = self._periods * self._period_s >= arrival.settle_limit_s
        if self._still < arrival.still_periods and not late:
            return None
        return self._judge(here)

    def _error(self, here: RobotState) -> tuple[float, float]:
        tool = compose(here.base, self._moving.tool(here.joint_position_rad[self._moving.columns]))
        metres = float(np.linalg.norm(np.subtract(tool.position_m, self._target.position_m)))
        return metres, angle_between(tool.orientation, self._target.orientation)

    def _judge(self, here: RobotState) -> ControllerReport:
        arrival = self._settings.arrival
        metres, radians = self._error(here)
        if metres > arrival.tool_tolerance_m:
            return ControllerReport(ControllerStatus.FAILED, f"blocked: tool is {metres * 1000:.0f} mm from its goal")
        if radians > arrival.tool_tolerance_rad:
            return ControllerReport(ControllerStatus.FAILED, f"blocked: tool is turned {radians:.2f} rad from its goal")
        return DONE

    def _opening_of(self, here: RobotState) -> float:
        return here.end_effector(self._intent.end_effector).gripper

    def _gripped(self, here: RobotState) -> bool:
        arrival = self._settings.arrival
        opening = self._opening_of(here)
        still = abs(opening - self._last_opening) <= arrival.gripper_still
        self._still = self._still + 1 if still else 0
        self._last_opening = opening
        # The motion of the fingers is visible only after two periods.
        rested = self._periods >= 2 and self._still >= 2
        return rested or self._periods * self._period_s >= arrival.gripper_limit_s
