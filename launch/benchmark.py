"""Describes a benchmark and finds all benchmarks in `launch/benchmarks`: adding one means adding one module there.

Such a module has a docstring, whose first line `python -m launch.bench --help` shows, and a constant `BENCHMARK`. The
name of the module is the name of the benchmark. All modules are imported to learn their settings, so none may import
an SDK (PyTorch, Ray, PyBullet, LanceDB and so on) at module level: `measure` imports it, or a module that it imports.
"""

import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from embodied.controllers.config import ControllerConfig
from embodied.errors import ConfigError
from embodied.rollout.compute import ComputeConfig
from embodied.rollout.worker import WorkerConfig
from embodied.simulators.bullet import BulletConfig
from launch import schema
from policies.scripted import ExpertConfig

REMEDY = "Define BENCHMARK = Benchmark(...), or place helper modules in a package beside the benchmark that uses them."


@dataclass(frozen=True, kw_only=True)
class BenchmarkRun:
    """The settings that all benchmarks share. `output` is the JSON file in which the result will be written."""

    seed: int
    output: Path
    suite: schema.SuiteConfig
    tier: schema.Tiers
    simulator: BulletConfig
    controller: ControllerConfig
    compute: ComputeConfig

    @property
    def folder(self) -> Path:
        """The folder, named after the result file, in which a benchmark keeps what else it writes."""
        return self.output.with_suffix("")

    def worker(self) -> WorkerConfig:
        """Returns a worker with the chosen tasks and the policy `expert`. Raises `ConfigError`, `UnknownNameError`."""
        return WorkerConfig(
            simulator=self.simulator,
            controller=self.controller,
            tasks=schema.build_tasks(self.suite, self.tier),
            policies={"expert": ExpertConfig()},
        )


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A benchmark: its settings and the function that measures.

    `configs` maps a section of the settings to the dataclass that checks it; most benchmarks have one section, which
    has their name. `measure(run, *configs)` receives a `BenchmarkRun` and the checked sections in the order of
    `configs`, and returns the result as JSON-compatible values. `summary` is filled in by `find_benchmarks`.
    """

    measure: Callable[..., Mapping[str, Any]]
    configs: Mapping[str, type] = field(default_factory=dict)
    summary: str = ""


def find_benchmarks(package: ModuleType, *, reserved: Iterable[str] = ()) -> dict[str, Benchmark]:
    """Returns the benchmarks in `package` by name, in alphabetical order.

    Raises `ConfigError` for a module without a `BENCHMARK` or without a docstring, and for a section of settings that
    is not a dataclass, that two benchmarks share, or whose name is in `reserved`.
    """
    found: dict[str, Benchmark] = {}
    sections = dict.fromkeys(reserved, "launch.bench")
    for name in sorted(module.name for module in pkgutil.iter_modules(package.__path__)):
        module = import_module(f"{package.__name__}.{name}")
        benchmark = getattr(module, "BENCHMARK", None)
        summary = (inspect.getdoc(module) or "").partition("\n")[0]
        if not isinstance(benchmark, Benchmark) or not summary:
            raise ConfigError(
                "A module in the package of benchmarks must have a docstring and a BENCHMARK.",
                value=module.__name__,
                remedy=REMEDY,
            )
        for section, config in benchmark.configs.items():
            if not is_dataclass(config):
                raise ConfigError("The settings of a benchmark must be a dataclass.", value=(name, config))
            if section in sections:
                raise ConfigError(
                    "A section of settings must belong to one benchmark.",
                    value=section,
                    remedy=f"Choose another name than that of {sections[section]}.",
                )
            sections[section] = name
        found[name] = replace(benchmark, summary=summary)
    return found
