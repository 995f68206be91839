"""Floor plans block what stands in the way of a base, and paths keep their distance."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embodied.errors import SceneError
from embodied.geometry import Pose, quaternion_from_yaw
from embodied.scenes.free_space import FreeSpace
from embodied.scenes.occupancy import GridOptions, occupancy_grid
from embodied.scenes.scene import Body, Box, Cylinder, Part, Scene

BAND = (0.03, 0.5)


def box(name, size_m, at_m, yaw_rad=0.0, **options):
    return Body(name, (Part(Box(size_m), **options),), Pose(at_m, quaternion_from_yaw(yaw_rad)))


FLOOR = box("floor", (6.0, 6.0, 0.1), (0.0, 0.0, -0.05))
LEFT, RIGHT = box("left", (0.1, 2.5, 1.0), (0.0, 1.75, 0.5)), box("right", (0.1, 2.5, 1.0), (0.0, -1.75, 0.5))


def plan(*bodies, poses=None, margin_m=1.5, **options):
    scene = Scene("plan", bodies)
    placed = {body.name: body.pose for body in bodies} | (poses or {})
    return occupancy_grid(
        scene, placed, GridOptions(heights_m=BAND, margin_m=margin_m), around_m=[(-2.0, 0.0), (2.0, 0.0)], **options
    )


def test_floors_lamps_and_marks_block_nothing_and_walls_do():
    lamp = box("lamp", (0.5, 0.5, 0.2), (1.0, 0.0, 2.0))
    mark = box("mark", (0.5, 0.5, 0.2), (-1.0, 0.0, 0.1), collides=False)
    grid = plan(FLOOR, lamp, mark, LEFT)
    assert grid.clearance_at((1.0, 0.0)) > 0.4
    assert grid.clearance_at((-1.0, 0.0)) > 0.4
    assert grid.clearance_at((0.0, 1.0)) == 0.0
    assert grid.nearest_body((-0.5, 1.0)) == "left"


def test_bodies_block_where_they_are_now():
    grid = plan(LEFT, poses={"left": Pose((1.5, 1.75, 0.5))})
    assert grid.clearance_at((0.0, 1.0)) > 1.0
    assert grid.clearance_at((1.5, 1.0)) == 0.0


def test_the_way_leads_through_the_opening_and_keeps_its_distance():
    space = FreeSpace(plan(FLOOR, LEFT, RIGHT), 0.4)
    start, goal = (-1.5, 1.5), (1.5, 1.5)
    assert not space.sees(start, goal)
    path = space.path(start, goal)
    assert path[0].tolist() == list(start)
    assert path[-1].tolist() == list(goal)
    dense = np.concatenate([np.linspace(a, b, 50) for a, b in pairwise(path)])
    walls = np.array([[0.05, 0.5], [-0.05, 0.5], [0.05, -0.5], [-0.05, -0.5]])
    assert np.linalg.norm(dense[:, None] - walls, axis=-1).min() >= 0.39
    straight = 2 * np.hypot(1.5, 1.5)
    assert straight - 0.4 < space.distance_m(start, goal) < straight * 1.02


def test_an_opening_that_is_too_narrow_leaves_no_way():
    assert FreeSpace(plan(LEFT, RIGHT, box("end", (0.1, 4.0, 1.0), (0.0, 4.0, 0.5)),
                          box("other_end", (0.1, 4.0, 1.0), (0.0, -4.0, 0.5)), margin_m=0.1), 0.55
                     ).path((-1.5, 0.0), (1.5, 0.0)) is None  # fmt: skip


def test_a_place_inside_something_is_moved_to_the_nearest_free_one():
    space = FreeSpace(plan(FLOOR, LEFT, RIGHT), 0.4)
    assert space.path((-1.0, 0.0), (0.0, 1.5)) is None
    x, y = space.snap((-0.1, 1.5))
    assert space.contains((x, y))
    assert x == pytest.approx(-0.5, abs=0.1)
    assert y == pytest.approx(1.5, abs=0.05)
    assert space.snap((1.0, 0.5)) == (1.0, 0.5)


def test_a_base_keeps_off_the_edge_of_the_floor_where_there_is_one():
    options = GridOptions(heights_m=BAND, floor_m=0.0)
    around = [(-4.0, 0.0), (4.0, 0.0)]
    grid = occupancy_grid(Scene("plan", (FLOOR,)), {"floor": FLOOR.pose}, options, around_m=around)
    assert grid.clearance_at((2.5, 0.0)) == pytest.approx(0.5, abs=0.05)
    assert grid.nearest_body((2.5, 0.0)) == "the edge of the floor"
    assert not FreeSpace(grid, 0.4).contains((-3.5, 0.0))


def test_other_robots_are_discs():
    grid = plan(FLOOR, discs={"mover": (0.5, 0.5, 0.3)})
    assert grid.nearest_body((1.5, 0.5)) == "mover"
    assert grid.clearance_at((0.5, 1.0)) == pytest.approx(0.2, abs=0.06)


def test_a_plan_of_nothing_or_of_a_whole_country_is_refused():
    with pytest.raises(SceneError, match="obstacle or a point"):
        occupancy_grid(Scene("void"), {}, GridOptions(heights_m=BAND))
    with pytest.raises(SceneError, match="cells"):
        occupancy_grid(Scene("void"), {}, GridOptions(heights_m=BAND), around_m=[(0.0, 0.0), (1e4, 1e4)])


@settings(max_examples=25, deadline=None)
@given(
    at=st.tuples(st.floats(-1.0, 1.0), st.floats(-1.0, 1.0), st.floats(-3.0, 3.0)),
    size=st.tuples(st.floats(0.02, 1.0), st.floats(0.02, 1.0)),
    round_=st.booleans(),
)
def test_clearance_is_the_true_distance_but_for_the_size_of_a_cell(at, size, round_):
    x, y, yaw = at
    shape = Cylinder(size[0] / 2, 0.4) if round_ else Box((*size, 0.4))
    grid = plan(Body("thing", (Part(shape),), Pose((x, y, 0.2), quaternion_from_yaw(yaw))))
    for probe in ((-1.5, -1.2), (1.2, 1.4), (-1.3, 1.1), (0.4, -1.5)):
        local = np.abs(np.array([[np.cos(yaw), np.sin(yaw)], [-np.sin(yaw), np.cos(yaw)]]) @ (np.array(probe) - (x, y)))
        outside = np.hypot(*local) - size[0] / 2 if round_ else np.hypot(*np.maximum(local - np.divide(size, 2), 0.0))
        true_m = max(0.0, float(outside))
        assert true_m - 0.08 <= grid.clearance_at(probe) <= true_m + 0.04
