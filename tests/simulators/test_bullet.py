"""The PyBullet world: refusals before physics, exact restores, grasps, mechanisms, several robots at once."""

import math
from functools import partial

import numpy as np
import pytest

from embodied.errors import CommandError, ConfigError, PathError, SceneError, SimulationError, UnknownNameError
from embodied.geometry import Pose, angle_between, compose, invert, look_at
from embodied.robots.catalogue import robot_model
from embodied.scenes.scene import Body, Box, Camera, Cylinder, Detent, Joint, Mesh, Part, RobotPlacement, Scene, Spring
from embodied.simulators.bullet import BulletConfig, BulletSimulator
from embodied.simulators.rendering.choice import RendererChoice
from embodied.simulators.world import WorldConfig
from embodied.types import Command

TABLE_TOP_M = 0.5
HOME = np.array(robot_model("panda").arm.home_rad)
# Tool 0.10 m above, and at, a block that stands 0.55 m ahead of the base, pointing down.
ABOVE = np.array([0.0, 0.5307, 0.0, -2.0083, 0.0, 2.539, 0.785398])
FLOOR = Body("floor", (Part(Box((20.0, 20.0, 0.1))),), Pose((0.0, 0.0, -0.05)))
TABLE = Body("table", (Part(Box((1.0, 1.4, 0.05))),), Pose((0.4, 0.0, TABLE_TOP_M - 0.025)))
PANDA = RobotPlacement("panda", "panda", Pose((0.0, 0.0, TABLE_TOP_M)))


@pytest.fixture(scope="module")
def simulator():
    simulator = BulletConfig().build()
    yield simulator
    simulator.close()


def run(simulator: BulletSimulator, commands: dict[str, Command], periods: int) -> list:
    states = []
    for _ in range(periods):
        simulator.advance(commands)
        states.append(simulator.state())
    return states


def drawer_scene(position: float, detent: Detent | None = None) -> Scene:
    cabinet = Body("cabinet", (Part(Box((0.3, 0.3, 0.02))),), Pose((2.0, 0.0, 0.5)))
    drawer = Body("drawer", (Part(Box((0.2, 0.2, 0.1))),), mass_kg=0.5)
    slide = Joint(
        "slide",
        "prismatic",
        "cabinet",
        "drawer",
        Pose((0.0, 0.0, 0.2)),
        axis=(1.0, 0.0, 0.0),
        upper=0.21,
        position=position,
        friction=2.0,
        detent=detent,
    )
    return Scene("drawer", (cabinet, drawer), (slide,), robots=(PANDA,))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (Command(np.array([np.nan, 0, 0, -1, 0, 1, 0])), "finite"),
        (Command(np.array([np.inf, 0, 0, -1, 0, 1, 0])), "finite"),
        (Command(np.zeros(6)), "shape"),
        (Command(np.array([9.0, 0, 0, -1, 0, 1, 0])), "panda_joint1"),
        (Command(gripper=1.5), r"\[0, 1\]"),
        (Command(gripper=math.nan), "finite"),
        (Command(base_velocity=np.zeros(2)), "no wheels"),
    ],
)
def test_a_bad_command_is_refused_before_anything_moves(simulator, command, words):
    simulator.reset(Scene("plain", (FLOOR,), robots=(PANDA, RobotPlacement("other", "kuka", Pose((0.0, 2.0, 0.0))))))
    before = simulator.state()
    good = Command(np.array(robot_model("kuka").arm.home_rad) + 0.2)
    with pytest.raises(CommandError, match=words):
        simulator.advance({"other": good, "panda": command})
    assert simulator.state() is before
    reference = run(simulator, {}, 5)[-1]
    simulator.reset(Scene("plain", (FLOOR,), robots=(PANDA, RobotPlacement("other", "kuka", Pose((0.0, 2.0, 0.0))))))
    undisturbed = run(simulator, {}, 5)[-1]
    for name in ("panda", "other"):
        assert np.array_equal(reference.robots[name].joint_position_rad, undisturbed.robots[name].joint_position_rad)


