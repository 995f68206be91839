"""The skills that controllers can run, by name: a new skill is a routine and an entry here."""

from collections.abc import Mapping

from embodied.controllers.skills.basic import drive, move
from embodied.controllers.skills.definition import Argument, SkillDefinition
from embodied.controllers.skills.mechanisms import close_joint, open_joint, press
from embodied.controllers.skills.transport import pick, place
from embodied.robots.robot import RobotModel

_OBJECT, _WITH = Argument("object", required=True), Argument("end_effector")


def _has_gripper(model: RobotModel) -> bool:
    return any(arm.gripper is not None for arm in model.arms)


def _has_arm(model: RobotModel) -> bool:
    return bool(model.arms)


def _has_wheels(model: RobotModel) -> bool:
    return model.drive is not None


_AT = ("at(robot, position)",)
_POSITION = Argument("position_m", "position", required=True)


# Durations are the median ones of the scripted expert on MemoryBench.
_SKILLS = (
    SkillDefinition("move", (_POSITION, _WITH), _has_arm, move, effects=_AT, duration_s=0.85),
    SkillDefinition("press", (_OBJECT, _WITH), _has_arm, press, effects=("pressed(object)",), duration_s=0.35),
    SkillDefinition(
        "pick", (_OBJECT, _WITH), _has_gripper, pick, ("hand_empty(robot)",), ("held_by(object, robot)",), 0.65
    ),
    SkillDefinition(
        "place",
        (_OBJECT, Argument("on"), Argument("at", "position"), _WITH),
        _has_gripper,
        place,
        ("held_by(object, robot)",),
        ("hand_empty(robot)",),
        0.55,
    ),
    SkillDefinition(
        "open", (_OBJECT, _WITH), _has_gripper, open_joint, ("hand_empty(robot)",), ("open(object)",), 0.35
    ),
    SkillDefinition(
        "close", (_OBJECT, _WITH), _has_gripper, close_joint, ("hand_empty(robot)",), ("closed(object)",), 0.85
    ),
    SkillDefinition("drive", (_POSITION,), _has_wheels, drive, effects=_AT),
)
SKILLS: Mapping[str, SkillDefinition] = {skill.name: skill for skill in _SKILLS}


def skills_of(model: RobotModel) -> tuple[SkillDefinition, ...]:
    """Returns the skills that the controller of a robot of `model` can run."""
    return tuple(skill for skill in SKILLS.values() if skill.suits(model))
