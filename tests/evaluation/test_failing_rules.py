"""The rules by which failing policies are stopped and reported, on records alone."""

from dataclasses import replace

import pytest

from embodied.evaluation.failing import ERRORS_FILE, NOT_PLAYED, FailingPolicies, failure_of, policy_failures
from embodied.rollout.job import EpisodeJob, JobResult
from embodied.types import EpisodeRecord, Outcome

RAISED = "PolicyFaultError: Policy 'mine' must not raise. Got KeyError."
INTENT = "IntentError: The numbers of an intent must be finite. Got nan."


def record(seed=0, reason=RAISED, outcome=Outcome.INVALID, **others):
    whole = EpisodeRecord("r", f"t/{seed}", 1, "t", "", "mine", 0, seed, outcome, reason, (), None, 1, 1.0, 0.1)
    return replace(whole, **others)


def success(seed=0, **others):
    return record(seed, "", Outcome.SUCCESS, **others)


def job(**others):
    return replace(EpisodeJob(run="r", episode="t/9", task="t", policy="mine", seed=9), **others)


def after(*records, folder="unused"):
    return FailingPolicies(folder, records)


def test_only_an_episode_that_a_policy_made_invalid_is_its_failure():
    assert failure_of(record()) == "PolicyFaultError: Policy 'mine' must not raise."
    assert failure_of(record(reason=INTENT)) == "IntentError: The numbers of an intent must be finite."
    assert failure_of(record(reason="The worker died.")) == ""
    assert failure_of(record(outcome=Outcome.FAILURE)) == "", "the task has decided that it failed"


def test_a_policy_is_stopped_once_it_broke_one_rule_in_each_of_its_first_three_episodes():
    assert after(record(0), record(1), record(2)).stopped("mine", "normal")
    assert not after(record(0), record(1)).stopped("mine", "normal")
    assert not after(record(0), record(1), record(2, INTENT)).stopped("mine", "normal"), "of two rules"
    assert not after(success(0), record(1), record(2), record(3)).stopped("mine", "normal"), "the first was played"
    assert after(record(0), record(1), record(2), success(3)).stopped("mine", "normal")


def test_each_control_and_each_policy_is_judged_by_its_own_episodes():
    failing = after(
        *(record(seed, control="off") for seed in range(3)), record(0), record(1), record(2, policy="other")
    )
    assert failing.stopped("mine", "off")
    assert not failing.stopped("mine", "normal")
    assert not failing.stopped("other", "normal")
    kept = list(failing.still_played([job(), job(control="off"), job(policy="other")]))
    assert kept == [job(), job(policy="other")]


def test_episodes_that_were_not_played_do_not_count_among_the_first():
    """The rows of an earlier part of a run may have any order."""
    assert after(record(0), record(7, f"{NOT_PLAYED}x"), record(1), record(2)).stopped("mine", "normal")


def test_the_reason_in_results_is_that_of_the_lowest_seed_that_was_played():
    records = [record(5, INTENT), record(3), record(9, INTENT), record(1, f"{NOT_PLAYED}x"), success(0)]
    assert policy_failures(records) == {"mine": {"episodes": 3, "not_played": 1, "reason": RAISED}}
    assert policy_failures([success(), record(reason="The worker died.")]) == {}


@pytest.mark.parametrize("count", [1, 3, 5])
def test_the_first_failure_of_a_policy_is_logged_and_its_stop_but_no_further_failure(tmp_path, caplog, count):
    failing = after(folder=tmp_path)
    for seed in range(count):
        failing.note(JobResult(job(seed=seed), record(seed), traceback="Traceback: here"))
    failing.note(JobResult(job(policy="other"), record(policy="other"), traceback="Traceback: here"))
    invalid = [line for line in caplog.messages if " is invalid: " in line]
    assert [line.split(" is invalid")[0] for line in invalid] == ["t/0 by mine", "t/0 by other"]
    assert all(line.endswith(f"The traceback is in {tmp_path / ERRORS_FILE}.") for line in invalid)
    assert caplog.text.count("No more episodes are played with mine") == (count >= 3)
