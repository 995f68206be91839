"""Collections of demonstrations: complete, checked, resumable, the same however they came about."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

from embodied.errors import ConfigError, DataError, PathError
from embodied.evaluation.dataset_index import read_dataset
from embodied.evaluation.demonstrations import Collection, collect
from embodied.evaluation.episode_list import ListError, listed
from embodied.evaluation.episode_seeds import SEED_STRIDE
from embodied.evaluation.output_folder import locked
from embodied.rollout.inline import InlineCompute
from embodied.rollout.job import EpisodeJob, JobResult
from embodied.rollout.recording.recorder import RecorderConfig
from embodied.rollout.worker import WorkerConfig
from embodied.trajectories import read_trajectory
from embodied.types import Limits, Outcome
from tests.fakes import FakeControllerConfig, FakePolicy, FakePolicyConfig, FakeTask
from tests.worlds import PandaWorldConfig

TASK = "bin_block/strict"


def collection(*, demos=3, seed=0, expert=True, tasks=(TASK,), split="train"):
    worker = WorkerConfig(
        simulator=PandaWorldConfig(),
        controller=FakeControllerConfig(),
        tasks={name: FakeTask(name=name.partition("/")[0]) for name in tasks},
        policies={"expert": FakePolicyConfig(privileged=expert)},
        recorder=RecorderConfig(),
    )
    return Collection(worker=worker, demos=demos, seed=seed, split=split)


class Inline(InlineCompute):
    """Counts what it plays; is interrupted after `stop_after` episodes, and may play backwards."""

    def __init__(self, worker: WorkerConfig, *, stop_after: int | None = None, backwards: bool = False) -> None:
        super().__init__(worker)
        self.played: list[int] = []
        self._stop_after = stop_after
        self._backwards = backwards

    def run(self, jobs: Iterable[EpisodeJob]) -> Iterator[JobResult]:
        for job in reversed(list(jobs)) if self._backwards else jobs:
            if len(self.played) == self._stop_after:
                raise KeyboardInterrupt
            self.played.append(job.seed)
            yield from super().run([job])


def gather(what, output, **behaviour):
    """Collects in this process; returns the index and the seeds played."""
    compute = Inline(what.worker, **behaviour)
    return collect(what, compute=compute, output=output, config="demos: 3\n"), compute.played


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_collection_holds_its_demonstrations_and_an_index_that_fits(tmp_path):
    dataset, played = gather(collection(demos=3, tasks=(TASK, "other/strict")), tmp_path)
    assert sorted(played) == [0, 0, 1, 1, 2, 2]
    assert dataset == read_dataset(tmp_path)
    assert dataset.complete
    assert dataset.failures == ()
    assert [(file.task, file.seed) for file in dataset.files] == list(
        itertools.product([TASK, "other/strict"], range(3))
    )
    for file in dataset.files:
        trajectory = read_trajectory(tmp_path / file.file)
        assert trajectory.label.split == "train"
        assert trajectory.label.outcome is Outcome.SUCCESS
        assert (file.seed, file.variant) == (trajectory.label.seed, trajectory.label.variant)
        assert file.observations == len(trajectory)
    assert (tmp_path / "config.yaml").read_text() == "demos: 3\n"


def test_training_episodes_are_not_those_of_the_test(tmp_path):
    dataset, _ = gather(collection(seed=2), tmp_path)
    assert [file.seed for file in dataset.files] == [2 * SEED_STRIDE + index for index in range(3)]
    task = FakeTask()
    targets = [[task.sample(seed, split=split).choice_goal.target for seed in range(32)] for split in ("train", "test")]
    assert targets[0] != targets[1]


def test_a_validation_split_is_collected_as_a_run_of_its_own_and_a_test_split_is_not(tmp_path):
    dataset, _ = gather(collection(split="validation"), tmp_path)
    assert (dataset.split, read_trajectory(tmp_path / dataset.files[0].file).label.split) == (
        "validation",
        "validation",
    )
    assert dataset.run != collection().run
    with pytest.raises(ConfigError, match="must hold one run"):
        gather(collection(), tmp_path)
    with pytest.raises(ConfigError, match="must be one of train, validation"):
        collection(split="test")


def test_failures_are_reported_and_replaced_by_the_next_seeds(tmp_path, caplog):
    what = collection(demos=6, expert=False)
    dataset, played = gather(what, tmp_path)
    assert "was not solved by policy expert: failure, wrong bin" in caplog.text
    failed = {failure.seed for failure in dataset.failures}
    assert failed
    assert all("wrong bin" in failure.reason for failure in dataset.failures)
    assert len(dataset.files) == 6
    assert sorted(played) == list(range(6 + len(failed)))
    assert {file.seed for file in dataset.files} == set(range(6 + len(failed))) - failed


def of_list(seeds, *, demos, expert=True, split="train"):
    own = collection(demos=demos, expert=expert, split=split)
    episodes = listed(own.worker.tasks, {TASK: seeds}, suite="fakes", split=split)
    return replace(own, episode_list=episodes)


def test_the_episodes_of_a_list_are_collected_and_those_that_fail_are_not_replaced(tmp_path):
    seeds = (907, 12, 44, 3, 500, 71, 8, 60)
    dataset, played = gather(of_list(seeds, demos=8, expert=False), tmp_path)
    assert played == list(seeds)
    failed = {failure.seed for failure in dataset.failures}
    assert failed
    assert [file.seed for file in dataset.files] == sorted(set(seeds) - failed)
    assert (dataset.complete, dataset.episode_list) == (True, of_list(seeds, demos=8).episode_list.sha256)
    assert gather(of_list(seeds, demos=8, expert=False), tmp_path)[1] == []


def test_the_beginning_of_a_list_may_be_collected_first_and_the_rest_later(tmp_path):
    dataset, played = gather(of_list((9, 4, 7), demos=2), tmp_path)
    assert (played, len(dataset.files)) == ([9, 4], 2)
    dataset, played = gather(of_list((9, 4, 7), demos=3), tmp_path)
    assert (played, len(dataset.files)) == ([7], 3)
    for other in (of_list((9, 4, 8), demos=3), collection(demos=3)):
        with pytest.raises(ConfigError, match="seed or list"):
            gather(other, tmp_path)


def test_a_list_that_a_collection_cannot_use_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="at most the number on the episode list"):
        of_list((9, 4), demos=3)
    with pytest.raises(ConfigError, match="must be one of train, validation"):
        of_list((9, 4), demos=2, split="test")
    with pytest.raises(ConfigError, match="split must be that of the episode list"):
        replace(of_list((9, 4), demos=2, split="validation"), split="train")
    with pytest.raises(ConfigError, match="seed must be left out"):
        replace(of_list((9, 4), demos=2), seed=1)
    with pytest.raises(ListError, match="must be on the episode list"):
        replace(collection(demos=2, tasks=("other/strict",)), episode_list=of_list((9, 4), demos=2).episode_list)
    what = of_list((9, 4), demos=2)
    others = replace(what.worker, tasks={TASK: ImpossibleTask(name="bin_block")})
    with pytest.raises(ListError, match="must be the ones for which the list was written"):
        gather(replace(what, worker=others), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_demonstrator_that_fails_on_most_of_a_list_is_given_up(tmp_path):
    what = of_list(tuple(range(14)), demos=14)
    worker = replace(what.worker, tasks={TASK: ImpossibleTask(name="bin_block")})
    episodes = listed(worker.tasks, {TASK: tuple(range(14))}, suite="fakes", split="train")
    with pytest.raises(DataError, match=r"at least half .*11 failures"):
        gather(replace(what, worker=worker, episode_list=episodes), tmp_path)


@pytest.mark.parametrize("expert", [True, False])
def test_an_interrupted_collection_goes_on_and_ends_in_the_same_bytes(tmp_path, expert):
    what = collection(demos=5, expert=expert)
    gather(what, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        gather(what, tmp_path / "parts", stop_after=3)
    assert not read_dataset(tmp_path / "parts").complete
    _, played = gather(what, tmp_path / "parts", backwards=True)
    kept = {file.seed for file in read_dataset(tmp_path / "whole").files} - set(played)
    assert kept
    assert content(tmp_path / "parts") == content(tmp_path / "whole")


def test_a_finished_collection_plays_nothing_and_can_be_extended(tmp_path):
    gather(collection(demos=6, expert=False), tmp_path / "clumsy")
    whole = content(tmp_path / "clumsy")
    assert gather(collection(demos=6, expert=False), tmp_path / "clumsy")[1] == []
    assert content(tmp_path / "clumsy") == whole
    gather(collection(demos=2), tmp_path / "expert")
    assert gather(collection(demos=2), tmp_path / "expert")[1] == []
    dataset, played = gather(collection(demos=4), tmp_path / "expert")
    assert played == [2, 3]
    assert len(dataset.files) == 4


@pytest.mark.parametrize("damage", ["truncate", "flip", "swap"])
def test_a_damaged_or_misplaced_file_is_made_again(tmp_path, damage):
    dataset, _ = gather(collection(), tmp_path)
    whole = content(tmp_path)
    path = tmp_path / dataset.files[1].file
    if damage == "swap":
        path.write_bytes((tmp_path / dataset.files[0].file).read_bytes())
    else:
        octets = bytearray(path.read_bytes())
        for place in range(len(octets) // 2, len(octets) // 2 + 64):  # A single byte of a ZIP may be unused.
            octets[place] ^= 255
        path.write_bytes(octets[: len(octets) // 2] if damage == "truncate" else octets)
    assert gather(collection(), tmp_path)[1] == [1]
    assert content(tmp_path) == whole


def test_another_run_is_refused_before_anything_is_played(tmp_path):
    gather(collection(), tmp_path)
    before = content(tmp_path)
    with pytest.raises(ConfigError, match="one run"):
        gather(collection(seed=1), tmp_path)
    assert content(tmp_path) == before


def test_fewer_demonstrations_than_before_drop_none(tmp_path):
    gather(collection(demos=6, expert=False), tmp_path)
    before = read_dataset(tmp_path)
    dataset, played = gather(collection(demos=2, expert=False), tmp_path)
    assert played == []
    assert dataset.files == before.files
    assert dataset.failures == before.failures


def test_whole_files_of_an_interrupted_collection_are_kept_by_a_smaller_one(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        gather(collection(demos=5), tmp_path, stop_after=4)
    (tmp_path / TASK / "notes.npz").write_text("no demonstration")
    dataset, played = gather(collection(demos=2), tmp_path)
    assert played == []
    assert [file.seed for file in dataset.files] == [0, 1, 2, 3]


def test_a_folder_with_other_things_in_it_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(PathError, match=r"thesis\.tex"):
        gather(collection(), tmp_path)
    assert content(tmp_path) == {"thesis.tex": b"years of work"}


def test_two_collectors_cannot_write_one_folder(tmp_path):
    gather(collection(demos=1), tmp_path)
    before = content(tmp_path)
    with locked(tmp_path), pytest.raises(ConfigError, match="Only one run"):
        gather(collection(demos=2), tmp_path)
    assert content(tmp_path) == before
    assert len(gather(collection(demos=2), tmp_path)[0].files) == 2


def test_the_folder_is_locked_while_demonstrations_are_played(tmp_path):
    class Competing(Inline):
        def run(self, jobs):
            with pytest.raises(ConfigError, match="Only one run"):
                gather(what, tmp_path)
            yield from super().run(jobs)

    what = collection(demos=1)
    collect(what, compute=Competing(what.worker), output=tmp_path, config="")


@dataclass(kw_only=True)
class BrokenConfig:
    """Settings of any part that cannot be built."""

    def build(self, *_, **__):
        raise ConfigError("It must work.")


@dataclass(kw_only=True)
class MisguidedConfig:
    """A policy that wants a camera which is not there."""

    def build(self):
        return FakePolicy(cameras=("frnt",))


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"simulator": BrokenConfig()}, "It must work"),
        ({"controller": BrokenConfig()}, "It must work"),
        ({"policies": {"expert": BrokenConfig()}}, "It must work"),
        ({"recorder": BrokenConfig()}, "It must work"),
        ({"policies": {"expert": MisguidedConfig()}}, "camera of policy 'expert'.*Did you mean 'front'"),
        ({"recorder": RecorderConfig(cameras=["frnt"])}, "Did you mean 'front'"),
        ({"recorder": RecorderConfig(cameras=[])}, "at least one"),
    ],
)
def test_parts_that_cannot_work_are_refused_before_anything_is_written(tmp_path, part, message):
    what = collection()
    what = replace(what, worker=replace(what.worker, **part))
    with pytest.raises(ConfigError, match=message):
        collect(what, compute=NeverEntered(what.worker), output=tmp_path / "out", config="")
    assert not (tmp_path / "out").exists()


class NeverEntered(InlineCompute):
    """Fails the test where it is started."""

    def __enter__(self):
        pytest.fail("the compute was started")


@dataclass(kw_only=True)
class ImpossibleTask(FakeTask):
    """Nothing can be reached in time."""

    def sample(self, seed, *, split="test"):
        return replace(super().sample(seed, split=split), limits=Limits(sim_time_s=0.1))


def test_a_demonstrator_that_mostly_fails_is_given_up_with_the_reason(tmp_path):
    what = collection(demos=2)
    worker = replace(what.worker, tasks={TASK: ImpossibleTask()})
    with pytest.raises(DataError, match=r"at least half .*time limit"):
        gather(replace(what, worker=worker), tmp_path)


def test_a_broken_index_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"dataset\.json"):
        read_dataset(tmp_path)
    gather(collection(demos=1), tmp_path)
    index = tmp_path / "dataset.json"
    index.write_text(index.read_text().replace('"version": 2', '"version": 7'))
    with pytest.raises(DataError, match="version 2 or before"):
        read_dataset(tmp_path)


@pytest.mark.parametrize("numbers", [{"demos": 0}, {"demos": 10**7}, {"seed": -1}])
def test_numbers_out_of_range_are_refused(numbers):
    with pytest.raises(ConfigError):
        collection(**numbers)


def test_recorded_pixels_are_the_simulators(tmp_path):
    dataset, _ = gather(collection(demos=1), tmp_path)
    observation = read_trajectory(tmp_path / dataset.files[0].file).observations[0]
    assert observation.images["front"].rgb.shape == (12, 16, 3)
    np.testing.assert_array_equal(observation.images["front"].depth_m, 1.0)


def test_recordings_of_other_features_are_not_mixed_into_a_collection(tmp_path):
    what = collection(tasks=(TASK, "other/strict"))
    smaller = replace(what.worker, recorder=RecorderConfig(cameras=["front"]))
    other, _ = gather(replace(what, worker=replace(smaller, tasks={TASK: smaller.tasks[TASK]})), tmp_path / "one")
    gather(collection(), tmp_path / "two")
    assert list(other.robots) == ["arm"]
    file = other.files[0].file
    (tmp_path / "two" / file).write_bytes((tmp_path / "one" / file).read_bytes())
    with pytest.raises(DataError, match=r"robot 'arm' in a collection must have the same features.*wrist"):
        gather(collection(), tmp_path / "two")
