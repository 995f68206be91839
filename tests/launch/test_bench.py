"""Measurements: what they take, what they find when something is planted, and what they refuse."""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import comb
from pathlib import Path

import numpy as np
import pytest

from embodied.controllers import ControllerConfig
from embodied.errors import ConfigError, DataError
from embodied.evaluation.episode_seeds import balanced_seeds
from embodied.geometry import intrinsics_matrix, look_at
from embodied.rollout.compute import ComputeConfig, ComputeKind
from embodied.rollout.job import EpisodeJob, JobResult
from embodied.rollout.records import lost_record
from embodied.rollout.worker import SimulatorWorker, WorkerConfig
from embodied.simulators.bullet import BulletConfig
from embodied.tasks.registry import make_task
from embodied.types import Outcome
from launch.benchmarks import leak, physics, rollout
from launch.benchmarks.leak import LeakBenchConfig
from policies.probes import ProbeConfig, positive_controls, sightings
from policies.probes.choice import ChoiceRecorderConfig
from policies.probes.leakage import two_sided_p
from policies.probes.sightings import ChoiceSighting, depth_units
from policies.scripted import ExpertConfig, GuesserConfig
from tests.tasks.worlds import initial_state

ROOT = Path(__file__).parents[2]
SIDE_PX = 64
EYE_M = (0.3, 0.0, 1.75)
PLACES_M = np.array([[0.3, 0.2, 0.75], [0.3, -0.2, 0.75], [0.5, 0.0, 0.75]], dtype=np.float32)

# --- Real episodes ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def worker() -> Iterator[SimulatorWorker]:
    config = WorkerConfig(
        simulator=BulletConfig(),
        controller=ControllerConfig(),
        tasks={f"{name}/strict": make_task(name) for name in ("rearrange_block", "reopen_drawer")},
        policies={"expert": ExpertConfig(), "guesser": GuesserConfig()},
        recorder=ChoiceRecorderConfig(),
    )
    worker = SimulatorWorker(config)
    yield worker
    worker.close()


def choice(worker: SimulatorWorker, task: str, *, policy: str = "expert", seed: int = 0) -> JobResult:
    return worker.run(EpisodeJob("run", f"{task}/{seed}", task, policy, seed=seed, trajectory=True))


def test_an_episode_stops_just_before_its_choice_and_keeps_what_is_seen_there(worker: SimulatorWorker):
    result = choice(worker, "rearrange_block/strict")
    assert result.record.outcome is Outcome.INVALID
    assert result.record.phases == ("lifted", "placed", "pressed")
    assert result.record.choice is None
    seen: ChoiceSighting = result.recordings[0]
    assert seen.rgb.shape == (4, 128, 128, 3)
    assert seen.depth.shape == (4, 128, 128)
    task = make_task("rearrange_block")
    episode, expert = task.sample(0), task.expert
    state = initial_state(episode)
    step = expert.course(episode, state, expert.begin(episode, state, "block_0")).decision
    assert result.record.steps == step
    assert seen.body[-2:].tolist() == [step, step]  # A strict clock counts keyframes.
    assert episode.choice_goal.candidates[int(seen.target)] == episode.choice_goal.target
    patches_m = [episode.scene.body(f"patch_{index}").pose.position_m for index in range(2)]
    assert np.abs(seen.candidates_m[:, :2] - np.array(patches_m)[:, :2]).max() < 0.02


def test_until_the_choice_the_expert_does_nothing_that_a_guesser_would_not(worker: SimulatorWorker):
    # Seed 1: the guess is wrong there.
    by_expert, by_guesser = (
        choice(worker, "rearrange_block/strict", policy=policy, seed=1).recordings[0]
        for policy in ("expert", "guesser")
    )
    for name in ("rgb", "depth", "body", "candidates_m", "target"):
        np.testing.assert_array_equal(getattr(by_expert, name), getattr(by_guesser, name))


def test_drawers_are_looked_for_at_their_shut_fronts_and_counted_from_below(worker: SimulatorWorker):
    seen: ChoiceSighting = choice(worker, "reopen_drawer/strict").recordings[0]
    heights_m = seen.candidates_m[:, 2]
    assert np.all(np.diff(heights_m) > 0.05)
    assert np.ptp(seen.candidates_m[:, :2], axis=0).max() < 1e-6
    assert sightings.ranks([seen]).tolist() == sightings.indices([seen]).tolist()


