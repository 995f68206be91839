"""Runs a benchmark and writes its result as JSON: `python -m launch.bench what=NAME output=FILE.json`.

The benchmarks are the modules in `launch/benchmarks`; `--help` lists them.
"""

import json
from dataclasses import field, fields, make_dataclass
from enum import Enum
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from embodied.errors import ConfigError, PathError
from embodied.paths import write_atomically
from launch import benchmarks, cli, schema
from launch.arguments import Arguments
from launch.benchmark import BenchmarkRun, find_benchmarks
from launch.parts import check_simulator

SETTINGS: list[tuple[str, Any, Any]] = [
    ("seed", int, 0),
    ("output", str, MISSING),
    ("address", str, ""),
    ("tier", schema.Tiers, schema.Tiers.both),
    ("suite", Any, MISSING),
    ("simulator", Any, MISSING),
    ("controller", Any, MISSING),
    ("compute", Any, MISSING),
]
BENCHMARKS = find_benchmarks(benchmarks, reserved=("what", *(name for name, _, _ in SETTINGS)))


def settings_schema() -> type[Any]:
    """Returns the schema of `launch.bench`: the settings that all benchmarks share, and the sections of each.

    The parts typed `Any` are checked by the schema of their group.
    """
    names = Enum("What", {name: name for name in BENCHMARKS})
    sections = [
        (section, config, field(default_factory=config))
        for benchmark in BENCHMARKS.values()
        for section, config in benchmark.configs.items()
    ]
    return make_dataclass("BenchConfig", [("what", names, MISSING), *SETTINGS, *sections], kw_only=True)


def bench(composed: cli.Composed) -> None:
    """Runs the chosen benchmark, writes its result and its settings as JSON, and prints the result.

    Raises `ConfigError`, `PathError`.
    """
    config = composed.config
    output = Path(config.output)
    if output.suffix != ".json":
        raise ConfigError("output must name a .json file.", value=config.output)
    check_simulator(config.simulator)
    if not 0 <= config.seed < 2**40:
        raise ConfigError("seed must lie in [0, 2**40).", value=config.seed)
    _require_writable(output)
    shared = {option.name: getattr(config, option.name) for option in fields(BenchmarkRun)}
    benchmark = BENCHMARKS[config.what.name]
    sections = [getattr(config, section) for section in benchmark.configs]
    result = {**benchmark.measure(BenchmarkRun(**{**shared, "output": output}), *sections), "config": composed.text}
    write_atomically(output, (json.dumps(result, indent=2) + "\n").encode())
    shown = {name: value for name, value in result.items() if name != "config"}
    cli.print_text(f"{json.dumps(shown, indent=2)}\n\nResult: {output}")


def summaries() -> str:
    """Returns one line per benchmark for `--help`: how to run it, and what it measures."""
    width = max(len(name) for name in BENCHMARKS)
    return "\n".join(f"  what={name:<{width}}  {benchmark.summary}" for name, benchmark in BENCHMARKS.items())


def _require_writable(output: Path) -> None:
    # Checked before the measurement, which may take an hour.
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=output.parent):
            return
    except OSError as error:
        raise PathError(
            "output must lie in a folder that can be written.", value=str(output), remedy="Choose another."
        ) from error


def register(arguments: Arguments) -> None:
    """Registers with Hydra the schemas to which sim_configs/bench.yaml refers. Raises as `schema.register`."""
    schema.register(arguments)
    ConfigStore.instance().store(name="bench_schema", node=settings_schema())
    OmegaConf.register_new_resolver("benchmark_summaries", summaries, replace=True)


def main() -> None:
    """Starts the command line with the settings of sim_configs/bench.yaml."""
    cli.enter(bench, config_name="bench", register=register)


if __name__ == "__main__":
    main()
