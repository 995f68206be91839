"""Statistics of finitely many episodes: intervals, bands of chance, and the entries of `results.json`."""

import re
from collections.abc import Iterable, Mapping, Sequence
from math import exp, inf, lgamma, log, sqrt
from statistics import NormalDist, fmean, stdev
from typing import Any

from embodied.errors import ConfigError
from embodied.types import CHOICE, EpisodeRecord, Interval, Outcome, ReportColumn

CONFIDENCE = 0.95
_POSITION = re.compile(r"\[[-+.,e\d\s]+\]")
_CHOICE = re.compile(r"^(wrong first choice): \S+$")  # A separate table shows which.
_ERROR = re.compile(r"\b\d+(\.\d+)?(?= (mm|rad) )")
_STEP = re.compile(r"(?<=, at step )\d+")


def wilson_interval(successes: int, trials: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Returns the Wilson score interval of `successes` of `trials` at a `confidence`, within [0, 1].

    (0, 1) without trials. Source: E. B. Wilson, Probable inference, JASA 22 (1927). Raises `ConfigError` for impossible
    counts.
    """
    if not 0 <= successes <= trials:
        raise ConfigError("Successes must lie between 0 and the number of trials.", value=(successes, trials))
    if not 0.0 < confidence < 1.0:
        raise ConfigError("A confidence must lie between 0 and 1.", value=confidence)
    if trials == 0:
        return 0.0, 1.0
    low, high = _wilson(successes / trials, trials, confidence=confidence)
    # With no or only successes the bound is exact; rounding may miss it by one unit in the last place.
    return 0.0 if successes == 0 else low, 1.0 if successes == trials else high


def _wilson(rate: float, trials: float, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    z = NormalDist().inv_cdf((1.0 + confidence) / 2.0)
    scale = 1.0 + z * z / trials
    centre = (rate + z * z / (2 * trials)) / scale
    half = z * sqrt(rate * (1.0 - rate) / trials + z * z / (4 * trials * trials)) / scale
    return max(0.0, centre - half), min(1.0, centre + half)


def chance_band(chance: float, trials: int, *, confidence: float = CONFIDENCE) -> tuple[int, int]:
    """Returns the band of counts, ends included, of blind guessing in `trials` with at least `confidence`.

    `chance` is the probability of one success. These are the exact quantiles of the binomial distribution: at most (1 -
    confidence) / 2 lies beyond either end.
    """
    if not 0.0 <= chance <= 1.0 or trials < 0:
        raise ConfigError("Chance must lie in [0, 1] and trials be 0 or more.", value=(chance, trials))
    tail = (1.0 - confidence) / 2.0
    low, high, below = 0, trials, 0.0
    found_low = False
    for count in range(trials + 1):
        below += _binomial(count, trials, chance)
        if not found_low and below > tail:
            low, found_low = count, True
        if below >= 1.0 - tail:
            high = count
            break
    return low, high


def clustered_interval(values: Sequence[float], units: Sequence[str]) -> tuple[float, float]:
    """Returns the 95 % interval of a share of ones, where episodes of the same unit may depend on each other.

    Where every episode is its own unit this is Wilson's. Otherwise it is Wilson's at the effective sample size, which
    is the variance that independent episodes would have over that of the ratio estimator between units (E. L. Korn and
    B. I. Graubard, Confidence intervals for proportions with small expected number of positive counts, Survey
    Methodology 24, 1998); with one unit or no variance every unit counts once. Values and units are of equal length.
    """
    sums: dict[str, list[float]] = {}
    for value, unit in zip(values, units, strict=True):
        own = sums.setdefault(unit, [0.0, 0.0])
        own[0], own[1] = own[0] + value, own[1] + 1.0
    episodes, count = len(values), len(sums)
    if count == episodes:
        return wilson_interval(round(sum(values)), episodes)
    if count < 2:
        return 0.0, 1.0
    rate = sum(values) / episodes
    spread = sum((total - rate * size) ** 2 for total, size in sums.values()) * count / (count - 1) / episodes**2
    alone = rate * (1.0 - rate)
    return _wilson(rate, min(float(episodes), alone / spread) if spread > 0.0 < alone else float(count))


def mean_interval(values: Sequence[float], units: Sequence[str]) -> tuple[float, float, float]:
    """Returns the mean over units of the means of each, and Student's 95 % interval; no bounds below two units."""
    groups: dict[str, list[float]] = {}
    for value, unit in zip(values, units, strict=True):
        groups.setdefault(unit, []).append(value)
    means = [fmean(group) for group in groups.values()]
    centre = fmean(means)
    if len(means) < 2:
        return centre, -inf, inf
    from scipy.special import stdtrit  # Imported late: code that only reads intervals of shares needs no SciPy.

    half = float(stdtrit(len(means) - 1, (1.0 + CONFIDENCE) / 2.0)) * stdev(means) / sqrt(len(means))
    return centre, centre - half, centre + half


def summarise(
    records: Sequence[EpisodeRecord], *, chance: float | None, phases: Sequence[str], columns: Sequence[ReportColumn]
) -> dict[str, Any]:
    """Returns one entry of `results.json`, from the `records` of one policy on one task with this `chance`.

    `phases` names the phases to count, in order; `columns` are those of the task. An invalid episode is counted, and is
    not a success. Intervals take a chain of episodes as one unit.
    """
    episodes = len(records)
    won = [float(record.outcome is Outcome.SUCCESS) for record in records]
    success = round(sum(won))
    return {
        "episodes": episodes,
        "success": success,
        "success_rate": _rounded(success / episodes) if episodes else 0.0,
        "ci95": _rounded_bounds(clustered_interval(won, [record.unit for record in records])),
        "chance": None if chance is None else _rounded(chance),
        **{column.name: _measured(records, column) for column in columns},
        "invalid": sum(record.outcome is Outcome.INVALID for record in records),
        "phases": {phase: sum(phase in record.phases for record in records) for phase in phases},
    }


def _measured(records: Sequence[EpisodeRecord], column: ReportColumn) -> dict[str, Any]:
    """Returns the summary of a column over the episodes that have a value: a share and its count, or a mean."""
    found = [(value, record.unit) for record in records if (value := measured(record, column.metric)) is not None]
    values, units = [value for value, _ in found], [unit for _, unit in found]
    if column.interval is Interval.WILSON:
        if odd := [value for value in values if value not in (0.0, 1.0)]:
            raise ConfigError(f"Values of column {column.name!r} must be 0 or 1 to give a share.", value=odd[0])
        bounds = _rounded_bounds(clustered_interval(values, units))
        return {"reached": len(values), "correct": round(sum(values)), "ci95": bounds}
    if not values:
        return {"reached": 0, "mean": None, "ci95": None}
    mean, low, high = mean_interval(values, units)
    return {
        "reached": len(values),
        "mean": _rounded(mean),
        "ci95": _rounded_bounds((low, high)) if low > -inf else None,
    }


def measured(record: EpisodeRecord, metric: str) -> float | None:
    """Returns the value of a metric of one episode, or whether its choice was right; None where it has none."""
    if metric == CHOICE:
        return None if record.choice is None else float(bool(record.choice["correct"]))
    value = record.metrics.get(metric)
    return None if value is None else float(value)


def following(records: Iterable[EpisodeRecord]) -> dict[str, Any]:
    """Returns the summary of episodes with another episode's memory: how often the choice was the donor's target.

    `reached` counts the episodes with a donor in which a choice was made, `without_donor` those without a donor.
    """
    records = list(records)
    chosen = [
        record.choice["chosen"] == record.donor
        for record in records
        if record.donor is not None and record.choice is not None
    ]
    return {
        "reached": len(chosen),
        "followed": sum(chosen),
        "ci95": _ci95(sum(chosen), len(chosen)),
        "without_donor": sum(record.donor is None for record in records),
    }


def phase_order(records: Iterable[EpisodeRecord]) -> tuple[str, ...]:
    """Returns every phase that was reached, in the order of the episodes that reached most phases."""
    order: list[str] = []
    furthest = sorted({record.phases for record in records}, key=lambda phases: (-len(phases), phases))
    for phases in furthest:
        order += [phase for phase in phases if phase not in order]
    return tuple(order)


def reasons(records: Iterable[EpisodeRecord]) -> Mapping[tuple[str, str], int]:
    """Returns how often each (outcome, reason) other than success occurred, most frequent first.

    Positions, distances and steps are left out of reasons, so that the same failure at two places counts as one.
    """
    counts: dict[tuple[str, str], int] = {}
    for record in records:
        if record.outcome is not Outcome.SUCCESS:
            key = (record.outcome.value, plain_reason(record.reason) or "no reason given")
            counts[key] = counts.get(key, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def plain_reason(reason: str) -> str:
    """Returns a reason without the position, distance, step or choice, which differ between episodes."""
    reason = _CHOICE.sub(r"\1", reason)
    return _STEP.sub("...", _ERROR.sub("...", _POSITION.sub("[...]", reason)))


def _binomial(count: int, trials: int, chance: float) -> float:
    if chance in (0.0, 1.0):
        return float(count == round(chance * trials))
    choose = lgamma(trials + 1) - lgamma(count + 1) - lgamma(trials - count + 1)
    return exp(choose + count * log(chance) + (trials - count) * log(1.0 - chance))


def _ci95(successes: int, trials: int) -> list[float]:
    return [_rounded(bound) for bound in wilson_interval(successes, trials)]


def _rounded_bounds(bounds: tuple[float, float]) -> list[float]:
    return [_rounded(bound) for bound in bounds]


def _rounded(value: float) -> float:
    return round(value, 6)
