"""The schemas of configurations: dataclasses that check YAML and the command line, registered with Hydra."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import asdict, dataclass, field, fields, make_dataclass, replace
from enum import Enum
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from embodied.controllers import ControllerConfig
from embodied.errors import ConfigError, unknown_name
from embodied.evaluation.controls import CONTROLS, refuse_resuming
from embodied.memory import Link
from embodied.protocols import Task
from embodied.rollout.bank_feed.belief_feed import BeliefConfig, Source
from embodied.rollout.bank_feed.episode_feed import MemoryFeedConfig
from embodied.rollout.bank_feed.run_memory import RunMemory
from embodied.rollout.builders import PolicyBuilder
from embodied.rollout.compute import ComputeConfig
from embodied.rollout.latency import LatencyConfig
from embodied.rollout.team import AgentConfig
from embodied.rollout.worker import Control, WorkerConfig
from embodied.tasks.memorybench.base import Tier
from embodied.tasks.registry import SUITE_WIDE, SUITES, build_task, settable_options, suite_named, suite_names
from embodied.types import NORMAL, named
from launch.arguments import Arguments, names_of
from launch.parts import (
    PLANNERS,
    SIMULATORS,
    NoDispatcherConfig,
    chosen_policy,
    known_policies,
    policy_options,
    register_parts,
    unknown_policy,
)


class Tiers(Enum):
    """Which tiers of each task are run."""

    faithful = (Tier.FAITHFUL,)
    strict = (Tier.STRICT,)
    both = (Tier.FAITHFUL, Tier.STRICT)


@dataclass(kw_only=True)
class SuiteConfig:
    """Which tasks of a suite are run; the suite's schema adds the options of each, under its name.

    `on_failure` is the effect of a failed intent: "end", the task's default, or "continue" for learners that may make
    mistakes. `spec` is the version of the sampling of episodes, None for the newest.

    Attributes:
        name: the suite, as chosen by suite=NAME
        tasks: a task or a list of tasks
        on_failure: of an intent: end (of the episode, the default) or continue
        spec: of sampling; 1 repeats the episodes of old results, null for the newest
    """

    name: str = MISSING
    tasks: Any = MISSING
    on_failure: str = "end"
    spec: int | None = None


@dataclass(kw_only=True)
class MemoryConfig:
    """The banks in which episodes are recorded.

    `url` names the bank of beliefs, "" for none, and `truth_url` that of the truth, which only the driver writes and
    only reports read. `identity` and `labels` say whether names and categories are perception's own or given by the
    simulator. Robots look at decisions and `look_hz` times per simulated second. The rest as in `MemoryFeedConfig` and
    `RunMemory`.

    Attributes:
        resume: whether killed episodes continue from the content of the bank
        capacity: how many of its newest moments a policy gets
    """

    url: str = ""
    truth_url: str = ""
    identity: Source = Source.own
    labels: Source = Source.own
    look_hz: float = 2.0
    pose_rate_hz: float = 2.0
    start_s: float | None = None
    resume: bool = False
    capacity: int = 64

    def build(self, link: Link) -> RunMemory:
        """Returns what workers need to reach the bank of beliefs. Raises `ConfigError`."""
        return RunMemory(
            link=link,
            feed=self.feed(),
            belief=self.belief(),
            capacity=self.capacity,
            start_s=self.start_s,
            report_truth=bool(self.truth_url),
        )

    def belief(self) -> BeliefConfig:
        """Returns the settings of perception. Raises `ConfigError` for values out of range."""
        belief = BeliefConfig(identity=self.identity, labels=self.labels, look_hz=self.look_hz)
        belief.check()
        return belief

    def feed(self) -> MemoryFeedConfig:
        """Returns how episodes are recorded. Raises `ConfigError` for values out of range, the bank's own included."""
        if self.truth_url and not self.url:
            raise ConfigError(
                "A bank of the truth must stand beside one of beliefs.",
                value=self.truth_url,
                remedy="Set memory.url as well, such as memory.url=sqlite:///run.db.",
            )
        if self.truth_url and self.truth_url == self.url:
            raise ConfigError(
                "memory.url and memory.truth_url must name two banks: no agent may read the truth.",
                value=self.truth_url,
                remedy="Write such as memory.truth_url=sqlite:///truth.db.",
            )
        if self.capacity < 1:
            raise ConfigError("memory.capacity must be at least 1.", value=self.capacity)
        if self.start_s is not None and not math.isfinite(self.start_s):
            raise ConfigError("memory.start_s must be finite.", value=self.start_s)
        feed = MemoryFeedConfig(pose_rate_hz=self.pose_rate_hz, resume=self.resume)
        feed.check()
        return feed


