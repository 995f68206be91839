"""One episode to play, and its result: small values that are sent between processes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from embodied.rollout.intent_outcomes import IntentOutcome
from embodied.types import NORMAL, EpisodeRecord, Progress, RobotRecord


@dataclass(frozen=True)
class EpisodeJob:
    """One episode to play.

    `episode` is unique in `run` together with `task`, `policy` and `control`, which name entries of `WorkerConfig`;
    `seed` and `split` are what the task samples from. `attempt` starts at 1. Its time 0 lies at `start_s` on the site
    clock of a memory bank, in any attempt. `salt` is the run's, "" for none: it decides what seeds policies get,
    and nothing else.

    The first job of a chain holds those that follow it as `later`, each an episode that starts where the one before it
    has ended; all of them name the first one's episode as `chain`. They are played by one worker and tried again
    together.
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
    chain: str = ""
    salt: str = field(default="", repr=False)
    later: "tuple[EpisodeJob, ...]" = ()

    @property
    def unit(self) -> "tuple[EpisodeJob, ...]":
        """All episodes that belong together, in order: this one, and those of its chain that follow."""
        return (self, *self.later)

    def again(self) -> "EpisodeJob":
        """Returns the next attempt at the whole unit."""
        return replace(self, attempt=self.attempt + 1, later=tuple(job.again() for job in self.later))

    def starting_at(self, start_s: float) -> "EpisodeJob":
        """Returns the unit whose time 0 lies at `start_s` on the site clock."""
        return replace(self, start_s=start_s, later=tuple(job.starting_at(start_s) for job in self.later))


@dataclass(frozen=True)
class EpisodeResult:
    """How an episode ended: `steps` counts the intents begun by all robots, `sim_time_s` the simulated seconds.

    `traceback` is the traceback of a policy's exception that ended it, "" where there was none. `intents` are those of
    each robot in their order, robot by robot.
    """

    progress: Progress
    steps: int
    sim_time_s: float
    robots: Mapping[str, RobotRecord] = field(default_factory=dict)
    traceback: str = ""
    intents: tuple[IntentOutcome, ...] = ()


@dataclass(frozen=True, eq=False)
class JobResult:
    """The result of a job: the record, and an H.264 MP4 and recordings where the job requested them.

    `truth` are the encoded events of a `TruthReport`, empty where none was requested. `traceback` is the one of the
    exception of a policy which ended the episode, `intents` are those of `EpisodeResult`. `later` are the results of
    `EpisodeJob.later`.
    """

    job: EpisodeJob
    record: EpisodeRecord
    video: bytes | None = None
    recordings: tuple[Any, ...] = ()
    truth: bytes = b""
    traceback: str = ""
    intents: tuple[IntentOutcome, ...] = ()
    later: "tuple[JobResult, ...]" = ()

    @property
    def unit(self) -> "tuple[JobResult, ...]":
        """The results of all episodes of the job's unit, in order."""
        return (self, *self.later)
