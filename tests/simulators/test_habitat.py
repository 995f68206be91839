"""Habitat-Sim as a simulator: on the stand-in everywhere, on the real one where an interpreter with it is named."""

import itertools
import math
import os
import signal
from dataclasses import replace
from functools import partial

import msgspec
import numpy as np
import pytest

from embodied.errors import ConfigError, MissingDependencyError, OutageError, PathError
from embodied.geometry import Pose, look_at, quaternion_from_euler, quaternion_from_yaw
from embodied.robots.assets import asset_root
from embodied.robots.catalogue import robot_model
from embodied.robots.kinematics import kinematics
from embodied.scenes.export import export_habitat
from embodied.scenes.house import make_house
from embodied.scenes.scene import Body, Box, Camera, Cylinder, Joint, Mesh, Part, RobotPlacement, Scene, Sphere
from embodied.simulators.bullet import BulletConfig
from embodied.simulators.habitat import HabitatConfig
from embodied.simulators.habitat.config import PYTHON_VARIABLE, start_worker
from embodied.simulators.habitat.simulator import HabitatSimulator
from embodied.simulators.world import WorldConfig
from embodied.testing import check_simulator
from embodied.types import Command, SetColour, SetJoint
from tests.simulators.remote_worlds import start
from tests.simulators.test_navigation import SCENE as FLAT

NAMED = os.environ.get(PYTHON_VARIABLE, "")
REAL = pytest.mark.skipif(not NAMED, reason=f"{PYTHON_VARIABLE} names no interpreter with habitat-sim")
EACH = pytest.mark.parametrize("real", [False, pytest.param(True, marks=REAL)], ids=["stand-in", "habitat-sim"])
RED, GREEN = (0.8, 0.1, 0.1, 1.0), (0.1, 0.7, 0.2, 1.0)
DOWN = quaternion_from_euler(math.pi, 0.0, 0.0)


def make(real=False, fault=""):
    return HabitatConfig().build() if real else HabitatSimulator(WorldConfig(), partial(start, fault))


def flat(*cameras):
    return msgspec.structs.replace(FLAT, cameras=cameras)


EYE = Camera("eye", Pose((0.3, 0.0, 0.5)), 8, 6, mount="base")
CUBE = Body("cube", (Part(Box((0.04, 0.04, 0.04)), rgba=RED),), Pose((0.5, 0.0, 0.42)), mass_kg=0.1, graspable=True)
TABLE = Body("table", (Part(Box((0.6, 1.2, 0.4))),), Pose((0.55, 0.0, 0.2)))
OUT = Pose((-0.05, 0.0, 0.2))
KITCHEN = Scene(
    "kitchen",
    (
        TABLE,
        CUBE,
        Body("cabinet", (Part(Box((0.4, 0.4, 0.8)), rgba=GREEN),), Pose((-0.8, 0.6, 0.4), quaternion_from_yaw(0.4))),
        Body("drawer", (Part(Box((0.36, 0.3, 0.2)), rgba=RED),), mass_kg=1.0),
        Body("vase", (Part(Cylinder(0.06, 0.3), rgba=GREEN), Part(Sphere(0.08), Pose((0.0, 0.0, 0.2)), RED)),
             Pose((0.6, 0.3, 0.55)), mass_kg=0.2, graspable=True),
        Body("duck", (Part(Mesh("duck.obj", (0.1, 0.1, 0.1)), rgba=RED),), Pose((0.45, -0.35, 0.4)), mass_kg=0.1),
        Body("floor", (Part(Box((6.0, 6.0, 0.1)), rgba=(0.6, 0.6, 0.6, 1.0)),), Pose((0.0, 0.0, -0.05))),
        Body("wall", (Part(Box((0.1, 6.0, 2.0))),), Pose((1.6, 0.0, 1.0))),
    ),
    joints=(Joint("slide", "prismatic", "cabinet", "drawer", OUT, (-1.0, 0.0, 0.0), 0.0, 0.3, 0.2),),
    robots=(RobotPlacement("arm", "panda", Pose((0.0, 0.0, 0.0))),
            RobotPlacement("rover", "differential_base", Pose((-0.6, -1.0, 0.0), quaternion_from_yaw(0.8)))),
    cameras=(
        Camera("front", Pose((-1.4, 0.3, 1.3), quaternion_from_euler(-2.2, 0.0, -1.6)), 48, 36, fov_y_rad=1.0),
        Camera("wrist", Pose((0.05, 0.0, -0.06)), 32, 32, fov_y_rad=1.2, mount="arm"),
        Camera("rover_eye", Pose((0.35, 0.0, 0.4), quaternion_from_euler(-math.pi / 2, 0.0, -math.pi / 2)), 40, 30,
               mount="rover"),
    ),
)  # fmt: skip


