import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from embodied.errors import UnknownNameError
from embodied.rollout.compute import ComputeConfig
from embodied.rollout.inline import InlineCompute
from embodied.rollout.ray.pool import WorkersDiedError
from embodied.types import Outcome
from tests.fakes import FakeSimulator, FakeSimulatorConfig, FaultyPolicyConfig
from tests.rollout.test_worker import CONFIG, JOB, row

pytestmark = pytest.mark.usefixtures("ray_session")


def faulty(fault, seeds=range(99), **more):
    return FaultyPolicyConfig(fault=fault, seeds=tuple(seeds), **more)


@dataclass(kw_only=True)
class BrokenSimulatorConfig(FakeSimulatorConfig):
    """Builds a simulator that raises what is no error of ours."""

    def build(self):
        return BrokenSimulator()


class BrokenSimulator(FakeSimulator):
    def advance(self, commands):
        raise ZeroDivisionError("a bug in a simulator")


CALM = replace(CONFIG, policies={**CONFIG.policies, "slow": faulty("late", late_s=0.1), "buggy": faulty("error")})


@pytest.fixture(scope="module")
def two_workers(ray_session):
    """A pool that lives through the tests in which nothing dies."""
    with pool(CALM, workers=2) as compute:
        yield compute


def pool(config, **limits):
    return ComputeConfig(**{"workers": 1, "deadline_s": 60.0, **limits}).build(config)


def pool_with(policy, **limits):
    return pool(replace(CONFIG, policies={**CONFIG.policies, "faulty": policy}), **limits)


def jobs(count, *policies):
    return [
        replace(JOB, episode=f"bin_block/{seed}", policy=policy, seed=seed)
        for seed in range(count)
        for policy in policies or ("expert",)
    ]