def test_physics_are_measured_on_a_moving_arm():
    task = make_task("put_block_back")
    result = physics.measure(
        physics.PhysicsBenchConfig(rounds=1, periods=100), BulletConfig(), tasks={"put_block_back/strict": task}, seed=0
    )
    measured = result["tasks"]["put_block_back/strict"]
    assert measured["physics_steps_per_s"] == pytest.approx(240 * measured["real_time_factor"], rel=0.05)
    assert measured["real_time_factor"] > 1.0
    assert min(measured[f"{name}_ms"] for name in ("reset", "save", "restore")) > 0.0


def test_rollouts_are_measured_with_pixels_at_every_keyframe(worker: SimulatorWorker):
    one_task = WorkerConfig(
        simulator=BulletConfig(),
        controller=ControllerConfig(),
        tasks={"rearrange_block/strict": make_task("rearrange_block")},
        policies={"expert": ExpertConfig()},
    )
    result = rollout.measure(
        rollout.RolloutBenchConfig(episodes=2, warm_up=1, bare_steps=500),
        one_task,
        compute=ComputeConfig(kind=ComputeKind.inline),
        seed=0,
    )
    for run in result["workers"].values():
        assert (run["episodes"], run["success"], run["observations"]) == (2, 2, 24)
        assert run["real_time_factor"] == pytest.approx(run["sim_time_s"] / run["wall_s"], rel=0.01)
    assert set(result["goals"]) == {"real_time_factor_per_worker", "scaling_1_to_2"}
    bare = result["bare_physics"]
    assert bare["1"]["steps_per_s"] > 1000
    assert bare["scaling_1_to_2"] == pytest.approx(bare["2"]["steps_per_s"] / bare["1"]["steps_per_s"], rel=0.01)
    assert result["renderer"]


# --- What probes are shown --------------------------------------------------------------------------------------------


def sighting(*, target: int = 0, seed: int = 0, noise: float = 0.0) -> ChoiceSighting:
    """A camera 1 m above a grey table; every candidate is a red spot of 6 cm."""
    intrinsics = intrinsics_matrix(SIDE_PX, SIDE_PX, 1.0)
    pose = look_at(EYE_M, (0.3, 0.0, 0.75), up=(1.0, 0.0, 0.0))
    rng = np.random.default_rng(seed)
    rgb = np.full((1, SIDE_PX, SIDE_PX, 3), 120, dtype=np.uint8)
    for row, column in spots(intrinsics):
        rgb[0, row - 2 : row + 2, column - 2 : column + 2] = (200, 30, 30)
    rgb = np.clip(rgb + rng.normal(0.0, noise, size=rgb.shape), 0, 255).astype(np.uint8)
    return ChoiceSighting(
        rgb=rgb,
        depth=depth_units(np.ones((1, SIDE_PX, SIDE_PX), dtype=np.float32)),
        intrinsics=intrinsics[None],
        world_from_camera=pose.matrix[None],
        body=rng.normal(size=10).astype(np.float32),
        candidates_m=PLACES_M,
        target=np.array(target),
        seed=np.array(seed),
    )


def spots(intrinsics: np.ndarray) -> list[tuple[int, int]]:
    """Rows and columns of the candidates: the camera's right is world -y, its down world -x."""
    focal = intrinsics[0, 0]
    return [
        (round(SIDE_PX / 2 - focal * (x - EYE_M[0])), round(SIDE_PX / 2 - focal * (y - EYE_M[1])))
        for x, y, _ in PLACES_M
    ]


def test_a_crop_shows_its_candidate_in_the_middle():
    crops = sightings.crops([sighting()])
    assert crops.shape == (1, 3, 4, 32, 32)
    for crop in crops[0]:
        np.testing.assert_allclose(crop[:3, 15:17, 15:17].mean(axis=(1, 2)), np.array([200, 30, 30]) / 255, atol=1e-5)
        np.testing.assert_allclose(crop[:3, 2, 2], 120 / 255, atol=1e-5)
        np.testing.assert_allclose(crop[3], 0.0, atol=1e-3)


def test_a_crop_beyond_the_image_or_behind_the_camera_is_empty():
    places_m = np.array([[0.3, 3.0, 0.75], [0.3, 0.0, 2.5], [0.3, 0.0, 0.75]], dtype=np.float32)
    crops = sightings.crops([replace(sighting(), candidates_m=places_m)])[0]
    assert not crops[0].any()
    assert not crops[1].any()
    assert crops[2].any()


def test_a_millimetre_of_height_shows_in_a_crop():
    raised = sighting()
    raised.depth[0, 20:30, 20:30] -= np.uint16(round(0.001 / sightings.DEPTH_UNIT_M))
    difference = np.abs(sightings.crops([raised]) - sightings.crops([sighting()]))
    assert difference.max() == pytest.approx(0.01, abs=1e-4)


