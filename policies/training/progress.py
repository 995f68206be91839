"""Shows the progress of a training, read from the metrics that it writes: independent of the process that trains."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from tqdm import tqdm

from policies.training.metrics_logger import METRICS

EVERY_S = 2.0
LINE_EVERY_S = 60.0
TAIL_BYTES = 2**15

_log = logging.getLogger(__name__)


@contextmanager
def progress(folder: Path, steps: int) -> Iterator[None]:
    """Shows the progress of the run in `folder` towards `steps` inside.

    It is a bar in a terminal, and one line per minute elsewhere.
    """
    watch = _watch if sys.stderr.isatty() else _log_lines
    ended = Event()
    thread = Thread(target=watch, args=(folder, steps, ended), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _watch(folder: Path, steps: int, ended: Event) -> None:
    with tqdm(total=steps, initial=_last(folder)[0], unit="step", file=sys.stderr) as bar:
        over = False
        while not over:
            over = ended.wait(EVERY_S)
            step, loss = _last(folder)
            if step > bar.n:
                bar.update(step - bar.n)
                bar.set_postfix_str(f"loss {loss:.4g}")


def _log_lines(folder: Path, steps: int, ended: Event) -> None:
    while not ended.wait(LINE_EVERY_S):
        step, loss = _last(folder)
        if step:
            _log.info("Step %d of %d, loss %.4g.", step, steps, loss)


def _last(folder: Path) -> tuple[int, float]:
    """Returns the last step in the metrics, and its loss."""
    path = folder / METRICS
    if not path.exists():
        return 0, float("nan")
    with path.open("rb") as file:
        begins = max(0, path.stat().st_size - TAIL_BYTES)
        file.seek(begins)
        # The last row may be incomplete, and so may the first, if the file begins earlier.
        lines = file.read().split(b"\n")[bool(begins) : -1]
    rows = [row for row in map(json.loads, lines) if "loss" in row]
    return (rows[-1]["step"], rows[-1]["loss"]) if rows else (0, float("nan"))
