"""Episodes that start where another has ended: one world, one unit for playing, resuming and intervals."""

from dataclasses import dataclass, replace
from typing import ClassVar

import msgspec
import numpy as np
import pytest

from embodied.errors import ConfigError
from embodied.evaluation.controls import Off
from embodied.evaluation.evaluator import evaluate
from embodied.evaluation.plan import Evaluation
from embodied.memory import BankService, SimulatedClock, open_bank
from embodied.rollout.bank_feed.run_memory import RunMemory
from embodied.rollout.compute import ComputeConfig, ComputeKind
from embodied.rollout.inline import InlineCompute
from embodied.rollout.job import EpisodeJob
from embodied.rollout.worker import SimulatorWorker, WorkerConfig
from embodied.types import Answer, Limits, Moment, Outcome
from tests.fakes import (
    FakeControllerConfig,
    FakePolicy,
    FakePolicyConfig,
    FakeSimulatorConfig,
    FakeTask,
    FaultyPolicyConfig,
)

NAME = "tidy"


@dataclass(kw_only=True)
class TidyTask(FakeTask):
    """Three episodes in one world: the block is carried into its bin, and lies there when the next one begins."""

    name: str = NAME
    tier: str = ""
    chain_length: int = 3
    columns = ()

    def chance(self, episode):
        return None

    def sample(self, seed, *, split="test"):
        first = seed - seed % self.chain_length
        episode = super().sample(first, split=split)
        after = None if seed == first else f"{self.name}/{split}/{seed - 1}"
        return replace(episode, id=f"{self.name}/{split}/{seed}", seed=seed, after=after, limits=Limits(sim_time_s=2.0))

    def begin(self, episode, state):
        progress = super().begin(episode, state)
        return replace(progress, metrics={"block_x_m": state.pose["block"].position_m[0], "start_s": state.time_s})


def config(task=None, **settings):
    return WorkerConfig(
        simulator=FakeSimulatorConfig(),
        controller=FakeControllerConfig(),
        tasks={NAME: task or TidyTask()},
        policies={"expert": FakePolicyConfig(privileged=True)},
        **settings,
    )


def plan(worker=None, episodes=6):
    return Evaluation(suite="house", tier="", worker=worker or config(), episodes=episodes, seed=0, salt="")


def logged(record):
    return replace(record, wall_s=0.0, attempt=1, run="")


class Stopped:
    """An inline compute that stops after some results."""

    place = "in this process"

    def __init__(self, worker, after=1000):
        self._inside, self._after, self.units = InlineCompute(worker), after, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def run(self, jobs):
        self.units += [[job.episode for job in unit.unit] for unit in jobs]
        for number, result in enumerate(self._inside.run(jobs)):
            if number == self._after:
                raise KeyboardInterrupt
            yield result


def test_the_world_of_a_chain_goes_on_and_a_new_chain_has_a_new_one(tmp_path):
    worker = config()
    evaluate(plan(worker), compute=Stopped(worker), output=tmp_path, config="", videos=1)
    first, second = plan(worker).jobs()
    assert [job.episode for job in first.unit] == [f"{NAME}/test/{seed}" for seed in range(3)]
    played = SimulatorWorker(worker).run(first).unit
    starts = [one.record.metrics for one in played]
    assert starts[0] == {"block_x_m": 0.5, "start_s": 0.0}
    assert starts[1]["block_x_m"] == pytest.approx(0.3, abs=0.03)
    assert starts[2]["start_s"] == pytest.approx(sum(one.record.sim_time_s for one in played[:2]))
    assert starts[1]["start_s"] > 0.0
    assert {one.record.chain for one in played} == {f"{NAME}/test/0"}
    assert {one.record.unit for one in SimulatorWorker(worker).run(second).unit} == {f"{NAME}/test/3"}


def test_the_limit_of_time_counts_from_the_beginning_of_each_episode():
    lasting = config(TidyTask())
    lasting = replace(lasting, policies={"expert": FakePolicyConfig()})  # A guesser is wrong now and then.
    unit = next(iter(plan(lasting).jobs()))
    records = [one.record for one in SimulatorWorker(lasting).run(unit).unit]
    assert all(record.sim_time_s <= 2.0 for record in records)
    assert records[2].metrics.get("start_s", 0.0) != 0.0 or records[2].outcome is Outcome.FAILURE


def test_an_unfinished_chain_is_played_again_as_a_unit_and_rows_on_the_disk_stay(tmp_path):
    worker = config()
    whole = evaluate(plan(worker), compute=Stopped(worker), output=tmp_path / "whole", config="", videos=0)
    with pytest.raises(KeyboardInterrupt):
        evaluate(plan(worker), compute=Stopped(worker, after=4), output=tmp_path / "cut", config="", videos=0)
    before = (tmp_path / "cut" / "episodes.jsonl").read_bytes()
    assert before.count(b"\n") == 4
    again = Stopped(worker)
    resumed = evaluate(plan(worker), compute=again, output=tmp_path / "cut", config="", videos=0)
    assert again.units == [[f"{NAME}/test/{seed}" for seed in (3, 4, 5)]]
    after = (tmp_path / "cut" / "episodes.jsonl").read_bytes()
    assert after.startswith(before)
    assert after.count(b"\n") == 6
    assert resumed["tasks"] == whole["tasks"]


