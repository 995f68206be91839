"""A skill of one's own: the tool rises."""

from collections.abc import Mapping
from typing import Any

from embodied.controllers.handler import HandlerContext
from embodied.controllers.routine import DONE, Routine, perform
from embodied.controllers.skills.definition import Argument, SkillDefinition
from embodied.robots.robot import RobotModel
from embodied.types import MoveTo, WorldState


def has_arm(model: RobotModel) -> bool:
    return bool(model.arms)


def rise(context: HandlerContext, arguments: Mapping[str, Any], state: WorldState) -> Routine:
    here = state.robots[context.robot].end_effector("")
    x, y, z = here.tool.position_m
    up_m = float(arguments.get("up_m", 0.05))
    yield from perform(MoveTo((x, y, z + up_m), here.tool.orientation, here.gripper > 0.5))
    return DONE


RISE = SkillDefinition("rise", (Argument("up_m", "number"),), has_arm, duration_s=0.5, routine=rise)
