"""Layouts: nothing overlaps, everything is in reach, and what is published is as published."""

import itertools

import numpy as np
import pytest

from embodied.geometry import boxes_overlap
from embodied.scenes.tabletop import BUTTON_M, ROBOT_BASE_M, TABLE_TOP_M
from embodied.seeding import stream
from embodied.tasks.memorybench.layout import (
    CENTRE_DETECTOR_M,
    PUBLISHED_PATCHES,
    published_chest,
    published_patches,
    random_chest,
    random_on_patch,
    random_patches,
)


def distance(pose) -> float:
    return float(np.hypot(pose.position_m[0] - ROBOT_BASE_M[0], pose.position_m[1] - ROBOT_BASE_M[1]))


@pytest.mark.parametrize(("count", "layouts"), [(4, 500), (2, 50), (8, 50), (13, 10), (16, 10)])
def test_random_patches_do_not_overlap_and_are_in_reach(count, layouts):
    for seed in range(layouts):
        layout = random_patches(count, stream(seed, "layout"))
        assert len(layout.patches) == count
        flat = [(patch, (layout.patch_m, layout.patch_m, 1.0)) for patch in layout.patches]
        flat.append((layout.centre, (CENTRE_DETECTOR_M, CENTRE_DETECTOR_M, 1.0)))
        flat.append((layout.button, (BUTTON_M, BUTTON_M, 1.0)))
        for (left, left_size), (right, right_size) in itertools.combinations(flat, 2):
            assert not boxes_overlap(left, left_size, right, right_size)
        for pose, _ in flat:
            assert 0.29 <= distance(pose) <= 0.75
            assert -0.3 <= pose.position_m[0] <= 0.7
            assert -0.45 <= pose.position_m[1] <= 0.45
            assert pose.position_m[2] == TABLE_TOP_M


def test_a_turned_ring_leaves_its_patches_equally_far_from_the_centre():
    layout = random_patches(8, stream(0, "layout"))
    gaps = [np.linalg.norm(np.subtract(patch.position_m, layout.centre.position_m)) for patch in layout.patches]
    assert np.ptp(gaps) < 1e-12


def test_random_layouts_cover_the_table_and_all_directions():
    layouts = [random_patches(4, stream(seed, "layout")) for seed in range(200)]
    for values in (
        [layout.centre.position_m[0] for layout in layouts],
        [layout.centre.position_m[1] for layout in layouts],
        [layout.button.position_m[1] for layout in layouts],
    ):
        assert np.ptp(values) > 0.15
    quarters = np.histogram([layout.centre.yaw_rad for layout in layouts], bins=4, range=(-np.pi, np.pi))[0]
    assert quarters.min() > 30


def test_the_button_stays_on_its_published_plate():
    for seed in range(300):
        layout = published_patches(PUBLISHED_PATCHES, stream(seed, "layout"))
        x, y, _ = layout.button.position_m
        assert abs(x - 0.25) <= 0.30 - BUTTON_M / 2
        assert abs(y + 0.25) <= 0.15 - BUTTON_M / 2
        assert distance(layout.button) <= 0.76
        x, y, _ = published_chest(stream(seed, "layout")).button.position_m
        assert abs(x - 0.253) <= 0.225 - BUTTON_M / 2
        assert abs(y + 0.316) <= 0.125 - BUTTON_M / 2


def test_a_button_beside_a_chest_is_clear_of_the_chest_and_of_its_open_drawers():
    for seed in range(500):
        layout = random_chest(stream(seed, "layout"))
        turn = layout.chest.matrix[:3, :3].T
        x, y, _ = turn @ np.subtract(layout.button.position_m, layout.chest.position_m)
        beside = abs(x) > 0.13 + BUTTON_M / 2
        in_front = y < -0.137 - 0.215 - BUTTON_M / 2
        assert beside or in_front
        assert 0.29 <= distance(layout.button) <= 0.75


def test_a_start_on_a_patch_ignores_how_the_patch_is_turned():
    straight, turned = (random_patches(4, stream(seed, "layout")).patches[0] for seed in (0, 1))
    starts = [random_on_patch(place, 0.01, 0.7, stream(3, "start")) for place in (straight, turned)]
    offsets = [
        np.subtract(start.position_m, place.position_m) for start, place in zip(starts, (straight, turned), strict=True)
    ]
    assert offsets[0] == pytest.approx(offsets[1])
    assert starts[0].yaw_rad == pytest.approx(starts[1].yaw_rad)
