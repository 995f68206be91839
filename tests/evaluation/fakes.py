"""A task, policies and a compute that cost nothing, for the evaluator's own tests."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

from embodied.errors import unknown_name
from embodied.evaluation.plan import Evaluation
from embodied.rollout.job import EpisodeJob, JobResult
from embodied.rollout.worker import WorkerConfig
from embodied.scenes.scene import Scene
from embodied.seeding import stream
from embodied.specs import KEYFRAME, ObservationSpec
from embodied.tasks.goals import ChoosesOne
from embodied.types import Choice, Episode, EpisodeRecord, Limits, Outcome, Progress

SPLITS = ("train", "validation", "test")
PHASES = ("left_patch", "reached_centre", "pressed_button", "returned")


@dataclass(kw_only=True)
class FakeTask(ChoosesOne):
    name: str = "put_block_back"
    tier: str = "strict"
    patches: int = 4

    def sample(self, seed: int, *, split: str = "test") -> Episode:
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        candidates = tuple(f"patch_{index}" for index in range(self.patches))
        variant = seed % self.patches
        return Episode(
            id=f"{self.name}/{self.tier}/{split}/{seed}", task=self.name, tier=self.tier, variant=variant,
            seed=seed, split=split, instruction="", scene=Scene(name="empty"), limits=Limits(sim_time_s=60.0),
            goal=Choice(candidates, candidates[variant]),
        )  # fmt: skip

    def begin(self, episode: Episode, state: Any) -> Progress:
        return Progress()

    def advance(self, episode: Episode, progress: Progress, state: Any) -> Progress:
        return progress

    def after_failure(self, episode: Episode, progress: Progress, feedback: Any, robot: str) -> Progress:
        return replace(progress, outcome=Outcome.FAILURE, reason=f"controller: {feedback.reason}")

    def choice_open(self, progress: Progress) -> bool:
        return PHASES[2] in progress.reached

    def counterfactual(self, episode: Episode) -> Episode:
        variant, goal = (episode.variant + 1) % self.patches, episode.choice_goal
        return replace(
            episode, id=f"{episode.id}-counterfactual", variant=variant,
            goal=Choice(goal.candidates, goal.candidates[variant]),
        )  # fmt: skip


@dataclass(kw_only=True)
class FakePolicy:
    skill: str = "expert"
    privileged: bool = True
    cameras: tuple[str, ...] = ()

    action_spec = KEYFRAME

    @property
    def observation_spec(self) -> ObservationSpec:
        return ObservationSpec(cameras=None if self.cameras is None else tuple(self.cameras))

    def build(self) -> "FakePolicy":
        return self

    def act(self, requests: Any) -> Any:
        raise AssertionError("nothing is decided here")


@dataclass(kw_only=True)
class FakeSimulator:
    renderer: str = "none"
    control_period_s: float = 0.05

    def build(self) -> "FakeSimulator":
        return self

    def close(self) -> None: ...


@dataclass(kw_only=True)
class FakeController:
    seed: int = 0

    def build(self, scene: Scene, robot: str, *, period_s: float, asset_root: str = "") -> Any:
        raise AssertionError("nothing moves here")


class FakeCompute:
    """Plays jobs by drawing their outcome; in reverse where asked, and stops after `stop_after` of them."""

    def __init__(self, worker: WorkerConfig, *, stop_after: int | None = None, backwards: bool = False) -> None:
        self.worker = worker
        self.played: list[EpisodeJob] = []
        self.entered = 0
        self._stop_after = stop_after
        self._backwards = backwards

    def __enter__(self) -> Self:
        self.entered += 1
        return self

    def __exit__(self, *_: object) -> None: ...

    place = "in this process"

    def run(self, jobs: Iterable[EpisodeJob]) -> Iterator[JobResult]:
        for job in reversed(list(jobs)) if self._backwards else jobs:
            if self._stop_after is not None and len(self.played) >= self._stop_after:
                raise KeyboardInterrupt
            self.played.append(job)
            record = drawn(self.worker, job, wall_s=0.123456 * len(self.played))
            yield JobResult(job=job, record=record, video=b"video" if job.video else None)


def drawn(worker: WorkerConfig, job: EpisodeJob, *, wall_s: float) -> EpisodeRecord:
    """What an expert, a guesser and a random policy would do, roughly."""
    episode = worker.tasks[job.task].sample(job.seed, split=job.split)
    draw = stream(job.seed, job.policy, job.task)
    chosen, phases, outcome, reason = episode.choice_goal.target, PHASES, Outcome.SUCCESS, ""
    if job.policy == "guesser":
        chosen = str(draw.choice(episode.choice_goal.candidates))
        if chosen != episode.choice_goal.target:
            phases, outcome, reason = PHASES[:3], Outcome.FAILURE, f"first choice was {chosen}"
    if job.policy == "random":
        phases, outcome = PHASES[: int(draw.integers(2))], Outcome.TIMEOUT
        reason = str(draw.choice(["time limit of 60 s", "limit of 25 intents", "<b>|unreachable|</b>"]))
    made = outcome is not Outcome.TIMEOUT
    choice = {"chosen": chosen, "target": episode.choice_goal.target, "correct": chosen == episode.choice_goal.target}
    return EpisodeRecord(
        run=job.run, episode=job.episode, attempt=job.attempt, task=episode.task, tier=episode.tier, policy=job.policy,
        variant=episode.variant, seed=job.seed, outcome=outcome, reason=reason, phases=phases,
        choice=choice if made else None, steps=len(phases) * 3, sim_time_s=10.0 + draw.random() * 20,
        wall_s=wall_s,
    )  # fmt: skip


def evaluation(*, episodes: int = 8, seed: int = 0, patches: int = 4, salt: str | None = "") -> Evaluation:
    tasks = [FakeTask(patches=patches), FakeTask(name="rearrange_block", patches=2)]
    worker = WorkerConfig(
        simulator=FakeSimulator(),
        controller=FakeController(),
        tasks={f"{task.name}/{task.tier}": task for task in tasks},
        policies={
            "expert": FakePolicy(),
            "guesser": FakePolicy(skill="guesser"),
            "random": FakePolicy(skill="random", privileged=False),
        },
    )
    return Evaluation(suite="memorybench", tier="strict", worker=worker, episodes=episodes, seed=seed, salt=salt)
