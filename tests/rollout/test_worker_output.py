"""What a policy prints on Ray can be read, and costs the output folder nothing where it prints nothing."""

import logging
from dataclasses import dataclass, replace

import pytest

from embodied.rollout.compute import ComputeConfig
from tests.fakes import FakePolicy
from tests.rollout.test_worker import CONFIG, JOB

pytestmark = pytest.mark.usefixtures("ray_session")


@dataclass(kw_only=True)
class TalksConfig:
    def build(self):
        return Talks(privileged=True)


class Talks(FakePolicy):
    def act(self, requests):
        print("step", requests[0].step)  # noqa: T201
        logging.getLogger("my_policy").info("at step %d", requests[0].step)
        return super().act(requests)


def test_what_a_policy_prints_and_logs_is_in_the_file_of_its_worker(tmp_path):
    config = replace(CONFIG, policies={"talks": TalksConfig(), **CONFIG.policies}, log_folder=str(tmp_path / "logs"))
    with ComputeConfig(workers=1).build(config) as compute:
        list(compute.run([replace(JOB, policy="talks")]))
        text = (tmp_path / "logs" / "worker-1.txt").read_text()
    assert text.splitlines() == ["step 0", "my_policy INFO: at step 0", "step 1", "my_policy INFO: at step 1"]


@dataclass(kw_only=True)
class SharedTalksConfig:
    def build(self):
        return SharedTalks()


class SharedTalks(Talks):
    stateless = True


def test_what_a_policy_on_a_policy_worker_prints_is_in_the_file_of_that_worker(tmp_path):
    config = replace(CONFIG, policies={"talks": SharedTalksConfig()}, log_folder=str(tmp_path / "logs"))
    with ComputeConfig(workers=1, policy_workers=1).build(config) as compute:
        (result,) = compute.run([replace(JOB, policy="talks")])
        steps = result.record.steps
        text = (tmp_path / "logs" / "policy-worker-1.txt").read_text()
    assert text.splitlines() == [line for n in range(steps) for line in (f"step {n}", f"my_policy INFO: at step {n}")]
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["policy-worker-1.txt"]


def test_a_worker_that_prints_nothing_leaves_no_file(tmp_path):
    with ComputeConfig(workers=1).build(replace(CONFIG, log_folder=str(tmp_path / "logs"))) as compute:
        list(compute.run([JOB]))
    assert not list(tmp_path.iterdir())
