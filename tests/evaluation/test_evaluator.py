"""An evaluation ends in one report, however often it is interrupted."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from embodied.errors import ConfigError, DataError
from embodied.evaluation import evaluator, provenance
from embodied.evaluation.evaluator import evaluate
from embodied.evaluation.first_episodes import NothingPlayedError
from embodied.evaluation.report import terminal_table
from embodied.evaluation.results import ResultsFolder
from embodied.rollout.records import lost_record
from embodied.types import Outcome
from tests.evaluation.fakes import FakeCompute, evaluation

FILES = {
    ".lock", "config.yaml", "episode_list.json", "episodes.jsonl", "report.html", "report.md", "results.json", "videos",
}  # fmt: skip


def _run(folder, *, plan=None, videos=2, **options):
    plan = plan or evaluation()
    compute = FakeCompute(plan.worker, **options)
    results = evaluate(plan, compute=compute, output=folder, config="seed: 0\n", videos=videos)
    return results, compute


def _rows(folder):
    """Rows without what may differ, sorted."""
    rows = [json.loads(line) for line in (folder / "episodes.jsonl").read_bytes().splitlines()]
    return sorted(json.dumps({key: row[key] for key in row if key not in ("wall_s", "attempt")}) for row in rows)


def test_every_episode_is_played_once_with_the_seeds_of_the_list_of_its_task():
    plan = evaluation(episodes=3, seed=2)
    jobs = list(plan.jobs())
    assert len(jobs) == 2 * 3 * 3
    assert len({(job.episode, job.policy) for job in jobs}) == len(jobs)
    for name, seeds in plan.seeds.items():
        played = [(job.seed, job.policy) for job in jobs if job.task == name]
        assert played == [(seed, policy) for seed in seeds for policy in plan.worker.policies]
    assert jobs[0].episode == f"put_block_back/strict/test/{jobs[0].seed}"


def test_another_split_is_another_run_of_other_episodes_and_is_not_mixed_into_a_folder(tmp_path):
    _run(tmp_path)
    validation = replace(evaluation(), split="validation")
    assert {job.split for job in validation.jobs()} == {"validation"}
    assert all(job.episode.split("/")[-2] == "validation" for job in validation.jobs())
    assert not {job.seed for job in validation.jobs()} & {job.seed for job in evaluation().jobs()}
    with pytest.raises(ConfigError, match="must hold one run"):
        _run(tmp_path, plan=validation)
    results, _ = _run(tmp_path / "validation", plan=validation)
    assert results["run"]["split"] == "validation"
    assert "validation" in (tmp_path / "validation" / "report.md").read_text()


def test_results_and_reports_state_the_config_and_the_options_of_each_policy(tmp_path):
    results, _ = _run(tmp_path)
    stated = results["run"]["policy_settings"]
    assert list(stated) == list(evaluation().worker.policies)
    assert stated["guesser"]["config"] == "FakePolicy"
    assert stated["guesser"]["options"]["skill"] == "guesser"
    for name in ("report.md", "report.html"):
        assert "skill = guesser" in (tmp_path / name).read_text()


def test_what_differs_from_the_run_in_a_folder_is_named(tmp_path):
    plan = replace(evaluation(), sources={"my_policy": {"sha256": "1"}})
    with ResultsFolder(tmp_path) as folder:
        folder.keep_salt("s", plan.parts)
        folder.append(replace(_record(plan), run=plan.run))
    changed = {
        "the source of my_policy": replace(plan, sources={"my_policy": {"sha256": "2"}}),
        "the source of other": replace(plan, sources={**plan.sources, "other": {"sha256": "1"}}),
        "seed": replace(plan, seed=plan.seed + 1),
        "split": replace(plan, split="validation"),
    }
    for name, other in changed.items():
        with ResultsFolder(tmp_path) as folder, pytest.raises(ConfigError, match=f"what differs: {name}'"):
            folder.records(other.run, other.parts)
    with ResultsFolder(tmp_path) as folder:
        assert len(folder.records(plan.run, plan.parts)) == 1


def _record(plan):
    job = next(plan.jobs())
    return lost_record(job, plan.worker.task(job.task), "")


def test_the_folder_holds_the_documented_files_and_results(tmp_path):
    results, _ = _run(tmp_path / "out")
    assert {entry.name for entry in (tmp_path / "out").iterdir()} == FILES
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == results
    assert list(results["tasks"]) == ["put_block_back/strict", "rearrange_block/strict"]
    expert = results["tasks"]["put_block_back/strict"]["expert"]
    assert (expert["episodes"], expert["success"], expert["chance"]) == (8, 8, 0.25)
    assert results["tasks"]["rearrange_block/strict"]["guesser"]["chance"] == 0.5
    assert results["run"]["privileged"] == ["expert", "guesser"]
    assert {"seed", "versions", "cpu", "renderer", "wall_s"} <= set(results["run"])


@pytest.mark.parametrize("stop_after", [0, 1, 17, 47, 49])
def test_an_interrupted_run_goes_on_and_ends_in_the_results_of_the_undisturbed_one(tmp_path, stop_after):
    whole, _ = _run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path / "torn", stop_after=stop_after)
    resumed, compute = _run(tmp_path / "torn")
    assert _rows(tmp_path / "torn") == _rows(tmp_path / "whole")
    assert sum(not job.video for job in compute.played) == max(48 - stop_after, 0)
    assert resumed["tasks"] == whole["tasks"]


def test_the_order_in_which_episodes_end_changes_nothing_but_the_order_of_rows(tmp_path):
    forwards, _ = _run(tmp_path / "forwards")
    backwards, _ = _run(tmp_path / "backwards", backwards=True)
    assert forwards["tasks"] == backwards["tasks"]
    assert _rows(tmp_path / "forwards") == _rows(tmp_path / "backwards")


def test_running_again_plays_nothing_and_changes_no_file(tmp_path):
    _run(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    _, compute = _run(tmp_path)
    assert compute.entered == 0
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("change", [{"seed": 1}, {"episodes": 9}, {"patches": 8}])
def test_a_folder_of_other_settings_is_refused_and_left_as_it_was(tmp_path, change):
    _run(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="must hold one run"):
        _run(tmp_path, plan=evaluation(**change))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_the_run_is_the_same_whatever_the_number_of_threads():
    one, many = evaluation(), evaluation()
    many.worker.threads = 8
    assert one.run == many.run
    many.worker.policies["expert"].skill = "other"
    assert one.run != many.run


@pytest.mark.parametrize("change", [{"episodes": 0}, {"episodes": -1}, {"seed": -1}])
def test_numbers_out_of_range_are_refused_before_anything_starts(change):
    with pytest.raises(ConfigError, match="must"):
        evaluation(**change)


# --- The salt ---------------------------------------------------------------------------------------------------------


def _salts(folder, compute):
    """The salts in the files of a run and in its jobs."""
    kept = json.loads((folder / "run.json").read_text())["salt"]
    stated = json.loads((folder / "results.json").read_text())["run"]["salt"]
    return {kept, stated, *(job.salt for job in compute.played)}


def test_each_run_draws_a_salt_that_its_record_states_and_its_continuation_keeps(tmp_path):
    plan, salts = evaluation(salt=None), []
    for name in ("one", "other"):
        with pytest.raises(KeyboardInterrupt):
            _run(tmp_path / name, plan=plan, stop_after=7)
        _, compute = _run(tmp_path / name, plan=plan)
        assert len(compute.played) > 7
        (salt,) = _salts(tmp_path / name, compute)
        assert f"<dt>salt</dt><dd>{salt}" in (tmp_path / name / "report.html").read_text()
        salts.append(salt)
    assert len(set(salts)) == 2
    assert all(len(salt) == 32 for salt in salts)


def test_a_salt_that_is_given_is_used_and_belongs_to_the_identity_of_the_run(tmp_path):
    _, compute = _run(tmp_path, plan=evaluation(salt="of our own"))
    assert _salts(tmp_path, compute) == {"of our own"}
    assert len({evaluation(salt=salt).run for salt in ("", "a", "b")}) == 3
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for salt in ("another", ""):
        with pytest.raises(ConfigError, match="seed and salt"):
            _run(tmp_path, plan=evaluation(salt=salt))
    _, compute = _run(tmp_path, plan=evaluation(salt=None))
    assert compute.played == []
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_run_without_a_salt_stays_one_and_leaves_no_file(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path, plan=evaluation(salt=""), stop_after=3)
    _, compute = _run(tmp_path, plan=evaluation(salt=None))
    assert {job.salt for job in compute.played} == {""}
    assert not (tmp_path / "run.json").exists()


def test_a_record_of_a_salt_that_cannot_be_read_is_refused(tmp_path):
    _run(tmp_path, plan=evaluation(salt=None))
    (tmp_path / "run.json").write_text('{"sal')
    with pytest.raises(DataError, match=r"run\.json must be unchanged"):
        _run(tmp_path, plan=evaluation(salt=None))


def test_videos_are_replays_of_a_success_and_of_failures_and_are_kept(tmp_path):
    _, first = _run(tmp_path, videos=3)
    videos = [job for job in first.played if job.video]
    policies = [(job.task.split("/")[0], job.policy) for job in videos]
    assert policies == [
        (task, p) for task in ("put_block_back", "rearrange_block") for p in ("expert", "guesser", "random")
    ]
    (tmp_path / "videos" / f"put_block_back-strict-expert-{videos[0].seed}.mp4").unlink()
    _, second = _run(tmp_path, videos=3)
    assert [(job.policy, job.video) for job in second.played] == [("expert", True)]


def test_no_videos_are_made_where_none_are_wanted(tmp_path):
    _, compute = _run(tmp_path, videos=0)
    assert not any(job.video for job in compute.played)
    assert not (tmp_path / "videos").exists()
    assert "<video" not in (tmp_path / "report.html").read_text()


def test_the_terminal_table_names_each_task_once_and_aligns_its_columns(tmp_path):
    results, _ = _run(tmp_path)
    table = terminal_table(results).splitlines()
    assert len(table) == 2 + 6
    assert table[2].startswith("put_block_back/strict   expert   100.0 [67.6, 100.0]")
    assert sum("rearrange_block/strict" in line for line in table) == 1
    assert len({len(line) for line in table}) == 1


def test_edited_sources_are_another_run(monkeypatch):
    before = evaluation().run
    monkeypatch.setattr(provenance, "code_sha256", lambda: "edited")
    assert evaluation().run != before


@pytest.mark.parametrize(("name", "counts"), [("controls.py", True), ("worker.py", True), ("report.py", False)])
def test_of_what_reports_are_made_of_only_controls_count_for_the_identity_of_a_run(monkeypatch, name, counts):
    before, read = provenance.code_sha256.__wrapped__(), Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read(path) + (b"#" if path.name == name else b""))
    assert (provenance.code_sha256.__wrapped__() != before) == counts


def test_figures_are_safe_before_videos_are_made(tmp_path, monkeypatch):
    def lost(*_arguments, **_options):
        raise ConfigError("The worker died.")

    monkeypatch.setattr(evaluator, "_video_clips", lost)
    with pytest.raises(ConfigError, match="died"):
        _run(tmp_path)
    assert (tmp_path / "results.json").is_file()
    assert (tmp_path / "report.md").is_file()


class BrokenCompute(FakeCompute):
    """Every episode but that number `valid` is invalid; the reason names a place that differs."""

    valid = -1

    def run(self, jobs):
        for result in super().run(jobs):
            reason = f"no server answers, tool at [{len(self.played)}.0 0.1 0.2]"
            broken = replace(result.record, outcome=Outcome.INVALID, reason=reason)
            yield result if len(self.played) == self.valid else replace(result, record=broken)


def _broken(folder, valid=-1):
    plan = evaluation()
    compute = BrokenCompute(plan.worker)
    compute.valid = valid
    evaluate(plan, compute=compute, output=folder, config="", videos=0)
    return compute


def test_a_run_whose_first_episodes_are_invalid_for_one_reason_stops_and_plays_them_again(tmp_path):
    with pytest.raises(NothingPlayedError, match=r"5 invalid episodes in .*no server answers") as stopped:
        _broken(tmp_path)
    assert "the same command" in stopped.value.remedy
    assert (tmp_path / "episodes.jsonl").read_bytes() == b""
    results, compute = _run(tmp_path, videos=0)
    assert len(compute.played) == 48
    assert results["tasks"]["put_block_back/strict"]["expert"]["invalid"] == 0


def test_a_run_goes_on_where_one_of_its_first_episodes_is_valid_or_invalid_for_another_reason(tmp_path):
    assert len(_broken(tmp_path, valid=5).played) == 48
