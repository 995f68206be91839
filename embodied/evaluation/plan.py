"""The plan of an evaluation: its episodes, policies and controls, and the identity of all of them."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from embodied.errors import ConfigError
from embodied.evaluation.controls import choice_task, refuse_resuming
from embodied.evaluation.episode_list import EpisodeList, listed
from embodied.evaluation.episode_seeds import SEED_STRIDE, balanced_seeds
from embodied.evaluation.provenance import digests, fingerprint
from embodied.rollout.bank_feed.site_clock import slot_length_s
from embodied.rollout.chain import chain_length, require_whole_chains
from embodied.rollout.job import EpisodeJob
from embodied.rollout.worker import WorkerConfig
from embodied.seeding import drawn_salt
from embodied.types import NORMAL, Episode

TEST_SPLIT = "test"
EPISODES = 100  # Of each task, where nothing else is requested.


@dataclass(frozen=True)
class Shard:
    """Part number `index` (from 1) of the `count` parts of a run, which are played separately and merged.

    Raises `ConfigError`.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise ConfigError("shard must read INDEX/COUNT, with an index from 1 to the count.", value=str(self))

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Returns the shard that `text`, such as 2/8, names. Raises `ConfigError`."""
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal()):
            raise ConfigError("shard must read INDEX/COUNT.", value=text, remedy="Such as shard=2/8.")
        return cls(int(index), int(count))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def holds(self, unit: int) -> bool:
        """Returns whether the chain or single episode number `unit` (from 0) of a task belongs to this part."""
        return unit % self.count == self.index - 1


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The plan of an evaluation: `episodes` of each task of `worker.tasks` with each policy of `worker.policies`.

    The episodes of a task are those of `seeds` in the split `split`; each is played unchanged and under each control of
    `worker.controls`. If `episode_list` is given it has the seeds; otherwise they follow from `seed`. With `shard`,
    only that part of the run is played. `sources` identify the code of plugins that is used. `salt` determines the
    seeds that policies get: None lets `evaluate` draw one, "" stands for runs from before there were salts.

    Raises:
        ConfigError: For numbers out of range, controls that cannot be played, more shards than episodes, and a shard
            without the salt that all shards must have in common.
        ListError: For tasks that are not on the list.
    """

    suite: str
    tier: str
    worker: WorkerConfig
    episodes: int
    seed: int
    split: str = TEST_SPLIT
    salt: str | None = None
    sources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    episode_list: EpisodeList | None = None
    list_name: str = ""
    shard: Shard | None = None

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise ConfigError("episodes must be at least 1.", value=self.episodes)
        if not 0 <= self.seed < 2**40:
            raise ConfigError("seed must lie in [0, 2**40).", value=self.seed)
        if self.episodes > SEED_STRIDE:
            raise ConfigError(f"episodes must be at most {SEED_STRIDE}.", value=self.episodes)
        if not self.worker.tasks or not self.worker.policies:
            raise ConfigError("An evaluation must have at least one task and one policy.")
        if self.episode_list is not None:
            self._check_list(self.episode_list)
        self._check_chains()
        if self.worker.controls:
            self._check_controls()
        if self.shard is not None and self.salt is None:
            raise ConfigError(
                "Shards of a run must have one salt.",
                value=f"shard={self.shard} without a salt",
                remedy=f"Give all shards the same one, such as salt={drawn_salt()}.",
            )

    def _check_list(self, episodes: EpisodeList) -> None:
        counts = {name: len(one.seeds) for name, one in episodes.shortened(self.worker.tasks, None).tasks.items()}
        if set(counts.values()) != {self.episodes}:
            raise ConfigError("An episode list must hold equally many episodes of each task.", value=counts)
        episodes.require_alone(seed=self.seed, split=self.split)

    def _check_controls(self) -> None:
        """Raises `ConfigError` for a task without a choice, for killed episodes that go on, and for a team."""
        for task in self.worker.tasks.values():
            choice_task(task)
        refuse_resuming(self.worker.memory.feed if self.worker.memory else None)
        if settings := self.worker.team_settings:
            raise ConfigError(
                "Controls of memory must be played by one policy for all robots, without latency.",
                value=sorted(settings),
                remedy="Set controls=[normal], or leave team, dispatcher and latency out.",
            )

    def _check_chains(self) -> None:
        for name, task in self.worker.tasks.items():
            length = chain_length(task)
            require_whole_chains(name, self.seeds[name], length)
            if self.shard is not None and self.episodes // length < self.shard.count:
                raise ConfigError(
                    "A run must have an episode, or a whole chain, for each of its shards.",
                    value=f"shard {self.shard} of {self.episodes} episodes of {name}",
                    remedy="Choose fewer shards or more episodes.",
                )
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
        """The identity of the run: equal settings give equal rows, wherever and in how many shards they are played."""
        return fingerprint(self._decisive)

    @property
    def parts(self) -> dict[str, str]:
        """The digest of each part of the identity, by name, such as `policies.expert`, to compare two runs."""
        return digests(self._decisive)

    @property
    def _decisive(self) -> dict[str, Any]:
        """Returns everything that determines rows besides libraries and this project's code."""
        worker = self.worker
        memory = worker.memory
        # What a bank records and gives to policies belongs to the run; its location does not.
        fed = (
            {}
            if memory is None
            else {name: getattr(memory, name) for name in ("feed", "belief", "capacity", "start_s")}
        )
        tampered = {"controls": sorted(worker.controls)} if worker.controls else {}
        return {
            **({"memory": fed} if fed else {}),
            **tampered,
            **worker.team_settings,
            **({"plugins": self.sources} if self.sources else {}),
            **({"salt": self.salt} if self.salt else {}),
            "suite": self.suite,
            "tasks": worker.tasks,
            "policies": worker.policies,
            "simulator": worker.simulator,
            "controller": worker.controller,
            **self._choice_of_episodes(),
            "split": self.split,
        }

    def _choice_of_episodes(self) -> dict[str, Any]:
        if self.episode_list is None:
            return {"episodes": self.episodes, "seed": self.seed}
        return {"episode_list": self.episode_list.sha256}

    def first_episode(self, task: str) -> Episode:
        """Returns the first episode of `task`, a key of `worker.tasks`."""
        return self.worker.tasks[task].sample(self.seeds[task][0], split=self.split)

    def as_list(self) -> EpisodeList:
        """Returns the list of all episodes, those of all shards, with their digests."""
        return listed(self.worker.tasks, self.seeds, suite=self.suite, split=self.split)

    @cached_property
    def seeds(self) -> Mapping[str, tuple[int, ...]]:
        """The seeds of the episodes of each task, in the order in which they are played."""
        if self.episode_list is not None:
            return {name: self.episode_list.tasks[name].seeds for name in self.worker.tasks}
        return {
            name: balanced_seeds(task, self.split, self.seed, self.episodes) for name, task in self.worker.tasks.items()
        }

    def jobs(self, obstacles: Mapping[str, Container[str]] | None = None) -> Iterator[EpisodeJob]:
        """Yields every episode, task by task and seed by seed, all policies and controls of a seed together.

        A chain of episodes is one job that holds the later ones. With a shard, only its own jobs are yielded.

        `obstacles` are the controls under which a policy cannot be played. On the site clock all episodes, those of
        other shards included, follow one another in this order, from 0 on.
        """
        run, slot_s = self.run, self._slot_s()
        played = [
            (policy, control)
            for policy in self.worker.policies
            for control in self.controls
            if control not in (obstacles or {}).get(policy, ())
        ]
        slot = 0
        for name, task in self.worker.tasks.items():
            length, numbers = chain_length(task), self.seeds[name]
            for unit in range(len(numbers) // length):
                seeds = numbers[unit * length : (unit + 1) * length]
                for policy, control in played:
                    if self.shard is None or self.shard.holds(unit):
                        first = EpisodeJob(run, "", name, policy, seeds[0], self.split, control=control)
                        first = replace(first, salt=self.salt or "")
                        yield self._unit(first, seeds).starting_at(slot * slot_s)
                    slot += 1

    def _unit(self, first: EpisodeJob, seeds: Sequence[int]) -> EpisodeJob:
        """Returns the episodes of `seeds`, a chain if there are several, all with the settings of `first`."""
        names = [f"{first.task}/{self.split}/{seed}" for seed in seeds]
        chain = names[0] if len(names) > 1 else ""
        jobs = [replace(first, episode=name, seed=seed, chain=chain) for name, seed in zip(names, seeds, strict=True)]
        return replace(jobs[0], later=tuple(jobs[1:]))

    def _slot_s(self) -> float:
        """Returns the length of a slot: the longest time that any of the tasks' first episodes may need.

        Raises `ConfigError` where an episode without a time limit would be written to a bank.
        """
        limits_s = {name: self.first_episode(name).limits.sim_time_s for name in self.worker.tasks}
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