def test_a_chain_on_ray_is_tried_again_from_its_first_episode(tmp_path):
    worker = config()
    inline = [logged(one.record) for unit in plan(worker).jobs() for one in SimulatorWorker(worker).run(unit).unit]
    faulty = replace(
        worker, policies={"expert": FaultyPolicyConfig(fault="kill", seeds=(4,), once_folder=str(tmp_path))}
    )
    compute = ComputeConfig(kind=ComputeKind.local, workers=2).build(faulty)
    with compute:
        results = list(compute.run(list(plan(worker).jobs())))
    records = sorted((one.record for one in results), key=lambda record: record.seed)
    assert [record.attempt for record in records] == [1, 1, 1, 2, 2, 2]
    assert [logged(record) for record in records] == inline


def test_after_an_invalid_episode_the_rest_of_its_chain_is_invalid():
    class Breaking(TidyTask):
        def advance(self, episode, progress, state):
            return progress if episode.seed else replace(progress, outcome=Outcome.INVALID, reason="it broke")

    worker = config(Breaking())
    records = [one.record for one in SimulatorWorker(worker).run(next(iter(plan(worker).jobs()))).unit]
    assert [record.outcome for record in records] == [Outcome.INVALID] * 3
    assert records[2].reason == "the episode that it starts from is invalid"


@dataclass
class Noting(FakePolicy):
    """Stores a moment at each decision, and keeps how many it was given."""

    given: ClassVar[list[int]] = []

    def act(self, requests):
        self.given.extend(len(request.memory.moments) for request in requests)
        return [
            replace(decision, moments=(self.moment(request),))
            for decision, request in zip(super().act(requests), requests, strict=True)
        ]

    def moment(self, request):
        return Moment(np.array([1.0, 0.0], np.float32), None, "m", 0.0, (0.0, 0.0, 0.0), "arm", "")


@dataclass(kw_only=True)
class NotingConfig:
    def build(self):
        return Noting(privileged=True)


def test_what_was_stored_in_a_chain_is_remembered_in_its_later_episodes_on_one_clock():
    with BankService(open_bank(":memory:", clock=SimulatedClock())) as service:
        worker = replace(config(memory=RunMemory(link=service)), policies={"expert": NotingConfig()})
        first, second = plan(worker).jobs()
        player = SimulatorWorker(worker)
        played = player.run(first).unit
        begins = len(Noting.given)
        player.run(second)
        with worker.memory.connect() as bank:
            begun = bank.history(kinds=("episode_begun",))
    assert Noting.given[:begins] == list(range(begins))
    assert Noting.given[begins] == 0, "another chain remembers nothing of this one"
    assert begins >= 3
    ends = np.cumsum([one.record.sim_time_s for one in played])
    assert [event.valid_time_s for event in begun[:3]] == pytest.approx([0.0, ends[0], ends[1]])


def test_chains_that_do_not_hang_together_are_refused():
    worker = config()
    job = EpisodeJob("run", "e", NAME, "expert", seed=1)
    with pytest.raises(ConfigError, match="right after it"):
        SimulatorWorker(worker).run(job)
    with pytest.raises(ConfigError, match="must start from the one"):
        SimulatorWorker(worker).run(replace(job, seed=0, later=(replace(job, seed=2),)))
    with pytest.raises(ConfigError, match="whole chains"):
        plan(episodes=4)
    with pytest.raises(ConfigError, match="1 to 16"):
        plan(config(TidyTask(chain_length=17)), episodes=17)
    with pytest.raises(ConfigError, match="must have the same scene"):
        SimulatorWorker(config(Rebuilt())).run(replace(job, seed=0, later=(job,)))


class Rebuilt(TidyTask):
    """Its later episodes want another scene."""

    def sample(self, seed, *, split="test"):
        episode = super().sample(seed, split=split)
        return replace(episode, scene=replace_name(episode.scene, str(seed)))


def replace_name(scene, name):
    return msgspec.structs.replace(scene, name=name)


def test_controls_of_memory_are_refused_for_chains():
    @dataclass(kw_only=True)
    class Choosing(TidyTask):
        def choice_open(self, progress):
            return False

        def counterfactual(self, episode):
            return replace(episode, goal=Answer("Where?", ("left",)))

    with pytest.raises(ConfigError, match="neither be played under controls"):
        plan(config(Choosing(), controls={"off": Off()}))
