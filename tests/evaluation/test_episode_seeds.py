"""Lists of episodes.

Every target equally often, in an order that gives no information, the same wherever they are drawn.
"""

import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest

from embodied.evaluation import episode_seeds
from embodied.evaluation.episode_seeds import SEED_SPACE, SEED_STRIDE, balanced_seeds
from embodied.tasks.registry import make_task
from embodied.types import Answer, Choice
from tests.evaluation.fakes import FakeTask

FRESH = """
from embodied.evaluation.episode_seeds import balanced_seeds
from embodied.tasks.registry import make_task
print(balanced_seeds(make_task("put_block_back"), "test", 7, 10))
"""


@dataclass(kw_only=True)
class Drawn(FakeTask):
    """A task whose target cannot be read off its seed."""

    def sample(self, seed, *, split="test"):
        episode = super().sample(seed, split=split)
        variant = int(np.random.Generator(np.random.Philox(seed)).integers(self.patches))
        candidates = episode.choice_goal.candidates
        return replace(episode, variant=variant, goal=Choice(candidates, candidates[variant]))


def _targets(task, seeds, split="test"):
    return [task.sample(seed, split=split).variant for seed in seeds]


@pytest.mark.parametrize("tier", ["faithful", "strict"])
@pytest.mark.parametrize("name", ["reopen_drawer", "put_block_back", "rearrange_block"])
def test_every_target_comes_up_equally_often_or_once_more_where_the_number_cannot_be_divided(name, tier):
    task = make_task(name, tier=tier)
    kinds = len(task.candidates)
    for count in (1, kinds, 14, 15):
        for split in ("test", "validation"):
            seeds = balanced_seeds(task, split, 3, count)
            counts = Counter(_targets(task, seeds, split)).values()
            assert len(set(seeds)) == len(seeds) == count
            assert max(counts) - (min(counts) if len(counts) == kinds else 0) <= (count % kinds > 0 or count < kinds)


def test_a_list_is_a_function_of_task_tier_split_seed_and_number_in_any_process():
    task = make_task("put_block_back")
    seeds = balanced_seeds(task, "test", 7, 10)
    assert seeds == balanced_seeds(make_task("put_block_back"), "test", 7, 10)
    fresh = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=True)
    assert fresh.stdout.splitlines()[-1] == str(seeds)
    others = [
        balanced_seeds(make_task("reopen_drawer"), "test", 7, 10),
        balanced_seeds(make_task("put_block_back", tier="faithful"), "test", 7, 10),
        balanced_seeds(task, "validation", 7, 10),
        balanced_seeds(task, "test", 8, 10),
    ]
    for other in others:
        assert not set(seeds) & set(other)


def test_seeds_come_from_a_space_that_no_table_can_hold():
    seeds = [seed for number in range(8) for seed in balanced_seeds(Drawn(), "test", number, 100)]
    assert SEED_SPACE == 2**48
    assert max(seeds) < SEED_SPACE
    eighths = np.bincount(np.array(seeds) * 8 // SEED_SPACE, minlength=8)
    assert eighths.min() > 60, "Uniform: about 100 in each eighth."


def test_neither_a_seed_nor_its_place_in_the_list_shows_its_target():
    task, kinds, length = Drawn(), 4, 12
    lists = [balanced_seeds(task, "test", number, length) for number in range(400)]
    targets = np.array([_targets(task, seeds) for seeds in lists])
    for place in range(length):
        counts = np.bincount(targets[:, place], minlength=kinds)
        assert 65 < counts.min() <= counts.max() < 140, f"Place {place}: about 100 of each, in {counts}."
    ranks = np.argsort(np.argsort(lists, axis=1), axis=1)
    for rank in range(length):
        counts = np.bincount(targets[ranks == rank], minlength=kinds)
        assert 65 < counts.min() <= counts.max() < 140, f"Rank {rank}: about 100 of each, in {counts}."
    repeats = (targets[:, 1:] == targets[:, :-1]).mean()  # Of shuffled targets: 2 of 11.
    assert abs(repeats - 2 / 11) < 0.03


def test_by_spec_1_seeds_are_those_of_old_evaluations():
    task = make_task("put_block_back", options={"spec": 1})
    assert balanced_seeds(task, "test", 2, 5) == tuple(range(2 * SEED_STRIDE, 2 * SEED_STRIDE + 5))
    assert all(SEED_STRIDE % kinds == 0 for kinds in range(1, 17))


@dataclass(kw_only=True)
class Asking(FakeTask):
    """A task whose goal is an answer."""

    def sample(self, seed, *, split="test"):
        return replace(super().sample(seed, split=split), goal=Answer("Where?", ("there",)))


@dataclass(kw_only=True)
class Constant(FakeTask):
    """A task in which two of four candidates are never the target."""

    def sample(self, seed, *, split="test"):
        return super().sample(seed % 2, split=split)


@dataclass(kw_only=True)
class Chained(FakeTask):
    chain_length: int = 3


def test_no_seed_comes_twice_however_small_their_space_is(monkeypatch):
    monkeypatch.setattr(episode_seeds, "SEED_SPACE", 16)
    assert len(set(balanced_seeds(Asking(), "test", 0, 12))) == 12


def test_tasks_that_cannot_be_balanced_get_seeds_as_they_are_drawn():
    for task in (Asking(), Constant()):
        seeds = balanced_seeds(task, "test", 0, 9)
        assert len(set(seeds)) == 9


def test_chains_are_whole_and_begin_at_multiples_of_their_length():
    seeds = balanced_seeds(Chained(), "test", 0, 9)
    for start in range(0, 9, 3):
        assert seeds[start] % 3 == 0
        assert seeds[start : start + 3] == tuple(range(seeds[start], seeds[start] + 3))
    assert len(set(seeds)) == 9
