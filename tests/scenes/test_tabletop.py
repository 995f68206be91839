"""The table: sizes as published, clearances so that nothing sticks, looks that give nothing away."""

import itertools

import msgspec
import numpy as np
import pytest

from embodied.geometry import Pose, boxes_overlap, compose
from embodied.scenes.scene import Box, Cylinder, Part
from embodied.scenes.tabletop import (
    BUTTON_TOP_M,
    BUTTON_TRAVEL_M,
    DRAWER_OPEN_M,
    DRAWERS,
    HANDLE_IN_DRAWER_M,
    TABLE_TOP_M,
    block,
    button,
    centre_mark,
    chest,
    on_table,
    patch,
    slide,
    tabletop_scene,
)


@pytest.fixture(scope="module")
def opened():
    bodies, joints = chest(on_table(0.258, 0.233), opened="drawer_middle", detent=None)
    return {body.name: body for body in bodies}, {joint.child: joint for joint in joints}


def solids(body, pose, grow_m=0.0):
    for part in body.parts:
        assert isinstance(part.shape, Box)
        yield compose(pose, part.pose), tuple(np.add(part.shape.size_m, 2 * grow_m))


def at_opening(bodies, joints, name, metres):
    joint = joints[name]
    shift = Pose(tuple(np.array(joint.axis) * metres))
    return compose(compose(bodies["cabinet"].pose, joint.pose), shift)


@pytest.mark.parametrize("metres", [0.0, 0.05, DRAWER_OPEN_M])
def test_drawers_slide_two_millimetres_clear_of_chest_and_neighbours(opened, metres):
    bodies, joints = opened
    fixed = list(solids(bodies["cabinet"], bodies["cabinet"].pose))
    moving = {name: list(solids(bodies[name], at_opening(bodies, joints, name, metres), 0.001)) for name in DRAWERS}
    for name, own in moving.items():
        for (here, size), (there, other) in itertools.product(own, fixed):
            assert not boxes_overlap(here, size, there, np.add(other, 0.002)), name
    for left, right in itertools.combinations(DRAWERS, 2):
        for (here, size), (there, other) in itertools.product(moving[left], moving[right]):
            assert not boxes_overlap(here, size, there, other)


def test_handles_are_where_the_benchmark_has_them(opened):
    bodies, joints = opened
    for name, height in zip(DRAWERS, (0.866, 0.950, 1.034), strict=True):
        for metres, y in ((0.0, 0.096), (DRAWER_OPEN_M, -0.114)):
            handle = compose(at_opening(bodies, joints, name, metres), Pose(HANDLE_IN_DRAWER_M))
            assert handle.position_m == pytest.approx((0.258, y, height), abs=1e-9)


def test_only_the_asked_drawer_is_open_and_all_look_alike(opened):
    bodies, joints = opened
    assert [joints[name].position for name in DRAWERS] == [0.0, DRAWER_OPEN_M, 0.0]
    drawers = [msgspec.structs.replace(bodies[name], name="drawer") for name in DRAWERS]
    assert drawers[0] == drawers[1] == drawers[2]
    assert all(joints[name].name == slide(name) for name in DRAWERS)


def test_a_handle_fits_between_the_fingers_and_leaves_room_behind(opened):
    bodies, _ = opened
    parts = bodies["drawer_top"].parts
    bar = next(part for part in parts if part.pose.position_m == HANDLE_IN_DRAWER_M)
    assert bar.shape.size_m[0] < 0.04
    front = min(part.pose.position_m[1] - part.shape.size_m[1] / 2 for part in parts[:5])
    behind = front - (HANDLE_IN_DRAWER_M[1] + bar.shape.size_m[1] / 2)
    assert behind > 0.03


def test_the_button_cap_rests_above_its_base_and_has_room_to_sink():
    (base, cap), (joint,) = button(on_table(0.2, 0.0))
    cylinder = cap.parts[0].shape
    assert isinstance(cylinder, Cylinder)
    top = joint.pose.position_m[2] + cylinder.height_m / 2
    assert top == pytest.approx(BUTTON_TOP_M)
    rim = max(part.pose.position_m[2] + part.shape.size_m[2] / 2 for part in base.parts)
    assert rim == pytest.approx(0.021)
    assert top - BUTTON_TRAVEL_M > rim
    floor = base.parts[0].pose.position_m[2] + base.parts[0].shape.size_m[2] / 2
    assert joint.pose.position_m[2] - cylinder.height_m / 2 - BUTTON_TRAVEL_M > floor
    hole = min(abs(part.pose.position_m[0]) - part.shape.size_m[0] / 2 for part in base.parts[3:])
    assert hole - cylinder.radius_m >= 0.002


def test_the_spring_is_stable_at_the_physics_rate_and_holds_the_cap_up():
    (_, cap), (joint,) = button(on_table(0.2, 0.0))
    step_s, mass = 1 / 240, cap.mass_kg
    assert joint.spring.damping * step_s / mass + joint.spring.stiffness * step_s**2 / mass / 2 < 1.0
    assert mass * 9.81 / joint.spring.stiffness < 0.001, "The cap's weight alone must not look like a press."


def test_marks_are_seen_but_not_touched_and_blocks_lie_on_the_table():
    for mark in (patch("patch_0", on_table(0.3, 0.1)), centre_mark(on_table(0.3, 0.0))):
        assert [part.collides for part in mark.parts] == [False]
        assert not mark.graspable
    cube = block("cube", 0.2, 0.1, 0.4)
    assert cube.pose.position_m[2] == pytest.approx(TABLE_TOP_M + 0.0563 / 2)
    assert cube.graspable
    assert cube.mass_kg == 0.356
    assert isinstance(cube.parts[0], Part)


def test_the_table_has_four_cameras_of_the_asked_size_and_its_robot():
    scene = tabletop_scene("empty", bodies=(), camera_px=96)
    assert [camera.name for camera in scene.cameras] == ["front", "left_shoulder", "right_shoulder", "wrist"]
    assert {camera.height_px for camera in scene.cameras} == {96}
    assert scene.camera("wrist").mount == scene.robots[0].name
    top = scene.body("table")
    slab = top.parts[0]
    assert top.pose.position_m[2] + slab.pose.position_m[2] + slab.shape.size_m[2] / 2 == pytest.approx(0.752)


@pytest.mark.parametrize("name", ["front", "left_shoulder", "right_shoulder"])
def test_fixed_cameras_see_the_published_patches_and_button_plate(name):
    camera = tabletop_scene("empty", bodies=()).camera(name)
    half = np.tan(camera.fov_y_rad / 2)
    for x, y in [(0.275, 0.35), (0.456, 0.176), (0.275, 0.0), (0.075, 0.175), (0.25, -0.25)]:
        from_camera = np.linalg.inv(camera.pose.matrix) @ (x, y, TABLE_TOP_M, 1.0)
        assert np.abs(from_camera[:2] / from_camera[2]).max() < half, (x, y)