def workers_of_ray():
    """The processes of workers, by the title that Ray gives them."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "PooledWorker" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def no_worker_left():
    """Checks that the workers of before are the workers of after."""
    before = set(workers_of_ray())
    yield before
    assert set(workers_of_ray()) <= before


def by_key(results):
    return {(result.job.policy, result.job.episode): row(result) for result in results}


def outcomes(results):
    return {result.record.seed: (result.record.outcome, result.record.attempt) for result in results}


# --- Nothing dies -----------------------------------------------------------------------------------------------------


def test_rows_are_the_same_inline_and_with_one_and_two_workers(two_workers):
    wanted = jobs(8, "expert", "guesser")
    inline = by_key(InlineCompute(CONFIG).run(wanted))
    assert len(inline) == 16
    assert by_key(two_workers.run(wanted)) == inline
    with pool(CONFIG) as one_worker:
        assert by_key(one_worker.run(wanted)) == inline
        assert by_key(one_worker.run(reversed(wanted))) == inline


def test_jobs_are_read_only_as_fast_as_they_are_played(two_workers):
    read = []

    def source():
        for job in jobs(50):
            read.append(job)
            yield job

    results = two_workers.run(source())
    next(results)
    next(results)
    assert len(read) <= 5
    results.close()
    assert len(by_key(two_workers.run(jobs(4)))) == 4  # What was abandoned is not delivered later.
    assert list(two_workers.run([])) == []


def test_a_mistake_of_the_whole_run_is_raised_as_itself(two_workers):
    with pytest.raises(UnknownNameError, match="Did you mean 'expert'"):
        list(two_workers.run([replace(JOB, policy="expret")]))


def test_a_bug_in_a_policy_makes_its_episode_invalid_and_its_traceback_comes_back(two_workers):
    (result,) = two_workers.run(jobs(1, "buggy"))
    assert result.record.outcome is Outcome.INVALID
    assert "Policy 'buggy' must not raise an exception in `act`" in result.record.reason
    assert "ZeroDivisionError: a bug in a policy" in result.traceback
    assert "in _fail" in result.traceback


def test_a_bug_outside_of_policies_is_raised_with_its_own_type():
    broken = replace(CONFIG, simulator=BrokenSimulatorConfig())
    with pool(broken) as compute, pytest.raises(ZeroDivisionError, match="a bug in a simulator"):
        list(compute.run(jobs(1)))


INLINE_VIDEO = """
import sys
from dataclasses import replace
from embodied.rollout.inline import InlineCompute
from tests.rollout.test_worker import CONFIG, JOB
(result,) = InlineCompute(CONFIG).run([replace(JOB, video=True)])
sys.stdout.buffer.write(result.video)
"""


def test_videos_and_rows_travel_together(two_workers):
    (result,) = two_workers.run([replace(JOB, video=True)])
    assert result.video
    # In a process of its own: in that of many other tests, the encoder once wrote two bytes more.
    inline = subprocess.run(
        [sys.executable, "-c", INLINE_VIDEO], capture_output=True, check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert result.video == inline.stdout


# --- Workers die, stop, hang ------------------------------------------------------------------------------------------


def test_workers_killed_at_any_moment_cost_no_episode_and_double_none(no_worker_left):
    def kill_now_and_then():
        for _ in range(3):
            if done.wait(0.7):
                return
            victims = [worker for worker in workers_of_ray() if worker not in no_worker_left]
            if victims:
                victims[0].kill()
                killed.append(victims[0].pid)

    wanted, killed, done = jobs(40, "slow"), [], threading.Event()
    killer = threading.Thread(target=kill_now_and_then)
    with pool(CALM, workers=2) as compute:
        results = compute.run(wanted)
        got = [next(results)]
        killer.start()
        got += results
        done.set()
        killer.join()
    assert killed
    assert Counter(result.record.seed for result in got) == Counter(range(40))
    assert by_key(got) == by_key(InlineCompute(replace(CALM, policies={"slow": faulty("late")})).run(wanted))


@pytest.mark.parametrize("fault", ["kill", "stop", "hang"])
def test_an_episode_whose_worker_dies_stops_or_hangs_is_played_again(fault, tmp_path, no_worker_left):
    with pool_with(faulty(fault, [1], once_folder=str(tmp_path)), deadline_s=2.0) as compute:
        got = outcomes(compute.run(jobs(3, "faulty")))
    assert got == {0: (Outcome.SUCCESS, 1), 1: (Outcome.SUCCESS, 2), 2: (Outcome.SUCCESS, 1)}


def test_what_a_late_worker_still_sends_is_ignored(tmp_path, no_worker_left):
    late = faulty("late", [1], late_s=2.3, once_folder=str(tmp_path))
    with pool_with(late, workers=2, deadline_s=2.0) as compute:
        results = list(compute.run(jobs(40, "faulty")))
    assert Counter(result.record.seed for result in results) == Counter(range(40))
    assert outcomes(results)[1] == (Outcome.SUCCESS, 2)


def test_results_that_wait_for_a_slow_reader_past_their_deadline_are_not_lost(no_worker_left):
    with pool(CONFIG, workers=2, deadline_s=1.0) as compute:
        list(compute.run(jobs(4)))  # Both workers have started.
        results = compute.run(jobs(6))
        got = [next(results)]
        time.sleep(1.3)  # By now the answers of both workers are there, and overdue.
        got += results
    assert outcomes(got) == dict.fromkeys(range(6), (Outcome.SUCCESS, 1))


def test_a_poison_episode_is_given_up_and_the_others_are_played(no_worker_left):
    with pool_with(faulty("segfault", [1]), max_attempts=2) as compute:
        results = list(compute.run(jobs(3, "faulty")))
    assert outcomes(results) == {0: (Outcome.SUCCESS, 1), 1: (Outcome.INVALID, 2), 2: (Outcome.SUCCESS, 1)}
    poison = next(result.record for result in results if result.record.seed == 1)
    assert poison.reason == "worker lost in each of 2 attempts; the last time, its process died"
    assert (poison.task, poison.tier, poison.policy) == ("bin_block", "strict", "faulty")


def test_the_death_of_an_idle_worker_costs_the_next_episode_no_attempt(no_worker_left):
    with pool(CONFIG) as compute:
        list(compute.run(jobs(1)))
        (idle,) = set(workers_of_ray()) - no_worker_left
        idle.kill()
        psutil.wait_procs([idle], timeout=5.0)
        assert outcomes(compute.run(jobs(2))) == {0: (Outcome.SUCCESS, 1), 1: (Outcome.SUCCESS, 1)}


def test_workers_that_only_die_stop_the_run(no_worker_left):
    with pool_with(faulty("kill"), max_restarts=1, max_attempts=2) as compute, pytest.raises(WorkersDiedError):
        list(compute.run(jobs(50, "faulty")))


# --- The run is ended -------------------------------------------------------------------------------------------------


def test_the_results_of_before_an_interrupt_are_kept_and_no_worker_outlives_it(no_worker_left):
    delivered = []
    with pytest.raises(KeyboardInterrupt), pool(CALM) as compute:
        for result in compute.run(jobs(99, "slow")):
            delivered.append(result)
            if len(delivered) == 3:
                threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    assert 3 <= len(delivered) < 99


def test_sigterm_ends_a_run_like_an_interrupt_and_its_handler_goes_with_it(no_worker_left):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit), pool(CALM) as compute:
        for result in compute.run(jobs(99, "slow")):
            assert result.record.outcome is Outcome.SUCCESS
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