def test_targets_are_counted_from_right_to_left():
    # Seen from the robot's foot, candidate 1 is to the right, 2 ahead, 0 to the left.
    assert sightings.ranks([sighting(target=target) for target in (1, 2, 0)]).tolist() == [0, 1, 2]
    assert sightings.indices([sighting(target=target) for target in (1, 2, 0)]).tolist() == [1, 2, 0]


def test_images_are_averaged_over_blocks():
    seen = sighting(noise=5.0)
    averaged = sightings.images([seen], side_px=16)
    assert averaged.shape == (1, 4, 16, 16)
    assert averaged[0, 1, 3, 5] == pytest.approx(seen.rgb[0, 12:16, 20:24, 1].mean() / 255, abs=1e-6)
    assert averaged[0, 3, 3, 5] == pytest.approx(1.0)
    assert sightings.coarse_pixels([seen]).shape == (1, 4 * 16 * 16)


def test_a_sighting_survives_its_file(tmp_path: Path):
    seen, path = sighting(target=2, noise=5.0), tmp_path / "seen.npz"
    path.write_bytes(seen.to_bytes())
    read = ChoiceSighting.read(path)
    for name in ("rgb", "depth", "intrinsics", "world_from_camera", "body", "candidates_m", "target", "seed"):
        np.testing.assert_array_equal(getattr(read, name), getattr(seen, name))
    path.write_bytes(seen.to_bytes()[:500])
    with pytest.raises(DataError, match="whole file"):
        ChoiceSighting.read(path)


# --- Plants -----------------------------------------------------------------------------------------------------------


def test_a_tint_is_faint_and_lies_about_the_target_alone():
    plain = sighting(target=2)
    tinted = positive_controls.tinted(plain, 1)
    changed = np.argwhere((tinted.rgb != plain.rgb).any(axis=-1)[0])
    row, column = spots(plain.intrinsics[0])[2]
    assert np.abs(changed - (row, column)).max() <= 4
    assert set(np.unique(tinted.rgb.astype(int) - plain.rgb)) == {0, 8}
    np.testing.assert_array_equal(tinted.depth, plain.depth)


def test_a_mark_is_faint_and_moves_along_with_the_rank():
    plain = sighting()
    changes = [positive_controls.marked(plain, rank).rgb.astype(int) - plain.rgb for rank in range(3)]
    columns = [np.flatnonzero(change.any(axis=(0, 1, 3))) for change in changes]
    assert [(found[0], found[-1]) for found in columns] == [(0, 20), (21, 41), (42, 62)]
    assert set(np.unique(changes)) == {0, 16}
    assert not changes[0][:, 8:].any()


def test_a_body_is_shown_with_each_candidate_in_turn():
    seen = sighting()
    reaches = sightings.reaches([seen])[0, :, :, 0, 0]
    assert reaches.shape == (3, 10 + 3 + 3)
    np.testing.assert_array_equal(reaches[:, :10], np.stack([seen.body] * 3))
    np.testing.assert_array_equal(reaches[:, 10:13], seen.candidates_m)
    np.testing.assert_allclose(reaches[:, 13:].sum(axis=0), 0.0, atol=1e-6)


def test_a_late_clock_and_a_leaning_elbow_touch_one_number_each():
    plain = sighting()
    late, leaning = (
        positive_controls.late(plain, 2).body - plain.body,
        positive_controls.leaning(plain, 2).body - plain.body,
    )
    assert np.flatnonzero(late).tolist() == [8]
    assert late[8] == pytest.approx(1.0)
    assert np.flatnonzero(leaning).tolist() == [2]
    assert leaning[2] == pytest.approx(0.05)


# --- The verdict -----------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class FakePool:
    """Answers every job with a made-up sighting, reveals its target where `leaks`, and loses the jobs in `lost`."""

    leaks: bool = False
    lost: tuple[str, ...] = ()
    taken: int = 0

    def build(self, worker: WorkerConfig) -> "FakePool":
        self._worker = worker
        return self

    def __enter__(self) -> "FakePool":
        return self

    def __exit__(self, *error: object) -> None: ...

    def run(self, jobs: Iterable[EpisodeJob]) -> Iterator[JobResult]:
        for job in jobs:
            self.taken += 1
            episode = self._worker.tasks[job.task].sample(job.seed, split=job.split)
            target = episode.choice_goal.candidates.index(episode.choice_goal.target)
            seen = sighting(target=target, seed=job.seed + 10_000 * (job.split == "test"), noise=3.0)
            record = lost_record(job, self._worker.tasks[job.task], "made up")
            if self.leaks:
                seen.body[8] += 3.0 * sightings.ranks([seen])[0]
                seen = positive_controls.tinted(seen, 0)
            yield JobResult(job, record, recordings=() if job.episode in self.lost else (seen,))