def reach(point_m):
    """Returns the joints of the arm whose tool is at `point_m` and points down."""
    joints = kinematics(robot_model("panda")).inverse(Pose(point_m, DOWN))
    assert joints is not None
    return joints


def moved_to(simulator, point_m, gripper, periods=60):
    for _ in range(periods):
        simulator.advance({"arm": Command(reach(point_m), gripper)})
    return simulator.state()


@pytest.fixture(scope="module")
def world():
    simulator = make()
    yield simulator
    simulator.close()


@EACH
def test_a_flat_in_habitat_keeps_the_contract_of_simulators(real):
    check_simulator(partial(make, real), flat(EYE))


@REAL
def test_a_kitchen_in_habitat_keeps_the_contract_of_simulators():
    check_simulator(partial(make, True), KITCHEN)


def test_a_cube_is_picked_carried_and_set_down_on_what_is_below(world):
    world.reset(KITCHEN)
    assert moved_to(world, (0.5, 0.0, 0.42), 1.0).held["arm"] is None
    taken = moved_to(world, (0.5, 0.0, 0.42), 0.0, periods=10)
    assert taken.held["arm"] == "cube"
    assert ("arm", "cube") in taken.contact
    assert 0.4 < taken.robots["arm"].gripper < 0.6  # The fingers stop at the cube, half as wide as they open.
    carried = moved_to(world, (0.45, 0.2, 0.6), 0.0)
    assert carried.pose["cube"].position_m == pytest.approx((0.45, 0.2, 0.6), abs=1e-3)
    released = moved_to(world, (0.45, 0.2, 0.6), 1.0, periods=2)
    assert released.held["arm"] is None
    assert released.pose["cube"].position_m == pytest.approx((0.45, 0.2, 0.42), abs=1e-3)


def test_what_is_released_with_an_error_is_displaced_and_what_is_beside_the_table_falls_to_the_ground(world):
    world.reset(KITCHEN)
    moved_to(world, (0.5, 0.0, 0.42), 1.0)
    moved_to(world, (0.5, 0.0, 0.42), 0.0, periods=3)
    moved_to(world, (0.1, 0.45, 0.5), 0.0)
    end_effector = robot_model("panda").end_effectors[0]
    world.advance({"arm": Command(gripper=1.0, release_error={end_effector: (0.02, -0.01, 0.3)})})
    cube = world.state().pose["cube"]
    assert cube.position_m == pytest.approx((0.12, 0.44, 0.02), abs=1e-3)


def test_a_gripper_takes_nothing_that_is_out_of_reach_or_not_graspable(world):
    world.reset(KITCHEN)
    moved_to(world, (0.5, 0.1, 0.45), 1.0)
    assert moved_to(world, (0.5, 0.1, 0.45), 0.0, periods=5).held["arm"] is None


def test_a_base_stops_at_a_wall_and_may_turn_and_leave(world):
    world.reset(flat())
    for _ in range(80):
        world.advance({"base": Command(base_velocity=np.array([0.5, 0.0]))})
    x, y, _ = world.state().robots["base"].base.position_m
    assert 2.0 - 0.25 - 0.15 < x < 2.0 - 0.25 + 0.05
    assert y == pytest.approx(-1.0)
    for _ in range(20):
        world.advance({"base": Command(base_velocity=np.array([-0.5, 0.0]))})
    assert world.state().robots["base"].base.position_m[0] == pytest.approx(x - 0.5)


@EACH
def test_the_floor_of_the_next_scene_is_its_own(real):
    simulator = make(real)
    moved = [msgspec.structs.replace(body, pose=Pose((1.0, 1.0, 0.2))) if body.name == "crate" else body
             for body in FLAT.bodies]  # fmt: skip
    for bodies, crate, elsewhere in ((FLAT.bodies, (-1.0, 1.0), (1.0, 1.0)), (moved, (1.0, 1.0), (-1.0, 1.0))):
        simulator.reset(msgspec.structs.replace(FLAT, bodies=tuple(bodies)))
        assert not simulator.is_free(crate, radius_m=0.25)
        assert simulator.is_free(elsewhere, radius_m=0.25)
    simulator.close()


def test_a_base_drives_along_the_arc_of_its_two_speeds(world):
    world.reset(flat())
    for _ in range(20):
        world.advance({"base": Command(base_velocity=np.array([0.2, 0.5]))})
    base = world.state().robots["base"].base
    assert base.yaw_rad == pytest.approx(0.5, abs=1e-9)
    assert base.position_m[:2] == pytest.approx((0.4 * math.sin(0.5), -1.0 + 0.4 * (1 - math.cos(0.5))), abs=1e-9)