def test_an_unknown_robot_is_named_with_the_nearest_right_one(simulator):
    simulator.reset(Scene("plain", robots=(PANDA,)))
    with pytest.raises(UnknownNameError, match="Did you mean 'panda'"):
        simulator.advance({"pandas": Command(HOME)})
    with pytest.raises(UnknownNameError, match="differential_base"):
        simulator.reset(Scene("plain", robots=(RobotPlacement("a", "diferential_base"),)))


def test_a_mesh_outside_the_root_or_missing_is_refused_and_the_simulator_goes_on(simulator):
    for file, error in (("../../etc/passwd", PathError), ("/etc/passwd", PathError), ("no_such.obj", PathError)):
        scene = Scene("mesh", (Body("thing", (Part(Mesh(file)),)),), robots=(PANDA,))
        with pytest.raises(error, match=r"root|exist"):
            simulator.reset(scene)
    simulator.reset(Scene("plain", (FLOOR,), robots=(PANDA,)))
    assert run(simulator, {}, 1)[-1].time_s == pytest.approx(0.05)


def test_a_robot_that_starts_outside_its_limits_is_refused(simulator):
    with pytest.raises(SceneError, match="joint limits"):
        simulator.reset(Scene("plain", robots=(RobotPlacement("panda", "panda", joint_position_rad=(9.0,) * 7),)))


def test_rates_that_do_not_divide_are_refused():
    with pytest.raises(ConfigError, match="must divide"):
        BulletConfig(world=WorldConfig(physics_hz=240, control_hz=70)).build()


def test_two_arms_and_two_mobile_robots_move_at_once(simulator):
    scene = Scene(
        "team",
        (FLOOR,),
        robots=(
            RobotPlacement("left", "panda", Pose((0.0, 1.0, 0.0))),
            RobotPlacement("right", "kuka", Pose((0.0, -1.0, 0.0))),
            RobotPlacement("base", "differential_base", Pose((2.0, 0.0, 0.0))),
            RobotPlacement("mobile", "mobile_panda", Pose((2.0, 3.0, 0.0))),
        ),
    )
    simulator.reset(scene)
    kuka_aim = np.array(robot_model("kuka").arm.home_rad) + 0.3
    commands = {
        "left": Command(HOME + 0.2, gripper=0.0),
        "right": Command(kuka_aim),
        "base": Command(base_velocity=np.array([0.4, 0.0])),
        "mobile": Command(HOME - 0.2, gripper=0.5, base_velocity=np.array([0.0, 0.5])),
    }
    state = run(simulator, commands, 60)[-1]
    assert state.robots["left"].joint_position_rad == pytest.approx(HOME + 0.2, abs=2e-3)
    assert state.robots["left"].gripper == pytest.approx(0.0, abs=0.02)
    assert state.robots["right"].joint_position_rad == pytest.approx(kuka_aim, abs=2e-3)
    assert state.robots["mobile"].joint_position_rad == pytest.approx(HOME - 0.2, abs=5e-3)
    assert state.robots["base"].base.position_m == pytest.approx((2.0 + 0.4 * 3.0, 0.0, 0.0), abs=0.06)
    assert state.robots["mobile"].base.yaw_rad == pytest.approx(0.5 * 3.0, rel=0.15)
    assert set(state.held) == {"left", "right", "base", "mobile"}
    observation = simulator.observe("mobile", ())
    assert observation.robot == "mobile"
    assert observation.proprio.shape == (7 + 7 + 1 + 3,)


def test_the_tool_is_between_the_finger_tips_and_points_down_at_home(simulator):
    simulator.reset(Scene("plain", robots=(PANDA,)))
    tool = simulator.state().robots["panda"].tool
    assert tool.position_m == pytest.approx((0.548, 0.0, TABLE_TOP_M + 0.55), abs=2e-3)
    assert tool.matrix[:3, 2] == pytest.approx((0.0, 0.0, -1.0), abs=1e-3)


