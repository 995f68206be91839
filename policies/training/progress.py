"""A bar for the terminal, with the time that is left, from what training writes down: whatever process it runs in."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from tqdm import tqdm

from policies.training.journal import METRICS

EVERY_S = 2.0
TAIL_BYTES = 2**15


@contextmanager
def progress_bar(folder: Path, steps: int) -> Iterator[None]:
    """Shows inside, on stderr where that is a terminal, how far the run in `folder` has come of `steps`."""
    if not sys.stderr.isatty():
        yield
        return
    ended = Event()
    thread = Thread(target=_watch, args=(folder, steps, ended), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _watch(folder: Path, steps: int, ended: Event) -> None:
    with tqdm(total=steps, initial=_last(folder)[0], unit="step", file=sys.stderr) as bar:
        while not ended.wait(EVERY_S):
            step, loss = _last(folder)
            if step > bar.n:
                bar.update(step - bar.n)
                bar.set_postfix_str(f"loss {loss:.4g}")


def _last(folder: Path) -> tuple[int, float]:
    """Returns the last step that was written down, and its loss."""
    path = folder / METRICS
    if not path.exists():
        return 0, float("nan")
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        lines = file.read().split(b"\n")[1:-1]  # The first and the last may be parts of rows.
    rows = [row for row in map(json.loads, lines) if "loss" in row]
    return (rows[-1]["step"], rows[-1]["loss"]) if rows else (0, float("nan"))
