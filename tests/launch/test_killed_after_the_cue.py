"""A worker is killed once the cue has passed: its successor, with the memory of the bank, still chooses rightly."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field, replace

import pytest

from embodied.controllers import ControllerConfig
from embodied.memory import BankService, SimulatedClock, open_bank
from embodied.protocols import Policy
from embodied.rollout.bank_feed.episode_feed import MemoryFeedConfig
from embodied.rollout.bank_feed.run_memory import RunMemory
from embodied.rollout.job import EpisodeJob
from embodied.rollout.worker import SimulatorWorker, WorkerConfig
from embodied.simulators.bullet import BulletConfig
from embodied.tasks.memorybench.put_block_back import PutBlockBack
from embodied.tasks.memorybench.rearrange_block import RearrangeBlock
from embodied.tasks.memorybench.reopen_drawer import ReopenDrawer
from policies.learned import LearnedPolicyConfig

TASKS = {
    "put_block_back/strict": PutBlockBack(),
    "reopen_drawer/strict": ReopenDrawer(),
    "rearrange_block/strict": RearrangeBlock(),
}
# The keyframe at which it is decided where to go, by task: nothing shows it after that.
CHOICE = {"put_block_back/strict": 10, "reopen_drawer/strict": 7, "rearrange_block/strict": 7}
NEVER = -1
SEED = 6  # Of an episode in which the hands do not fail before it is time to choose.


@dataclass
class Mortal:
    """The shipped policy; the process is killed when it is asked at `dies_at`."""

    policy: Policy
    dies_at: int
    asked: tuple[int, ...] = ()
    privileged: bool = False

    @property
    def observation_spec(self):
        return self.policy.observation_spec

    @property
    def action_spec(self):
        return self.policy.action_spec

    def act(self, requests):
        (request,) = requests
        if request.step == self.dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.asked = (*self.asked, request.step)
        return self.policy.act(requests)


@dataclass(kw_only=True)
class MortalConfig:
    dies_at: int = NEVER
    built: list[Mortal] = field(default_factory=list)

    def build(self) -> Mortal:
        self.built.append(Mortal(LearnedPolicyConfig(weights="sam2act_plus-memorybench").build(), self.dies_at))
        return self.built[-1]


def job_of(task: str, seed: int) -> EpisodeJob:
    return EpisodeJob(run="r", episode=f"{task}/test/{seed}", task=task, policy="mortal", seed=seed)


def worker_of(service: BankService, task: str, *, dies_at: int = NEVER) -> SimulatorWorker:
    return SimulatorWorker(
        WorkerConfig(
            simulator=BulletConfig(),
            controller=ControllerConfig(),
            tasks={task: TASKS[task]},
            policies={"mortal": MortalConfig(dies_at=dies_at)},
            memory=RunMemory(link=service, feed=MemoryFeedConfig(resume=True)),
        )
    )


@pytest.mark.parametrize("task", sorted(TASKS))
def test_a_worker_that_is_killed_after_the_cue_still_chooses_rightly(tmp_path, task):
    code = (
        "import sys\n"
        "from tests.launch.test_killed_after_the_cue import *\n"
        "with BankService(open_bank(sys.argv[1], clock=SimulatedClock())) as service:\n"
        "    worker_of(service, sys.argv[2], dies_at=CHOICE[sys.argv[2]]).run(job_of(sys.argv[2], SEED))\n"
    )
    url = f"sqlite:///{tmp_path / 'run.db'}"
    killed = subprocess.run([sys.executable, "-c", code, url, task], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    with BankService(open_bank(url, clock=SimulatedClock())) as service:
        worker = worker_of(service, task)
        resumed = worker.run(replace(job_of(task, SEED), attempt=2)).record
        asked = worker._config.policies["mortal"].built[-1].asked
        assert asked[0] == CHOICE[task], "what was decided before is carried out again"
        worker.close()
    with BankService(open_bank(":memory:", clock=SimulatedClock())) as service:
        worker = worker_of(service, task)
        undisturbed = worker.run(job_of(task, SEED)).record
        worker.close()
    assert resumed.choice is not None
    assert resumed.choice["correct"]
    assert replace(resumed, wall_s=0.0, attempt=0) == replace(undisturbed, wall_s=0.0, attempt=0)