def grasp_scene() -> Scene:
    block = Body(
        "block", (Part(Box((0.05, 0.05, 0.05))),), Pose((0.55, 0.0, TABLE_TOP_M + 0.025)), mass_kg=0.3, graspable=True
    )
    return Scene("grasp", (FLOOR, TABLE, block), robots=(PANDA,))


def reach(simulator: BulletSimulator, height_m: float) -> np.ndarray:
    """Joint angles that put the tool above the block: Newton steps on the joints of the arm's plane, by physics."""
    import pinocchio as pin

    from embodied.robots.assets import urdf_path

    model = pin.buildModelFromUrdf(str(urdf_path(robot_model("panda"), visuals=False)))
    data, frame = model.createData(), model.getFrameId("panda_hand")
    tool = pin.SE3(np.eye(3), np.array(robot_model("panda").arm.tool_in_link.position_m))
    goal = pin.SE3(np.diag([1.0, -1.0, -1.0]), np.array([0.55, 0.0, height_m]))
    q = np.concatenate([ABOVE, [0.04, 0.04]])
    for _ in range(100):
        pin.framesForwardKinematics(model, data, q)
        error = pin.log((data.oMf[frame] * tool).actInv(goal)).vector
        jacobian = (tool.inverse().action @ pin.computeFrameJacobian(model, data, q, frame))[:, :7]
        q[:7] += jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-4 * np.eye(6), error)
    return q[:7]


def grasp(simulator: BulletSimulator, scene: Scene | None = None) -> np.ndarray:
    simulator.reset(scene or grasp_scene())
    above, at = reach(simulator, 0.15), reach(simulator, 0.025)
    for aim, opening in ((above, 1.0), (at, 1.0), (at, 0.0)):
        start = simulator.state().robots["panda"].joint_position_rad
        for share in np.linspace(0.05, 1.0, 20):
            simulator.advance({"panda": Command(start + share * (aim - start), opening)})
    return above


def test_closing_on_a_block_holds_it_firmly_and_opening_lets_it_fall(simulator):
    above = grasp(simulator)
    state = simulator.state()
    assert state.held["panda"] == "block"
    assert ("block", "panda") in state.contact
    start, in_hand = (
        state.robots["panda"].joint_position_rad,
        compose(invert(state.robots["panda"].tool), state.pose["block"]),
    )
    for share in np.linspace(0.05, 1.0, 20):
        simulator.advance({"panda": Command(start + share * (above - start))})
        state = simulator.state()
        now = compose(invert(state.robots["panda"].tool), state.pose["block"])
        assert np.linalg.norm(np.subtract(now.position_m, in_hand.position_m)) < 5e-4
        assert angle_between(now.orientation, in_hand.orientation) < 5e-3
    assert state.pose["block"].position_m[2] > TABLE_TOP_M + 0.13
    run(simulator, {"panda": Command(gripper=1.0)}, 20)
    state = simulator.state()
    assert state.held["panda"] is None
    assert state.pose["block"].position_m[2] == pytest.approx(TABLE_TOP_M + 0.025, abs=2e-3)


def test_closing_on_nothing_holds_nothing(simulator):
    simulator.reset(Scene("plain", (FLOOR,), robots=(PANDA,)))
    assert run(simulator, {"panda": Command(gripper=0.0)}, 20)[-1].held == {"panda": None}


