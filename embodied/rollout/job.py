"""One episode to play, and what comes of it: small values that travel between processes."""

from dataclasses import dataclass
from typing import Any

from embodied.types import NORMAL, EpisodeRecord


@dataclass(frozen=True)
class EpisodeJob:
    """One episode to play.

    `episode` is unique in `run` together with `task`, `policy` and `control`, which name entries of `WorkerConfig`;
    `seed` and `split` are what the task samples from. `attempt` starts at 1. Its time 0 lies at `start_s` on the site
    clock of a memory bank, in any attempt.
    """

    run: str
    episode: str
    task: str
    policy: str
    seed: int
    split: str = "test"
    attempt: int = 1
    video: bool = False
    trajectory: bool = False
    control: str = NORMAL
    start_s: float = 0.0


@dataclass(frozen=True, eq=False)
class JobResult:
    """What a worker hands back: the record, and an H.264 MP4 and recordings where the job asked for them."""

    job: EpisodeJob
    record: EpisodeRecord
    video: bytes | None = None
    recordings: tuple[Any, ...] = ()