@dataclass(kw_only=True)
class TeamSettings:
    """How several robots are played: settings by robot, the dispatcher, and how long decisions take."""

    team: dict[str, Any] = field(default_factory=dict)
    dispatcher: Any = MISSING
    latency: LatencyConfig = field(default_factory=LatencyConfig)

    def applied(self, worker: WorkerConfig, options: Any) -> WorkerConfig:
        """Returns the worker with these settings; `options` are those of policies. Raises `UnknownNameError`."""
        team = self.agents()
        named = sorted({one.policy for one in team.values() if one.policy} - set(worker.policies))
        return replace(
            worker,
            team=team,
            team_policies=chosen_policies(named, options) if named else {},
            dispatcher=None if isinstance(self.dispatcher, NoDispatcherConfig) else self.dispatcher,
            latency=self.latency,
        )

    def agents(self) -> dict[str, AgentConfig]:
        """Returns the settings by robot. Raises `ConfigError`, and OmegaConf's errors for unknown settings."""
        for robot, settings in self.team.items():
            if not isinstance(settings, Mapping):
                raise ConfigError(
                    f"Settings of robot {robot!r} must be given by name.",
                    value=settings,
                    remedy=f"Write such as team.{robot}.policy={settings}.",
                )
        # Hydra cannot add a key of a structured type from the command line, so that types are checked here.
        known = OmegaConf.create({"team": {robot: OmegaConf.structured(AgentConfig) for robot in self.team}})
        merged = OmegaConf.merge(known, {"team": self.team})
        return {str(robot): OmegaConf.to_object(one) for robot, one in merged.team.items()}  # type: ignore[misc]


@dataclass(kw_only=True)
class EvaluateConfig(TeamSettings):
    """All settings of `python -m launch.evaluate`. The parts typed `Any` are checked by the schema of their group."""

    suite: Any = MISSING
    tier: Tiers = Tiers.strict
    policy: Any = MISSING
    policy_options: Any = MISSING
    controls: Any = NORMAL
    episodes: int | None = None
    seed: int = 0
    split: str | None = None
    salt: str | None = None
    episode_list: str = ""
    shard: str = ""
    videos: int = 3
    output: str = MISSING
    address: str = ""
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    simulator: Any = MISSING
    controller: Any = MISSING
    compute: Any = MISSING


def suite_schema(suite: str) -> type[SuiteConfig]:
    """Returns the schema of a suite: `SuiteConfig` with all of its tasks, and the options of each of them.

    Raises `UnknownNameError`, `PluginError`.
    """
    tasks = suite_named(suite).tasks
    kinds = {name: _options(task) for name, task in tasks.items()}
    options = [(name, kind, field(default_factory=kind)) for name, kind in kinds.items()]
    chosen = [("name", str, suite), ("tasks", Any, field(default_factory=lambda: list(tasks)))]
    return make_dataclass(f"{suite}_suite", [*chosen, *options], bases=(SuiteConfig,), kw_only=True)


def build_tasks(suite: SuiteConfig, tiers: Tiers) -> dict[str, Task]:
    """Returns the chosen tasks by `name/tier`, or by name where a suite has no tiers.

    Raises `UnknownNameError`, and `ConfigError` for options and repeats.
    """
    known = suite_named(suite.name)
    names = checked_names(f"task of {suite.name}", names_of(suite.tasks, "suite.tasks"), list(known.tasks))
    tasks = [
        build_task(
            known.tasks[name],
            name,
            tier=tier,
            options=asdict(getattr(suite, name)) | _suite_wide(suite, known.tasks[name]),
        )
        for name in names
        for tier in (tiers.value if known.tiers else ("",))
    ]
    return {named(task.name, task.tier): task for task in tasks}


