"""Plays whole episodes, one after another, in one process. Tests call it directly, `pool` runs it on Ray."""

import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from embodied.errors import PolicyFaultError, unknown_name
from embodied.memory import BankClient
from embodied.protocols import Controller, Observer, Policy, Simulator, Task
from embodied.rollout.bank_feed.belief_feed import BeliefFeed
from embodied.rollout.bank_feed.moment_reader import MomentReader
from embodied.rollout.bank_feed.remembering import Remembering
from embodied.rollout.bank_feed.run_memory import RunMemory
from embodied.rollout.bank_feed.truth_feed import TruthFeed
from embodied.rollout.bank_feed.truth_report import TruthReport
from embodied.rollout.builders import (
    ControllerBuilder,
    DispatcherBuilder,
    PolicyBuilder,
    RecorderBuilder,
    SimulatorBuilder,
)
from embodied.rollout.chain import require_successor
from embodied.rollout.episode import EpisodeContext, play
from embodied.rollout.episode_policies import EpisodePolicies
from embodied.rollout.job import EpisodeJob, EpisodeResult, JobResult
from embodied.rollout.latency import LatencyConfig
from embodied.rollout.policy_calls import full_traceback
from embodied.rollout.recording.video_observer import VideoConfig, with_spectator
from embodied.rollout.records import on_failure_of, record_of
from embodied.rollout.team import Agent, AgentConfig, team_agents
from embodied.scenes.scene import Scene
from embodied.simulators.rendering.gl_context import SOFTWARE_THREADS, software_threads
from embodied.types import NORMAL, Episode, Outcome, Progress

# Read by the libraries when they load, so a pool puts them into the environment of a worker before it starts.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_BROKEN_START = "the episode that it starts from is invalid"


@dataclass(frozen=True, eq=False)
class Controlled:
    """How an episode is played under a control: by `policy`, with the memory of an episode whose target was `donor`.

    Where `unplayable` gives a reason, it is not played.
    """

    policy: Policy
    donor: str | None = None
    unplayable: str = ""


class Control(Protocol):
    """The configuration of a control of memory, such as one that empties it."""

    def obstacle(self, policy: Policy) -> str:
        """Returns why `policy` cannot be played under it, in a few words; "" where it can."""
        ...

    def prepare(self, episode: Episode, context: EpisodeContext) -> Controlled:
        """Returns how the policy of `context` is to play `episode`; it may use the simulator before the reset.

        Raises `ConfigError` for a task or policy with which that cannot be.
        """
        ...


@dataclass(kw_only=True)
class WorkerConfig:
    """All that a worker needs to play any job of a run; sent to each worker once.

    `controls` are those beside `NORMAL`, which every run has. Robots that `team` names have settings of their own; the
    policies that it names are in `team_policies`. `dispatcher` assigns instructions; None leaves the episode's own.
    Processes of workers write what they print into `log_folder`; "" for nowhere.
    """

    simulator: SimulatorBuilder
    controller: ControllerBuilder
    tasks: Mapping[str, Task]
    policies: Mapping[str, PolicyBuilder]
    video: VideoConfig = field(default_factory=VideoConfig)
    recorder: RecorderBuilder | None = None
    memory: RunMemory | None = None
    threads: int = 1
    controls: Mapping[str, Control] = field(default_factory=dict)
    team: Mapping[str, AgentConfig] = field(default_factory=dict)
    team_policies: Mapping[str, PolicyBuilder] = field(default_factory=dict)
    dispatcher: DispatcherBuilder | None = None
    latency: LatencyConfig = field(default_factory=LatencyConfig)
    log_folder: str = ""

    @property
    def team_settings(self) -> dict[str, Any]:
        """The settings by which robots of a team differ from one policy for all, by name; empty without such settings.

        They belong to the identity of a run.
        """
        dispatched = {"dispatcher": self.dispatcher} if self.dispatcher is not None else {}
        delayed = {"latency": self.latency} if self.latency != LatencyConfig() else {}
        teamed = {"team": self.team, "team_policies": self.team_policies} if self.team else {}
        return {**teamed, **dispatched, **delayed}

    def task(self, name: str) -> Task:
        """Returns the task called `name`. Raises `UnknownNameError`."""
        if name not in self.tasks:
            raise unknown_name("task of this run", name, self.tasks)
        return self.tasks[name]


