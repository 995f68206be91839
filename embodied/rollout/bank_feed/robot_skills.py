"""The registration of a robot in the bank: exactly the skills that its controller can run."""

from embodied.controllers.skills.registry import skills_of
from embodied.memory import RobotRegistered, SkillSpec
from embodied.robots.catalogue import robot_model, robot_names
from embodied.scenes.scene import RobotPlacement

MOVE = "move"  # The skill under which the outcomes of `MoveTo` are logged.


def registration(robot: RobotPlacement) -> RobotRegistered:
    """Returns how a robot is registered: skills, reach, payload and speed of its model, none for an unknown one."""
    if robot.model not in robot_names():
        return RobotRegistered(robot.name, robot.model)
    model = robot_model(robot.model)
    return RobotRegistered(
        robot.name,
        robot.model,
        tuple(
            SkillSpec(skill.name, skill.schema, skill.preconditions, skill.effects, skill.duration_s)
            for skill in skills_of(model)
        ),
        reach_m=max((arm.reach_m for arm in model.arms), default=0.0),
        payload_kg=max((arm.payload_kg for arm in model.arms), default=0.0),
        speed_mps=model.drive.linear_limit_mps if model.drive else 0.0,
    )
