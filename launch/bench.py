"""The door to measurements: `python -m launch.bench what=render|physics|rollout|leak|faults|... output=FILE.json`."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from embodied.errors import ConfigError, PathError
from embodied.paths import write_atomically
from embodied.rollout.worker import WorkerConfig
from launch import cli, schema
from launch.benchmarks.faults import FaultsBenchConfig
from launch.benchmarks.leak import LeakBenchConfig
from launch.benchmarks.memory import MemoryBenchConfig
from launch.benchmarks.memory_faults import MemoryFaultsConfig
from launch.benchmarks.memory_load import MemoryLoadConfig
from launch.benchmarks.memory_size import MemorySizeConfig
from launch.benchmarks.perception import PerceptionBenchConfig
from launch.benchmarks.physics import PhysicsBenchConfig
from launch.benchmarks.policy import DecisionBenchConfig, SplatBenchConfig
from launch.benchmarks.render import RenderBenchConfig
from launch.benchmarks.rollout import RolloutBenchConfig
from launch.benchmarks.training_faults import TrainingFaultsConfig
from policies.scripted import ExpertConfig


class What(Enum):
    """What is measured."""

    render = "render"
    physics = "physics"
    rollout = "rollout"
    leak = "leak"
    faults = "faults"
    memory = "memory"
    memory_faults = "memory_faults"
    memory_service = "memory_service"
    memory_size = "memory_size"
    perception = "perception"
    two_robots = "two_robots"
    policy = "policy"
    training_faults = "training_faults"


@dataclass(kw_only=True)
class BenchConfig:
    """All settings of `python -m launch.bench`. The parts typed `Any` are checked by the schema of their group."""

    what: What = MISSING
    seed: int = 0
    output: str = MISSING
    address: str = ""
    tier: schema.Tiers = schema.Tiers.both
    render: RenderBenchConfig = field(default_factory=RenderBenchConfig)
    physics: PhysicsBenchConfig = field(default_factory=PhysicsBenchConfig)
    rollout: RolloutBenchConfig = field(default_factory=RolloutBenchConfig)
    leak: LeakBenchConfig = field(default_factory=LeakBenchConfig)
    faults: FaultsBenchConfig = field(default_factory=FaultsBenchConfig)
    memory: MemoryBenchConfig = field(default_factory=MemoryBenchConfig)
    memory_faults: MemoryFaultsConfig = field(default_factory=MemoryFaultsConfig)
    memory_service: MemoryLoadConfig = field(default_factory=MemoryLoadConfig)
    memory_size: MemorySizeConfig = field(default_factory=MemorySizeConfig)
    perception: PerceptionBenchConfig = field(default_factory=PerceptionBenchConfig)
    splat: SplatBenchConfig = field(default_factory=SplatBenchConfig)
    decision: DecisionBenchConfig = field(default_factory=DecisionBenchConfig)
    training_faults: TrainingFaultsConfig = field(default_factory=TrainingFaultsConfig)
    suite: Any = MISSING
    simulator: Any = MISSING
    controller: Any = MISSING
    compute: Any = MISSING


def bench(composed: cli.Composed) -> None:
    """Measures, writes the result with its settings as JSON, and says it. Raises `ConfigError`."""
    config: BenchConfig = composed.config
    output = Path(config.output)
    if output.suffix != ".json":
        raise ConfigError("output must name a .json file.", value=config.output)
    _require_writable(output)
    schema.check_agreement(config.simulator, config.controller)
    if not 0 <= config.seed < 2**40:
        raise ConfigError("seed must lie in [0, 2**40).", value=config.seed)
    result = {**MEASURES[config.what](config, output), "config": composed.text}
    write_atomically(output, (json.dumps(result, indent=2) + "\n").encode())
    shown = {name: value for name, value in result.items() if name != "config"}
    cli.say(f"{json.dumps(shown, indent=2)}\n\nResult: {output}")


def _require_writable(output: Path) -> None:
    # Asked before an hour of measuring, not after it.
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        writable = os.access(output.parent, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise PathError("output must lie in a folder that can be written.", value=str(output), remedy="Choose another.")


def _render(config: BenchConfig, output: Path) -> Mapping[str, Any]:
    from launch.benchmarks import render

    del output
    return render.measure(config.render)


def _physics(config: BenchConfig, output: Path) -> Mapping[str, Any]:
    from launch.benchmarks import physics

    del output
    return physics.measure(config.physics, config.simulator, tasks=_worker(config).tasks, seed=config.seed)


def _rollout(config: BenchConfig, output: Path) -> Mapping[str, Any]:
    from launch.benchmarks import rollout

    del output
    return rollout.measure(config.rollout, _worker(config), compute=config.compute, seed=config.seed)


def _leak(config: BenchConfig, output: Path) -> Mapping[str, Any]:
    from launch.benchmarks import leak

    folder = output.with_suffix("")
    return leak.measure(config.leak, _worker(config), compute=config.compute, seed=config.seed, folder=folder)


def _faults(config: BenchConfig, output: Path) -> Mapping[str, Any]:
    from launch.benchmarks import faults

    return faults.measure(config.faults, seed=config.seed, folder=output.with_suffix(""))


def _memory(config: BenchConfig, output: Path) -> Mapping[str, Any]:
    from launch.benchmarks import memory

    del output
    return memory.measure(config.memory, seed=config.seed)


def _memory_faults(config: BenchConfig, output: Path) -> Mapping[str, Any]:
    from launch.benchmarks import memory_faults

    del output
    return memory_faults.measure(replace(config.memory_faults, seed=config.seed))


def _memory_service(config: BenchConfig, output: Path) -> Mapping[str, Any]:
    from launch.benchmarks import memory_load

    del output
    return memory_load.measure(config.memory_service, seed=config.seed)


def _memory_size(config: BenchConfig, output: Path) -> Mapping[str, Any]:
    from launch.benchmarks import memory_size

    del output
    return memory_size.measure(config.memory_size, seed=config.seed)


def _perception(config: BenchConfig, output: Path) -> Mapping[str, Any]:
    from launch.benchmarks import perception

    del output
    return perception.measure(config.perception)


def _two_robots(config: BenchConfig, output: Path) -> Mapping[str, Any]:
    from launch.benchmarks import two_robots

    return two_robots.measure(seed=config.seed, picture=output.with_suffix(".png"))


def _training_faults(config: BenchConfig, output: Path) -> Mapping[str, Any]:
    from launch.benchmarks import training_faults

    del output
    return training_faults.measure(config.training_faults, seed=config.seed)


def _policy(config: BenchConfig, output: Path) -> Mapping[str, Any]:
    from launch.benchmarks import policy

    del output
    return policy.measure(config.splat, config.decision)


MEASURES: Mapping[What, Callable[[BenchConfig, Path], Mapping[str, Any]]] = {
    What.render: _render,
    What.physics: _physics,
    What.rollout: _rollout,
    What.leak: _leak,
    What.faults: _faults,
    What.memory: _memory,
    What.memory_faults: _memory_faults,
    What.memory_service: _memory_service,
    What.memory_size: _memory_size,
    What.perception: _perception,
    What.two_robots: _two_robots,
    What.policy: _policy,
    What.training_faults: _training_faults,
}


def _worker(config: BenchConfig) -> WorkerConfig:
    return WorkerConfig(
        simulator=config.simulator,
        controller=config.controller,
        tasks=schema.build_tasks(config.suite, config.tier),
        policies={"expert": ExpertConfig()},
    )


def main() -> None:
    """Enters with the settings of sim_configs/bench.yaml."""
    schema.register()
    ConfigStore.instance().store(name="bench_schema", node=BenchConfig)
    cli.enter(bench, config_name="bench")


if __name__ == "__main__":
    main()
