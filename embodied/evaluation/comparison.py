"""Compares two finished evaluations episode by episode: the same episodes, played by two policies or two versions."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from embodied.errors import DataError
from embodied.evaluation.episode_list import differences
from embodied.evaluation.finished_run import FinishedRun
from embodied.evaluation.metrics import measured
from embodied.seeding import stream
from embodied.types import EpisodeRecord, Interval, Outcome

RESAMPLES = 10_000
SUCCESS = "success"
IRRELEVANT_SETTINGS = ("output:", "shard:", "episode_list:", "videos:")


class ComparisonError(DataError):
    """Two evaluations cannot be paired episode by episode."""


@dataclass(frozen=True)
class Pair:
    """One episode under one control, as played in run A and in run B."""

    a: EpisodeRecord
    b: EpisodeRecord

    @property
    def valid(self) -> bool:
        """Whether neither play is invalid."""
        return Outcome.INVALID not in (self.a.outcome, self.b.outcome)

    @property
    def differs(self) -> bool:
        """Whether the outcomes or the choices differ."""
        return self.a.outcome != self.b.outcome or chosen(self.a) != chosen(self.b)

    @property
    def same_record(self) -> bool:
        """Whether the records are equal in everything but wall time."""
        names = ("outcome", "reason", "phases", "choice", "steps", "sim_time_s", "donor", "metrics", "robots")
        return all(getattr(self.a, name) == getattr(self.b, name) for name in names)


@dataclass(frozen=True)
class Contrast:
    """How often something is true in run A and in run B, of the same episodes, under one control of one task.

    `only_a` counts the episodes in which it is true only in A. `ci95` is the interval of the rate of B minus that of A.
    `p` is McNemar's exact two-sided probability; None for chains of episodes, which depend on one another.
    """

    task: str
    control: str
    policies: tuple[str, str]
    measure: str
    both: int
    only_a: int
    only_b: int
    neither: int
    ci95: tuple[float, float]
    p: float | None

    @property
    def episodes(self) -> int:
        """How many episodes were compared."""
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def rates(self) -> tuple[float, float]:
        """The rates of A and of B; 0 where no episode was compared."""
        total = max(self.episodes, 1)
        return (self.both + self.only_a) / total, (self.both + self.only_b) / total


@dataclass(frozen=True)
class Comparison:
    """Two runs, all pairs of their episodes, and the statistics of these."""

    a: FinishedRun
    b: FinishedRun
    pairs: Sequence[Pair]
    contrasts: Sequence[Contrast]
    remarks: Sequence[str]

    @property
    def differing(self) -> list[Pair]:
        """The pairs whose outcome or choice differs, in the order of the list."""
        return [pair for pair in self.pairs if pair.differs]


def compare(a: FinishedRun, b: FinishedRun, *, policies: tuple[str, str] | None = None) -> Comparison:
    """Returns the comparison of the runs `a` and `b`, which played the same episodes.

    `policies` names the policy of A and that of B; without it, policies of the same name are paired, or the only ones.

    Raises:
        ComparisonError: For runs that have no task in common, whose episodes differ in split, spec, seeds or digest,
            that are unfinished, or whose policies cannot be paired.
    """
    if a.episodes.suite != b.episodes.suite:
        raise ComparisonError("Two runs must be of one suite.", value=(a.episodes.suite, b.episodes.suite))
    tasks = [task for task in a.episodes.tasks if task in b.episodes.tasks]
    if not tasks:
        raise ComparisonError(
            "Two runs must have a task of the same tier in common.",
            value=f"{', '.join(a.episodes.tasks)} and {', '.join(b.episodes.tasks)}",
            remedy="Play both with the same suite.tasks and tier.",
        )
    for task, difference in differences(a.episodes, b.episodes):
        raise ComparisonError(
            f"The episodes of {task} must be the same in both runs.",
            value=difference,
            remedy=f"Play one of them again with episode_list={a.folder}/episode_list.json.",
        )
    named = _paired_policies(a, b, policies)
    pairs = [pair for task in tasks for pair in _pairs(a, b, task, named)]
    return Comparison(a, b, pairs, list(_contrasts(a, pairs, tasks, named)), list(_remarks(a, b, pairs, tasks)))


def mcnemar_p(only_a: int, only_b: int) -> float:
    """Returns the exact two-sided probability of counts at least as unequal, if both kinds are equally likely.

    Source: Q. McNemar, Note on the sampling error of the difference between correlated proportions, Psychometrika 12
    (1947), in its exact form: a binomial test of the pairs that differ.
    """
    total = only_a + only_b
    tail = sum(comb(total, count) for count in range(min(only_a, only_b) + 1))
    return min(1.0, 2.0 * tail / 2**total)


def paired_bootstrap(differences_of_pairs: Sequence[float], units: Sequence[str], *, name: str) -> tuple[float, float]:
    """Returns the percentile interval (95 %) of the mean difference, resampling whole units with replacement.

    `differences_of_pairs` are one value per pair, `units` the unit of each. The same `name` gives the same resamples.
    Source: B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    if not differences_of_pairs:
        return -1.0, 1.0
    keys = list(dict.fromkeys(units))
    places = np.array([keys.index(unit) for unit in units])
    sums = np.bincount(places, weights=np.asarray(differences_of_pairs, float), minlength=len(keys))
    sizes = np.bincount(places, minlength=len(keys))
    draws = stream(0, "paired bootstrap", name).integers(len(keys), size=(RESAMPLES, len(keys)))
    means = sums[draws].sum(axis=1) / sizes[draws].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def chosen(record: EpisodeRecord) -> str:
    """Returns the first choice of an episode, "" where it made none."""
    return "" if record.choice is None else str(record.choice["chosen"])


