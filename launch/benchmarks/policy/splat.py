"""Times splatting a point cloud into the three views of a policy, against a loop and two libraries."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from embodied.scenes.tabletop import ROBOT
from embodied.simulators.bullet import BulletConfig
from launch.benchmarks.policy.settings import SplatBenchConfig
from launch.benchmarks.policy.splat_baselines import Open3dProjection, PointSprites, loop
from launch.benchmarks.render import table_scene
from policies.sam2act import Sam2ActConfig
from policies.sam2act.geometry import PointCloud, point_cloud
from policies.sam2act.splatting import Lens, splat

SPEEDUP_WANTED = 10.0
SLOWER_ALLOWED = 2.0
SAME_DEPTH = 1e-4  # Of half the cube.


def measure(config: SplatBenchConfig) -> dict[str, Any]:
    """Returns, per size, milliseconds for three views of one observation by each method, and their agreement.

    `splat`, `opengl` and `loop`, which is timed once, draw squares; `open3d` draws one pixel per point, and is compared
    with `splat_pixels`, which draws no squares either (but gives positions, where Open3D gives depths alone). They are
    measured in turns, under the same load; processor time is more reliable than wall time on a busy machine.
    """
    config.check()
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        cloud = observed_cloud(config.camera_px)
        return {
            "points": cloud.position_m.shape[1],
            "torch": torch.__version__,
            "threads": config.threads,
            "radius_px": config.radius_px,
            "sizes_px": {str(size): _measure_size(config, cloud, size) for size in config.sizes_px},
        }
    finally:
        torch.set_num_threads(before)


def observed_cloud(camera_px: int) -> PointCloud:
    """Returns what four cameras see of the table, the one frame of a cloud."""
    world = BulletConfig().build()
    try:
        world.reset(table_scene(camera_px))
        images = list(world.observe(ROBOT).images.values())
    finally:
        world.close()
    rgb = torch.from_numpy(np.stack([image.rgb for image in images])[None])
    rest = [[image.depth_m for image in images], [image.intrinsics for image in images]]
    rest.append([image.world_from_camera for image in images])
    return point_cloud(rgb, *(torch.from_numpy(np.stack(values).astype(np.float32)[None]) for values in rest))


def _measure_size(config: SplatBenchConfig, cloud: PointCloud, size: int) -> dict[str, Any]:
    cube = Sam2ActConfig().cube
    centre_m = cloud.position_m.new_tensor([cube.centre_m])
    points, rgb = cube.normalised(cloud.position_m)[0].numpy(), cloud.rgb[0].numpy()

    def splatted(radius_px: int) -> np.ndarray:
        return splat(cloud, centre_m, cube.half_m, Lens(size, radius_px))[0].numpy()

    sprites = PointSprites(size=size, radius_px=config.radius_px, threads=config.threads)
    projection = Open3dProjection(size=size)
    try:
        ours, drawn = splatted(config.radius_px), sprites.draw(points, rgb)
        one_by_one: list[np.ndarray] = []
        loop_ms = _timed(lambda: one_by_one.append(loop(points, rgb, size=size, radius_px=config.radius_px)))
        ways = {
            "splat": lambda: splatted(config.radius_px),
            "splat_pixels": lambda: splatted(0),
            "opengl": lambda: sprites.draw(points, rgb),
            "open3d": lambda: projection.draw(points, rgb),
        }
        times = {"loop": loop_ms, **_take_turns(config.rounds, ways)}
    finally:
        sprites.close()
    agreement = {"loop": _same_depths(ours, one_by_one[0]), "opengl": _same_depths(ours, drawn)}
    return _judged(times, agreement, {"opengl": sprites.name, "open3d": projection.name})


def _judged(
    times: Mapping[str, tuple[float, float]], agreement: Mapping[str, float], versions: Mapping[str, str]
) -> dict[str, Any]:
    processor = {name: spent for name, (_, spent) in times.items()}
    speedup = processor["loop"] / processor["splat"]
    slower = max(processor["splat"] / processor["opengl"], processor["splat_pixels"] / processor["open3d"])
    return {
        "wall_ms": {name: round(wall, 2) for name, (wall, _) in times.items()},
        "processor_ms": {name: round(spent, 2) for name, spent in processor.items()},
        "speedup_over_loop": round(speedup, 1),
        "times_library_at_most": round(slower, 2),
        "same_depths": {name: round(share, 5) for name, share in agreement.items()},
        "libraries": dict(versions),
        "passes": bool(speedup >= SPEEDUP_WANTED and slower <= SLOWER_ALLOWED and min(agreement.values()) > 0.99),
    }


def _same_depths(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Returns the share of pixels at which both see a point at the same depth, or none.

    Ties may be resolved differently.
    """
    seen = [visualisations[:, 3:6].any(1) for visualisations in (ours, theirs)]
    axes = (2, 0, 1)  # The directions of the top, front and side views.
    apart = np.stack([np.abs(ours[view, axis] - theirs[view, axis]) for view, axis in enumerate(axes)])
    return float(((seen[0] == seen[1]) & (apart < SAME_DEPTH)).mean())


def _take_turns(rounds: int, ways: Mapping[str, Callable[[], object]]) -> dict[str, tuple[float, float]]:
    """Returns the medians of wall and processor milliseconds of each method."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, call in ways.items():
            times[name].append(_timed(call))
    return {name: _medians(spent) for name, spent in times.items()}


def _medians(times: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(wall for wall, _ in times), statistics.median(spent for _, spent in times)


def _timed(call: Callable[[], object]) -> tuple[float, float]:
    wall_s, spent_s = time.perf_counter(), time.process_time()
    call()
    return 1000 * (time.perf_counter() - wall_s), 1000 * (time.process_time() - spent_s)
