"""What may be said after finitely many episodes: intervals, bands of chance, and the entries of `results.json`."""

import re
from collections.abc import Iterable, Mapping, Sequence
from math import exp, lgamma, log, sqrt
from statistics import NormalDist
from typing import Any

from embodied.errors import ConfigError
from embodied.types import EpisodeRecord, Outcome

CONFIDENCE = 0.95
_POSITION = re.compile(r"\[[-+.,e\d\s]+\]")
_ERROR = re.compile(r"\b\d+(\.\d+)?(?= (mm|rad) )")


def wilson_interval(successes: int, trials: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Returns the Wilson score interval of a proportion, within [0, 1]; (0, 1) where nothing was tried.

    Source: E. B. Wilson, Probable inference, JASA 22 (1927). Raises `ConfigError` for impossible counts.
    """
    if not 0 <= successes <= trials:
        raise ConfigError("Successes must lie between 0 and the number of trials.", value=(successes, trials))
    if not 0.0 < confidence < 1.0:
        raise ConfigError("A confidence must lie between 0 and 1.", value=confidence)
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1.0 + confidence) / 2.0)
    rate = successes / trials
    scale = 1.0 + z * z / trials
    centre = (rate + z * z / (2 * trials)) / scale
    half = z * sqrt(rate * (1.0 - rate) / trials + z * z / (4 * trials * trials)) / scale
    # At 0 and at all the formula touches the end exactly; floating point may miss it by one unit.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return low, high


def chance_band(chance: float, trials: int, *, confidence: float = CONFIDENCE) -> tuple[int, int]:
    """Returns the counts between which blind guessing falls with at least `confidence`, both ends included.

    These are the exact quantiles of the binomial distribution: at most (1 - confidence) / 2 lies beyond either end.
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


def summarise(records: Sequence[EpisodeRecord], *, chance: float, phases: Sequence[str]) -> dict[str, Any]:
    """Returns one entry of `results.json`: how one policy did on one task.

    `phases` names the phases to count, in order. An invalid episode is counted, and is not a success.
    """
    episodes = len(records)
    success = sum(record.outcome is Outcome.SUCCESS for record in records)
    choices = [record.choice for record in records if record.choice is not None]
    correct = sum(bool(choice["correct"]) for choice in choices)
    return {
        "episodes": episodes,
        "success": success,
        "success_rate": _rounded(success / episodes) if episodes else 0.0,
        "ci95": _ci95(success, episodes),
        "chance": _rounded(chance),
        "first_choice": {"reached": len(choices), "correct": correct, "ci95": _ci95(correct, len(choices))},
        "invalid": sum(record.outcome is Outcome.INVALID for record in records),
        "phases": {phase: sum(phase in record.phases for record in records) for phase in phases},
    }


def following(records: Iterable[EpisodeRecord]) -> dict[str, Any]:
    """Returns what `results.json` says of episodes with another's memory: how often the choice was the donor's target.

    `reached` counts the episodes with a donor in which a choice was made, `without_donor` those that had none.
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
    """Returns every phase that was reached, in the order in which the episodes that came furthest reached them."""
    order: list[str] = []
    furthest = sorted({record.phases for record in records}, key=lambda phases: (-len(phases), phases))
    for phases in furthest:
        order += [phase for phase in phases if phase not in order]
    return tuple(order)


def reasons(records: Iterable[EpisodeRecord]) -> Mapping[tuple[str, str], int]:
    """Returns how often each (outcome, reason) other than success occurred, most frequent first.

    Positions and how far they are off are left out, so that the same mishap at two places counts as one reason.
    """
    counts: dict[tuple[str, str], int] = {}
    for record in records:
        if record.outcome is not Outcome.SUCCESS:
            reason = _ERROR.sub("...", _POSITION.sub("[...]", record.reason))
            key = (record.outcome.value, reason or "no reason given")
            counts[key] = counts.get(key, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _binomial(count: int, trials: int, chance: float) -> float:
    if chance in (0.0, 1.0):
        return float(count == round(chance * trials))
    choose = lgamma(trials + 1) - lgamma(count + 1) - lgamma(trials - count + 1)
    return exp(choose + count * log(chance) + (trials - count) * log(1.0 - chance))


def _ci95(successes: int, trials: int) -> list[float]:
    return [_rounded(bound) for bound in wilson_interval(successes, trials)]


def _rounded(value: float) -> float:
    return round(value, 6)