def _suite_wide(suite: SuiteConfig, kind: type[Any]) -> dict[str, Any]:
    """Returns the options of a task that are chosen for the whole suite, as far as the task leaves them open."""
    has = {option.name for option in fields(kind)}
    if "on_failure" not in has and suite.on_failure != "end":
        raise ConfigError(
            f"Tasks of suite {suite.name!r} judge a failed intent themselves.",
            value=suite.on_failure,
            remedy="Leave suite.on_failure out.",
        )
    if "spec" not in has and suite.spec is not None:
        raise ConfigError(
            f"Tasks of suite {suite.name!r} have one way of sampling episodes.",
            value=suite.spec,
            remedy="Leave suite.spec out.",
        )
    chosen = {"on_failure": suite.on_failure, **({} if suite.spec is None else {"spec": suite.spec})}
    return {name: value for name, value in chosen.items() if name in has}


def chosen_policies(named: Sequence[str] | str, options: Any) -> dict[str, PolicyBuilder]:
    """Returns the configs of the policies that `named` lists, each a kind or a label in `options`.

    A single name is a list of one. Raises `UnknownNameError`, `ConfigError`.
    """
    names = checked_names("policy", names_of(named, "policy"), known_policies(options))
    return {name: chosen_policy(name, options) for name in names}


def chosen_controls(named: Sequence[str] | str, memory: MemoryConfig) -> dict[str, Control]:
    """Returns the configs of the controls that `named` lists, but the normal one, which must be among them.

    Raises `UnknownNameError`, and `ConfigError` also where `memory` would resume killed episodes.
    """
    names = checked_names("control", names_of(named, "controls"), (NORMAL, *CONTROLS))
    if NORMAL not in names:
        raise ConfigError(
            f"controls must hold {NORMAL!r}: the others are compared with it.",
            value=list(names),
            remedy=f"Set controls=[{','.join([NORMAL, *names])}].",
        )
    chosen = {name: CONTROLS[name]() for name in names if name != NORMAL}
    if chosen:
        refuse_resuming(memory.feed())
    return chosen


def checked_names(kind: str, names: Sequence[str], known: Sequence[str] | Mapping[str, Any]) -> Sequence[str]:
    """Returns `names` of a `kind`: at least one, each among `known`, none twice.

    Raises `UnknownNameError`, `ConfigError`.
    """
    for name in names:
        if name not in known:
            raise unknown_policy(name, known) if kind == "policy" else unknown_name(kind, name, known)
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"At least one {kind} must be named, and each once.", value=list(names))
    return names


def register(arguments: Arguments = Arguments()) -> None:  # noqa: B008 - a frozen value
    """Registers with Hydra the schemas to which the files in sim_configs refer, and parts from outside.

    Of the latter only those that `arguments` name are loaded. Raises `PluginError` where one of these is broken.
    """
    store = ConfigStore.instance()
    store.store(name="evaluate_schema", node=EvaluateConfig(policy_options=policy_options(arguments)()))
    for suite in SUITES.own:
        store.store(group="suite", name=f"{suite}_schema", node=suite_schema(suite))
    register_parts("suite", [name for name in suite_names() if name not in SUITES.own], suite_schema, arguments)
    for group, registry in (("simulator", SIMULATORS), ("dispatcher", PLANNERS)):
        outside = [name for name in registry if name not in registry.own]
        register_parts(group, outside, registry.__getitem__, arguments)
    for name, kind in SIMULATORS.own.items():
        store.store(group="simulator", name=f"{name}_schema", node=kind)
    store.store(group="controller", name="controller_schema", node=ControllerConfig)
    store.store(group="dispatcher", name="none_schema", node=NoDispatcherConfig)
    store.store(group="dispatcher", name="schedule_schema", node=PLANNERS.own["schedule"])
    store.store(group="compute", name="compute_schema", node=ComputeConfig)


def _options(kind: type[Any]) -> type[Any]:
    """Returns the options of a task as a dataclass: its fields but those that are chosen for the whole suite."""
    # Choices are text, so that they are written as in Python; the registry checks them.
    own = [
        (name, wanted, field(default=MISSING if default is NO_DEFAULT else default))
        for name, (wanted, default) in settable_options(kind).items()
        if name not in SUITE_WIDE
    ]
    return make_dataclass(f"{kind.__name__}Options", own, kw_only=True)
