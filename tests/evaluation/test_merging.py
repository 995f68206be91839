"""Shards of a run are merged into what the run would have been at once, or refused."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from embodied.errors import ConfigError, DataError
from embodied.evaluation.attached_content import read_attached
from embodied.evaluation.evaluator import evaluate
from embodied.evaluation.merging import ShardError, merge
from embodied.evaluation.plan import Shard
from embodied.memory import BankService, EpisodeBegun, EpisodeEnded, SimulatedClock, open_bank
from embodied.rollout.bank_feed.run_memory import RunMemory
from tests.evaluation.fakes import FakeCompute, FakePolicy, FakeTask, evaluation
from tests.memory.writers import EventFactory


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


@dataclass(kw_only=True)
class Learned(FakePolicy):
    curves: Path | None = None


class Logging(FakeCompute):
    """Writes the beginning and the end of each episode to a bank as well."""

    def __init__(self, worker, bank):
        super().__init__(worker)
        self._bank = bank
        self._writer = EventFactory()

    def run(self, jobs):
        for result in super().run(jobs):
            name = self.worker.memory.name_of(result.job)
            events = (EpisodeBegun(name, f"tidy up {name}"), EpisodeEnded(name, "ended"))
            if not result.job.video:
                self._bank.append([self._writer.event(event, task=name) for event in events])
            yield result


def remembered(folder, *, shard=None):
    """Plays an evaluation with a bank and a trained policy, whose curves lie in a folder that is removed afterwards."""
    folder.mkdir(parents=True)
    curves = folder.parent / "curves.json"
    curves.write_text(json.dumps({"step": [0, 1, 2], "loss": [2.5, None, 1.25], "stage": [1, 1, 2]}))
    plan = evaluation(episodes=5)
    with open_bank(":memory:", clock=SimulatedClock()) as bank, BankService(bank) as service:
        worker = replace(
            plan.worker,
            memory=RunMemory(link=service),
            policies={**plan.worker.policies, "learned": Learned(curves=curves)},
        )
        plan = replace(plan, worker=worker, shard=shard)
        evaluate(plan, compute=Logging(worker, bank), output=folder / "out", config="shard: ''\n", videos=1)
    curves.unlink()
    return folder / "out"


def test_a_merged_report_shows_the_learning_curves_and_the_pages_of_the_bank_as_that_of_the_whole_run(tmp_path):
    whole = remembered(tmp_path / "whole")
    parts = [remembered(tmp_path / f"part{index}", shard=Shard(index, 2)) for index in (1, 2)]
    merge(parts, output=tmp_path / "merged")
    shown = [(folder / "report.html").read_text() for folder in (whole, tmp_path / "merged")]
    for text in shown:
        assert text.count("Stage 2 of 2") == 1
        assert "What the memory banks hold" in text
        assert len(re.findall(r"episode begins: tidy up", text)) == 2
    one, merged = read_attached(whole), read_attached(tmp_path / "merged")
    assert merged.curves == one.curves
    assert merged.curves["learned"][0].metrics == {"loss": (2.5, None)}
    assert [(page.episode, page.policy) for page in merged.pages] == [(page.episode, page.policy) for page in one.pages]
    assert [page.page.rows[0].text for page in merged.pages] == [page.page.rows[0].text for page in one.pages]
    (parts[1] / "attached.json").write_text("{}x")
    with pytest.raises(DataError, match=r"attached\.json must be as"):
        merge(parts, output=tmp_path / "again")
    assert not (tmp_path / "again").exists()


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
