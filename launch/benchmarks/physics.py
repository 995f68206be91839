"""Speed of the physics: steps per second, real-time factor, and the time of a reset, a save and a restore."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from embodied.errors import ConfigError
from embodied.evaluation.provenance import cpu, versions
from embodied.protocols import Simulator, Task
from embodied.seeding import stream
from embodied.simulators.bullet import BulletConfig
from embodied.types import Command, Episode
from launch.benchmark import Benchmark


@dataclass(kw_only=True)
class PhysicsBenchConfig:
    """How much is measured, per task: `rounds` resets, each followed by `periods` control periods of a moving arm."""

    rounds: int = 5
    periods: int = 400

    def check(self) -> None:
        """Raises `ConfigError` for counts that are not positive."""
        if self.rounds < 1 or self.periods < 1:
            raise ConfigError("physics.rounds and physics.periods must be at least 1.", value=self)


def measure(
    config: PhysicsBenchConfig, simulator: BulletConfig, *, tasks: Mapping[str, Task], seed: int
) -> dict[str, Any]:
    """Returns medians over `config.rounds` for each of the `tasks`, with arms that swing, so that no body sleeps.

    A `simulator` is built for the episodes of `seed`.
    """
    config.check()
    world = simulator.build()
    try:
        measured = {
            name: _measure_task(config, world, task, physics_hz=simulator.world.physics_hz, seed=seed)
            for name, task in tasks.items()
        }
    finally:
        world.close()
    return {"what": "physics", "seed": seed, "cpu": cpu(), "versions": versions(), "tasks": measured}


def _measure_task(
    config: PhysicsBenchConfig, world: Simulator, task: Task, *, physics_hz: int, seed: int
) -> dict[str, Any]:
    rounds = [_measure_round(config, world, task.sample(seed + number)) for number in range(config.rounds)]
    advance_s = statistics.median(times["advance"] for times in rounds)
    return {
        "rounds": config.rounds,
        "control_periods": config.periods,
        "physics_steps_per_s": round(world.control_period_s * physics_hz / advance_s),
        "real_time_factor": round(world.control_period_s / advance_s, 1),
        "reset_ms": _milliseconds(rounds, "reset"),
        "save_ms": _milliseconds(rounds, "save"),
        "restore_ms": _milliseconds(rounds, "restore"),
    }


def _measure_round(config: PhysicsBenchConfig, world: Simulator, episode: Episode) -> dict[str, float]:
    """Returns wall seconds: of one reset, save and restore, and of the mean control period."""
    reset_s = _timed(lambda: world.reset(episode.scene))
    commands = _swings(world, episode, config.periods)
    started_s = time.perf_counter()
    for command in commands:
        world.advance(command)
    advance_s = (time.perf_counter() - started_s) / config.periods
    saved: list[Any] = []
    save_s = _timed(lambda: saved.append(world.save()))
    restore_s = _timed(lambda: world.restore(saved[0]))
    return {"reset": reset_s, "advance": advance_s, "save": save_s, "restore": restore_s}


def _swings(world: Simulator, episode: Episode, periods: int) -> list[dict[str, Command]]:
    """Returns slow swings of every arm about its start posture, in the air."""
    phases = np.linspace(0.0, 2 * np.pi, periods)
    amplitude_rad = stream(episode.seed, "bench", "swing").uniform(0.05, 0.1)
    starts = {name: robot.joint_position_rad for name, robot in world.state().robots.items()}
    return [
        {name: Command(joint_position_rad=start + amplitude_rad * np.sin(phase)) for name, start in starts.items()}
        for phase in phases
    ]


def _timed(call: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    call()
    return time.perf_counter() - started_s


def _milliseconds(rounds: list[dict[str, float]], name: str) -> float:
    return round(1000 * statistics.median(times[name] for times in rounds), 3)


BENCHMARK = Benchmark(
    configs={"physics": PhysicsBenchConfig},
    measure=lambda run, config: measure(config, run.simulator, tasks=run.worker().tasks, seed=run.seed),
)
