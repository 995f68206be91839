"""The plan of an evaluation: its episodes, policies and controls, and the identity of all of them."""

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from embodied.errors import ConfigError
from embodied.evaluation.controls import choice_task, refuse_resuming
from embodied.evaluation.episode_seeds import SEED_STRIDE, balanced_seeds
from embodied.evaluation.provenance import fingerprint
from embodied.rollout.bank_feed.site_clock import slot_length_s
from embodied.rollout.chain import chain_length, require_whole_chains
from embodied.rollout.job import EpisodeJob
from embodied.rollout.worker import WorkerConfig
from embodied.types import NORMAL

TEST_SPLIT = "test"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is evaluated: `episodes` of each task of `worker.tasks` with each policy of `worker.policies`.

    The episodes of a task are those of `seeds` in the split `split`; each is played as it is and under each control of
    `worker.controls`. Raises `ConfigError` for numbers out of range, and for controls that cannot be played.
    `sources` identify the code from outside that is used.
    """

    suite: str
    tier: str
    worker: WorkerConfig
    episodes: int
    seed: int
    split: str = TEST_SPLIT
    sources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise ConfigError("episodes must be at least 1.", value=self.episodes)
        if not 0 <= self.seed < 2**40:
            raise ConfigError("seed must lie in [0, 2**40).", value=self.seed)
        if self.episodes > SEED_STRIDE:
            raise ConfigError(f"episodes must be at most {SEED_STRIDE}.", value=self.episodes)
        if not self.worker.tasks or not self.worker.policies:
            raise ConfigError("An evaluation must have at least one task and one policy.")
        self._check_chains()
        if self.worker.controls:
            self._check_controls()

    def _check_controls(self) -> None:
        """Raises `ConfigError` for a task without a choice, for killed episodes that go on, and for a team."""
        for task in self.worker.tasks.values():
            choice_task(task)
        refuse_resuming(self.worker.memory.feed if self.worker.memory else None)
        if settings := self.worker.team_settings:
            raise ConfigError(
                "Controls of memory must be played by one policy for all robots, which decides at once.",
                value=sorted(settings),
                remedy="Set controls=[normal], or leave team, dispatcher and latency out.",
            )

    def _check_chains(self) -> None:
        for name, task in self.worker.tasks.items():
            require_whole_chains(name, task, self.episodes)
        chains = [name for name, task in self.worker.tasks.items() if chain_length(task) > 1]
        if chains and (self.worker.controls or (self.worker.memory and self.worker.memory.feed.resume)):
            raise ConfigError(
                "Chains of episodes can neither be played under controls of memory nor resumed in the middle.",
                value=chains,
                remedy="Set controls=[normal] and memory.resume=false.",
            )

    @property
    def controls(self) -> tuple[str, ...]:
        """The controls under which episodes are played, the normal one first."""
        return (NORMAL, *self.worker.controls)

    @property
    def run(self) -> str:
        """The identity of the run: equal settings give equal rows, wherever they are played."""
        worker = self.worker
        memory = worker.memory
        # What a bank records and gives to policies belongs to the run; its location does not.
        fed = (
            {}
            if memory is None
            else {name: getattr(memory, name) for name in ("feed", "belief", "capacity", "start_s")}
        )
        tampered = {"controls": sorted(worker.controls)} if worker.controls else {}
        return fingerprint(
            {
                **({"memory": fed} if fed else {}),
                **tampered,
                **worker.team_settings,
                **({"plugins": self.sources} if self.sources else {}),
                "suite": self.suite,
                "tasks": worker.tasks,
                "policies": worker.policies,
                "simulator": worker.simulator,
                "controller": worker.controller,
                "episodes": self.episodes,
                "seed": self.seed,
                "split": self.split,
            }
        )

    @cached_property
    def seeds(self) -> Mapping[str, tuple[int, ...]]:
        """The seeds of the episodes of each task, in the order in which they are played."""
        return {
            name: balanced_seeds(task, self.split, self.seed, self.episodes) for name, task in self.worker.tasks.items()
        }

    def jobs(self, obstacles: Mapping[str, Container[str]] | None = None) -> Iterator[EpisodeJob]:
        """Yields every episode, task by task and seed by seed, all policies and controls of a seed together.

        A chain of episodes is one job that holds the later ones.

        `obstacles` are the controls under which a policy cannot be played. On the site clock they follow one another in
        this order, from 0 on.
        """
        slot_s = self._slot_s()
        played = [
            (policy, control)
            for policy in self.worker.policies
            for control in self.controls
            if control not in (obstacles or {}).get(policy, ())
        ]
        slot = 0
        for name, task in self.worker.tasks.items():
            length, numbers = chain_length(task), self.seeds[name]
            for place in range(0, len(numbers), length):
                seeds = numbers[place : place + length]
                for policy, control in played:
                    jobs = [
                        self._job(name, policy, control, seed, chain=seeds[0] if length > 1 else None) for seed in seeds
                    ]
                    yield replace(jobs[0], later=tuple(jobs[1:])).starting_at(slot * slot_s)
                    slot += 1

    def _job(self, task: str, policy: str, control: str, seed: int, *, chain: int | None) -> EpisodeJob:
        return EpisodeJob(
            run=self.run,
            episode=f"{task}/{self.split}/{seed}",
            task=task,
            policy=policy,
            seed=seed,
            split=self.split,
            control=control,
            chain="" if chain is None else f"{task}/{self.split}/{chain}",
        )

    def _slot_s(self) -> float:
        """Returns the length of a slot: as the longest of the tasks' first episodes may need.

        Raises `ConfigError` where an episode without a time limit would be written to a bank.
        """
        limits_s = {
            name: task.sample(self.seeds[name][0], split=self.split).limits.sim_time_s
            for name, task in self.worker.tasks.items()
        }
        unlimited = [name for name, limit_s in limits_s.items() if limit_s is None]
        if unlimited and self.worker.memory is not None:
            raise ConfigError(
                "Episodes that are written to a memory bank must have a limit of simulated time: each has its own "
                "time on the clock of the bank.",
                value=unlimited,
                remedy="Give the task a time limit, or play without a bank.",
            )
        longest = max(chain_length(task) for task in self.worker.tasks.values())
        return slot_length_s(longest * max(limit_s or 0.0 for limit_s in limits_s.values()))
