"""What a policy is given says nothing about its episode without the salt of the run, which reaches policies alone."""

from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from embodied.controllers import ControllerConfig
from embodied.rollout.job import EpisodeJob
from embodied.rollout.worker import SimulatorWorker, WorkerConfig
from embodied.seeding import derive_seed, drawn_salt, opaque_id, salted_seed
from embodied.simulators.bullet import BulletConfig
from embodied.tasks.registry import make_task
from embodied.testing.contract import leaves
from policies.scripted import ExpertConfig, RandomPolicyConfig
from tests.fakes import FakeControllerConfig, FakePolicy, FakeSimulatorConfig, FakeTask

TASK = "bin_block/strict"
JOB = EpisodeJob("r", f"{TASK}/test/3", TASK, "watching", seed=3)
SALT = "5a17" * 8


@dataclass(kw_only=True)
class Watched:
    """Builds policies that share one list of requests."""

    seen: list = field(default_factory=list)

    def build(self):
        policy = FakePolicy(cameras=None)
        policy.seen = self.seen
        return policy


def requests(salt, *, seed=3, job=JOB):
    watched = Watched()
    config = WorkerConfig(
        simulator=FakeSimulatorConfig(),
        controller=FakeControllerConfig(),
        tasks={TASK: FakeTask()},
        policies={"watching": watched},
    )
    SimulatorWorker(config).run(replace(job, seed=seed, salt=salt))
    return watched.seen


def seeds(salt, **settings):
    return [request.seed for request in requests(salt, **settings)]


def test_the_same_salt_gives_the_same_seeds_in_any_worker_and_another_salt_others():
    assert seeds(SALT) == seeds(SALT)
    assert len({*seeds(SALT), *seeds("other"), *seeds("")}) == 6
    assert len({*seeds(SALT), *seeds(SALT, seed=4)}) == 4


def test_without_a_salt_seeds_are_those_of_old_results():
    assert seeds("") == [derive_seed(3, "policy", "arm", step) for step in range(2)]


def test_a_request_holds_neither_the_salt_nor_the_seed_nor_the_name_of_its_episode():
    for request in requests(SALT, seed=20251127):
        text = repr(leaves(request))
        assert "instruction" in text
        assert request.seed != 20251127
        for secret in (SALT, "20251127", "/test/"):
            assert secret not in text


def test_the_salt_changes_neither_layouts_nor_noise_nor_controllers():
    task = make_task("put_block_back", options={"camera_px": 32})
    name = f"{task.name}/{task.tier}"
    config = WorkerConfig(
        simulator=BulletConfig(), controller=ControllerConfig(), tasks={name: task},
        policies={"expert": ExpertConfig(), "random": RandomPolicyConfig()},
    )  # fmt: skip
    worker, records = SimulatorWorker(config), {}
    for policy in config.policies:
        job = EpisodeJob("r", f"{name}/test/11", name, policy, seed=11)
        records[policy] = [
            replace(worker.run(replace(job, salt=salt)).record, wall_s=0.0) for salt in ("", SALT, "other")
        ]
    worker.close()
    assert all(one == other for one, other in pairwise(records["expert"]))
    assert records["expert"][0].sim_time_s > 5.0
    assert len({record.sim_time_s for record in records["random"]}) > 1, "what a policy draws does depend on it"


def test_salted_numbers_are_spread_evenly_and_salts_are_drawn_anew():
    drawn = np.array([salted_seed(SALT, "policy", f"e{number}", "arm", 0) for number in range(2000)])
    assert 0 <= drawn.min() <= drawn.max() < 2**63
    for bit in (0, 7, 40, 62):
        assert 850 < int((drawn >> bit & 1).sum()) < 1150
    assert len({drawn_salt() for _ in range(100)}) == 100
    assert len(drawn_salt()) == 32
    assert opaque_id(SALT, "e") == opaque_id(SALT, "e") != opaque_id("other", "e")
    assert len(opaque_id(SALT, "e")) == 16
