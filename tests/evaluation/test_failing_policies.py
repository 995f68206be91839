"""One policy that fails costs no other its episodes: it is named, stopped, and its traceback is kept."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from embodied.errors import PolicyFaultError
from embodied.evaluation.evaluator import NothingPlayedError, evaluate
from embodied.evaluation.failing import ERRORS_FILE
from embodied.evaluation.plan import Evaluation
from embodied.evaluation.report import terminal_table
from embodied.rollout.inline import InlineCompute
from embodied.types import Decision, Outcome
from tests.fakes import FakePolicy
from tests.rollout.test_worker import CONFIG

ROOT = Path(__file__).parents[2]


@dataclass(kw_only=True)
class FailsConfig:
    """Builds an expert that fails at its second decision, in the episodes of `seeds` (None: in all)."""

    seeds: tuple[int, ...] | None = None
    raises: bool = True

    def build(self):
        return Fails(self)


class Fails(FakePolicy):
    def __init__(self, config):
        super().__init__(privileged=True)
        self.config = config

    def act(self, requests):
        (request,) = requests
        seeds = self.config.seeds
        if request.step == 1 and (seeds is None or request.truth.episode.seed in seeds):
            if self.config.raises:
                raise KeyError("no such key")
            return [Decision(())]
        return super().act(requests)


def run(folder, *, episodes=8, **policies):
    worker = replace(CONFIG, policies=policies)
    plan = Evaluation(suite="fake", tier="strict", worker=worker, episodes=episodes, seed=0, salt="")
    return evaluate(plan, compute=InlineCompute(worker), output=folder, config="", videos=0)


def rows(folder):
    return [json.loads(line) for line in (folder / "episodes.jsonl").read_bytes().splitlines()]


def by_policy(folder, policy):
    return [row for row in rows(folder) if row["policy"] == policy]


def without_times(rows):
    return [{name: value for name, value in row.items() if name not in ("wall_s", "run")} for row in rows]


def test_the_other_policies_play_all_their_episodes_and_the_failing_one_is_stopped_after_three(tmp_path, caplog):
    alone = tmp_path / "alone"
    run(alone, **CONFIG.policies)
    results = run(tmp_path / "out", fails=FailsConfig(), **CONFIG.policies)
    for policy in CONFIG.policies:
        assert without_times(by_policy(tmp_path / "out", policy)) == without_times(by_policy(alone, policy))
    mine = by_policy(tmp_path / "out", "fails")
    assert len(mine) == 8
    assert {row["outcome"] for row in mine} == {"invalid"}
    assert all(row["reason"].startswith("PolicyFaultError: Policy 'fails' must not raise") for row in mine[:3])
    assert all("not played: the first 3 episodes of fails ended with PolicyFault" in row["reason"] for row in mine[3:])
    assert "No more episodes are played with fails" in caplog.text
    entry = results["policy_failures"]["fails"]
    assert (entry["episodes"], entry["not_played"]) == (3, 5)
    assert "policy_failures" not in json.loads((alone / "results.json").read_text())


def test_the_report_names_the_policy_and_the_log_has_one_traceback_per_episode(tmp_path):
    results = run(tmp_path, fails=FailsConfig(), **CONFIG.policies)
    log = (tmp_path / ERRORS_FILE).read_text()
    assert log.count("Traceback (most recent call last)") == 3
    assert log.count('raise KeyError("no such key")') == 3
    assert "/test/" in log.splitlines()[0]
    sentence = "fails made 3 episodes invalid: PolicyFaultError: Policy 'fails' must not raise"
    for text in (terminal_table(results), (tmp_path / "report.md").read_text()):
        assert sentence in text
        assert "5 episodes were not played" in text
    assert (tmp_path / "report.html").exists()


def test_a_policy_that_fails_now_and_then_plays_on(tmp_path):
    results = run(tmp_path, fails=FailsConfig(seeds=(1, 3, 5, 7)))
    outcomes = [row["outcome"] for row in rows(tmp_path)]
    assert outcomes == ["success", "invalid"] * 4
    assert results["policy_failures"]["fails"]["episodes"] == 4
    assert results["policy_failures"]["fails"]["not_played"] == 0


def test_an_invalid_decision_counts_as_an_exception_does(tmp_path):
    results = run(tmp_path, fails=FailsConfig(raises=False), **CONFIG.policies)
    assert results["policy_failures"]["fails"]["not_played"] == 5
    assert not (tmp_path / ERRORS_FILE).exists()


def test_the_same_command_again_plays_nothing_and_ends_in_the_same_results(tmp_path):
    first = run(tmp_path, fails=FailsConfig(), **CONFIG.policies)
    before = rows(tmp_path)
    assert run(tmp_path, fails=FailsConfig(), **CONFIG.policies) == first
    assert rows(tmp_path) == before


def test_a_run_killed_before_the_stop_is_recorded_goes_on_without_the_policy(tmp_path):
    run(tmp_path, fails=FailsConfig(), **CONFIG.policies)
    lines = (tmp_path / "episodes.jsonl").read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if json.loads(line)["outcome"] != "invalid"][:4]
    failed = [line for line in lines if b"must not raise" in line]
    (tmp_path / "episodes.jsonl").write_bytes(b"".join(kept + failed))
    run(tmp_path, fails=FailsConfig(), **CONFIG.policies)
    assert len(rows(tmp_path)) == 24
    assert (tmp_path / ERRORS_FILE).read_text().count("Traceback") == 3  # None was added.


def test_a_run_of_failing_policies_alone_has_no_results(tmp_path):
    with pytest.raises(NothingPlayedError, match="Policy 'fails' must not raise"):
        run(tmp_path, fails=FailsConfig())


@dataclass(kw_only=True)
class BuildsNothing:
    def build(self):
        pass


def test_what_is_no_policy_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(PolicyFaultError, match="Policy 'nothing' must be an object with a method `act`"):
        run(tmp_path / "out", nothing=BuildsNothing(), **CONFIG.policies)
    assert not (tmp_path / "out").exists()


MODULE = """
from dataclasses import dataclass

from embodied.specs import KEYFRAME, ObservationSpec


class Breaks:
    observation_spec = ObservationSpec(cameras=("front",))
    action_spec = KEYFRAME
    privileged = False

    def act(self, requests):
        return [request.observation.images["wrist"] for request in requests]


@dataclass(kw_only=True)
class BreaksConfig:
    def build(self):
        return Breaks()


EMBODIED = {"policies": {"breaks": BreaksConfig}}
"""


def test_the_command_writes_its_report_and_exits_with_3(tmp_path):
    (tmp_path / "broken.py").write_text(MODULE)
    done = subprocess.run(
        [sys.executable, "-m", "launch.evaluate", "plugins=[broken]", "policy=[breaks,expert]", "episodes=2",
         "suite.tasks=[reopen_drawer]", "compute=inline", "output=out", "videos=0"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=240,
        check=False,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert "KeyError: 'wrist' in broken.py:13, at step 0 of panda" in done.stderr
    assert "out/logs/policy_errors.txt" in done.stderr
    assert "Report: out/report.html" in done.stdout
    outcomes = {(row["policy"], row["outcome"]) for row in rows(tmp_path / "out")}
    assert outcomes == {("breaks", Outcome.INVALID.value), ("expert", Outcome.SUCCESS.value)}
