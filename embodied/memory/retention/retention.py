"""Retention removes events that a bank does not need, by `Forgotten` events of the log; current answers stay.

Three groups are removed, in this order: sightings in the middle of a run of equivalent ones (time), moments that repeat
another of their episode (similarity) or are not among its keyframes (novelty), and the oldest observations beyond a
budget. Withdrawn events count for nothing, and their withdrawal goes once all of them are gone. Events on which others
depend stay: places, containment, interactions, skills and their statistics, leases, episodes and their summaries with
their ranges of sequence numbers, the last sighting of everything, the evidence of all current location beliefs (such as
the state of the robot that carried a thing there), and the causes of events that stay, with theirs. The file keeps its
size, and later events fill the free space. Half-lives of existence are computed at query time from the last sighting,
so nothing has to be deleted for them. What an earlier snapshot, or a question about an earlier time, answered from
removed events is gone (`BankView.removed`).

The events go in many small commits, each with one `Forgotten` event: in between robots append and ask, and if the owner
is killed, the next retention removes the rest.
"""

import math
from dataclasses import dataclass
from numbers import Integral, Real
from time import sleep

import numpy as np

from embodied.errors import ConfigError
from embodied.memory.retention.compaction import (
    GiveWay,
    RestTolerance,
    indices_of,
    keyframes,
    redundant_sightings,
    similar_moments,
    steps_of,
)
from embodied.memory.retention.contents import Contents
from embodied.memory.schema.event import Event
from embodied.memory.schema.kinds import Forgotten
from embodied.memory.schema.reserved import RETENTION
from embodied.memory.service.bank import Bank

STEP = 150  # Events removed by one commit: some milliseconds, in which others wait.
PAUSE_S = 0.001
SAME, ALIKE, PLAIN, OLD = "sightings that say the same", "moments alike", "moments that are not novel", "oldest first"
SPENT = "withdrawals of events that are gone"


@dataclass(frozen=True)
class RetentionResult:
    """How many events were removed for which reason, and how many are left in the log."""

    forgotten: dict[str, int]
    left: int


@dataclass(kw_only=True)
class RetentionConfig:
    """What is kept. Lengths in metres, angles in radians, times in seconds of the site clock.

    Events newer than `fresh_s` before the newest one stay, and so do those of an episode that still runs. Sightings
    within `still_m` and `still_rad` are equivalent; of a long run one per `gap_s` stays, which bounds the error of
    half-lives and past answers. Moments of an episode whose cosine with another is at least `alike` are repetitions; of
    the rest `keyframes` per episode, robot and model stay. At most `observations` events of the removable kinds stay,
    not counting interactions: of the distant past, interactions and last positions remain.

    Attributes:
        fresh_s: events newer than this before the newest event stay
        still_m: sightings within this distance are equivalent
        still_rad: sightings within this angle are equivalent
        gap_s: of equivalent sightings one per so many seconds stays
        alike: cosine from which moments of an episode are repetitions
        keyframes: moments that stay per episode, robot and model
        observations: events of the removable kinds that stay
    """

    fresh_s: float = 600.0
    still_m: float = 0.002
    still_rad: float = 0.02
    gap_s: float = 60.0
    alike: float = 0.995
    keyframes: int = 64
    observations: int = 1_000_000

    def build(self) -> "Retention":
        """Returns the retention. Raises `ConfigError` for values out of range, and for values that are not numbers."""
        for name in ("fresh_s", "still_m", "still_rad", "gap_s"):
            value = getattr(self, name)
            if not _is(Real, value) or not 0.0 <= value < math.inf:
                raise ConfigError(f"retention.{name} must be a finite number from 0.", value=value)
        if not _is(Real, self.alike) or not 0.0 < self.alike <= 1.0:
            raise ConfigError("retention.alike must be a cosine in (0, 1].", value=self.alike)
        for name, least in (("keyframes", 2), ("observations", 0)):
            value = getattr(self, name)
            if not _is(Integral, value) or value < least:
                raise ConfigError(f"retention.{name} must be a whole number from {least}.", value=value)
        return Retention(self)


