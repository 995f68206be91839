"""A written world state is restored without physics: the same facts and pixels, also in another process."""

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from embodied.errors import SimulationError
from embodied.geometry import Pose, look_at
from embodied.protocols import Navigable, Simulator, Teleportable
from embodied.scenes.scene import Body, Box, Camera, Joint, Part, RobotPlacement, Scene
from embodied.simulators.bullet import BulletConfig, BulletSimulator
from embodied.types import Command, WorldState, world_from_json, world_to_json
from tests.fakes import FakeSimulator
from tests.simulators.test_bullet import FLOOR, TABLE_TOP_M, grasp, grasp_scene, run

PLACE = """
import sys
import numpy as np
from embodied.scenes.scene import Scene
from embodied.simulators.bullet import BulletConfig
from embodied.types import world_from_json, world_to_json
folder = sys.argv[1]
simulator = BulletConfig().build()
simulator.reset(Scene.from_json(open(folder + "/scene.json").read()))
simulator.place(world_from_json(open(folder + "/state.json", "rb").read()))
image = simulator.observe("panda").images["front"]
np.savez(folder + "/seen.npz", rgb=image.rgb, depth_m=image.depth_m, instance=image.instance)
open(folder + "/again.json", "wb").write(world_to_json(simulator.state()))
for _ in range(10):
    simulator.advance({})
open(folder + "/later.json", "wb").write(world_to_json(simulator.state()))
simulator.close()
"""
CABINET = Body("cabinet", (Part(Box((0.3, 0.3, 0.02))),), Pose((1.0, 0.5, 0.3)))
DRAWER = Body("drawer", (Part(Box((0.2, 0.2, 0.1))),), mass_kg=0.5)
SLIDE = Joint(
    "slide", "prismatic", "cabinet", "drawer", Pose((0.0, 0.0, 0.2)), (1.0, 0.0, 0.0), upper=0.2, friction=2.0
)
BALL = Body("ball", (Part(Box((0.1, 0.1, 0.1))),), Pose((2.0, 1.0, 0.05)), mass_kg=0.2)
HOME = Scene(
    "home",
    (FLOOR, CABINET, DRAWER, BALL),
    (SLIDE,),
    cameras=(Camera("above", look_at((1.0, 0.0, 4.0), (1.0, 0.1, 0.0)), 48, 48, 1.2),),
    robots=(RobotPlacement("base", "mobile_panda"),),
)


@pytest.fixture(scope="module")
def simulator():
    simulator = BulletConfig().build()
    yield simulator
    simulator.close()


def assert_same_facts(left: WorldState, right: WorldState) -> None:
    assert world_to_json(left) == world_to_json(right)


def recorded() -> Scene:
    camera = Camera("front", look_at((1.6, 0.3, 1.1), (0.4, 0.0, TABLE_TOP_M + 0.1)), 64, 64, 0.9)
    return msgspec.structs.replace(grasp_scene(), cameras=(camera,))


def test_a_held_block_is_held_on_in_another_process_and_looks_the_same(
    simulator: BulletSimulator, tmp_path: Path
) -> None:
    above = grasp(simulator, recorded())
    run(simulator, {"panda": Command(above)}, 12)
    state, image = simulator.state(), simulator.observe("panda").images["front"]
    (tmp_path / "scene.json").write_text(recorded().to_json())
    (tmp_path / "state.json").write_bytes(world_to_json(state))
    subprocess.run([sys.executable, "-c", PLACE, str(tmp_path)], check=True, cwd=Path.cwd(), timeout=120)
    assert_same_facts(world_from_json((tmp_path / "again.json").read_bytes()), state)
    with np.load(tmp_path / "seen.npz") as seen:
        for name in ("rgb", "depth_m", "instance"):
            assert np.array_equal(seen[name], getattr(image, name)), name
    later = world_from_json((tmp_path / "later.json").read_bytes())
    assert later.held == {"panda": "block"}
    assert later.pose["block"].position_m == pytest.approx(state.pose["block"].position_m, abs=5e-3)
    assert later.time_s == pytest.approx(state.time_s + 0.5)


def test_a_base_a_drawer_and_a_free_body_are_put_back_and_stay(simulator: BulletSimulator) -> None:
    simulator.reset(HOME)
    saved = simulator.save()
    run(simulator, {"base": Command(base_velocity=np.array([0.3, 0.6]), gripper=0.2)}, 20)
    run(simulator, {"base": Command(base_velocity=np.zeros(2))}, 10)
    simulator.teleport("ball", Pose((1.5, -0.5, 0.05)))
    state = simulator.state()
    written = world_to_json(state)
    before = simulator.observe("base").images["above"]
    simulator.restore(saved)
    assert simulator.state().pose["ball"] != state.pose["ball"]
    simulator.place(world_from_json(written))
    after = simulator.observe("base").images["above"]
    assert_same_facts(simulator.state(), state)
    assert np.array_equal(before.instance, after.instance)
    rested = run(simulator, {}, 10)[-1]
    assert rested.pose["ball"].position_m == pytest.approx((1.5, -0.5, 0.05), abs=2e-3)
    assert rested.robots["base"].base.position_m == pytest.approx(state.robots["base"].base.position_m, abs=5e-3)
    assert rested.robots["base"].joint_position_rad == pytest.approx(state.robots["base"].joint_position_rad, abs=5e-3)


def test_an_open_drawer_is_open_again(simulator: BulletSimulator) -> None:
    simulator.reset(msgspec.structs.replace(HOME, joints=(msgspec.structs.replace(SLIDE, position=0.15),)))
    open_state = simulator.state()
    simulator.reset(HOME)
    simulator.place(world_from_json(world_to_json(open_state)))
    assert run(simulator, {}, 5)[-1].joint["slide"] == pytest.approx(0.15, abs=1e-3)


def test_a_state_of_another_scene_is_refused_before_anything_moves(simulator: BulletSimulator) -> None:
    simulator.reset(grasp_scene())
    other = simulator.state()
    simulator.reset(HOME)
    before = simulator.state()
    with pytest.raises(SimulationError, match="must have the bodies of the scene"):
        simulator.place(other)
    assert simulator.state() is before


def test_a_state_that_is_no_json_is_refused() -> None:
    with pytest.raises(SimulationError, match="well-formed"):
        world_from_json(b'{"time_s": "late"}')


def test_capabilities_are_found_at_run_time(simulator: BulletSimulator) -> None:
    plain: Simulator = FakeSimulator()
    for capability in (Teleportable, Navigable):
        assert isinstance(simulator, capability)
        assert not isinstance(plain, capability)


def test_equal_states_are_equal_bytes_in_whatever_order_their_contacts_were_found() -> None:
    pairs = [(f"block {number}", "table") for number in range(100)]
    state = WorldState(0.0, {}, {}, frozenset(pairs), {}, {})
    turned = WorldState(0.0, {}, {}, frozenset(reversed(pairs)), {}, {})
    assert list(state.contact) != list(turned.contact)
    assert world_to_json(state) == world_to_json(turned)
    assert world_from_json(world_to_json(state)).contact == state.contact
