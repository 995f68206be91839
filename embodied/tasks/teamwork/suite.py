"""Teamwork: tasks for several robots, which the policies of a team play together."""

from embodied.tasks.suite import Suite, TaskEntry
from embodied.tasks.teamwork.two_robots import TwoRobots
from embodied.tasks.teamwork.two_robots_expert import TwoRobotsExpert

TEAMWORK = Suite(
    name="teamwork",
    tasks={"two_robots": TaskEntry(TwoRobots, TwoRobotsExpert())},
    about="Several robots solve each task together: what one has done, another must know.",
)