class Retention:
    """Removes events that a bank does not need, in steps; equal logs and settings remove equal events."""

    def __init__(self, config: RetentionConfig) -> None:
        self._config = config

    def apply(self, bank: Bank) -> RetentionResult:
        """Removes events, and returns the counts.

        Raises what `Bank.append` raises; then the steps before are done, and another call does the rest.
        """
        log = Contents.read(bank)
        chosen = self.choose(log, bank.give_way)
        log.drop_sightings(bank.give_way)
        writer, number, time_s = _writer(bank)
        first = number
        for reason, numbers in chosen.items():
            for ranges, count in steps_of(numbers, STEP):
                number += 1
                removal = Event(writer, number, max(time_s, log.newest_s), Forgotten(reason, ranges, count))
                bank.append(removal, as_site=True)
                sleep(PAUSE_S)  # Threads that wait for the lock do not queue: the one that runs would take it again.
                bank.give_way()
        counts = {reason: len(numbers) for reason, numbers in chosen.items()}
        return RetentionResult(counts, log.count - sum(counts.values()) + number - first)

    def choose(self, log: Contents, give_way: GiveWay = int) -> dict[str, list[int]]:
        """Returns the sequence numbers of `log` to remove, by reason; no number is in two of them.

        `give_way` is called between steps.
        """
        config = self._config
        still = RestTolerance(config.still_m, config.still_rad, config.gap_s)
        same = [seq for history in log.histories().values() for seq in redundant_sightings(history, still, give_way)]
        alike, plain = self._moments(log, give_way)
        seqs, times = np.asarray(log.seqs), np.asarray(log.times)
        free = times <= log.newest_s - config.fresh_s
        free &= times < log.newest_s  # Ages count from when the newest event was received.
        for kept in (log.running, log.causes, log.evidence):
            free[indices_of(seqs, kept)] = False
        left = np.ones(len(seqs), bool)
        chosen = {}
        for reason, numbers in ((SAME, same), (ALIKE, alike), (PLAIN, plain)):
            rows = indices_of(seqs, numbers)
            rows = rows[free[rows]]
            left[rows] = False
            chosen[reason] = seqs[rows].tolist()
        too_many = max(0, int(np.count_nonzero(left)) - config.observations)
        spare = left & free
        spare[indices_of(seqs, log.needed())] = False
        oldest = np.flatnonzero(spare)
        oldest = oldest[np.lexsort((seqs[oldest], times[oldest]))][:too_many]
        chosen[OLD] = seqs[oldest].tolist()
        chosen[SPENT] = log.spent()
        return {reason: numbers for reason, numbers in chosen.items() if numbers}

    def _moments(self, log: Contents, give_way: GiveWay) -> tuple[list[int], list[int]]:
        alike: list[int] = []
        plain: list[int] = []
        for found in log.moments.values():
            ordered = sorted(found)
            numbers = np.array([seq for (_, seq), _ in ordered])
            embeddings = np.frombuffer(b"".join(vector for _, vector in ordered), "<f4").reshape(len(ordered), -1)
            repeated = similar_moments(embeddings, alike=self._config.alike, give_way=give_way)
            alike += numbers[repeated].tolist()
            numbers, embeddings = numbers[~repeated], embeddings[~repeated]
            novel = keyframes(embeddings, self._config.keyframes, give_way)
            plain += np.delete(numbers, novel).tolist()
        return alike, plain


def _writer(bank: Bank) -> tuple[str, int, float]:
    """Returns the name of the writer, its last number, and its last time, seconds.

    In an older bank with an event of the far future the time of retention may lie there too: then it goes on under
    another name.
    """
    name, reading = RETENTION, bank.clock()
    while (last := bank.last_of_writer(name))[1] > reading.time_s + reading.ahead_s:
        name += "/again"
    return name, *last


def retain(bank: Bank, config: RetentionConfig | None = None) -> RetentionResult:
    """Removes events that the bank does not need, by `config` or the default settings; returns the counts.

    Raises `ConfigError` for invalid settings.
    """
    return checked(config).build().apply(bank)


def checked(config: RetentionConfig | None) -> RetentionConfig:
    """Returns the settings (None: the defaults). Raises `ConfigError` for values of another type or out of range."""
    if config is None:
        return RetentionConfig()
    if not isinstance(config, RetentionConfig):
        raise ConfigError(
            "Retention must be configured by a `RetentionConfig`.",
            value=config,
            remedy="Write RetentionConfig(observations=100_000).",
        )
    config.build()
    return config


def _is(kind: type, value: object) -> bool:
    """Returns whether a value is a number of a kind; booleans are not."""
    return isinstance(value, kind) and not isinstance(value, bool)
