"""The registration of a robot in the bank: the skills whose outcomes `event_detection` logs."""

from embodied.memory import RobotRegistered, SkillSpec
from embodied.robots.catalogue import robot_model, robot_names
from embodied.scenes.scene import RobotPlacement

_OBJECT = '{"type": "object", "properties": {"object": {"type": "string"}}, "required": ["object"]}'
_POSE = (
    '{"type": "object", "properties": {"position_m": {"type": "array", "items": {"type": "number"}}},'
    ' "required": ["position_m"]}'
)
MOVE = "move"
# By capability of the model. Costs of hands are the median durations of the scripted expert on MemoryBench, seconds.
SKILLS: dict[str, tuple[SkillSpec, ...]] = {
    "reach": (
        SkillSpec(MOVE, _POSE, effects=("at(robot, position)",), cost_s=0.85),
        SkillSpec("press", _OBJECT, effects=("pressed(object)",), cost_s=0.35),
    ),
    "grasp": (
        SkillSpec("pick", _OBJECT, ("hand_empty(robot)",), ("held_by(object, robot)",), cost_s=0.65),
        SkillSpec("place", _OBJECT, ("held_by(object, robot)",), ("hand_empty(robot)",), cost_s=0.55),
        SkillSpec("open", _OBJECT, ("hand_empty(robot)",), ("open(object)",), cost_s=0.35),
        SkillSpec("close", _OBJECT, effects=("closed(object)",), cost_s=0.85),
    ),
    "drive": (SkillSpec("drive", _POSE, effects=("at(robot, position)",)),),
}


def registration(robot: RobotPlacement) -> RobotRegistered:
    """Returns how a robot is registered: skills, reach, payload and speed of its model, none for an unknown one."""
    if robot.model not in robot_names():
        return RobotRegistered(robot.name, robot.model)
    model = robot_model(robot.model)
    skills = tuple(skill for capability in SKILLS if capability in model.capabilities for skill in SKILLS[capability])
    return RobotRegistered(
        robot.name,
        robot.model,
        skills,
        reach_m=max((arm.reach_m for arm in model.arms), default=0.0),
        payload_kg=max((arm.payload_kg for arm in model.arms), default=0.0),
        speed_mps=model.drive.linear_limit_mps if model.drive else 0.0,
    )
