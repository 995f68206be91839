"""A seeded, iteration-bounded search for a joint path among obstacles (OMPL's RRTConnect, then smoothing)."""

from collections.abc import Callable
from typing import Any

import numpy as np
from ompl import base, geometric, util

from embodied.controllers.settings import PlannerConfig


def search_path(
    ends_rad: tuple[np.ndarray, np.ndarray],
    bounds_rad: tuple[np.ndarray, np.ndarray],
    free: Callable[[np.ndarray], bool],
    config: PlannerConfig,
    seed: int,
) -> np.ndarray | None:
    """Returns joints (N, J) from start to goal through configurations that are `free`, or None.

    `ends_rad` are start and goal, `bounds_rad` the lower and upper joint limits, (J,) each; `config` bounds the effort.
    The same arguments give the same path whatever was planned before: OMPL's global seed is set right before its
    objects are made, and iterations end the search, never the clock. `seed` must be at least 1. Source: J. Kuffner and
    S. LaValle, "RRT-Connect", ICRA 2000, as implemented by OMPL.
    """
    util.setLogLevel(util.LOG_NONE)
    util.RNG.setSeed(seed)
    joints = len(ends_rad[0])
    space = base.RealVectorStateSpace(joints)
    bounds = base.RealVectorBounds(joints)
    for index in range(joints):
        bounds.setLow(index, float(bounds_rad[0][index]))
        bounds.setHigh(index, float(bounds_rad[1][index]))
    space.setBounds(bounds)
    setup = geometric.SimpleSetup(space)
    setup.setStateValidityChecker(lambda state: free(_joints(state, joints)))
    information = setup.getSpaceInformation()
    information.setStateValidityCheckingResolution(config.joint_step_rad / space.getMaximumExtent())
    start, goal = (_state(space, end) for end in ends_rad)
    setup.setStartAndGoalStates(start, goal)
    planner = geometric.RRTConnect(information)
    planner.setRange(config.search_range_rad)
    setup.setPlanner(planner)
    setup.setup()
    left = iter(range(config.search_iterations))
    setup.solve(base.PlannerTerminationCondition(lambda: next(left, None) is None))
    if not setup.haveExactSolutionPath():
        return None
    path = setup.getSolutionPath()
    _smooth(path, information)
    return np.array([_joints(state, joints) for state in path.getStates()])


def _smooth(path: geometric.PathGeometric, information: base.SpaceInformation) -> None:
    simplifier = geometric.PathSimplifier(information)
    simplifier.reduceVertices(path)
    simplifier.partialShortcutPath(path)
    simplifier.collapseCloseVertices(path)
    simplifier.smoothBSpline(path, 3)


def _joints(state: Any, count: int) -> np.ndarray:
    return np.array([state[index] for index in range(count)])


def _state(space: base.RealVectorStateSpace, joints_rad: np.ndarray) -> Any:
    state: Any = space.allocState()
    for index, angle in enumerate(joints_rad.tolist()):
        state[index] = angle
    return state
