"""Lists of episodes are frozen: what was edited, or would be other episodes now, is refused."""

import json
from collections import Counter
from dataclasses import replace

import msgspec
import pytest

from embodied.errors import ConfigError
from embodied.evaluation.episode_list import (
    LIST_FILE,
    ListError,
    differences,
    encode_list,
    listed,
    read_list,
    require_same_episodes,
    write_list,
)
from embodied.evaluation.evaluator import evaluate
from embodied.tasks.registry import build_task, suite_named
from embodied.types import Choice
from launch import lists
from tests.evaluation.fakes import FakeCompute, FakeTask, evaluation

SEEDS = (5, 3, 11, 8)
TASKS = evaluation().worker.tasks


def made(seeds=SEEDS, tasks=TASKS):
    return listed(tasks, dict.fromkeys(tasks, seeds), suite="memorybench", split="test")


def of_list(episodes, **options):
    count = max(len(one.seeds) for one in episodes.tasks.values())
    return replace(evaluation(episodes=count), episode_list=episodes, **options)


def test_a_list_comes_back_from_its_file_and_the_same_list_gives_the_same_bytes(tmp_path):
    write_list(tmp_path / "list.json", made())
    assert read_list(tmp_path / "list.json") == made()
    assert (tmp_path / "list.json").read_bytes() == encode_list(read_list(tmp_path / "list.json"))
    assert json.loads((tmp_path / "list.json").read_text())["tasks"]["put_block_back/strict"]["seeds"] == list(SEEDS)


@pytest.mark.parametrize(
    ("before", "after"), [(b'"seeds":[5,3', b'"seeds":[3,5'), (b'"split": "test"', b'"split": "train"'), (b"11", b"12")]
)
def test_a_list_that_was_edited_is_refused_with_both_digests(tmp_path, before, after):
    content = encode_list(made())
    assert before in content
    (tmp_path / "list.json").write_bytes(content.replace(before, after))
    with pytest.raises(ListError, match="an edited list is another list") as refused:
        read_list(tmp_path / "list.json")
    assert made().sha256 in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"schema": 3}', b"\xff"])
def test_a_file_that_is_no_list_is_refused(tmp_path, content):
    (tmp_path / "list.json").write_bytes(content)
    with pytest.raises(ListError, match="readable JSON"):
        read_list(tmp_path / "list.json")
    with pytest.raises(ListError, match="write one with"):
        read_list(tmp_path / "none.json")


def test_a_list_of_another_version_or_kind_is_refused(tmp_path):
    for before, after in ((b'"version": 1', b'"version": 2'), (b'"schema": "', b'"schema": "other ')):
        content = encode_list(made())
        assert before in content
        (tmp_path / "list.json").write_bytes(content.replace(before, after))
        with pytest.raises(ListError, match=r"must be of 'embodied.*version 1"):
            read_list(tmp_path / "list.json")


@pytest.mark.parametrize(
    ("content", "rule"),
    [(made(()), "each once"), (made((5, 5)), "each once"), (made((-1, 5)), "from 0 on"), (made(tasks={}), "one task")],
    ids=["no seed", "a seed twice", "a seed below 0", "no task"],
)
def test_a_list_with_impossible_seeds_or_without_tasks_is_refused(tmp_path, content, rule):
    write_list(tmp_path / "list.json", content)
    with pytest.raises(ListError, match=rule):
        read_list(tmp_path / "list.json")


def test_what_differs_first_between_two_lists_is_named():
    def changed(**fields):
        tasks = {name: msgspec.structs.replace(one, **fields) for name, one in made().tasks.items()}
        return msgspec.structs.replace(made(), tasks=tasks)

    others = {
        "split 'test' and 'train'": msgspec.structs.replace(changed(spec=7), split="train"),
        "spec 1 and 7": changed(spec=7, seeds=(1, 2)),
        "4 and 2 seeds, which differ": changed(seeds=(1, 2), episodes_sha256="0"),
        f"episodes with digest {next(iter(made().tasks.values())).episodes_sha256} and 0": changed(episodes_sha256="0"),
    }
    for text, other in others.items():
        assert next(found for _, found in differences(made(), other)) == text
    assert list(differences(made(), made())) == []


def test_a_list_of_episodes_that_a_task_no_longer_makes_is_refused():
    require_same_episodes(made(), TASKS)
    others = {**TASKS, "put_block_back/strict": FakeTask(patches=8)}
    with pytest.raises(ListError, match=r"put_block_back/strict must be the ones for which the list was written"):
        require_same_episodes(made(), others)
    assert [name for name, _ in differences(made(), made(tasks=others))] == ["put_block_back/strict"]


def test_the_episodes_of_a_list_are_played_in_its_order_and_named_in_results_and_beside_them(tmp_path):
    plan = of_list(made(), list_name="mine")
    compute = FakeCompute(plan.worker)
    results = evaluate(plan, compute=compute, output=tmp_path, config="", videos=0)
    own = [job.seed for job in compute.played if (job.policy, job.task) == ("expert", "rearrange_block/strict")]
    assert own == list(SEEDS)
    assert results["run"]["episode_list"] == {"name": "mine", "sha256": made().sha256}
    assert read_list(tmp_path / LIST_FILE) == made()
    assert "list mine" in (tmp_path / "report.html").read_text()


def test_the_list_that_a_run_leaves_names_the_same_episodes_as_its_seed(tmp_path):
    plan = evaluation(episodes=4, seed=2)
    evaluate(plan, compute=FakeCompute(plan.worker), output=tmp_path / "a", config="", videos=0)
    again = of_list(read_list(tmp_path / "a" / LIST_FILE))
    assert [job.episode for job in again.jobs()] == [job.episode for job in plan.jobs()]
    assert again.as_list() == plan.as_list()


def test_another_list_is_another_run_and_the_order_of_seeds_counts():
    assert of_list(made()).run == of_list(made()).run
    assert len({of_list(made(seeds)).run for seeds in (SEEDS, (3, 5, 11, 8), (3, 5, 11))}) == 3


def test_a_list_may_be_played_in_part_from_its_beginning():
    assert made().shortened(TASKS, 2) == made((5, 3))
    with pytest.raises(ListError, match="at most the number on the episode list"):
        made().shortened(TASKS, 5)
    with pytest.raises(ListError, match="must be on the episode list"):
        made().shortened({"reopen_drawer/strict": FakeTask()}, None)


def test_a_seed_beside_a_list_is_refused():
    with pytest.raises(ConfigError, match="seed must be left out"):
        replace(evaluation(episodes=4, seed=1), episode_list=made())


@pytest.mark.parametrize("name", lists.shipped_lists())
def test_shipped_lists_name_the_episodes_that_the_tasks_make_and_all_targets_equally_often(name):
    episodes = read_list(lists.FOLDER / f"{name}.json")
    kinds = suite_named(episodes.suite).tasks
    tasks = {
        key: build_task(kinds[one.task], one.task, tier=one.tier, options={"spec": one.spec} if one.tier else {})
        for key, one in episodes.tasks.items()
    }
    require_same_episodes(episodes, tasks)
    for key, task in tasks.items():
        made = [task.sample(seed, split=episodes.split) for seed in episodes.tasks[key].seeds]
        counts = Counter(one.choice_goal.target for one in made if isinstance(one.goal, Choice))
        if episodes.tasks[key].spec > 1:
            assert max(counts.values()) - min(counts.values()) <= 1
