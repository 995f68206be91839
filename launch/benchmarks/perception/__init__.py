"""Measures how well objects on a tabletop are detected and located in depth images, against ground truth."""

import statistics
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from embodied.errors import ConfigError
from embodied.evaluation.provenance import cpu, versions
from embodied.scenes.tabletop import ROBOT
from embodied.simulators.bullet import BulletConfig, BulletSimulator
from launch.benchmark import Benchmark
from launch.benchmarks.perception.comparison import (
    CAMERAS,
    Compared,
    Missed,
    TrackedTable,
    compare,
    matched,
    remove_one,
)
from launch.benchmarks.perception.scenes import degraded_looks, most_pixels, random_scene

CENTRE_WANTED_M = 0.01


@dataclass(kw_only=True)
class PerceptionBenchConfig:
    """Scenes are those of seeds 0 to `scenes` - 1, at each side of the square cameras.

    Each is seen as in rollouts (`SceneTracker`): by three cameras in turn, with masks without names. A known thing is
    compared with the nearest body within 3 cm; `surplus` counts known things that are near no body. A thing is visible
    where `visible_px` pixels of some view show it. Every size is run twice: as rendered, and with Gaussian depth noise
    of `noise_m`, depths mixed along edges, and masks that bleed by one pixel.
    """

    scenes: int = 20
    sizes_px: list[int] = field(default_factory=lambda: [128, 256])
    visible_px: int = 10
    noise_m: float = 0.002

    def check(self) -> None:
        """Raises `ConfigError` for counts that are not positive and for negative noise."""
        if min(self.scenes, self.visible_px, len(self.sizes_px)) < 1 or min(self.sizes_px) < 16 or self.noise_m < 0:
            raise ConfigError(
                "perception counts must be positive, sizes 16 px or more, noise not negative.", value=self
            )


def measure(config: PerceptionBenchConfig) -> dict[str, Any]:
    """Returns, per image size and kind of sensor, how many things were found, how accurately, and how fast."""
    config.check()
    simulator = BulletConfig().build()
    try:
        sizes = {str(size_px): _measure_size(config, simulator, size_px) for size_px in config.sizes_px}
        renderer = simulator.renderer
    finally:
        simulator.close()
    return {
        "what": "perception",
        "cpu": cpu(),
        "versions": versions(),
        "renderer": renderer,
        "cameras": list(CAMERAS),
        "seeds": list(range(config.scenes)),
        "config": asdict(config),
        "sizes_px": sizes,
    }


def _measure_size(config: PerceptionBenchConfig, simulator: BulletSimulator, size_px: int) -> dict[str, Any]:
    found: dict[str, list[Compared]] = {"as_rendered": [], "degraded": []}
    surplus = dict.fromkeys(found, 0)
    missed: list[Missed] = []
    times_s: list[float] = []
    for seed in range(config.scenes):
        scene = random_scene(seed, camera_px=size_px)
        simulator.reset(scene)
        pixels = most_pixels(scene, simulator.observe(ROBOT, CAMERAS).images)
        visible = [name for name, count_px in pixels.items() if count_px >= config.visible_px]
        rendered = TrackedTable(simulator, scene, seed=seed).looks()
        poorer = degraded_looks(rendered, seed, noise_m=config.noise_m)
        for sensor, looks in (("as_rendered", rendered), ("degraded", poorer)):
            table = TrackedTable(simulator, scene, seed=seed)
            started_s = time.perf_counter()
            table.take_in(looks)
            times_s.append(time.perf_counter() - started_s)
            found[sensor] += compare(scene, table.known(), visible)
            surplus[sensor] += len(table.known()) - len(matched(scene, table.known()))
        missed.append(remove_one(simulator, scene, seed, visible_px=config.visible_px))
    return {
        **{sensor: _summary(found[sensor], surplus[sensor]) for sensor in found},
        "removed": _removals(missed),
        "frame_s": {"median": round(statistics.median(times_s), 4), "p95": round(float(np.percentile(times_s, 95)), 4)},
    }


def _summary(results: list[Compared], surplus: int) -> dict[str, Any]:
    found = [result for result in results if result.found]
    centres_m = [result.centre_m for result in found]
    yaws_deg = [float(np.degrees(result.yaw_rad)) for result in found if result.yaw_rad is not None]
    return {
        "visible": len(results),
        "found": len(found),
        "surplus": surplus,
        "centre_m": _spread(centres_m),
        "box_yaw_deg": _spread(yaws_deg),
        "boxes_crossed": sum(result.crossed for result in found),
        "size_m": _spread([result.size_m for result in found]),
        "colour_right": sum(result.colour for result in found),
        "passes": len(found) == len(results) and not surplus and statistics.median(centres_m) <= CENTRE_WANTED_M,
    }


def _removals(missed: list[Missed]) -> dict[str, Any]:
    early = sum(one.away or one.covered for one in missed)
    declared = sum(one.in_sight for one in missed)
    wrongly = sum(one.wrongly for one in missed)
    return {
        "removed": len(missed),
        "declared_before_looked_at": early,
        "declared_once_looked_at": declared,
        "declared_though_there": wrongly,
        "passes": early == wrongly == 0 and declared == len(missed),
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(float(np.median(values)), 5),
        "p95": round(float(np.percentile(values, 95)), 5),
        "worst": round(max(values), 5),
    }


BENCHMARK = Benchmark(
    configs={"perception": PerceptionBenchConfig},
    measure=lambda _, config: measure(config),
)
