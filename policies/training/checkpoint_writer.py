"""Files written by the leading worker: checkpoints, and at the end the policy with its training history."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from embodied.errors import ConfigError
from embodied.evaluation.curves import STAGE
from embodied.evaluation.output_folder import locked
from embodied.evaluation.provenance import commit, cpu, versions
from policies.folders import sweep
from policies.policy import curve_rows, jsonable, save_pretrained
from policies.training.checkpoint import SCHEMA, SCHEMA_VERSION, Growth, State, save_checkpoint, tidy
from policies.training.metrics_logger import read_rows
from policies.training.plan import Prepared, TrainingPlan
from policies.training.process_group import ProcessGroup

CHECKPOINTS = "checkpoints"
POLICY = "policy"
LOCK_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class RunProgress:
    """The progress of a run: `sums` of metrics since the last row, over `summed` steps; `wall_s` of all sessions.

    `grown` lists the extensions of the training.
    """

    step: int
    sums: dict[str, float]
    summed: int
    wall_s: float
    grown: tuple[Growth, ...] = ()


class CheckpointWriter:
    """Writes the files of one run of `steps` steps."""

    def __init__(self, plan: TrainingPlan, prepared: Prepared, group: ProcessGroup, *, steps: int) -> None:
        self._plan = plan
        self._prepared = prepared
        self._group = group
        self._steps = steps
        self._settings = plan.settings(prepared.recordings.features)
        self._versions = {**versions(), "safetensors": version("safetensors")}
        self._commit = commit()
        # Read before the first step, so that unreadable curves are refused before any training.
        self._earlier = curve_rows(prepared.start.folder) if prepared.start else []

    def checkpoint(self, standing: RunProgress, parts: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Saves a checkpoint and deletes those that are no longer needed."""
        plan, shelf, log = self._plan, self._plan.output / CHECKPOINTS, self._plan.training.log
        state = State(
            schema=SCHEMA,
            version=SCHEMA_VERSION,
            step=standing.step,
            family=plan.family,
            policy=jsonable(asdict(plan.policy)),
            normalisation=jsonable(self._prepared.learner.normalisation()),
            settings=self._settings,
            commit=self._commit,
            versions=self._versions,
            sums=standing.sums,
            summed=standing.summed,
            wall_s=standing.wall_s,
            grown=standing.grown,
        )
        save_checkpoint(shelf, state, parts)
        tidy(shelf, step=standing.step, keep=log.keep, keep_every=log.keep_every)

    def ship(self, standing: RunProgress, average: Mapping[str, Tensor]) -> Path:
        """Writes the present policy to `output/policy`, and returns that folder."""
        folder, learner = self._plan.output / POLICY, self._prepared.learner
        sweep(self._plan.output)
        save_pretrained(folder, learner, family=self._plan.family, tensors=average, training=self._story(standing))
        return folder

    def _story(self, standing: RunProgress) -> dict[str, Any]:
        features, start = self._prepared.recordings.features, self._prepared.start
        recordings = (*self._prepared.recordings.train, *self._prepared.recordings.held_out)
        return {
            "command": self._plan.command,
            "seed": self._plan.training.seed,
            "steps": standing.step,
            "finished": standing.step >= self._steps,
            **({"grown": [msgspec.to_builtins(one) for one in standing.grown]} if standing.grown else {}),
            "hours": standing.wall_s / 3600.0,
            "hardware": self._hardware(),
            "data": {
                "digest": features.digest,
                "tasks": list(features.tasks),
                "episodes": len(recordings),
                "keyframes": sum(recording.keyframes for recording in recordings),
            },
            "commit": self._commit,
            "versions": self._versions,
            "settings": self._settings,
            **({"start": dict(start.training)} if start else {}),
            "curves": self._curves(),
        }

    def _curves(self) -> list[dict[str, Any]]:
        """Returns the metrics of this stage, after those of the stages that it started from."""
        stage = max((row[STAGE] for row in self._earlier), default=0) + 1
        return [*self._earlier, *({STAGE: stage, **row} for row in read_rows(self._plan.output))]

    def _hardware(self) -> str:
        group = self._group
        share = f"{group.workers} worker{'s' if group.workers > 1 else ''} with {self._plan.threads} threads each"
        return f"{share}; {torch.cuda.get_device_name(group.device) if group.device.type == 'cuda' else cpu()}"


@contextmanager
def held(shelf: Path) -> Iterator[None]:
    """Holds the lock of a folder of checkpoints, waiting a while for a worker that is about to end.

    Raises `ConfigError` if another run holds it.
    """
    shelf.mkdir(parents=True, exist_ok=True)
    latest_s = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            lock = locked(shelf)
        except ConfigError:
            if time.monotonic() > latest_s:
                raise
            time.sleep(0.1)
        else:
            break
    with lock:
        yield