def test_changes_show_in_images_and_joints(world):
    world.reset(KITCHEN)
    before = world.observe("arm", ["front"]).images["front"]
    ids = KITCHEN.instance_ids()
    assert (before.instance == ids["drawer"]).any()
    world.apply([SetColour("drawer", (0.0, 0.0, 1.0, 1.0)), SetJoint("slide", 0.0)])
    after = world.observe("arm", ["front"]).images["front"]
    blue = after.rgb[after.instance == ids["drawer"]].astype(int)
    assert (blue[:, 2] > blue[:, 0] + 100).all()
    assert (after.instance == ids["drawer"]).sum() != (before.instance == ids["drawer"]).sum()


def test_a_worker_that_dies_between_calls_is_started_again_and_draws_the_same(world):
    world.reset(KITCHEN)
    world.advance({"rover": Command(base_velocity=np.array([0.1, 0.2]))})
    before = world.observe("arm").images
    dead = world._place.worker.process_id
    os.kill(dead, signal.SIGKILL)
    os.waitid(os.P_PID, dead, os.WEXITED | os.WNOWAIT)
    after = world.observe("arm").images
    assert world._place.worker.process_id != dead
    for name, part in itertools.product(before, ("rgb", "depth_m", "instance")):
        assert (getattr(before[name], part) == getattr(after[name], part)).all()


@pytest.mark.parametrize("fault", ["hang", "die"])
def test_a_fault_of_the_renderer_is_an_outage_and_the_state_survives(fault):
    simulator = HabitatSimulator(WorldConfig(), partial(start, fault, timeout_s=1.0))
    simulator.reset(KITCHEN)
    simulator.advance({"arm": Command(reach((0.5, 0.0, 0.5)), 0.5)})
    before = simulator.state()
    with pytest.raises(OutageError):
        simulator.observe("arm")
    assert simulator.state() is before
    simulator.close()
    simulator.close()


def test_without_habitat_one_error_says_what_to_install_and_how(monkeypatch):
    monkeypatch.delenv(PYTHON_VARIABLE, raising=False)
    with pytest.raises(MissingDependencyError) as caught:
        HabitatConfig().check()
    for word in ("habitat-sim 0.3.2 to 0.3.4", "conda create", PYTHON_VARIABLE, "simulator.python"):
        assert word in str(caught.value)
    with pytest.raises(MissingDependencyError, match="habitat_sim") as caught:
        start_worker(os.sys.executable, 20.0)
    assert PYTHON_VARIABLE in str(caught.value)


