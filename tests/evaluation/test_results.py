"""Rows that survive crashes, folders that are not mixed up."""

import json
import multiprocessing
import pickle
from dataclasses import replace

import pytest

from embodied.errors import ConfigError, DataError, PathError
from embodied.evaluation.results import EPISODES_FILE, ResultsFolder, decode_row, encode_row
from tests.evaluation.fakes import drawn, evaluation

KEYS = [
    "run", "episode", "attempt", "task", "tier", "policy", "variant", "seed", "outcome", "reason", "phases",
    "choice", "steps", "sim_time_s", "wall_s",
]  # fmt: skip


@pytest.fixture
def records():
    plan = evaluation(episodes=3)
    return [drawn(plan.worker, job, wall_s=0.5) for job in plan.jobs()]


def test_a_row_has_the_documented_keys_in_order_and_comes_back(records):
    for record in records:
        line = encode_row(record)
        row = json.loads(line)
        assert list(row) == KEYS
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        assert decode_row(line) == replace(record, sim_time_s=round(record.sim_time_s, 3))


def test_a_row_under_a_control_says_so_and_older_rows_are_of_the_normal_one(records):
    swapped = replace(records[0], control="swapped", donor="patch_2", sim_time_s=1.0)
    assert list(json.loads(encode_row(swapped))) == [*KEYS, "control", "donor"]
    assert decode_row(encode_row(swapped)) == swapped
    assert decode_row(encode_row(records[0])).control == "normal"


def test_rows_that_come_from_another_process_are_the_same_bytes(records):
    travelled = pickle.loads(pickle.dumps(records[0]))
    assert travelled.control is not records[0].control
    assert encode_row(travelled) == encode_row(records[0])


def test_an_episode_under_two_controls_is_two_episodes(tmp_path, records):
    with ResultsFolder(tmp_path) as folder:
        for control in ("normal", "off", "off"):
            folder.append(replace(records[0], control=control))
        assert [record.control for record in folder.records(records[0].run)] == ["normal", "off"]


def test_times_are_rounded_and_the_order_of_a_choice_is_fixed(records):
    record = replace(
        records[0],
        sim_time_s=12.300000000000001,
        wall_s=0.12349,
        choice={"correct": True, "chosen": "a", "target": "a"},
    )
    line = encode_row(record)
    assert b'"choice":{"chosen":"a","target":"a","correct":true}' in line
    assert b'"sim_time_s":12.3,"wall_s":0.123}' in line


def test_rows_are_on_the_disk_before_append_returns(tmp_path, records):
    with ResultsFolder(tmp_path / "out") as folder:
        folder.append(records[0])
        assert (tmp_path / "out" / EPISODES_FILE).read_bytes() == encode_row(records[0])


@pytest.mark.parametrize("kept", [1, 40, -1])
def test_a_torn_last_line_is_cut_off_and_its_episode_is_missing(tmp_path, records, kept):
    run = records[0].run
    with ResultsFolder(tmp_path) as folder:
        for record in records[:3]:
            folder.append(record)
    path = tmp_path / EPISODES_FILE
    whole = path.read_bytes()
    path.write_bytes(whole + encode_row(records[3])[:kept])
    with ResultsFolder(tmp_path) as folder:
        assert [record.episode for record in folder.records(run)] == [record.episode for record in records[:3]]
        assert path.read_bytes() == whole
        folder.append(records[3])
    assert path.read_bytes() == whole + encode_row(records[3])


def test_a_broken_line_in_the_middle_is_refused_and_nothing_is_lost(tmp_path, records):
    with ResultsFolder(tmp_path) as folder:
        folder.append(records[0])
    path = tmp_path / EPISODES_FILE
    content = b'{"run": 3}\n' + path.read_bytes()
    path.write_bytes(content)
    with ResultsFolder(tmp_path) as folder, pytest.raises(DataError, match="line 1") as refused:
        folder.records(records[0].run)
    assert "Remove that line" in refused.value.remedy
    assert path.read_bytes() == content


def test_an_episode_that_was_written_twice_counts_once(tmp_path, records):
    with ResultsFolder(tmp_path) as folder:
        folder.append(records[0])
        folder.append(replace(records[0], attempt=2))
        (found,) = folder.records(records[0].run)
    assert found.attempt == 1


def test_the_rows_of_another_run_are_refused(tmp_path, records):
    with ResultsFolder(tmp_path) as folder:
        folder.append(records[0])
        with pytest.raises(ConfigError, match="must hold one run") as refused:
            folder.records("another")
    assert "another output folder" in refused.value.remedy


def test_a_folder_with_other_things_in_it_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(PathError, match=r"thesis\.tex"):
        ResultsFolder(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_place_where_no_folder_can_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PathError, match="can be made"):
        ResultsFolder(tmp_path / "file" / "out")


def test_the_folder_of_a_run_killed_at_its_very_start_is_accepted(tmp_path):
    for name in (".lock", ".config.yaml.1234.part"):
        (tmp_path / name).write_text("")
    ResultsFolder(tmp_path).close()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(PathError, match="must be a folder"):
        ResultsFolder(tmp_path / "out")


def _hold(path, held, release):
    with ResultsFolder(path):
        held.set()
        release.wait(30)


def test_two_evaluations_cannot_write_one_folder_and_a_killed_one_frees_it(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    held, release = spawn.Event(), spawn.Event()
    other = spawn.Process(target=_hold, args=(tmp_path, held, release))
    other.start()
    try:
        assert held.wait(30)
        with pytest.raises(ConfigError, match="Only one run"):
            ResultsFolder(tmp_path)
    finally:
        other.kill()
        other.join()
    ResultsFolder(tmp_path).close()


def test_whole_files_leave_no_temporary_ones(tmp_path):
    with ResultsFolder(tmp_path) as folder:
        folder.write_json("results.json", {"b": 1, "a": [1.5]})
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".lock", EPISODES_FILE, "results.json"]
    assert (tmp_path / "results.json").read_text() == '{\n  "b": 1,\n  "a": [1.5]\n}\n' or json.loads(
        (tmp_path / "results.json").read_text()
    ) == {"b": 1, "a": [1.5]}
