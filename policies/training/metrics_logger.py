"""Logs of a training: metrics.jsonl, TensorBoard, visualisations. None of them affects the training."""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from embodied.paths import write_atomically

METRICS = "metrics.jsonl"
EVENTS = "tensorboard"
WALL = "wall"

_log = logging.getLogger(__name__)


class MetricsLogger:
    """Rows of a run that continues after `step` steps: later rows, left by a killed run, are removed.

    A row is {"step": ..., metrics ..., "wall": {values that depend on the machine}}. A context manager.
    """

    def __init__(self, folder: Path, *, step: int, tensorboard: bool) -> None:
        self._path = folder / METRICS
        kept = [row for row in read_rows(folder) if row["step"] <= step]
        write_atomically(self._path, "".join(_line(row) for row in kept).encode())
        self._file = self._path.open("a")
        self._writer = _event_writer(folder / EVENTS, step) if tensorboard else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._writer:
            self._writer.close()

    def row(self, step: int, values: Mapping[str, float], wall: Mapping[str, float]) -> None:
        """Writes the metrics `values` after `step` steps, and `wall`, values that depend on the machine."""
        self._file.write(_line({"step": step, **values, WALL: dict(wall)}))
        self._file.flush()
        if self._writer:
            for name, value in {**values, **{f"{WALL}/{name}": value for name, value in wall.items()}}.items():
                self._writer.add_scalar(name, value, step)

    def sync(self) -> None:
        """Returns once the rows are durable."""
        os.fsync(self._file.fileno())

    def visualisations(self, step: int, visualisations: Mapping[str, np.ndarray]) -> None:
        """Shows uint8 (H, W, 3) visualisations in TensorBoard."""
        if self._writer:
            for name, picture in visualisations.items():
                self._writer.add_image(name, picture, step, dataformats="HWC")
            self._writer.flush()


class _EventWriter(Protocol):
    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...

    def add_image(self, tag: str, img_tensor: np.ndarray, global_step: int, *, dataformats: str) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Returns the rows of a run's metrics.jsonl, up to the first that a kill has left incomplete."""
    return list(_whole_rows(folder / METRICS))


def _whole_rows(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            _log.warning("A row of %s was incomplete; it and all rows after it are removed.", path)
            return


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row) + "\n"


def _event_writer(folder: Path, step: int) -> _EventWriter:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1)
