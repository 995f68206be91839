"""Which handler carries out which intent: a new kind of intent is a new file and one line here."""

from collections.abc import Mapping

from embodied.controllers.base.drive import DriveHandler
from embodied.controllers.base.go_to import GoToHandler
from embodied.controllers.chunk import ChunkHandler
from embodied.controllers.handler import HandlerType
from embodied.controllers.motion.delta_pose import DeltaPoseHandler
from embodied.controllers.motion.move_to import MoveToHandler
from embodied.controllers.skills.handler import SkillHandler
from embodied.controllers.wait import WaitHandler
from embodied.robots.robot import RobotModel
from embodied.types import ActionChunk, DeltaPose, Drive, GoTo, MoveTo, Skill, Wait

HANDLERS: Mapping[type, HandlerType] = {
    MoveTo: MoveToHandler,
    DeltaPose: DeltaPoseHandler,
    Drive: DriveHandler,
    GoTo: GoToHandler,
    Skill: SkillHandler,
    Wait: WaitHandler,
    ActionChunk: ChunkHandler,
}


def handled_intents(model: RobotModel) -> frozenset[type]:
    """Returns the types of intents that the controller of a robot of `model` carries out."""
    return frozenset(intent for intent, handler in HANDLERS.items() if handler.suits(model))
