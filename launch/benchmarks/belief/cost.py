"""The cost of a bank of beliefs: the same rollouts without it and with it, one after the other."""

import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from embodied.memory import Event, SimulatedClock, open_bank
from embodied.protocols import Observer, Policy, Simulator, Task
from embodied.rollout.bank_feed.belief_feed import BeliefConfig, BeliefFeed
from embodied.rollout.bank_feed.episode_feed import EventBank, MemoryFeedConfig
from embodied.rollout.episode import EpisodeContext, play
from embodied.specs import ObservationSpec
from embodied.types import Decision, Episode, Observation, Request
from launch.benchmark import BenchmarkRun
from launch.benchmarks.belief.comparison import controllers
from launch.benchmarks.belief.config import BeliefBenchConfig
from policies.scripted import ExpertConfig

PARTS = ("perception", "rendering", "bank")


def cost(run: BenchmarkRun, config: BeliefBenchConfig, task: Task, simulator: Simulator) -> dict[str, Any]:
    """Returns CPU seconds of a rollout without a bank and with one, and of its parts: medians over `timed` episodes.

    Each episode is played without and with the bank in turn, so that both meet the same other load on the machine;
    shares are medians over these pairs. The expert needs no images. All is measured again while the expert gets the
    images of all cameras at each decision, as most policies do.

    Args:
        run: The run, with the worker and the first seed.
        config: The settings of this benchmark.
        task: The task to play.
        simulator: The simulator to play in.
    """
    blind, seeing = (
        _Rollouts(run, config.look_hz, task, simulator, policy)
        for policy in (ExpertConfig().build(), cast("Policy", _Seeing()))
    )
    blind.cpu_s(run.seed)  # The first run loads libraries and models.
    pairs, seen = ([one.pair(index) for index in range(config.timed)] for one in (blind, seeing))
    parts = {name: [feed.spent_s[name] for _, _, feed in pairs] for name in PARTS}
    believed_s = statistics.median(believed for _, believed, _ in pairs)
    return {
        "bare_s": round(statistics.median(bare for bare, _, _ in pairs), 4),
        "with_belief_s": round(believed_s, 4),
        **{f"{name}_s": round(statistics.median(values_s), 4) for name, values_s in parts.items()},
        "looks": statistics.median(feed.looks for _, _, feed in pairs),
        "perception_share": _median_share((feed.spent_s["perception"], believed) for _, believed, feed in pairs),
        "all_added_share": _median_share((believed - bare, believed) for bare, believed, _ in pairs),
        "all_added_share_where_the_policy_sees": _median_share(
            (believed - bare, believed) for bare, believed, _ in seen
        ),
    }


class _Timed(BeliefFeed):
    """Counts its looks and their CPU seconds.

    Perception covers rendering, segmentation, tracking and logging; rendering is a part of it, and the time of the bank
    itself is added.
    """

    def __init__(self, config: MemoryFeedConfig, belief: BeliefConfig, bank: EventBank, name: str) -> None:
        super().__init__(config, belief, bank, name)
        self.looks = 0
        self.spent_s: dict[str, float] = dict.fromkeys(PARTS, 0.0)

    def on_begin(self, episode: Episode, simulator: Simulator) -> None:
        super().on_begin(episode, cast("Simulator", _TimedRendering(simulator, self.spent_s)))

    def _look_through(self, robot: str, cameras: Sequence[str]) -> None:
        self.looks += 1
        begun_s = time.process_time()
        super()._look_through(robot, cameras)
        self.spent_s["perception"] += time.process_time() - begun_s

    def _append(self, events: Sequence[Event]) -> list[int]:
        begun_s = time.process_time()
        numbers = super()._append(events)
        self.spent_s["bank"] += time.process_time() - begun_s
        return numbers


class _TimedRendering:
    """A simulator that counts the CPU seconds of its images."""

    def __init__(self, simulator: Simulator, spent_s: dict[str, float]) -> None:
        self._simulator = simulator
        self._spent_s = spent_s

    def __getattr__(self, name: str) -> Any:
        return getattr(self._simulator, name)

    def observe(self, robot: str, cameras: Sequence[str] | None = None) -> Observation:
        """Returns the observation of the simulator, and times it."""
        begun_s = time.process_time()
        observation = self._simulator.observe(robot, cameras)
        self._spent_s["rendering"] += time.process_time() - begun_s
        return observation


class _Seeing:
    """The expert with the images of all cameras, which it ignores."""

    observation_spec = ObservationSpec(cameras=None)

    def __init__(self) -> None:
        self._expert = ExpertConfig().build()
        self.action_spec = self._expert.action_spec
        self.privileged = self._expert.privileged

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """Returns the decisions of the expert."""
        return self._expert.act(requests)


@dataclass(frozen=True, eq=False)
class _Rollouts:
    """Rollouts of one task by one policy."""

    run: BenchmarkRun
    look_hz: float
    task: Task
    simulator: Simulator
    policy: Policy

    def pair(self, index: int) -> tuple[float, float, _Timed]:
        """Returns the CPU seconds of one episode without and with a bank, and the feed of the latter."""
        seed = self.run.seed + index
        bare_s = self.cpu_s(seed)
        with open_bank(":memory:", clock=SimulatedClock()) as bank:
            feed = _Timed(MemoryFeedConfig(), BeliefConfig(look_hz=self.look_hz), bank, "cost")
            return bare_s, self.cpu_s(seed, feed), feed

    def cpu_s(self, seed: int, feed: BeliefFeed | None = None) -> float:
        """Returns the CPU seconds of one episode, observed by `feed`."""
        context = EpisodeContext(self.simulator, self.task, self.policy, lambda one: controllers(self.run, one))
        observers: list[Observer] = [] if feed is None else [feed]
        episode = self.task.sample(seed)
        begun_s = time.process_time()
        play(episode, context, observers=observers)
        if feed is not None:
            feed.settle()
        return time.process_time() - begun_s


def _median_share(pairs: Iterable[tuple[float, float]]) -> float:
    return round(statistics.median(part / whole for part, whole in pairs), 3)
