"""Whether an observation gives the target away: all probes on one task, against the band of chance."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp, lgamma, log
from typing import Any

import numpy as np

from embodied.errors import DataError
from embodied.evaluation.metrics import chance_band
from embodied.seeding import derive_seed
from policies.probes import positive_controls, sightings
from policies.probes.config import ProbeConfig
from policies.probes.samples import Labelled, ProbeKind
from policies.probes.sightings import ChoiceSighting

_log = logging.getLogger(__name__)
_Features = Callable[[Sequence[ChoiceSighting]], np.ndarray]


@dataclass(frozen=True)
class _PlannedProbe:
    """The inputs of a probe of this kind, the labels that it must predict, and the planted leak that it must find."""

    kind: ProbeKind
    inputs: _Features
    labels: _Features
    plant: Callable[[ChoiceSighting, int], ChoiceSighting]


PROBES: Mapping[str, _PlannedProbe] = {
    "linear_body": _PlannedProbe(ProbeKind.LINEAR, sightings.bodies, sightings.ranks, positive_controls.late),
    "linear_pixels": _PlannedProbe(
        ProbeKind.LINEAR, sightings.coarse_pixels, sightings.ranks, positive_controls.marked
    ),
    "convolution_images": _PlannedProbe(
        ProbeKind.CONVOLUTION, sightings.images, sightings.ranks, positive_controls.marked
    ),
    "pointing_crops": _PlannedProbe(ProbeKind.POINTING, sightings.crops, sightings.indices, positive_controls.tinted),
    "pointing_body": _PlannedProbe(ProbeKind.POINTING, sightings.reaches, sightings.indices, positive_controls.leaning),
}


class LeakTest:
    """Trains every probe of `PROBES` once, with settings and seeds fixed beforehand: there is no choice among several.

    `linear` holds the settings of the linear probes, `network` those of the others.
    """

    def __init__(self, linear: ProbeConfig, network: ProbeConfig, *, seed: int) -> None:
        self._linear = linear
        self._network = network
        self._seed = seed

    def task(
        self, name: str, train: Sequence[ChoiceSighting], held_out: Sequence[ChoiceSighting], *, controls: bool
    ) -> dict[str, Any]:
        """Returns, for each probe, how often it names the target of the `held_out` sightings of the task `name`.

        Probes learn from the sightings `train`. With `controls`, a leak of known size is also planted for each probe,
        which the probe must find. Raises `DataError` where there are no sightings to train or to test on.
        """
        if not train or not held_out:
            raise DataError(
                "Some episode must reach its choice.", value=name, remedy="Evaluate the expert with videos."
            )
        answers, planted_answers = {}, {}
        for label, probe in PROBES.items():
            answers[label] = self._answer(label, train, held_out)
            _log.info("%s, %s: %s", name, label, answers[label])
            if controls:
                planted = ([_planted(probe, sighting) for sighting in group] for group in (train, held_out))
                planted_answers[label] = self._answer(label, *planted)
                _log.info("%s, %s, with a planted leak: %s", name, label, planted_answers[label])
        return {
            "train": len(train),
            "held_out": len(held_out),
            "candidates": len(train[0].candidates_m),
            "held_out_targets": np.bincount(sightings.indices(held_out)).tolist(),
            "held_out_ranks": np.bincount(sightings.ranks(held_out)).tolist(),
            "probes": answers,
            "planted": planted_answers,
        }

    def _answer(
        self, label: str, train: Sequence[ChoiceSighting], held_out: Sequence[ChoiceSighting]
    ) -> dict[str, Any]:
        probe, candidates = PROBES[label], len(train[0].candidates_m)
        settings = self._linear if probe.kind is ProbeKind.LINEAR else self._network
        fitted, tested = (Labelled(probe.inputs(group), probe.labels(group)) for group in (train, held_out))
        built = replace(settings, kind=probe.kind).build(seed=derive_seed(self._seed, "leak", label))
        correct, trials = built.correct(fitted, tested, candidates=candidates), len(held_out)
        low, high = chance_band(1.0 / candidates, trials)
        return {
            "correct": correct,
            "accuracy": round(correct / trials, 4),
            "band95": [round(low / trials, 4), round(high / trials, 4)],
            "p": float(f"{two_sided_p(correct, trials, 1.0 / candidates):.3g}"),
            "within": low <= correct <= high,
        }


def conclusion(tasks: Mapping[str, Mapping[str, Any]], tier: str) -> dict[str, Any]:
    """Counts the probes of a tier's tasks that lie outside their bands, among results of `LeakTest.task` by task.

    Each band is wide enough for 95 of 100 blind probes, not for all of many.
    """
    mine = {name: entry for name, entry in tasks.items() if name.endswith(f"/{tier}")}
    answers = {f"{name} {label}": answer for name, entry in mine.items() for label, answer in entry["probes"].items()}
    outside = [label for label, answer in answers.items() if not answer["within"]]
    blind = [
        f"{name} {label}"
        for name, entry in mine.items()
        for label, answer in entry["planted"].items()
        if answer["within"]
    ]
    return {
        "probes": len(answers),
        "outside": outside,
        "smallest_p": min(answer["p"] for answer in answers.values()),
        "bonferroni_p": round(0.05 / len(answers), 5),
        "plants_not_found": blind,
    }


def two_sided_p(correct: int, trials: int, chance: float) -> float:
    """Returns the probability that blind guessing in `trials` is as far off as `correct`.

    It is twice the smaller exact binomial tail at `chance`.
    """
    mass = []
    for count in range(trials + 1):
        ways = lgamma(trials + 1) - lgamma(count + 1) - lgamma(trials - count + 1)
        mass.append(exp(ways + count * log(chance) + (trials - count) * log(1.0 - chance)))
    return min(1.0, 2.0 * min(sum(mass[: correct + 1]), sum(mass[correct:])))


def _planted(probe: _PlannedProbe, sighting: ChoiceSighting) -> ChoiceSighting:
    return probe.plant(sighting, int(sightings.ranks([sighting])[0]))
