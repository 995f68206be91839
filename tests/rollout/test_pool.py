import os
import signal
import threading
from collections import Counter
from dataclasses import replace

import psutil
import pytest

from embodied.errors import UnknownNameError
from embodied.rollout.compute import ComputeConfig
from embodied.rollout.inline import InlineCompute
from embodied.rollout.pool import WorkersDiedError
from embodied.types import Outcome
from tests.fakes import FaultyPolicyConfig
from tests.rollout.test_worker import CONFIG, JOB, row

pytestmark = pytest.mark.usefixtures("ray_session")


def pool(config=CONFIG, **limits):
    return ComputeConfig(**{"workers": 2, "deadline_s": 60.0, **limits}).build(config)


def jobs(count, policies=("expert",)):
    return [
        replace(JOB, episode=f"bin_block/{seed}", policy=policy, seed=seed)
        for seed in range(count)
        for policy in policies
    ]


def faulty(fault, seeds, **more):
    policies = {**CONFIG.policies, "faulty": FaultyPolicyConfig(fault=fault, seeds=tuple(seeds), **more)}
    return replace(CONFIG, policies=policies)


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


def by_key(results):
    return {(result.job.policy, result.job.episode): row(result) for result in results}


def test_rows_are_the_same_inline_and_with_one_and_two_workers():
    wanted = jobs(8, ("expert", "guesser"))
    inline = by_key(InlineCompute(CONFIG).run(wanted))
    assert len(inline) == 16
    for count in (1, 2):
        with pool(workers=count) as compute:
            assert by_key(compute.run(wanted)) == inline
            assert by_key(compute.run(reversed(wanted))) == inline


def test_jobs_are_read_only_as_fast_as_they_are_played_and_an_abandoned_run_leaves_nothing_behind():
    read = []

    def source():
        for job in jobs(50):
            read.append(job)
            yield job

    with pool() as compute:
        results = compute.run(source())
        next(results)
        next(results)
        assert len(read) <= 5
        results.close()
        assert len(by_key(compute.run(jobs(4)))) == 4
        assert len(by_key(compute.run([]))) == 0
    assert not workers_of_ray()


def test_a_worker_killed_at_any_moment_costs_no_episode_and_doubles_none():
    wanted = jobs(60, ("expert", "guesser"))
    undisturbed = by_key(InlineCompute(CONFIG).run(wanted))
    killed = []

    def kill_now_and_then():
        while not done.wait(0.4):
            victims = workers_of_ray()
            if victims and len(killed) < 4:
                victims[0].kill()
                killed.append(victims[0].pid)

    done = threading.Event()
    killer = threading.Thread(target=kill_now_and_then)
    with pool(faulty("late", range(60), late_s=0.05), max_restarts=50) as compute:
        slow = [replace(job, policy="faulty") if job.policy == "expert" else job for job in wanted]
        killer.start()
        results = list(compute.run(slow))
        done.set()
        killer.join()
    assert killed
    assert Counter((result.job.policy, result.job.episode) for result in results).most_common(1)[0][1] == 1
    got = {
        (policy.replace("faulty", "expert"), episode): replace(record, policy=record.policy.replace("faulty", "expert"))
        for (policy, episode), record in by_key(results).items()
    }
    assert got == undisturbed


@pytest.mark.parametrize("fault", ["kill", "stop", "hang"])
def test_an_episode_whose_worker_dies_stops_or_hangs_is_played_again(fault, tmp_path):
    config = faulty(fault, [1], once_folder=str(tmp_path))
    with pool(config, deadline_s=2.0) as compute:
        results = list(compute.run([replace(job, policy="faulty") for job in jobs(4)]))
    assert {result.record.outcome for result in results} == {Outcome.SUCCESS}
    assert sorted((result.record.seed, result.record.attempt) for result in results) == [(0, 1), (1, 2), (2, 1), (3, 1)]
    assert not workers_of_ray()


def test_what_a_late_worker_still_sends_is_ignored(tmp_path):
    config = faulty("late", [1], late_s=2.2, once_folder=str(tmp_path))
    with pool(config, deadline_s=2.0) as compute:
        results = list(compute.run([replace(job, policy="faulty") for job in jobs(40)]))
    assert Counter(result.record.seed for result in results) == Counter(range(40))
    assert next(result.record.attempt for result in results if result.record.seed == 1) == 2


def test_a_poison_episode_is_given_up_and_the_others_are_played():
    with pool(faulty("segfault", [2]), max_attempts=2) as compute:
        results = list(compute.run([replace(job, policy="faulty") for job in jobs(5)]))
    outcomes = {result.record.seed: result.record.outcome for result in results}
    assert outcomes == {seed: Outcome.INVALID if seed == 2 else Outcome.SUCCESS for seed in range(5)}
    poison = next(result.record for result in results if result.record.seed == 2)
    assert poison.reason == "worker lost in each of 2 attempts; the last time, its process died"
    assert (poison.task, poison.tier, poison.attempt) == ("bin_block", "strict", 2)


def test_workers_that_only_die_stop_the_run():
    with pool(faulty("kill", range(50)), max_restarts=3, max_attempts=2) as compute, pytest.raises(WorkersDiedError):
        list(compute.run([replace(job, policy="faulty") for job in jobs(50)]))
    assert not workers_of_ray()


def test_a_mistake_of_the_whole_run_is_raised_as_itself():
    with pool() as compute, pytest.raises(UnknownNameError, match="Did you mean 'expert'"):
        list(compute.run([replace(JOB, policy="expret")]))


def test_a_bug_is_raised_with_its_own_type():
    with pool(faulty("error", [0])) as compute, pytest.raises(ZeroDivisionError, match="a bug in a policy"):
        list(compute.run([replace(JOB, policy="faulty", seed=0)]))


def test_the_results_of_before_an_interrupt_are_kept_and_no_worker_outlives_it():
    delivered = []
    with pytest.raises(KeyboardInterrupt), pool(faulty("late", range(99), late_s=0.1)) as compute:
        for result in compute.run([replace(job, policy="faulty") for job in jobs(99)]):
            delivered.append(result)
            if len(delivered) == 3:
                threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    assert 3 <= len(delivered) < 99
    assert not workers_of_ray()


def test_sigterm_ends_a_run_like_an_interrupt_and_its_handler_goes_with_it():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit), pool(faulty("late", range(99), late_s=0.1)) as compute:
        for result in compute.run([replace(job, policy="faulty") for job in jobs(99)]):
            assert result.record.outcome is Outcome.SUCCESS
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
    assert not workers_of_ray()


def test_films_and_rows_travel_together():
    with pool() as compute:
        (result,) = compute.run([replace(JOB, video=True)])
    assert result.video
    assert result.video == next(InlineCompute(CONFIG).run([replace(JOB, video=True)])).video