def test_a_restored_instant_goes_on_bit_for_bit_also_with_a_block_in_the_hand(simulator):
    above = grasp(simulator)
    saved = simulator.save()
    commands = {"panda": Command(above)}
    first = run(simulator, commands, 15)
    run(simulator, {"panda": Command(gripper=1.0)}, 5)
    simulator.restore(saved)
    second = run(simulator, commands, 15)
    for left, right in zip(first, second, strict=True):
        assert left.pose == right.pose
        assert left.held == right.held
        assert left.time_s == right.time_s
        assert np.array_equal(left.robots["panda"].joint_position_rad, right.robots["panda"].joint_position_rad)
        assert np.array_equal(left.robots["panda"].joint_velocity_radps, right.robots["panda"].joint_velocity_radps)


def test_motors_that_are_set_once_go_on_bit_for_bit_after_a_restore(simulator):
    catch = Detent(position=0.0, capture=0.03, force=10.0)
    simulator.reset(drawer_scene(0.025, catch))
    aim = {"panda": Command(HOME + 0.1, gripper=0.3)}
    run(simulator, aim, 3)
    saved = simulator.save()
    first = run(simulator, {}, 12)
    run(simulator, {"panda": Command(HOME - 0.1, gripper=0.9)}, 12)
    for _ in range(2):  # Once with other motors in between, once with the same.
        simulator.restore(saved)
        second = run(simulator, {}, 12)
        for left, right in zip(first, second, strict=True):
            assert left.joint == right.joint
            assert left.robots["panda"].gripper == right.robots["panda"].gripper
            assert np.array_equal(left.robots["panda"].joint_position_rad, right.robots["panda"].joint_position_rad)


def test_a_period_asks_pybullet_nothing_about_bodies_that_cannot_move(simulator):
    def calls_of_a_period(fixed: int) -> int:
        blocks = tuple(
            Body(f"fixed_{index}", (Part(Box((0.1, 0.1, 0.1))),), Pose((3.0 + 0.2 * index, 0.0, 0.05)))
            for index in range(fixed)
        )
        simulator.reset(Scene("crowd", (FLOOR, *blocks, *grasp_scene().bodies[1:]), robots=(PANDA,)))
        run(simulator, {}, 3)
        bullet, calls = simulator._bullet, []
        names = [name for name, member in vars(bullet).items() if isinstance(member, partial)]
        with pytest.MonkeyPatch.context() as patch:
            for name in names:
                member = getattr(bullet, name)
                patch.setattr(bullet, name, lambda *a, _member=member, **k: (calls.append(0), _member(*a, **k))[1])
            simulator.advance({"panda": Command(HOME + 0.01)})
        assert len(simulator.state().pose) == fixed + 3
        return len(calls)

    assert calls_of_a_period(60) == calls_of_a_period(1) > 0


def test_fixed_parts_of_a_moving_tree_are_read_every_period(simulator):
    crate = Body("crate", (Part(Box((0.2, 0.2, 0.1))),), Pose((2.0, 0.0, 1.0)), mass_kg=1.0)
    knob = Body("knob", (Part(Box((0.02, 0.02, 0.02))),), mass_kg=0.01)
    glued = Joint("glued", "fixed", "crate", "knob", Pose((0.0, 0.0, 0.06)))
    simulator.reset(Scene("falling", (FLOOR, crate, knob), (glued,), robots=(PANDA,)))
    pose = run(simulator, {}, 8)[-1].pose
    assert pose["crate"].position_m[2] < 0.7
    assert pose["knob"].position_m[2] == pytest.approx(pose["crate"].position_m[2] + 0.06, abs=1e-3)


def test_a_saved_instant_of_another_reset_is_refused(simulator):
    simulator.reset(Scene("plain", robots=(PANDA,)))
    saved = simulator.save()
    simulator.reset(Scene("plain", robots=(PANDA,)))
    with pytest.raises(SimulationError, match="present reset"):
        simulator.restore(saved)


def test_the_same_scene_gives_the_same_motion_after_any_other(simulator):
    grasp(simulator)
    first = run(simulator, {}, 5)[-1]
    simulator.reset(drawer_scene(0.1))
    run(simulator, {}, 7)
    grasp(simulator)
    second = run(simulator, {}, 5)[-1]
    assert first.pose == second.pose
    assert np.array_equal(first.robots["panda"].joint_position_rad, second.robots["panda"].joint_position_rad)


