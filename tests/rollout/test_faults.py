"""The command itself, with real workers: two trials of the benchmark `what=faults`."""

import pytest

from launch.benchmarks.faults import FaultsBenchConfig, measure


@pytest.mark.proof
def test_a_killed_worker_and_an_interrupted_run_end_in_the_rows_of_a_run_left_alone(tmp_path):
    config = FaultsBenchConfig(kill=1, stop=0, interrupt=1, terminate=0, episodes=6, tasks=["reopen_drawer"])
    report = measure(config, seed=5, folder=tmp_path)
    assert report["alone"]["episodes"] == 6
    assert report["alone"]["clean"]
    assert [trial["hit"] for trial in report["trials"]] == [True, True]
    assert [trial["left"] for trial in report["trials"]] == [[], []]
    assert report["goals"]["every_trial_as_alone"]["met"], report
