"""The inputs of checks of simulators: a scene, the commands of its robots, and their models."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from embodied.protocols import Simulator
from embodied.robots.robot import RobotModel
from embodied.scenes.scene import RobotPlacement, Scene
from embodied.testing.contract import Leaves, leaves
from embodied.types import Command

Commands = Sequence[Mapping[str, Command]]
PERIODS = 6


@dataclass(frozen=True, eq=False)
class PlayedWorld:
    """The inputs of a check: a maker of simulators, the scene, the commands of each period, and the robots' models."""

    make: Callable[[], Simulator]
    scene: Scene
    commands: Commands
    models: Mapping[str, RobotModel] = field(default_factory=dict)

    def model(self, robot: str) -> RobotModel:
        """Returns the model of a robot of the scene."""
        return self.models[self.scene.robot(robot).model]

    def play(self, simulator: Simulator, *, observing: bool = False) -> list[Leaves]:
        """Resets the simulator and plays all commands; returns copies of the states, that after the reset first."""
        simulator.reset(self.scene)
        return self.go_on(simulator, self.commands, observing=observing)

    def go_on(self, simulator: Simulator, commands: Commands, *, observing: bool = False) -> list[Leaves]:
        """Plays `commands` from where the simulator is; returns copies of the states, the present one first.

        With `observing`, each robot of the `simulator` is also observed before each period.
        """
        states = [leaves(simulator.state())]
        for command in commands:
            if observing:
                for robot in self.scene.robots:
                    simulator.observe(robot.name)
            simulator.advance(command)
            states.append(leaves(simulator.state()))
        return states


def usual_commands(scene: Scene, models: Mapping[str, RobotModel]) -> Commands:
    """Returns small motions of every robot around its start: joints by 0.05 rad a period, bases at 0.2 m/s."""
    periods = []
    for period in range(PERIODS):
        periods.append({placed.name: _nudge(placed, models[placed.model], period) for placed in scene.robots})
    return periods


def _nudge(placed: RobotPlacement, model: RobotModel, period: int) -> Command:
    joints = gripper = base = None
    if model.arms:
        start = np.array(placed.joint_position_rad or model.home_rad)
        low = np.concatenate([arm.lower_rad for arm in model.arms])
        high = np.concatenate([arm.upper_rad for arm in model.arms])
        joints = np.clip(start + 0.05 * (period + 1) * (-1.0) ** np.arange(len(start)), low, high)
    opening = {arm.name: float(period % 2) for arm in model.arms if arm.gripper is not None}
    if opening:
        gripper = opening if len(model.arms) > 1 else next(iter(opening.values()))
    if model.drive is not None:
        base = np.array([0.2, 0.05, 0.1] if len(model.drive.velocity_limits) > 2 else [0.2, 0.1])
    return Command(joints, gripper, base)
