"""Kills a training at random times, resumes it, and compares the result with an undisturbed training."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embodied.archive import file_sha256
from embodied.errors import ConfigError
from embodied.evaluation.provenance import cpu, versions
from embodied.seeding import stream
from launch.benchmark import Benchmark

COMMAND = (sys.executable, "-m", "launch.train")
METRICS, CHECKPOINTS, WEIGHTS, WALL = "metrics.jsonl", "checkpoints", "policy/model.safetensors", "wall"
TENSORS = ("weights", "average", "optimiser")
POLL_S = 0.01
LONGEST_DELAY_S = 0.3
TIMEOUT_S = 600.0


@dataclass(kw_only=True)
class TrainingFaultsConfig:
    """How often a training of `policy` on the demonstrations in `data` is killed; it is `steps` of `batch` sequences.

    Checkpoints are written every `checkpoint_every` steps.
    """

    kills: int = 5
    policy: str = ""
    data: str = ""
    steps: int = 60
    batch: int = 2
    checkpoint_every: int = 5

    def check(self) -> None:
        """Raises `ConfigError` for counts out of range, and for a missing policy or data."""
        if min(self.kills, self.batch, self.checkpoint_every) < 1 or self.steps <= self.kills:
            raise ConfigError("training_faults counts must be at least 1, and steps more than kills.", value=vars(self))
        if not self.policy or not self.data:
            raise ConfigError(
                "training_faults.policy and data must be given.",
                value=(self.policy, self.data),
                remedy="Such as training_faults.policy=NAME training_faults.data=DIR, a folder of launch.collect.",
            )


def measure(config: TrainingFaultsConfig, *, seed: int, command: Sequence[str] = COMMAND) -> dict[str, Any]:
    """Returns the steps at which a training was killed, and whether the result equals an undisturbed one: `passes`.

    `config` gives the training, `seed` the times of the kills, `command` the interpreter and module that train.
    """
    config.check()
    with tempfile.TemporaryDirectory(prefix="training-faults-") as folder:
        undisturbed, disturbed = Path(folder) / "undisturbed", Path(folder) / "disturbed"
        begun_s = time.monotonic()
        _finish(_start(config, undisturbed, seed, command))
        alone_s = time.monotonic() - begun_s
        killed_after: list[int] = []
        for kill in range(config.kills):
            draw = stream(seed, "training_faults", kill)
            killed_after += _kill_once(config, disturbed, draw, _start(config, disturbed, seed, command))
        _finish(_start(config, disturbed, seed, command))
        differing = [part for part, ours in _outcome(disturbed).items() if ours != _outcome(undisturbed)[part]]
    return {
        "what": "training_faults",
        "cpu": cpu(),
        "versions": versions(),
        "steps": config.steps,
        "killed_after_steps": killed_after,
        "undisturbed_s": round(alone_s, 1),
        "differing": differing,
        "passes": not differing and len(killed_after) == config.kills,
    }


def _start(config: TrainingFaultsConfig, output: Path, seed: int, command: Sequence[str]) -> subprocess.Popen[bytes]:
    settings = [
        f"policy={config.policy}",
        f"data={config.data}",
        f"output={output}",
        f"seed={seed}",
        f"steps={config.steps}",
        f"batch={config.batch}",
        "compute=inline",
        "compute.threads_per_worker=1",
        f"log.checkpoint_every={config.checkpoint_every}",
        f"log.validate_every={config.checkpoint_every}",
        "log.metrics_every=1",
        "log.tensorboard=false",
    ]
    return subprocess.Popen([*command, *settings], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # noqa: S603


def _kill_once(
    config: TrainingFaultsConfig, output: Path, draw: np.random.Generator, run: subprocess.Popen[bytes]
) -> list[int]:
    """Kills `run` with SIGKILL, some steps and a moment after it has resumed; returns the step."""
    begun = _last_step(output)
    target = begun + int(draw.integers(1, max(2, (config.steps - begun) // 2)))
    latest_s = time.monotonic() + TIMEOUT_S
    while run.poll() is None and _last_step(output) < target and time.monotonic() < latest_s:
        time.sleep(POLL_S)
    time.sleep(float(draw.uniform(0.0, LONGEST_DELAY_S)))
    ended = run.poll() is not None
    run.kill()
    _, complaint = run.communicate()
    if ended and run.returncode:
        raise ConfigError("An undisturbed training must run to its end.", value=complaint.decode()[-2000:])
    return [] if ended else [_last_step(output)]


def _finish(run: subprocess.Popen[bytes]) -> None:
    _, complaint = run.communicate(timeout=TIMEOUT_S)
    if run.returncode:
        raise ConfigError("An undisturbed training must run to its end.", value=complaint.decode()[-2000:])


def _last_step(output: Path) -> int:
    path = output / METRICS
    whole = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
    return json.loads(whole.splitlines()[-1])["step"] if whole else 0


def _outcome(output: Path) -> dict[str, Any]:
    """Returns all that must be equal: shipped weights, the last checkpoint's tensors, metrics without wall times."""
    last = max((output / CHECKPOINTS).glob("[0-9]*"))
    rows = [json.loads(line) for line in (output / METRICS).read_text().splitlines()]
    return {
        WEIGHTS: file_sha256(output / WEIGHTS),
        **{part: file_sha256(last / f"{part}.safetensors") for part in TENSORS},
        METRICS: [{name: value for name, value in row.items() if name != WALL} for row in rows],
    }


BENCHMARK = Benchmark(
    configs={"training_faults": TrainingFaultsConfig},
    measure=lambda run, config: measure(config, seed=run.seed),
)