def test_a_drawer_stays_where_it_is_left(simulator):
    simulator.reset(drawer_scene(0.1))
    assert run(simulator, {}, 20)[-1].joint["slide"] == pytest.approx(0.1, abs=1e-4)


def test_a_catch_snaps_a_nearly_shut_drawer_and_leaves_an_open_one(simulator):
    catch = Detent(position=0.0, capture=0.03, force=10.0)
    simulator.reset(drawer_scene(0.025, catch))
    assert run(simulator, {}, 40)[-1].joint["slide"] == pytest.approx(0.0, abs=2e-4)
    simulator.reset(drawer_scene(0.05, catch))
    assert run(simulator, {}, 40)[-1].joint["slide"] == pytest.approx(0.05, abs=2e-4)


def test_a_sprung_button_gives_way_to_a_weight_and_comes_back(simulator):
    base = Body("base", (Part(Box((0.1, 0.1, 0.02))),), Pose((1.0, 0.0, 0.01)))
    cap = Body("cap", (Part(Cylinder(0.028, 0.02)),), mass_kg=0.05)
    press = Joint("button", "prismatic", "base", "cap", Pose((0.0, 0.0, 0.03)), (0.0, 0.0, -1.0), upper=0.008)
    press = Joint(**{f: getattr(press, f) for f in press.__struct_fields__} | {"spring": Spring(600.0, 4.0)})
    weight = Body("weight", (Part(Box((0.04, 0.04, 0.04))),), Pose((1.0, 0.0, 0.06)), mass_kg=0.3)
    aside = Body("weight", weight.parts, Pose((1.5, 0.0, 0.02)), mass_kg=0.3)
    simulator.reset(Scene("pressed", (FLOOR, base, cap, weight), (press,)))
    down = run(simulator, {}, 40)[-1].joint["button"]
    assert down == pytest.approx((0.3 + 0.05) * 9.81 / 600.0, abs=5e-4)
    simulator.teleport("weight", aside.pose)
    assert run(simulator, {}, 40)[-1].joint["button"] == pytest.approx(0.05 * 9.81 / 600.0, abs=3e-4)


def test_a_spring_that_would_explode_is_refused(simulator):
    base = Body("base", (Part(Box((0.1, 0.1, 0.02))),))
    cap = Body("cap", (Part(Cylinder(0.028, 0.02)),), mass_kg=0.02)
    press = Joint("button", "prismatic", "base", "cap", upper=0.008, spring=Spring(800.0, 8.0))
    with pytest.raises(SceneError, match="soft enough"):
        simulator.reset(Scene("stiff", (base, cap), (press,)))


@pytest.mark.parametrize("renderer", [RendererChoice.opengl, RendererChoice.tiny])
def test_cameras_see_instances_at_their_true_depth(renderer):
    box = Body("box", (Part(Box((0.4, 0.4, 0.2)), rgba=(0.9, 0.1, 0.1, 1.0)),), Pose((1.0, 0.0, 0.1)))
    camera = Camera("top", look_at((1.0, 0.0, 1.7), (1.0, 0.0, 0.0), up=(1.0, 0.0, 0.0)), 64, 48, 0.8)
    simulator = BulletConfig(renderer=renderer).build()
    simulator.reset(Scene("seen", (FLOOR, box), cameras=(camera,), robots=(PANDA,)))
    image = simulator.observe("panda", ("top",)).images["top"]
    ids = Scene("seen", (FLOOR, box), robots=(PANDA,)).instance_ids()
    assert image.rgb.shape == (48, 64, 3)
    assert image.depth_m.dtype == np.float32
    assert image.instance[24, 32] == ids["box"]
    assert image.instance[1, 1] == ids["floor"]
    assert image.depth_m[24, 32] == pytest.approx(1.5, abs=3e-3)
    assert image.depth_m[1, 1] == pytest.approx(1.7, abs=3e-3)
    assert image.rgb[24, 32, 0] > image.rgb[24, 32, 1] + 50
    simulator.close()


