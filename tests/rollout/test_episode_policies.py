"""A policy that keeps something in itself has lost it when the next episode begins."""

from dataclasses import dataclass, field

import pytest

from embodied.errors import UnknownNameError
from embodied.rollout.episode_policies import EpisodePolicies
from embodied.rollout.job import EpisodeJob
from embodied.rollout.team import AgentConfig
from embodied.rollout.worker import SimulatorWorker, WorkerConfig
from policies.learned import LearnedPolicyConfig
from tests.fakes import FakeControllerConfig, FakePolicy, FakeSimulatorConfig, FakeTask

TASK = "bin_block/strict"


class Counting(FakePolicy):
    """Keeps in itself how many decisions it has made."""

    def __init__(self, *, stateless=False):
        super().__init__(privileged=True)
        self.stateless = stateless
        self.decisions = 0

    def act(self, requests):
        self.decisions += len(requests)
        return super().act(requests)


@dataclass(kw_only=True)
class CountingConfig:
    stateless: bool = False
    made: list = field(default_factory=list)

    def build(self):
        self.made.append(Counting(stateless=self.stateless))
        return self.made[-1]


def played(policies, names, **settings):
    config = WorkerConfig(
        simulator=FakeSimulatorConfig(),
        controller=FakeControllerConfig(),
        tasks={TASK: FakeTask()},
        policies=policies,
        **settings,
    )
    worker = SimulatorWorker(config)
    return [
        worker.run(EpisodeJob("r", f"{TASK}/test/{seed}", TASK, name, seed=seed)).record
        for seed, name in enumerate(names)
    ]


def test_each_episode_has_a_policy_of_its_own():
    one, other = CountingConfig(), CountingConfig()
    played({"one": one, "other": other}, ["one", "other", "one", "one"])
    assert [policy.decisions for policy in one.made] == [2, 2, 2]
    assert [policy.decisions for policy in other.made] == [2]


def test_a_stateless_policy_plays_all_episodes():
    config = CountingConfig(stateless=True)
    played({"one": config}, ["one"] * 3)
    assert [policy.decisions for policy in config.made] == [6]


def test_the_robots_of_a_team_share_one_policy_within_an_episode_and_get_another_one_in_the_next():
    own, teams = CountingConfig(), CountingConfig()
    team = {robot: AgentConfig(policy="teams") for robot in ("arm", "leg")}
    task = FakeTask(robots=("arm", "leg"))
    config = WorkerConfig(
        simulator=FakeSimulatorConfig(), controller=FakeControllerConfig(), tasks={TASK: task},
        policies={"own": own}, team=team, team_policies={"teams": teams},
    )  # fmt: skip
    worker = SimulatorWorker(config)
    for seed in range(2):
        worker.run(EpisodeJob("r", f"{TASK}/test/{seed}", TASK, "own", seed=seed))
    assert len(teams.made) == 2
    assert all(max(policy.batches) == 2 for policy in teams.made)


def test_threads_are_limited_after_each_construction_and_unknown_names_are_refused():
    limited = []
    policies = EpisodePolicies({"one": CountingConfig()}, lambda: limited.append("limited"))
    assert policies.new("one") is not policies.new("one")
    assert limited == ["limited"] * 2
    with pytest.raises(UnknownNameError, match="Did you mean 'one'"):
        policies.new("on")


def test_shipped_policies_are_stateless_which_the_contract_of_policies_proves():
    assert LearnedPolicyConfig(weights="sam2act-memorybench").build().stateless
