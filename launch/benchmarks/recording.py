"""Measures recordings at a rate: their size, the cost to an episode, and the speed of reading some or all frames."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from embodied.errors import ConfigError
from embodied.evaluation.provenance import cpu, versions
from embodied.rollout.recording.recorder import RecorderConfig
from embodied.rollout.worker import EpisodeJob, JobResult, SimulatorWorker, WorkerConfig
from embodied.seeding import stream
from embodied.trajectories import image_sizes, open_trajectory, write_trajectory
from embodied.trajectories.frames import is_image
from embodied.trajectories.reader import IndexedReader
from launch.benchmark import Benchmark

WANTED_BYTES = 2_000_000  # For 10 s of two RGB-D cameras of 96 px.


@dataclass(kw_only=True)
class RecordingBenchConfig:
    """Records `episodes` of each task through `cameras`; reads `frames` at random `rounds` times."""

    rate_hz: float = 10.0
    cameras: list[str] = field(default_factory=lambda: ["front", "wrist"])
    episodes: int = 3
    frames: int = 16
    rounds: int = 10

    def check(self) -> None:
        """Raises `ConfigError` for counts that are not positive."""
        if min(self.episodes, self.frames, self.rounds) < 1:
            raise ConfigError("recording.episodes, recording.frames and recording.rounds must be at least 1.")


def measure(config: RecordingBenchConfig, worker: WorkerConfig, *, seed: int) -> dict[str, Any]:
    """Returns sizes and times per task of `worker`, for the episodes of `seed`, and whether 10 s take at most 2 MB.

    `config` gives the counts, cameras and rate.
    """
    config.check()
    recorder = RecorderConfig(cameras=config.cameras, rate_hz=config.rate_hz)
    with _player(replace(worker, recorder=recorder)) as play, TemporaryDirectory() as folder:
        tasks = {task: _measure_task(config, play, task, Path(folder), seed) for task in worker.tasks}
    return {"benchmark": "recording", "cpu": cpu(), "versions": versions(), "tasks": tasks}


def _measure_task(
    config: RecordingBenchConfig, play: Callable[[EpisodeJob], JobResult], task: str, folder: Path, seed: int
) -> dict[str, Any]:
    seconds, sizes, plain_s, recorded_s, some_s, whole_s, shares = 0.0, 0, 0.0, 0.0, [], [], []
    cameras: dict[str, tuple[int, int]] = {}
    for number in range(seed, seed + config.episodes):
        job = EpisodeJob("bench", f"{task}/train/{number}", task, "expert", number, "train")
        plain_s += play(job).record.wall_s
        result = play(replace(job, trajectory=True))
        recorded_s += result.record.wall_s
        for trajectory in result.recordings:
            path = folder / f"{number}.{trajectory.robot}.npz"
            write_trajectory(path, trajectory)
            sizes, seconds = sizes + path.stat().st_size, seconds + len(trajectory) / config.rate_hz
            cameras = image_sizes(trajectory.features)
            whole_s.append(_timed(lambda path=path: open_trajectory(path).check()))
            for turn in range(config.rounds):
                rows = stream(seed, "frames", str(turn)).permutation(len(trajectory))[: config.frames].tolist()
                some_s.append(_timed(lambda path=path, rows=rows: shares.append(_read_share(path, rows))))
    per_10_s = round(sizes / seconds * 10.0)
    return {
        "cameras_px": {name: list(size) for name, size in cameras.items()},
        "bytes_per_10_s": per_10_s,
        "at_most_2_mb": per_10_s <= WANTED_BYTES,
        "episode_wall_s": {"without": round(plain_s, 3), "recorded": round(recorded_s, 3)},
        f"read_{config.frames}_frames": {
            "median_ms": round(1e3 * statistics.median(some_s), 2),
            "share_of_file": round(statistics.mean(shares), 3),
        },
        "check_and_decode_all_ms": round(1e3 * statistics.median(whole_s), 1),
    }


def _read_share(path: Path, rows: Sequence[int]) -> float:
    """Reads the images of `rows`; returns the share of the file's bytes that this took."""
    reader = IndexedReader(path)
    reader.read(rows, [feature.name for feature in reader.features if is_image(feature)])
    return reader.bytes_read / path.stat().st_size


def _timed(work: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s


@contextmanager
def _player(worker: WorkerConfig) -> Iterator[Callable[[EpisodeJob], JobResult]]:
    player = SimulatorWorker(worker)
    try:
        yield player.run
    finally:
        player.close()


BENCHMARK = Benchmark(
    configs={"recording": RecordingBenchConfig},
    measure=lambda run, config: measure(config, run.worker(), seed=run.seed),
)
