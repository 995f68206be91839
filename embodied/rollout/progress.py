"""Progress of a run: a bar in a terminal; elsewhere, such as in the log of a batch system, one line a minute."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from shutil import get_terminal_size
from threading import Event, Thread

from tqdm import tqdm

from embodied.rollout.job import EpisodeJob, JobResult
from embodied.types import Outcome

LINE_EVERY_S = 60.0

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Tally:
    """Counts the results of a run; `total` is None where the number of episodes is not known."""

    total: int | None
    unit: str = "episode"
    done: int = 0
    successes: int = 0
    invalid: int = 0

    def add(self, result: JobResult) -> None:
        """Counts one result."""
        self.done += 1
        self.successes += result.record.outcome is Outcome.SUCCESS
        self.invalid += result.record.outcome is Outcome.INVALID

    def summary(self) -> str:
        """Returns the success rate of the valid episodes so far and the number of invalid ones, as text."""
        valid = self.done - self.invalid
        rate = f"{100 * self.successes / valid:.0f} %" if valid else "-"
        return f"success {rate}, invalid {self.invalid}"

    def line(self, elapsed_s: float) -> str:
        """Returns one line of progress after `elapsed_s` seconds of wall time."""
        of = "" if self.total is None else f" of {self.total}"
        left = f", {_duration(self._left_s(elapsed_s))} left" if self.total is not None and self.done else ""
        return f"{self.done}{of} {self.unit}s after {_duration(elapsed_s)}: {self.summary()}{left}"

    def _left_s(self, elapsed_s: float) -> float:
        return elapsed_s * ((self.total or 0) - self.done) / self.done


def with_progress(results: Iterable[JobResult], jobs: Iterable[EpisodeJob]) -> Iterator[JobResult]:
    """Yields `results`, and shows on stderr how many of the episodes of `jobs` they are, and how those ended."""
    tally = _tally(jobs)
    if not sys.stderr.isatty():
        with _lines(tally):
            for result in results:
                tally.add(result)
                yield result
        return
    # A terminal that does not report its width has none, for which tqdm would draw nothing.
    width = None if get_terminal_size((0, 0)).columns else 80
    with tqdm(total=tally.total, unit=tally.unit, file=sys.stderr, ncols=width) as bar:
        for result in results:
            tally.add(result)
            bar.set_postfix_str(tally.summary(), refresh=False)
            bar.update()
            yield result


def _tally(jobs: Iterable[EpisodeJob]) -> Tally:
    if not isinstance(jobs, Sequence):
        return Tally(None)
    videos = bool(jobs) and all(job.video for job in jobs)
    return Tally(sum(len(job.unit) for job in jobs), unit="video" if videos else "episode")


@contextmanager
def _lines(tally: Tally) -> Iterator[None]:
    """Logs a line of progress every `LINE_EVERY_S` inside, also while no episode ends."""
    ended, begun_s = Event(), time.monotonic()

    def log() -> None:
        while not ended.wait(LINE_EVERY_S):
            _log.info("%s", tally.line(time.monotonic() - begun_s))

    thread = Thread(target=log, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _duration(seconds: float) -> str:
    """Returns a duration as people read it, such as `45 s`, `12 min` or `3 h 05 min`."""
    if seconds < 90.0:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60.0), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
