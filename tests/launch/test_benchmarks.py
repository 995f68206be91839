"""Benchmarks are found in their package: what is listed, what a new one needs, and what is refused."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from embodied.errors import ConfigError
from launch import bench
from launch.benchmark import find_benchmarks

ROOT = Path(__file__).parents[2]
NAMES = {
    "belief",
    "faults",
    "homes",
    "leak",
    "memory",
    "memory_backups",
    "memory_faults",
    "memory_growth",
    "memory_kills",
    "memory_poison",
    "memory_service",
    "memory_size",
    "perception",
    "placement",
    "physics",
    "policy",
    "recording",
    "render",
    "rollout",
    "serving",
    "training_faults",
    "two_robots",
}
OWN_SECTIONS = {"policy": {"splat", "decision"}, "two_robots": set()}
SDKS = ("lancedb", "matplotlib", "moderngl", "ompl", "open3d", "pinocchio", "pybullet", "ray", "torch", "transformers")
ADDED = '''"""Counts to a number."""

from dataclasses import dataclass

from launch.benchmark import Benchmark


@dataclass(kw_only=True)
class CountingConfig:
    """How far."""

    rounds: int = 2


BENCHMARK = Benchmark(
    configs={"counting": CountingConfig},
    measure=lambda run, config: {"counted": config.rounds, "seed": run.seed, "folder": run.folder.name},
)
'''
# Runs `launch.bench` where no SDK is installed, with one more folder of benchmarks.
RUN = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {sdks}:
            raise ModuleNotFoundError(f"blocked: {{name}}", name=name)

sys.meta_path.insert(0, Absent())
import launch.benchmarks

launch.benchmarks.__path__.append({folder!r})
from launch.bench import main

main()
"""


def package(folder: Path, monkeypatch: pytest.MonkeyPatch, **modules: str) -> ModuleType:
    name = f"benchmarks_{folder.name}"
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text("")
    for module, text in modules.items():
        (folder / name / f"{module}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    return importlib.import_module(name)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = RUN.format(sdks=SDKS, folder=str(folder))
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_every_benchmark_is_found_with_a_line_of_explanation():
    assert set(bench.BENCHMARKS) == NAMES
    assert all(found.summary.endswith(".") for found in bench.BENCHMARKS.values())


def test_the_sections_of_a_benchmark_keep_their_names():
    for name, found in bench.BENCHMARKS.items():
        assert set(found.configs) == OWN_SECTIONS.get(name, {name})


def test_a_benchmark_is_added_by_one_file_and_needs_no_sdk_of_the_others(tmp_path: Path):
    (tmp_path / "counting.py").write_text(ADDED)
    output = tmp_path / "result.json"
    done = run(tmp_path, "what=counting", "counting.rounds=5", "seed=7", f"output={output}")
    assert done.returncode == 0, done.stderr
    result = json.loads(output.read_text())
    assert (result["counted"], result["seed"], result["folder"]) == (5, 7, "result")
    assert "rounds: 5" in result["config"]


def test_help_lists_all_benchmarks_and_one_that_was_added(tmp_path: Path):
    (tmp_path / "counting.py").write_text(ADDED)
    done = run(tmp_path, "--help")
    assert done.returncode == 0, done.stderr
    assert f"what={'counting':<15}  Counts to a number." in done.stdout
    for name, found in bench.BENCHMARKS.items():
        assert f"what={name:<15}  {found.summary}" in done.stdout


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('"""Explained."""\n', "must have a docstring and a BENCHMARK"),
        (ADDED.partition("\n")[2], "must have a docstring and a BENCHMARK"),
        (ADDED.replace("@dataclass(kw_only=True)\n", ""), "must be a dataclass"),
        (ADDED.replace('"counting"', '"seed"'), "must belong to one benchmark"),
        (ADDED.replace('"counting"', '"another"'), "must belong to one benchmark"),
    ],
)
def test_a_benchmark_that_is_incomplete_or_takes_a_name_of_another_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, error: str
):
    found = package(tmp_path, monkeypatch, another=ADDED.replace('"counting"', '"another"'), counting=text)
    with pytest.raises(ConfigError, match=error):
        find_benchmarks(found, reserved=("what", "seed"))
