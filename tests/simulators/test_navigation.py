"""Floor plans of PyBullet worlds: free places, shortest ways around walls, and the rooms of a point."""

import math

import pytest

from embodied.geometry import Pose
from embodied.scenes.scene import Body, Box, Part, Region, RobotPlacement, Scene
from embodied.simulators.bullet import BulletConfig, BulletSimulator
from tests.simulators.test_bullet import FLOOR

RADIUS_M = 0.25
# A wall across y = 0 with a door from x = 1.0 to x = 2.0; the flat is 4 m by 4 m.
WALLS = tuple(
    Body(name, (Part(Box(size)),), Pose(centre))
    for name, size, centre in (
        ("left", (3.0, 0.1, 2.5), (-0.5, 0.0, 1.25)),
        ("south", (4.2, 0.1, 2.5), (0.0, -2.05, 1.25)),
        ("north", (4.2, 0.1, 2.5), (0.0, 2.05, 1.25)),
        ("west", (0.1, 4.2, 2.5), (-2.05, 0.0, 1.25)),
        ("east", (0.1, 4.2, 2.5), (2.05, 0.0, 1.25)),
    )
)
LAMP = Body("lamp", (Part(Box((0.4, 0.4, 0.2))),), Pose((0.0, 1.0, 2.2)))
RUG = Body("rug", (Part(Box((1.0, 1.0, 0.02))),), Pose((0.0, -1.0, 0.01)))
CRATE = Body("crate", (Part(Box((0.4, 0.4, 0.4))),), Pose((-1.0, 1.0, 0.2)), mass_kg=5.0)
FLAT = ((-2.0, -2.0), (2.0, -2.0), (2.0, 2.0), (-2.0, 2.0))
SCENE = Scene(
    "flat",
    (FLOOR, *WALLS, LAMP, RUG, CRATE),
    regions=(
        Region.on_ground("flat", FLAT, kind="floor", heights_m=(0.0, 2.5)),
        Region.on_ground(
            "kitchen", ((-2.0, 0.0), (2.0, 0.0), (2.0, 2.0), (-2.0, 2.0)), kind="room", heights_m=(0.0, 2.5)
        ),
        Region.on_ground(
            "hall", ((-2.0, -2.0), (2.0, -2.0), (2.0, 0.0), (-2.0, 0.0)), kind="room", heights_m=(0.0, 2.5)
        ),
    ),
    robots=(RobotPlacement("base", "differential_base", Pose((0.0, -1.0, 0.0))),),
)


@pytest.fixture(scope="module")
def simulator():
    simulator = BulletConfig().build()
    simulator.reset(SCENE)
    yield simulator
    simulator.close()


def test_the_way_to_the_next_room_leads_through_the_door(simulator: BulletSimulator) -> None:
    start, goals = (-1.5, -1.0), ((-1.5, 0.5), (1.5, -1.0), (0.0, 5.0))
    through, straight, outside = simulator.geodesic_m(start, goals, radius_m=RADIUS_M)
    # The disc rounds the door post at (1.0, +-0.05) at the distance of its radius, to within a cell.
    corner = math.dist(start, (1.0 + RADIUS_M, -0.05 - RADIUS_M)) + 2 * RADIUS_M + math.dist((1.25, 0.3), goals[0])
    assert 0.95 * corner - 0.3 < through < 1.05 * corner + 0.1
    assert straight == pytest.approx(3.0, abs=0.02)
    assert outside == math.inf


def test_a_base_that_is_too_wide_for_the_door_finds_no_way(simulator: BulletSimulator) -> None:
    assert simulator.geodesic_m((-1.5, -1.0), [(1.5, 1.0)], radius_m=0.55) == (math.inf,)


def test_rugs_and_lamps_are_not_in_the_way_and_crates_are_where_they_stand_now(simulator: BulletSimulator) -> None:
    assert simulator.is_free((0.0, 1.0), radius_m=RADIUS_M)
    assert simulator.is_free((0.0, -1.0), radius_m=RADIUS_M)
    assert not simulator.is_free((-1.0, 1.0), radius_m=RADIUS_M)
    snapped = simulator.snap((-1.0, 1.0), radius_m=RADIUS_M)
    assert snapped is not None
    assert simulator.is_free(snapped, radius_m=RADIUS_M)
    assert math.dist(snapped, (-1.0, 1.0)) == pytest.approx(0.2 + RADIUS_M, abs=0.1)
    simulator.teleport("crate", Pose((1.0, 1.0, 0.2)))
    assert simulator.is_free((-1.0, 1.0), radius_m=RADIUS_M)
    assert not simulator.is_free((1.0, 1.0), radius_m=RADIUS_M)
    simulator.teleport("crate", CRATE.pose)


def test_a_point_is_in_its_room_and_in_the_flat(simulator: BulletSimulator) -> None:
    assert simulator.regions_of((0.0, 1.0, 0.5)) == ("kitchen", "flat")
    assert simulator.regions_of((0.0, -1.0, 0.5)) == ("hall", "flat")
    assert simulator.regions_of((0.0, -3.0, 0.5)) == ()
