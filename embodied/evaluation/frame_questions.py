"""Scores answers to the official questions of FindingDory, which are frames of recorded days: no simulator is used."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embodied.errors import ConfigError, unknown_name
from embodied.evaluation import frame_report
from embodied.evaluation.episode_list import LIST_FILE, EpisodeList, TaskSeeds, encode_list
from embodied.evaluation.metrics import summarise
from embodied.evaluation.provenance import code_sha256, cpu, fingerprint, versions
from embodied.evaluation.results import RESULTS_FILE, ResultsFolder
from embodied.seeding import stream
from embodied.tasks.findingdory.annotations import (
    FRAMES,
    FrameQuestion,
    read_annotations,
    read_answers,
    remarks_on,
)
from embodied.tasks.findingdory.scoring import (
    constant_answer,
    episode_bootstrap,
    judged,
    oracle_answer,
    random_answer,
    random_expectation,
    template_means,
)
from embodied.tasks.findingdory.table import GROUPS, TEMPLATES
from embodied.types import EpisodeRecord, Outcome

SUITE = "findingdory_offline"
SPLIT = "validation"
ABOUT = "The official questions of FindingDory, answered by frames of recorded days; nothing is simulated."
RANDOM, CONSTANT, LAST, ORACLE, ANSWERS = "random", "constant", "last", "oracle", "answers"
FLOORS = (RANDOM, CONSTANT, LAST)
POLICIES = (*FLOORS, ORACLE, ANSWERS)
BEST_CONSTANT = 78  # The best constant frame on the 100 official validation days, chosen on the same days.
RESAMPLES = 10_000
EXPECTED = "expected"

_Answer = Callable[[FrameQuestion], tuple[int, ...] | None]


@dataclass(frozen=True, kw_only=True)
class FramePlan:
    """What is scored: the `policies` on the questions of the file `annotations`.

    `answers` is the file of the policy "answers"; None without it. `constant` is the frame of the policy "constant".
    `frames` is the number of frames of a day, `seed` that of the draws of "random". Raises `ConfigError` and
    `UnknownNameError`.
    """

    annotations: Path
    policies: Sequence[str] = field(default_factory=lambda: list(FLOORS))
    answers: Path | None = None
    constant: int = BEST_CONSTANT
    frames: int = FRAMES
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.policies:
            if name not in POLICIES:
                raise unknown_name("policy", name, POLICIES)
        if not self.policies or len(set(self.policies)) < len(self.policies):
            raise ConfigError("At least one policy must be named, and each once.", value=list(self.policies))
        if (ANSWERS in self.policies) != (self.answers is not None):
            raise ConfigError(
                f"The policy {ANSWERS!r} and a file of answers must be given together.",
                value=f"policy={list(self.policies)}, answers={self.answers or ''}",
                remedy="Write policy=[answers] answers=FILE.json.",
            )
        if not 0 <= self.constant < self.frames:
            raise ConfigError(f"constant must be a frame in [0, {self.frames}).", value=self.constant)
        if self.seed < 0:
            raise ConfigError("seed must be 0 or more.", value=self.seed)


def score(plan: FramePlan, *, output: Path, config: str) -> Mapping[str, Any]:
    """Scores the answers of `plan`, writes rows and reports to the folder `output`, and returns its results.json.

    `config` becomes config.yaml. Rows of "random" are one draw for each question; what counts for its mean is the exact
    expectation. The floors and the ceiling are in every result, whichever policies are chosen. Raises `DataError` for
    files that cannot be read, before anything is written, and `ConfigError` where the folder holds another run.
    """
    questions = read_annotations(plan.annotations, frames=plan.frames)
    answers = {} if plan.answers is None else read_answers(plan.answers)
    run = fingerprint(_decisive(plan))
    policies = _policies(plan, answers)
    names = list(dict.fromkeys([*plan.policies, *FLOORS, ORACLE]))
    records = {name: [_record(row, name, policies[name], plan, run) for row in questions] for name in names}
    chosen = [record for name in plan.policies for record in records[name]]
    results = _results(plan, questions, records, run, remarks=remarks_on(questions, answers))
    with ResultsFolder(output) as folder:
        done = {(record.policy, record.episode) for record in folder.records(run)}
        folder.extend(record for record in chosen if (record.policy, record.episode) not in done)
        folder.write("config.yaml", config)
        folder.write(LIST_FILE, encode_list(_episode_list(questions)).decode())
        folder.write_json(RESULTS_FILE, results)
        folder.write("report.md", frame_report.markdown(results))
        folder.write("report.html", frame_report.html(results, config=config))
    return results


def _policies(plan: FramePlan, answers: Mapping[int, tuple[int, ...]]) -> Mapping[str, _Answer]:
    """Returns the answer of each policy to a question."""
    return {
        RANDOM: lambda row: random_answer(row, stream(plan.seed, "random frames", row.id), frames=plan.frames),
        CONSTANT: lambda row: constant_answer(row, plan.constant),
        LAST: lambda row: constant_answer(row, plan.frames - 1),
        ORACLE: oracle_answer,
        ANSWERS: lambda row: answers.get(row.id),
    }


def _record(row: FrameQuestion, policy: str, answer: _Answer, plan: FramePlan, run: str) -> EpisodeRecord:
    verdict = judged(row, answer(row), frames=plan.frames)
    metrics = {"goals": float(len(row.goals)), "reached": float(verdict.reached)}
    if policy == RANDOM:
        metrics[EXPECTED] = float(random_expectation(row, frames=plan.frames))
    return EpisodeRecord(
        run=run,
        episode=_name(row),
        attempt=0,
        task=row.question.slug,
        tier="",
        policy=policy,
        variant=0,
        seed=row.id,
        outcome=Outcome.SUCCESS if verdict.success else Outcome.FAILURE,
        reason=verdict.reason,
        phases=(),
        choice=None,
        steps=0,
        sim_time_s=0.0,
        wall_s=0.0,
        metrics=metrics,
        chain=f"{row.question.slug}/{SPLIT}/{row.episode}",
    )


def _name(row: FrameQuestion) -> str:
    return f"{row.question.slug}/{SPLIT}/{row.id}"


def _results(
    plan: FramePlan,
    questions: Sequence[FrameQuestion],
    records: Mapping[str, Sequence[EpisodeRecord]],
    run: str,
    *,
    remarks: Sequence[str],
) -> dict[str, Any]:
    """Returns the content of results.json: `tasks` by template as of any suite, `overall` the means over templates."""
    slugs = [slug for slug in TEMPLATES if any(row.question.slug == slug for row in questions)]
    tasks = {
        slug: {name: _entry(records, name, slug) for name in plan.policies} for slug in slugs
    }  # fmt: skip
    return {
        "run": _run(plan, questions, slugs, run) | ({"remarks": list(remarks)} if remarks else {}),
        "overall": {name: _overall(plan, questions, name, own) for name, own in records.items()},
        "tasks": tasks,
    }


def _entry(records: Mapping[str, Sequence[EpisodeRecord]], name: str, slug: str) -> dict[str, Any]:
    own = [record for record in records[name] if record.task == slug]
    expected = [record.metrics[EXPECTED] for record in records[RANDOM] if record.task == slug]
    return summarise(own, chance=sum(expected) / len(expected), phases=(), columns=())


def _overall(
    plan: FramePlan, questions: Sequence[FrameQuestion], name: str, records: Sequence[EpisodeRecord]
) -> dict[str, Any]:
    """Returns the means of one policy over templates and categories, its interval, and why it failed."""
    scores = [_score(record) for record in records]
    by_slug = {slug: [s for s, r in zip(scores, records, strict=True) if r.task == slug] for slug in TEMPLATES}
    means = template_means(by_slug)
    draws = stream(plan.seed, "bootstrap of days", name)
    bounds = episode_bootstrap(
        scores,
        [record.task for record in records],
        [row.episode for row in questions],
        resamples=RESAMPLES,
        draws=draws,
    )
    groups = {group: [mean for slug, mean in means.items() if TEMPLATES[slug].group == group] for group in GROUPS}
    reasons = Counter(record.reason.partition(":")[0] for record in records if record.reason)
    drawn = template_means(
        {slug: [float(r.outcome is Outcome.SUCCESS) for r in records if r.task == slug] for slug in TEMPLATES}
    )
    return {
        "mean": _mean(list(means.values())),
        "ci95": [round(bound, 6) for bound in bounds],
        "groups": {group: _mean(own) for group, own in groups.items() if own},
        "templates": {slug: round(mean, 6) for slug, mean in means.items()},
        **({"drawn": _mean(list(drawn.values()))} if name == RANDOM else {"reasons": dict(reasons.most_common())}),
    }


def _score(record: EpisodeRecord) -> float:
    """Returns 1 for a right answer and 0 for another; of random frames the exact probability of a right one."""
    return record.metrics.get(EXPECTED, float(record.outcome is Outcome.SUCCESS))


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 6)


def _run(plan: FramePlan, questions: Sequence[FrameQuestion], slugs: Sequence[str], run: str) -> dict[str, Any]:
    """Returns the settings and the provenance of the run."""
    return {
        "id": run,
        "suite": SUITE,
        "about": ABOUT,
        "tier": "",
        "policies": list(plan.policies),
        "privileged": [ORACLE],
        "questions": len(questions),
        "days": len({row.episode for row in questions}),
        "unsolvable": sum(not row.solvable for row in questions),
        "constant": plan.constant,
        "frames": plan.frames,
        "seed": plan.seed,
        "split": SPLIT,
        "resamples": RESAMPLES,
        "files": dict(_files(plan)),
        "episode_list": {"name": "", "sha256": _episode_list(questions).sha256},
        "columns": {slug: [] for slug in slugs},
        "versions": versions(),
        "code_sha256": code_sha256(),
        "cpu": cpu(),
    }


def _decisive(plan: FramePlan) -> dict[str, Any]:
    return {
        "suite": SUITE,
        "files": dict(_files(plan)),
        "policies": list(plan.policies),
        "constant": plan.constant,
        "frames": plan.frames,
        "seed": plan.seed,
    }


def _files(plan: FramePlan) -> Iterator[tuple[str, str]]:
    """Yields the digest of the content of each file."""
    for name, path in (("annotations", plan.annotations), (ANSWERS, plan.answers)):
        if path is not None:
            yield name, hashlib.sha256(path.read_bytes()).hexdigest()


def _episode_list(questions: Sequence[FrameQuestion]) -> EpisodeList:
    """Returns the questions as an episode list, so that two runs can be compared question by question."""
    tasks: dict[str, TaskSeeds] = {}
    for slug in TEMPLATES:
        own = [row for row in questions if row.question.slug == slug]
        content = [(row.id, row.episode, row.instruction, [sorted(goal) for goal in row.goals]) for row in own]
        digest = hashlib.sha256(repr(content).encode()).hexdigest()
        if own:
            seeds = tuple(row.id for row in own)
            tasks[slug] = TaskSeeds(task=slug, tier="", spec=1, seeds=seeds, episodes_sha256=digest)
    return EpisodeList(suite=SUITE, split=SPLIT, tasks=tasks)