def settings_that_differ(a: FinishedRun, b: FinishedRun) -> list[str]:
    """Returns the lines of config.yaml that differ, marked - for A and + for B, and other parts of the identities."""
    texts = [(run.folder / "config.yaml").read_text().splitlines() for run in (a, b)]
    diff = [line for line in difflib.ndiff(texts[0], texts[1]) if line[0] in "+-"]
    lines = [line for line in diff if not line[2:].startswith(IRRELEVANT_SETTINGS)]
    for name in ("weights", "plugins", "versions", "code_sha256"):
        first, second = (run.run.get(name, {}) for run in (a, b))
        if isinstance(first, Mapping) and isinstance(second, Mapping):
            lines += [
                f"{sign} {name} of {key}: {own[key]}"
                for key in sorted(first.keys() | second.keys())
                for sign, own in (("-", first), ("+", second))
                if key in own and first.get(key) != second.get(key)
            ]
        elif first != second:
            lines += [f"- {name}: {first}", f"+ {name}: {second}"]
    return lines


def _paired_policies(a: FinishedRun, b: FinishedRun, chosen_pair: tuple[str, str] | None) -> list[tuple[str, str]]:
    of_a, of_b = list(a.run["policies"]), list(b.run["policies"])
    if chosen_pair is not None:
        for name, known, run in zip(chosen_pair, (of_a, of_b), "ab", strict=True):
            if name not in known:
                rule = f"policy_{run} must be a policy of the run."
                raise ComparisonError(rule, value=name, remedy=f"Known: {', '.join(known)}.")
        return [chosen_pair]
    common = [(name, name) for name in of_a if name in of_b]
    if not common and len(of_a) == len(of_b) == 1:
        return [(of_a[0], of_b[0])]
    if not common:
        raise ComparisonError(
            "Two runs must have policies of the same name, or one each.",
            value=(of_a, of_b),
            remedy="Name one of each: policy_a=NAME policy_b=NAME.",
        )
    return common


