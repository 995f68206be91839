"""Move and drive: the tool or the base to a position, as skills that planners can name."""

from collections.abc import Mapping
from typing import Any

from embodied.controllers.handler import HandlerContext
from embodied.controllers.routine import DONE, Routine, perform
from embodied.types import GoTo, MoveTo, WorldState


def move(context: HandlerContext, arguments: Mapping[str, Any], state: WorldState) -> Routine:
    """Brings the tool to `position_m`, turned as it is; the gripper stays open or closed.

    It runs in `context` from `state`, with `arguments` as declared by the skill.
    """
    arm = context.model.end_effector(arguments.get("end_effector", ""))
    here = state.robots[context.robot].end_effector(arm.name)
    is_open = here.held is None and here.gripper > 0.5
    x, y, z = (float(value) for value in arguments["position_m"])
    yield from perform(MoveTo((x, y, z), here.tool.orientation, is_open, end_effector=arm.name))
    return DONE


def drive(context: HandlerContext, arguments: Mapping[str, Any], state: WorldState) -> Routine:
    """Brings the base to the x and y of `position_m`, at any heading.

    It runs in `context` from `state`, with `arguments` as declared by the skill.
    """
    del context, state
    x, y, _ = (float(value) for value in arguments["position_m"])
    yield from perform(GoTo((x, y)))
    return DONE