def test_settings_out_of_range_and_missing_datasets_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv(PYTHON_VARIABLE, "python")
    with pytest.raises(PathError, match=r"scene_dataset_config\.json"):
        HabitatConfig(dataset=str(tmp_path / "hssd.scene_dataset_config.json"), place="102344280").check()
    with pytest.raises(PathError, match=r"simulator\.place"):
        HabitatConfig(place=str(tmp_path / "none.glb")).check()
    (tmp_path / "a.scene_dataset_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="name a scene"):
        HabitatConfig(dataset=str(tmp_path / "a.scene_dataset_config.json")).check()
    with pytest.raises(ConfigError, match="timeout_s"):
        HabitatConfig(timeout_s=0.0).check()
    HabitatConfig().check()


# --- The same scene in two simulators ---------------------------------------------------------------------------------


@EACH
def test_the_same_state_looks_the_same_in_bullet_and_in_habitat(real):
    bullet, habitat = BulletConfig().build(), make(real)
    bullet.reset(KITCHEN)
    habitat.reset(KITCHEN)
    for period in range(20):
        bullet.advance({"rover": Command(base_velocity=np.array([0.2, 0.3])),
                        "arm": Command(reach((0.5, 0.01 * period, 0.5)), 0.7)})  # fmt: skip
    state = replace(bullet.state(), colours={"vase": {"": (0.9, 0.9, 0.1, 1.0)}})
    habitat.place(state)
    shown, drawn = bullet.observe("arm").images, habitat.observe("arm").images
    figures = {name: agreement(shown[name], drawn[name]) for name in shown}
    bullet.close()
    habitat.close()
    for depth, instance in figures.values():
        assert depth >= 0.95
        assert instance >= 0.90


def agreement(one, other):
    """Returns the shares of pixels with a depth within 2 cm, and with the same instance."""
    assert np.allclose(one.world_from_camera, other.world_from_camera)
    assert np.allclose(one.intrinsics, other.intrinsics)
    depth = np.abs(one.depth_m - other.depth_m) <= 0.02
    return float(depth.mean()), float((one.instance == other.instance).mean())


@REAL
def test_paths_are_as_long_in_habitat_as_in_bullet():
    bullet, habitat = BulletConfig().build(), make(real=True)
    points = [(-1.5, -1.0), (1.5, -1.0), (1.5, 1.5), (-1.6, 0.6), (-1.2, 1.6), (0.0, 1.0), (1.2, -1.6), (-1.7, -1.7)]
    lengths = []
    for simulator in (bullet, habitat):
        simulator.reset(flat())
        lengths.append(np.array([simulator.geodesic_m(point, points, radius_m=0.25) for point in points]))
        simulator.close()
    ours, theirs = lengths
    assert np.isfinite(ours).all()
    apart = ours > 0.3
    off = np.abs(theirs[apart] / ours[apart] - 1.0)
    assert off.max() <= 0.05


@REAL
@pytest.mark.parametrize("seed", [0, 4])
def test_a_home_looks_the_same_and_has_the_same_paths_in_habitat(seed):
    bullet, habitat = BulletConfig().build(), make(real=True)
    scene, random = make_house(seed).scene, np.random.default_rng(seed)
    rooms = [region.pose.position_m for region in scene.regions if region.kind == "room"]
    bullet.reset(scene)
    drawn = [rooms[index % len(rooms)][:2] + random.uniform(-1.5, 1.5, 2) for index in range(10)]
    points = [point for point in (bullet.snap(one, radius_m=0.25) for one in drawn) if point is not None]
    cameras = [
        Camera(f"at{index}", look_at((x, y, 1.3), (x + math.cos(angle), y + math.sin(angle), 0.7)), 96, 128, 0.96)
        for index, ((x, y), angle) in enumerate(zip(points, random.uniform(0.0, 6.28, len(points)), strict=True))
    ]
    images, lengths = [], []
    for simulator in (bullet, habitat):
        simulator.reset(msgspec.structs.replace(scene, cameras=tuple(cameras)))
        images.append(simulator.observe(scene.robots[0].name).images)
        lengths.append(np.array([simulator.geodesic_m(point, points, radius_m=0.25) for point in points]))
        simulator.close()
    for name in images[0]:
        depth, instance = agreement(images[0][name], images[1][name])
        assert depth >= 0.95
        assert instance >= 0.90
    ours, theirs = lengths
    assert (np.isfinite(ours) == np.isfinite(theirs)).all()
    apart = np.isfinite(ours) & (ours > 0.3)
    assert np.abs(theirs[apart] / ours[apart] - 1.0).max() <= 0.05


@REAL
def test_an_exported_home_is_a_place_of_its_own_dataset(tmp_path):
    home = make_house(0).scene
    dataset = export_habitat(home, tmp_path, asset_root=asset_root())
    bullet, habitat = BulletConfig().build(), HabitatConfig(dataset=str(dataset.config), place=dataset.scene).build()
    x, y, _ = next(region.pose.position_m for region in home.regions if region.kind == "room")
    eye = Camera("eye", look_at((x, y, 1.3), (x + 1.0, y + 0.3, 0.7)), 96, 128, 0.96)
    bullet.reset(msgspec.structs.replace(home, cameras=(eye,)))
    habitat.reset(Scene("visitor", cameras=(eye,), robots=home.robots))
    robot = home.robots[0].name
    ours, theirs = bullet.observe(robot).images["eye"], habitat.observe(robot).images["eye"]
    # Ids of the place follow behind that of the robot, the only thing of the scene.
    ids = np.where(theirs.instance > 1, theirs.instance - 1, theirs.instance * home.instance_ids()[robot])
    assert (np.abs(ours.depth_m - theirs.depth_m) <= 0.02).mean() >= 0.95
    # By category, since walls of adjoining rooms share faces, of which either may be drawn.
    categories = np.array(["", *(body.category for body in home.bodies), "robot"])
    assert (categories[ids] == categories[ours.instance]).mean() >= 0.90
    assert {thing.instance for thing in habitat.things} <= set(dataset.instances.values())
    points = [point for point in (bullet.snap((x + dx, y), radius_m=0.3) for dx in (-1.0, 0.0, 1.0)) if point]
    lengths = [np.array(one.geodesic_m(points[0], points, radius_m=0.25)) for one in (bullet, habitat)]
    bullet.close()
    habitat.close()
    assert lengths[1] == pytest.approx(lengths[0], rel=0.05, abs=0.05)