def _pairs(a: FinishedRun, b: FinishedRun, task: str, named: Sequence[tuple[str, str]]) -> Iterator[Pair]:
    """Yields the pairs of one task, in the order of its list. Raises `ComparisonError` for a missing episode."""
    rows = [{(r.policy, r.control, r.episode): r for r in run.records} for run in (a, b)]
    played = [run.played(task) for run in (a, b)]
    for seed in a.episodes.tasks[task].seeds:
        episode = f"{task}/{a.episodes.split}/{seed}"
        for names in named:
            controls = [[control for policy, control in played[side] if policy == names[side]] for side in (0, 1)]
            for control in (control for control in controls[0] if control in controls[1]):
                first, second = (rows[side].get((names[side], control, episode)) for side in (0, 1))
                if first is None or second is None:
                    raise ComparisonError(
                        "Both runs must have played every episode of the list.",
                        value=f"{episode} by {names[first is not None]}, {control}, is missing",
                        remedy="The same command plays missing episodes; launch.merge merges shards.",
                    )
                yield Pair(first, second)


def _contrasts(
    a: FinishedRun, pairs: Sequence[Pair], tasks: Sequence[str], named: Sequence[tuple[str, str]]
) -> Iterator[Contrast]:
    for task in tasks:
        shares = [c for c in a.run["columns"][task] if c["interval"] == Interval.WILSON]
        for names in named:
            own = [p for p in pairs if (p.a.task_and_tier, p.a.policy, p.b.policy) == (task, *names) and p.valid]
            for control in dict.fromkeys(pair.a.control for pair in own):
                under = [pair for pair in own if pair.a.control == control]
                yield _contrast(task, control, names, SUCCESS, _values(under, None))
                for column in shares:
                    yield _contrast(task, control, names, column["title"], _values(under, column["metric"]))


def _values(pairs: Sequence[Pair], metric: str | None) -> list[tuple[float, float, str]]:
    """Returns the values of A and B, 0 or 1, and the unit of each pair that has both."""
    if metric is None:
        return [(_won(pair.a), _won(pair.b), pair.a.unit) for pair in pairs]
    both = [(measured(pair.a, metric), measured(pair.b, metric), pair.a.unit) for pair in pairs]
    return [(first, second, unit) for first, second, unit in both if first is not None and second is not None]


def _won(record: EpisodeRecord) -> float:
    return float(record.outcome is Outcome.SUCCESS)


def _contrast(
    task: str, control: str, names: tuple[str, str], measure: str, values: Sequence[tuple[float, float, str]]
) -> Contrast:
    counts = {key: sum((first, second) == key for first, second, _ in values) for key in _CELLS}
    units = [unit for _, _, unit in values]
    independent = len(set(units)) == len(units)
    return Contrast(
        task=task,
        control=control,
        policies=names,
        measure=measure,
        both=counts[1.0, 1.0],
        only_a=counts[1.0, 0.0],
        only_b=counts[0.0, 1.0],
        neither=counts[0.0, 0.0],
        ci95=paired_bootstrap([b - a for a, b, _ in values], units, name=f"{task} {control} {measure}"),
        p=mcnemar_p(counts[1.0, 0.0], counts[0.0, 1.0]) if independent else None,
    )


_CELLS = ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0))


def _remarks(a: FinishedRun, b: FinishedRun, pairs: Sequence[Pair], tasks: Sequence[str]) -> Iterator[str]:
    for run, name in ((a, "A"), (b, "B")):
        if alone := [task for task in run.episodes.tasks if task not in tasks]:
            yield f"Only {name} has played {', '.join(alone)}."
    if invalid := sum(not pair.valid for pair in pairs):
        yield f"{invalid} of {len(pairs)} pairs are left out of the figures, since one of the two episodes is invalid."
    same = sum(pair.same_record for pair in pairs)
    yield f"{same} of {len(pairs)} pairs are equal in every recorded detail."
    if a.run["id"] == b.run["id"]:
        yield f"Both are of the same run, {a.run['id']}: settings, code and weights are equal."
