"""Shards of a run are merged into what the run would have been at once, or refused."""

import json
from dataclasses import dataclass, replace

import pytest

from embodied.errors import ConfigError, DataError
from embodied.evaluation.evaluator import evaluate
from embodied.evaluation.merging import ShardError, merge
from embodied.evaluation.plan import Shard
from tests.evaluation.fakes import FakeCompute, FakeTask, evaluation


@dataclass(kw_only=True)
class ChainTask(FakeTask):
    chain_length: int = 3


def play(folder, plan, **options):
    config = f"output: {folder.name}\nshard: {plan.shard or ''}\n"
    return evaluate(plan, compute=FakeCompute(plan.worker, **options), output=folder, config=config, videos=2)


def shards(folder, count, **options):
    for index in range(1, count + 1):
        play(folder / str(index), replace(evaluation(**options), shard=Shard(index, count)))
    return [folder / str(index) for index in range(1, count + 1)]


def untimed(content):
    return {**content, "run": {name: value for name, value in content["run"].items() if name != "wall_s"}}


def rows(folder):
    found = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
    return sorted(json.dumps({name: row[name] for name in row if name != "wall_s"}) for row in found)


def test_eight_shards_merged_equal_the_run_played_at_once(tmp_path):
    whole = play(tmp_path / "whole", evaluation(episodes=19))
    folders = shards(tmp_path, 8, episodes=19)
    assert sum(len(rows(folder)) for folder in folders) == 2 * 19 * 3
    merged = merge(folders[::-1], output=tmp_path / "merged")
    assert untimed(merged) == untimed(whole)
    assert json.loads((tmp_path / "merged" / "results.json").read_text()) == merged
    assert rows(tmp_path / "merged") == rows(tmp_path / "whole")
    for name in ("episode_list.json",):
        assert (tmp_path / "merged" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert "<video" in (tmp_path / "merged" / "report.html").read_text()
    assert "shard: ''" in (tmp_path / "merged" / "config.yaml").read_text()


def test_a_merged_run_goes_on_as_the_whole_run(tmp_path):
    merge(shards(tmp_path, 2), output=tmp_path / "merged")
    plan = evaluation()
    compute = FakeCompute(plan.worker)
    evaluate(plan, compute=compute, output=tmp_path / "merged", config="", videos=0)
    assert compute.played == []


def test_shards_that_are_missing_doubled_or_of_another_run_are_refused_and_nothing_is_written(tmp_path):
    one, two, three = shards(tmp_path, 3)
    foreign = shards(tmp_path / "other", 3, patches=8)[2]
    whole = tmp_path / "whole"
    play(whole, evaluation())
    for folders, said in (
        ([one, three], "missing 2/3"),
        ([one, two, two, three], "must be merged once"),
        ([one, two, foreign], "must be of one run"),
        ([one, two, whole], "Only shards"),
    ):
        with pytest.raises(ShardError, match=said):
            merge(folders, output=tmp_path / "merged")
    with pytest.raises(DataError, match="must be that of a finished"):
        merge([one, two, tmp_path], output=tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_an_unfinished_shard_is_refused(tmp_path):
    folders = shards(tmp_path, 2)
    path = folders[1] / "episodes.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(ShardError, match="1 missing from the list"):
        merge(folders, output=tmp_path / "merged")


def test_a_shard_never_cuts_a_chain():
    plan = evaluation(episodes=12)
    worker = replace(plan.worker, tasks={"put_block_back/strict": ChainTask()})
    whole = replace(plan, worker=worker)
    parts = [list(replace(whole, shard=Shard(index, 4)).jobs()) for index in range(1, 5)]
    for part in parts:
        assert all([job.seed for job in unit.unit] == list(range(unit.seed, unit.seed + 3)) for unit in part)
    assert sorted(job.start_s for part in parts for job in part) == [job.start_s for job in whole.jobs()]
    with pytest.raises(ConfigError, match="whole chain, for each of its shards"):
        replace(whole, shard=Shard(1, 5))


def test_a_folder_of_one_shard_takes_no_other(tmp_path):
    play(tmp_path / "a", replace(evaluation(), shard=Shard(1, 2)))
    with pytest.raises(ConfigError, match="own episodes alone"):
        play(tmp_path / "a", replace(evaluation(), shard=Shard(2, 2)))


@pytest.mark.parametrize("text", ["2", "0/3", "4/3", "a/b", "1/2/3", "-1/2"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(ConfigError, match="INDEX/COUNT"):
        Shard.parse(text)
