"""Skill: a named composition of moves."""

from embodied.controllers.base.go_to import GoToHandler
from embodied.controllers.checks import check_end_effector
from embodied.controllers.chunk import ChunkHandler
from embodied.controllers.handler import HandlerContext
from embodied.controllers.motion.delta_pose import DeltaPoseHandler
from embodied.controllers.motion.move_to import MoveToHandler
from embodied.controllers.routine import RoutineRunner
from embodied.controllers.skills.registry import SKILLS, skills_of
from embodied.controllers.skills.routines import ROUTINES
from embodied.errors import IntentError
from embodied.robots.robot import RobotModel
from embodied.types import ActionChunk, Command, ControllerReport, DeltaPose, GoTo, MoveTo, Skill, WorldState


class SkillHandler:
    """Runs the skills of one robot. All but `drive` leave the base where it is: out of reach they fail, `unreachable`.

    A FAILED report says why in words: what is in the way, that nothing was grasped, or that a joint did not follow.
    """

    def __init__(self, context: HandlerContext) -> None:
        self._context = context
        self._skills = {skill.name: skill for skill in skills_of(context.model)}
        handlers = {
            MoveTo: MoveToHandler,
            DeltaPose: DeltaPoseHandler,
            GoTo: GoToHandler,
            ActionChunk: ChunkHandler,
        }
        self._runner = RoutineRunner(
            {intent: handler(context) for intent, handler in handlers.items() if handler.suits(context.model)}
        )

    @staticmethod
    def suits(model: RobotModel, /) -> bool:
        """Returns whether the robot can run any skill."""
        return bool(skills_of(model))

    def begin(self, intent: Skill, state: WorldState, *, seed: int) -> ControllerReport | None:
        """Starts; returns a FAILED report where the skill cannot begin.

        Raises `IntentError` for other arguments, and `PluginError` for a skill from outside that is broken.
        """
        skill = self._skills.get(intent.name) if isinstance(intent.name, str) else None
        if skill is None:
            if isinstance(intent.name, str) and SKILLS.outside(intent.name):
                SKILLS[intent.name]  # Raises what is broken about it.
            raise IntentError(
                f"A skill of {self._context.robot!r} ({self._context.model.name}) must be one that it has.",
                value=intent.name,
                remedy=f"It has: {', '.join(sorted(self._skills))}.",
            )
        skill.check(intent.arguments)
        if self._context.model.arms:
            check_end_effector(intent.arguments.get("end_effector", ""), self._context.robot, self._context.model)
        routine = skill.routine or ROUTINES[skill.name]
        return self._runner.begin(routine(self._context, intent.arguments, state), state, seed=seed)

    def tick(self, state: WorldState) -> Command | ControllerReport:
        """Returns the next command, or how the skill ended."""
        return self._runner.tick(state)
