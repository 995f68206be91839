import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embodied.geometry import points_from_depth, transform_points
from policies.heads.heatmap import gaussian
from policies.sam2act.geometry import (
    COLUMNS,
    DEPTHS,
    ROWS,
    VIEWS,
    Cube,
    PointCloud,
    most_likely_point,
    pixels,
    point_cloud,
)
from policies.sam2act.splatting import Lens, splat
from tests.policies.sam2act.small import CAMERAS, observation

SIZE = 16
coordinate = st.floats(-0.95, 0.95)


@given(st.tuples(coordinate, coordinate, coordinate))
def test_the_point_that_three_heat_maps_show_is_found_to_half_a_pixel(point):
    maps = gaussian(pixels(torch.tensor([point]), SIZE), SIZE)
    found = most_likely_point(maps)[0]
    assert (found - torch.tensor(point)).abs().max() <= 1.001 / SIZE


def test_views_disagree_and_the_sum_decides():
    maps = torch.zeros(1, 3, SIZE, SIZE)
    here, there = torch.tensor([[0.5, -0.25, 0.125]]), torch.tensor([[-0.5, 0.75, -0.625]])
    maps += gaussian(pixels(here, SIZE), SIZE)
    maps[:, 0] += 2 * gaussian(pixels(there, SIZE), SIZE)[:, 0]  # One view alone prefers another place.
    assert (most_likely_point(maps)[0] - here[0]).abs().max() <= 1.001 / SIZE


def test_metres_and_cube_are_each_others_inverse():
    cube = Cube((0.2, 0.0, 1.1), 0.5)
    place = torch.tensor([[0.7, -0.5, 1.1], [0.2, 0.0, 0.6]])
    assert cube.normalised(place).tolist() == [[1.0, -1.0, 0.0], [0.0, 0.0, -1.0]]
    assert torch.allclose(cube.metres(cube.normalised(place)), place)


def test_a_cloud_is_what_geometry_says():
    seen = observation(3)
    images = [seen.images[name] for name in CAMERAS]
    parts = {
        name: torch.from_numpy(np.array([[getattr(image, name) for image in images]], dtype))
        for name, dtype in {"rgb": np.uint8, "depth_m": np.float32, "intrinsics": np.float32}.items()
    }
    poses = torch.from_numpy(np.array([[image.world_from_camera for image in images]], np.float32))
    cloud = point_cloud(**parts, world_from_camera=poses)
    wanted = [
        transform_points(image.world_from_camera, points_from_depth(image.depth_m, image.intrinsics).reshape(-1, 3))
        for image in images
    ]
    known = np.concatenate([image.depth_m.reshape(-1) > 0 for image in images])
    assert np.allclose(cloud.position_m[0].numpy()[known], np.concatenate(wanted)[known], atol=1e-5)
    assert np.isinf(cloud.position_m[0].numpy()[~known]).all()
    assert (cloud.rgb[0].numpy() == np.concatenate([image.rgb.reshape(-1, 3) for image in images])).all()


def slow_splat(cloud: PointCloud, centre_m, half_m: float, lens: Lens) -> np.ndarray:
    """The same, point by point: colours and depth of the nearest, in every view."""
    frames = len(cloud.position_m)
    drawn = np.zeros((frames, len(VIEWS), 4, SIZE, SIZE))
    nearest = np.full((frames, len(VIEWS), SIZE, SIZE), np.inf)
    for frame in range(frames):
        for place, rgb in zip(cloud.position_m[frame].numpy(), cloud.rgb[frame].numpy(), strict=True):
            point = (place - centre_m[frame].numpy()) / half_m
            for view in range(len(VIEWS)):
                row, column, depth = (point[axis] * sign for axis, sign in (ROWS[view], COLUMNS[view], DEPTHS[view]))
                if not (max(abs(row), abs(column)) < 1 and abs(depth) < lens.reach):
                    continue
                r, c = (int((along + 1) * SIZE / 2) for along in (row, column))
                for y in range(max(0, r - lens.radius_px), min(SIZE, r + lens.radius_px + 1)):
                    for x in range(max(0, c - lens.radius_px), min(SIZE, c + lens.radius_px + 1)):
                        if depth < nearest[frame, view, y, x]:
                            nearest[frame, view, y, x] = depth
                            drawn[frame, view, :, y, x] = (*(rgb / 255.0), depth / lens.reach)
    return drawn


@pytest.mark.parametrize(("radius_px", "reach"), [(0, 1.0), (1, 1.0), (2, 1.0), (0, 4.0), (1, 1.5)])
def test_splatting_is_what_a_loop_over_points_gives(radius_px, reach):
    random = torch.Generator().manual_seed(radius_px)
    position_m = torch.rand(2, 60, 3, generator=random) * reach * 1.4 - 0.2
    position_m[0, :5] = float("inf")
    cloud = PointCloud(position_m, torch.randint(0, 256, (2, 60, 3), dtype=torch.uint8, generator=random))
    centre_m = torch.tensor([[0.5, 0.5, 0.5], [0.4, 0.6, 0.5]])
    visualisations = splat(cloud, centre_m, 0.5, Lens(SIZE, radius_px, reach))
    wanted = slow_splat(cloud, centre_m, 0.5, Lens(SIZE, radius_px, reach))
    assert np.allclose(visualisations[:, :, 3:7].numpy(), wanted, atol=1e-5)
    assert (visualisations[:, :, 9].numpy() == (np.abs(wanted).sum(2) > 0)).all()


def test_where_nothing_is_pictures_show_only_where_their_pixels_are():
    nothing = PointCloud(torch.full((1, 4, 3), float("inf")), torch.zeros(1, 4, 3, dtype=torch.uint8))
    visualisations = splat(nothing, torch.zeros(1, 3), 0.5, Lens(SIZE))
    assert visualisations[:, :, [0, 1, 2, 3, 4, 5, 6, 9]].abs().max() == 0.0
    assert visualisations[0, 0, 7, 0, 0] == pytest.approx(1 / SIZE - 1)
    assert visualisations[0, 0, 8, 0, -1] == pytest.approx(1 - 1 / SIZE)


def test_a_moved_world_looks_the_same_in_a_moved_cube():
    cloud = PointCloud(torch.rand(1, 50, 3) - 0.5, torch.randint(0, 256, (1, 50, 3), dtype=torch.uint8))
    shift = torch.tensor([[1.0, -2.0, 4.0]])  # Exact in binary.
    moved = PointCloud(cloud.position_m + shift, cloud.rgb)
    first, second = splat(cloud, torch.zeros(1, 3), 0.5, Lens(8)), splat(moved, shift, 0.5, Lens(8))
    assert torch.allclose(first, second, atol=1e-5)