def test_a_wrist_camera_moves_with_the_tool(simulator):
    camera = Camera("wrist", Pose((0.0, 0.0, -0.1)), mount="panda")
    simulator.reset(Scene("wrist", (FLOOR,), cameras=(camera,), robots=(PANDA,)))
    run(simulator, {"panda": Command(HOME + 0.1)}, 10)
    image = simulator.observe("panda", ("wrist",)).images["wrist"]
    tool = simulator.state().robots["panda"].tool
    assert image.world_from_camera == pytest.approx(tool.matrix @ Pose((0.0, 0.0, -0.1)).matrix, abs=1e-9)


@pytest.mark.parametrize("renderer", [RendererChoice.opengl, RendererChoice.tiny])
def test_a_camera_on_a_link_moves_with_that_link_and_sees_from_there(renderer):
    simulator = BulletConfig(renderer=renderer).build()
    simulator.reset(Scene("bare", robots=(PANDA,)))
    link = simulator._robots["panda"].link_poses()["panda_link4"]
    sideways = look_at((0.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    in_link = Pose((0.2, 0.0, 0.3), compose(invert(Pose(orientation=link.orientation)), sideways).orientation)
    cameras = (Camera("elbow", in_link, 64, 48, mount="panda", link="panda_link4"),)
    wall = Body("wall", (Part(Box((8.0, 0.1, 8.0))),), Pose((0.0, 2.0, 1.0)))
    scene = Scene("links", (wall,), cameras=cameras, robots=(PANDA,))
    simulator.reset(scene)
    run(simulator, {"panda": Command(HOME + np.array([0.0, 0.1, 0.0, -0.1, 0.0, 0.0, 0.0]))}, 20)
    image = simulator.observe("panda").images["elbow"]
    robot = simulator._robots["panda"]
    assert image.world_from_camera == pytest.approx(robot.link_poses()["panda_link4"].matrix @ in_link.matrix, abs=1e-6)
    ahead = image.world_from_camera[:3, 2]
    from_wall = (1.95 - image.world_from_camera[1, 3]) / ahead[1]
    assert image.depth_m[24, 32] == pytest.approx(from_wall, abs=5e-3)
    assert image.instance[24, 32] == scene.instance_ids()["wall"]
    simulator.reset(Scene("typo", cameras=(Camera("eye", Pose(), mount="panda", link="panda_lnk4"),), robots=(PANDA,)))
    with pytest.raises(UnknownNameError, match="Did you mean 'panda_link4'"):
        simulator.observe("panda")
    simulator.close()


def test_an_unknown_camera_is_named_with_the_nearest_right_one(simulator):
    camera = Camera("wrist", Pose(), mount="panda")
    simulator.reset(Scene("wrist", (FLOOR,), cameras=(camera,), robots=(PANDA,)))
    with pytest.raises(UnknownNameError, match="Did you mean 'wrist'"):
        simulator.observe("panda", ("wrst",))


def test_only_a_free_body_can_be_put_elsewhere(simulator):
    simulator.reset(drawer_scene(0.1))
    for body in ("drawer", "cabinet"):
        with pytest.raises(SceneError, match="free body"):
            simulator.teleport(body, Pose((3.0, 0.0, 1.0)))


def test_an_asset_root_that_is_no_folder_is_refused():
    with pytest.raises(ConfigError, match="asset_root must be a folder"):
        BulletConfig(world=WorldConfig(asset_root="/nonexistent")).build()


def test_commands_that_are_no_mapping_are_refused(simulator):
    simulator.reset(Scene("plain", robots=(PANDA,)))
    with pytest.raises(CommandError, match="mapping"):
        simulator.advance(None)