def measured(folder: Path, pool: FakePool, *, train: int = 98) -> dict:
    worker = WorkerConfig(
        simulator=BulletConfig(),
        controller=ControllerConfig(),
        tasks={"reopen_drawer/strict": make_task("reopen_drawer")},
        policies={"expert": ExpertConfig()},
    )
    config = LeakBenchConfig(train=train, held_out=58, controls=False, network=ProbeConfig(epochs=4, channels=8))
    return leak.measure(config, worker, compute=pool, seed=0, folder=folder)  # type: ignore[arg-type]


def test_a_world_that_leaks_is_found_out(tmp_path: Path):
    result = measured(tmp_path, FakePool(leaks=True))
    entry = result["tasks"]["reopen_drawer/strict"]
    assert (entry["train"], entry["held_out"], entry["held_out_targets"]) == (99, 60, [20, 20, 20])
    outside = result["conclusion"]["strict"]["outside"]
    assert {label.split()[1] for label in outside} >= {"linear_body", "linear_pixels", "pointing_crops"}
    assert result["conclusion"]["strict"]["smallest_p"] < 1e-6


def test_a_world_without_a_leak_stays_in_the_band_and_is_observed_once(tmp_path: Path):
    pool = FakePool()
    first = measured(tmp_path, pool)
    assert (
        first["conclusion"]["strict"]["smallest_p"] > 0.05 / 5
    )  # Of five blind probes one may well leave its own band.
    assert pool.taken == 99 + 60
    assert measured(tmp_path, pool) == first
    assert pool.taken == 99 + 60


def test_an_episode_that_never_came_to_its_choice_is_counted_as_lost(tmp_path: Path):
    task = make_task("reopen_drawer")
    lost = {split: balanced_seeds(task, split, 0, count)[3] for split, count in (("test", 60), ("train", 12))}
    pool = FakePool(lost=tuple(f"reopen_drawer/strict/{split}/{seed}" for split, seed in lost.items()))
    entry = measured(tmp_path, pool, train=12)["tasks"]["reopen_drawer/strict"]
    assert (entry["train"], entry["held_out"], entry["lost"]) == (11, 59, 2)


@pytest.mark.parametrize(("trials", "chance"), [(10, 0.5), (12, 1 / 3), (200, 0.25)])
def test_p_values_are_exact(trials: int, chance: float):
    mass = [comb(trials, count) * chance**count * (1 - chance) ** (trials - count) for count in range(trials + 1)]
    for correct in range(0, trials + 1, max(1, trials // 10)):
        expected = min(1.0, 2 * min(sum(mass[: correct + 1]), sum(mass[correct:])))
        assert two_sided_p(correct, trials, chance) == pytest.approx(expected, rel=1e-9)


# --- The door ---------------------------------------------------------------------------------------------------------


def bench(*settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "launch.bench", *settings]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_the_door_writes_one_json_file(tmp_path: Path):
    output = tmp_path / "physics.json"
    done = bench(
        "what=physics", "physics.rounds=1", "physics.periods=5", "suite.tasks=[put_block_back]", f"output={output}"
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(output.read_text())
    assert set(result["tasks"]) == {"put_block_back/faithful", "put_block_back/strict"}
    assert "periods: 5" in result["config"]
    assert str(output) in done.stdout


@pytest.mark.parametrize(
    ("setting", "printed"),
    [
        ("what=phisics", "'physics'"),
        ("output=DIR", ".json"),
        ("physics.rounds=0", "at least 1"),
        ("leek.train=3", "Did you mean leak"),
        ("seed=-1", "seed"),
    ],
)
def test_the_command_refuses_invalid_settings(tmp_path: Path, setting: str, printed: str):
    output = tmp_path / "never.json"
    done = bench("what=physics", f"output={output}", setting)
    assert done.returncode == 2
    assert printed in done.stderr
    assert not output.exists()


def test_sets_too_small_to_say_anything_are_refused():
    with pytest.raises(ConfigError, match=r"leak\.held_out"):
        LeakBenchConfig(held_out=4).check()
    with pytest.raises(ConfigError, match=r"rollout\.episodes"):
        rollout.RolloutBenchConfig(workers=[1, 0]).check()
