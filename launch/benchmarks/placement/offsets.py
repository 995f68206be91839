"""Measures where blocks come to rest, and compares the distributions of the offsets of all methods."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import stats

from embodied.controllers.config import ControllerConfig
from embodied.errors import SceneError, SimulationError
from embodied.geometry import rotation_matrix
from embodied.rollout.episode import EpisodeContext, play
from embodied.scenes.scene import Scene
from embodied.simulators.bullet import BulletConfig, BulletSimulator
from embodied.types import Command, Episode, Observation, Outcome, WorldChange, WorldState
from launch.benchmarks.placement.scenario import (
    BLOCK,
    HELD_ABOVE_M,
    METHODS,
    PLACE_M,
    ROBOT_NAME,
    Placer,
    Placing,
    placing_scene,
    tool_at,
)

COLUMNS = ("x_m", "y_m", "yaw_rad")


class PickedWorld:
    """A simulator whose every episode begins when the robot holds the block above its place."""

    def __init__(self, inner: BulletSimulator) -> None:
        self.inner = inner
        self.renderer = inner.renderer
        self.control_period_s = inner.control_period_s
        inner.reset(placing_scene())
        controller = ControllerConfig().build(placing_scene(), ROBOT_NAME, period_s=self.control_period_s)
        for keyframe in (
            tool_at(HELD_ABOVE_M, gripper_open=True),
            tool_at(0.0, gripper_open=False),
            tool_at(HELD_ABOVE_M, gripper_open=False),
        ):
            answer = controller.begin(keyframe, inner.state(), seed=0) or controller.tick(inner.state())
            while isinstance(answer, Command):
                inner.advance({ROBOT_NAME: answer})
                answer = controller.tick(inner.state())
        self._picked = inner.save()
        self._begun_s = inner.state().time_s

    def reset(self, scene: Scene) -> None:
        """Returns to the beginning. Raises `SceneError` for a scene other than that of the benchmark."""
        if scene != placing_scene():
            raise SceneError("The scene must be that in which the block is picked.", value=scene.name)
        self.inner.restore(self._picked)

    def advance(self, commands: Mapping[str, Command]) -> None:
        """Runs one control period."""
        self.inner.advance(commands)

    def apply(self, changes: Sequence[WorldChange]) -> None:
        """Applies changes that no robot causes."""
        self.inner.apply(changes)

    def observe(self, robot: str, cameras: Sequence[str] | None = None) -> Observation:
        """Returns the robot's observation."""
        return replace(self.inner.observe(robot, cameras), time_s=self.state().time_s)

    def state(self) -> WorldState:
        """Returns the true state; time 0 is the beginning of the episode."""
        state = self.inner.state()
        return replace(state, time_s=state.time_s - self._begun_s)

    def save(self) -> Any:
        """Returns a handle on the present instant."""
        return self.inner.save()

    def restore(self, saved: Any) -> None:
        """Returns to a saved instant."""
        self.inner.restore(saved)

    def close(self) -> None:
        """Frees the world."""
        self.inner.close()


def picked_world() -> PickedWorld:
    """Returns a new world in which the block is held above its place."""
    return PickedWorld(BulletConfig().build())


def offset_of(world: PickedWorld, method: str, episode: Episode) -> np.ndarray:
    """Plays an `episode` in `world` and returns the offset of the block from its place.

    X and y in metres, yaw in radians. It is set down by `method`. Raises `SimulationError` where it was not set down.
    """
    controllers = ControllerConfig()
    context = EpisodeContext(
        world,
        Placing(),
        Placer(method),
        lambda one: {ROBOT_NAME: controllers.build(one.scene, ROBOT_NAME, period_s=world.control_period_s)},
    )
    progress = play(episode, context).progress
    state = world.state()
    if progress.outcome is not Outcome.TIMEOUT or state.held[ROBOT_NAME] is not None:
        raise SimulationError("A block must be set down.", value=progress.reason, remedy="Look at the method.")
    turned = rotation_matrix(state.pose[BLOCK].orientation)
    yaw_rad = float(np.arctan2(turned[1, 0], turned[0, 0]))
    return np.array([*np.subtract(state.pose[BLOCK].position_m[:2], PLACE_M), yaw_rad])


def measure(placements: int, *, seed: int) -> dict[str, Any]:
    """Returns the spread of the offsets of each method, and how well each agrees with keyframes (Kolmogorov-Smirnov).

    Offsets are relative to the position without placement error (`exact`): relative steps miss the place by some
    millimetres even then. Every method has different seeds, so that draws are independent between methods.
    """
    world = picked_world()
    try:
        exact = {
            method: offset_of(world, method, Placing(noise_m=0.0, noise_rad=0.0).sample(seed)) for method in METHODS
        }
        offsets = {
            method: np.array(
                [
                    offset_of(world, method, Placing().sample(seed + turn * placements + index)) - exact[method]
                    for index in range(placements)
                ]
            )
            for turn, method in enumerate(METHODS)
        }
    finally:
        world.close()
    reference = offsets[METHODS[0]]
    return {
        method: {
            name: {
                "exact": float(exact[method][column]),
                "mean": float(values[:, column].mean()),
                "deviation": float(values[:, column].std()),
                "deviation_ratio": float(values[:, column].std() / reference[:, column].std()),
                "p": _agreement(values[:, column], reference[:, column]),
            }
            for column, name in enumerate(COLUMNS)
        }
        for method, values in offsets.items()
    }


def _agreement(values: np.ndarray, reference: np.ndarray) -> float:
    """Returns the p-value of the two-sample Kolmogorov-Smirnov test."""
    test: Any = stats.ks_2samp(values, reference)
    return float(test.pvalue)
