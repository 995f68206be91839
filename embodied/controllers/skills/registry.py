"""The skills that controllers can run, by name: a new one of ours is an entry here and in `routines`."""

from typing import Any

from embodied.controllers.skills.definition import Argument, SkillDefinition
from embodied.plugins import Registry
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
    SkillDefinition("move", (_POSITION, _WITH), _has_arm, effects=_AT, duration_s=0.85),
    SkillDefinition("press", (_OBJECT, _WITH), _has_arm, effects=("pressed(object)",), duration_s=0.35),
    SkillDefinition("pick", (_OBJECT, _WITH), _has_gripper, ("hand_empty(robot)",), ("held_by(object, robot)",), 0.65),
    SkillDefinition(
        "place",
        (_OBJECT, Argument("on"), Argument("at", "position"), _WITH),
        _has_gripper,
        ("held_by(object, robot)",),
        ("hand_empty(robot)",),
        0.55,
    ),
    SkillDefinition("open", (_OBJECT, _WITH), _has_gripper, ("hand_empty(robot)",), ("open(object)",), 0.35),
    SkillDefinition("close", (_OBJECT, _WITH), _has_gripper, ("hand_empty(robot)",), ("closed(object)",), 0.85),
    SkillDefinition("drive", (_POSITION,), _has_wheels, effects=_AT),
)


def _skill(name: str, value: Any) -> SkillDefinition:
    if not isinstance(value, SkillDefinition) or value.name != name or not callable(value.routine):
        raise TypeError(f"{name!r} must be a SkillDefinition of that name with a routine, not {value!r}.")
    return value


SKILLS: Registry[SkillDefinition] = Registry("skills", "skill", {skill.name: skill for skill in _SKILLS}, _skill)


def skills_of(model: RobotModel) -> tuple[SkillDefinition, ...]:
    """Returns the skills that the controller of a robot of `model` can run.

    Those from outside that do not load are left out with a warning; a policy that calls one is refused with the reason.
    """
    return tuple(skill for skill in SKILLS.sound().values() if skill.suits(model))
