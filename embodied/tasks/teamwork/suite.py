"""Teamwork: tasks for several robots, which the policies of a team play together."""

from embodied.tasks.suite import Suite
from embodied.tasks.teamwork.two_robots import TwoRobots

TEAMWORK = Suite(
    name="teamwork",
    tasks={"two_robots": TwoRobots},
    about="Several robots solve each task together: what one has done, another must know.",
)
