"""The routine that runs each skill, by the skill's name."""

from collections.abc import Callable, Mapping
from typing import Any

from embodied.controllers.handler import HandlerContext
from embodied.controllers.routine import Routine
from embodied.controllers.skills.basic import drive, move
from embodied.controllers.skills.mechanisms import close_joint, open_joint, press
from embodied.controllers.skills.transport import pick, place
from embodied.types import WorldState

ROUTINES: Mapping[str, Callable[[HandlerContext, Mapping[str, Any], WorldState], Routine]] = {
    "move": move,
    "press": press,
    "pick": pick,
    "place": place,
    "open": open_joint,
    "close": close_joint,
    "drive": drive,
}
