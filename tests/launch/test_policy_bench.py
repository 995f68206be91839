"""What splatting is measured against means the same, and what is measured is judged."""

import json

import numpy as np
import pytest
import torch

from embodied.errors import ConfigError
from launch.benchmarks import policy
from launch.benchmarks.policy import splat
from launch.benchmarks.policy.settings import DecisionBenchConfig, SplatBenchConfig
from launch.benchmarks.policy.splat_baselines import FAR_M, Open3dProjection, PointSprites, loop
from policies.sam2act.geometry import PointCloud
from policies.sam2act.splatting import Lens
from policies.sam2act.splatting import splat as splatted

SIZE = 24
CENTRE_M = torch.tensor([[0.4, -0.2, 0.1]])
HALF_M = 0.5


@pytest.fixture(scope="module")
def cloud() -> tuple[np.ndarray, np.ndarray]:
    """Points in the cube, some beyond it, and their colours."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-1.2, 1.2, (400, 3)).astype(np.float32)
    return points, rng.integers(1, 256, (400, 3), dtype=np.uint8)


def ours(cloud, *, radius_px: int) -> np.ndarray:
    points, rgb = (torch.from_numpy(part)[None] for part in cloud)
    return splatted(PointCloud(points * HALF_M + CENTRE_M[0], rgb), CENTRE_M, HALF_M, Lens(SIZE, radius_px))[0].numpy()


@pytest.mark.parametrize("radius_px", [0, 1])
def test_the_loop_and_opengl_see_what_splatting_sees(cloud, radius_px):
    sprites = PointSprites(size=SIZE, radius_px=radius_px, threads=1)
    try:
        drawn = sprites.draw(*cloud)
    finally:
        sprites.close()
    splats = ours(cloud, radius_px=radius_px)
    np.testing.assert_allclose(loop(*cloud, size=SIZE, radius_px=radius_px), splats[:, :6], atol=1e-5)
    apart = np.abs(drawn - splats[:, :6]).max(1) > 1e-2
    assert apart.mean() < 0.005  # Points on the edges between pixels.
    assert splat._same_depths(splats, drawn) > 0.99


def test_open3d_sees_the_same_depths_but_where_its_far_pinhole_moves_points_by_a_pixel(cloud):
    inside = (np.abs(cloud[0]) < 1).all(1)  # It would also see what lies above and below the cube.
    drawn = Open3dProjection(size=SIZE).draw(*(part[inside] for part in cloud))
    splats = ours(cloud, radius_px=0)
    for view, (axis, sign) in enumerate(((2, -1), (0, -1), (1, 1))):
        seen = splats[view, 9] > 0
        assert seen.mean() > 0.2
        assert (seen == (drawn[view, ..., 0] > 0)).mean() > 0.9
        apart = np.abs(drawn[view, ..., 0] - FAR_M - sign * splats[view, axis])[seen]
        assert (apart < 1e-3).mean() > 0.8


def test_depths_that_differ_count_against_agreement(cloud):
    splats = ours(cloud, radius_px=1)
    moved = splats.copy()
    moved[0, 2, :12] += 0.01
    assert splat._same_depths(splats, splats) == 1.0
    assert splat._same_depths(splats, moved) == pytest.approx(1 - 1 / 6)


@pytest.mark.parametrize(
    ("spent", "same", "passes"),
    [
        ({}, 1.0, True),
        ({"loop": 30.0}, 1.0, False),
        ({"opengl": 1.9}, 1.0, False),
        ({"open3d": 1.4}, 1.0, False),
        ({}, 0.9, False),
    ],
)
def test_slow_splatting_and_other_pictures_do_not_pass(spent, same, passes):
    spent = {"loop": 100.0, "splat": 4.0, "splat_pixels": 3.0, "opengl": 30.0, "open3d": 2.0} | spent
    times = {name: (2 * value, value) for name, value in spent.items()}
    assert splat._judged(times, {"loop": same, "opengl": 1.0}, {})["passes"] is passes


def test_the_measurement_says_how_long_each_way_took_and_leaves_threads_alone():
    threads = torch.get_num_threads()
    deciding = DecisionBenchConfig(camera_px=16, moments=2, rounds=2, threads=1)
    result = policy.measure(SplatBenchConfig(sizes_px=[16], camera_px=16, rounds=1), deciding)
    json.dumps(result)
    measured = result["splat"]["sizes_px"]["16"]
    assert result["splat"]["points"] == 4 * 16**2
    assert set(measured["wall_ms"]) == {"splat", "splat_pixels", "loop", "opengl", "open3d"}
    assert measured["same_depths"]["loop"] > 0.99
    assert set(result["decision"]["p50_ms"]) == {"with_memory", "without"}
    assert result["decision"]["memory_share"] < 1.0
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    "wrong", [{"sizes_px": []}, {"rounds": 0}, {"camera_px": 0}, {"threads": 0}, {"radius_px": -1}]
)
def test_counts_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="splat"):
        policy.measure(SplatBenchConfig(**wrong), DecisionBenchConfig(camera_px=16, moments=1, rounds=1))


def test_decisions_are_not_measured_without_any():
    with pytest.raises(ConfigError, match="decision"):
        policy.measure(SplatBenchConfig(), DecisionBenchConfig(rounds=0))