class SimulatorWorker:
    """Plays whole episodes in one simulator, built in this process on first use: GL contexts cannot be moved."""

    def __init__(self, config: WorkerConfig) -> None:
        limit_threads(config.threads)
        self._config = config
        self._simulator: Simulator | None = None
        # A policy may load torch, which then has threads of its own.
        self._policies = EpisodePolicies(
            {**config.team_policies, **config.policies}, lambda: limit_threads(config.threads)
        )
        self._bank: BankClient | None = None
        self._chain_moments: list[MomentReader] = []  # Of the episodes played so far in the present chain.

    def run(self, job: EpisodeJob) -> JobResult:
        """Plays the episode of `job` to its outcome. The same job gives the same record in any worker and any order.

        The episodes of a chain follow one another in the same world. Raises `UnknownNameError` for a task, policy or
        control that the configuration lacks, `ConfigError` for a chain that does not hang together, and whatever
        building the parts raises.
        """
        self._chain_moments.clear()
        first, previous = self._play(job, None), job
        played = [first]
        for following in job.later:
            broken = played[-1].record.outcome is Outcome.INVALID
            played.append(self._unplayed(following, _BROKEN_START) if broken else self._play(following, previous))
            previous = following
        return replace(first, later=tuple(played[1:]))

    def _unplayed(self, job: EpisodeJob, reason: str, *, traceback: str = "") -> JobResult:
        """Returns the result of an episode that is invalid for `reason` before it begins."""
        episode = self._config.task(job.task).sample(job.seed, split=job.split)
        result = EpisodeResult(Progress(outcome=Outcome.INVALID, reason=reason), 0, 0.0)
        record = record_of(job, episode, result, donor=None, started_s=time.perf_counter())
        return JobResult(job, record, traceback=traceback)

    def _play(self, job: EpisodeJob, previous: EpisodeJob | None) -> JobResult:
        """Plays one episode: in a new world, or in the final world of `previous`."""
        try:
            return self._played(job, previous)
        except PolicyFaultError as error:  # A policy that could be built on the driver cannot be built here.
            return self._unplayed(job, f"{type(error).__name__}: {error}", traceback=full_traceback(error))

    def _played(self, job: EpisodeJob, previous: EpisodeJob | None) -> JobResult:
        started_s = time.perf_counter()
        task = self._config.task(job.task)
        episode = task.sample(job.seed, split=job.split)
        if previous is not None:
            require_successor(episode, task.sample(previous.seed, split=previous.split))
        context = self._context(task, job)
        controlled = self._controlled(job.control, episode, context)
        if controlled.unplayable:
            result = EpisodeResult(Progress(outcome=Outcome.INVALID, reason=controlled.unplayable), 0, 0.0)
            return JobResult(job, record_of(job, episode, result, donor=controlled.donor, started_s=started_s))
        video = self._config.video.build() if job.video else None
        recorder = self._config.recorder.build() if job.trajectory and self._config.recorder is not None else None
        earlier, memory, report = tuple(self._chain_moments), self._remember(job), TruthReport()
        observers = _present(video, recorder, memory, self._truth(job, report))
        if video is not None:
            episode = with_spectator(episode, self._config.video)
        capacity = self._config.memory.capacity if self._config.memory else 0

        def reminded(policy: Policy) -> Policy:
            return policy if memory is None else Remembering(policy, memory.moments, capacity=capacity, earlier=earlier)

        policy = reminded(controlled.policy)
        team = replace(context, policy=policy, agents=self._agents(policy, reminded), visualisations=job.video)
        team = replace(team, continue_world=previous is not None)
        result = play(episode, team, observers=observers)
        record = record_of(job, episode, result, donor=controlled.donor, started_s=started_s)
        record = replace(record, on_failure=on_failure_of(task))
        for observer in observers:
            observer.on_end(record)
        return JobResult(
            job=job,
            record=record if memory is None else replace(record, metrics=memory.with_refused(record.metrics)),
            video=None if video is None else video.mp4(),
            recordings=() if recorder is None else recorder.recordings(),
            truth=report.encoded(),
            traceback=result.traceback,
            intents=result.intents,
        )

    def close(self) -> None:
        """Frees the simulator and leaves the memory bank; calling it twice is harmless."""
        if self._simulator is not None:
            self._simulator.close()
            self._simulator = None
        if self._bank is not None:
            self._bank.close()
            self._bank = None

    def _simulate(self) -> Simulator:
        if self._simulator is None:
            self._simulator = self._config.simulator.build()
        return self._simulator

    def _context(self, task: Task, job: EpisodeJob) -> EpisodeContext:
        dispatcher = self._config.dispatcher
        return EpisodeContext(
            simulator=self._simulate(),
            task=task,
            policy=self._policies.new(job.policy),
            make_policy=lambda: self._policies.new(job.policy),
            make_controllers=self._controllers,
            make_dispatcher=None if dispatcher is None else dispatcher.build,
            latency=self._config.latency.build(),
            salt=job.salt,
            policy_name=job.policy,
        )

    def _agents(self, policy: Policy, reminded: Callable[[Policy], Policy]) -> dict[str, Agent]:
        """Returns the agents of the robots that the team names; robots with one policy share it, so that it is batched.

        `policy` controls the other robots, already `reminded` where there is a bank.
        """
        named = {one.policy for one in self._config.team.values() if one.policy}
        policies = {"": policy, **{name: reminded(self._policies.new(name)) for name in sorted(named)}}
        return team_agents(self._config.team, policies)

    def _controlled(self, name: str, episode: Episode, context: EpisodeContext) -> Controlled:
        if name == NORMAL:
            return Controlled(context.policy)
        if name not in self._config.controls:
            raise unknown_name("control of this run", name, [NORMAL, *self._config.controls])
        return self._config.controls[name].prepare(episode, context)

    def _remember(self, job: EpisodeJob) -> BeliefFeed | None:
        memory = self._config.memory
        if memory is None:
            return None
        if self._bank is None:
            self._bank = memory.connect()
        feed = BeliefFeed(memory.feed_of(job), memory.belief, self._bank, memory.name_of(job))
        self._chain_moments += [feed.moments] if job.chain else []
        return feed

    def _truth(self, job: EpisodeJob, report: TruthReport) -> TruthFeed | None:
        memory = self._config.memory
        if memory is None or not memory.report_truth:
            return None
        return TruthFeed(memory.feed_of(job), report, memory.name_of(job))

    def _controllers(self, episode: Episode) -> dict[str, Controller]:
        scene = episode.scene
        return {robot.name: build_controller(self._config, scene, robot.name) for robot in scene.robots}


def build_controller(config: WorkerConfig, scene: Scene, robot: str) -> Controller:
    """Returns the controller that `config` makes for `robot` in `scene`. Raises whatever `build` raises."""
    world = config.simulator.world
    return config.controller.build(scene, robot, period_s=world.control_period_s, asset_root=world.asset_root)


def limit_threads(threads: int) -> None:
    """Sets the number of threads of numerical libraries, whatever this process inherited."""
    os.environ.update(thread_environment(threads))
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


def thread_environment(threads: int) -> dict[str, str]:
    """Returns the environment variables that set `threads` threads in libraries that are loaded later."""
    return dict.fromkeys(THREAD_VARIABLES, str(threads)) | {SOFTWARE_THREADS: software_threads(threads)}


def _present(*observers: Observer | None) -> list[Observer]:
    return [observer for observer in observers if observer is not None]
