"""A robot of one's own drives through kinematics, controllers, physics and pixels; what does not fit is refused."""

from pathlib import Path

import numpy as np
import pytest

from embodied.controllers import ControllerConfig
from embodied.errors import ConfigError, EmbodiedError, UnknownNameError
from embodied.evaluation.provenance import fingerprint
from embodied.geometry import quaternion_from_euler
from embodied.robots.catalogue import robot_model
from embodied.robots.commands import proprio_layout
from embodied.robots.kinematics import kinematics
from embodied.scenes.scene import Camera, RobotPlacement, Scene
from embodied.simulators.bullet import BulletConfig
from embodied.tasks.memorybench.put_block_back import PutBlockBack
from embodied.types import Command, ControllerReport, ControllerStatus, MoveTo
from tests.controllers.worlds import TABLE, box
from tests.robots.small_robot import Change, write_small_robot

DOWN = quaternion_from_euler(np.pi, 0.0, 0.3)
AT = (0.45, 0.1)


def test_a_model_file_gives_a_robot_with_the_limits_of_its_urdf_and_joints_that_mimic(tmp_path):
    model = robot_model(str(write_small_robot(tmp_path)))
    arm = model.end_effector()
    assert (model.name, arm.joints[0], model.fixed) == ("small", "turn", True)
    assert (arm.lower_rad[1], arm.upper_rad[1], arm.velocity_limit_radps[4], arm.effort_limit_nm[0]) == (-1, 2.5, 3, 80)
    assert arm.gripper is not None
    assert arm.gripper.joints == ("g_left", "g_right")
    assert arm.gripper.positions(0.25) == (0.01, 0.01)
    assert proprio_layout(model)[:2] == ("turn_rad", "shoulder_rad")
    assert proprio_layout(model)[-1] == "gripper_opening"


def test_a_mimic_joint_that_turns_the_other_way_closes_with_its_leader(tmp_path):
    def reverse(model):
        model["arms"][0]["gripper"]["mimic"] = {"g_right": {"joint": "g_left", "multiplier": -0.5, "offset": 0.03}}

    gripper = robot_model(str(write_small_robot(tmp_path, reverse))).end_effector().gripper
    assert gripper is not None
    assert gripper.positions(0.0) == pytest.approx((0.0, 0.03))
    assert gripper.positions(1.0) == pytest.approx((0.04, 0.01))
    assert [gripper.opening(gripper.positions(share)) for share in (0.0, 0.5, 1.0)] == pytest.approx([0.0, 0.5, 1.0])
    assert gripper.per_metre == pytest.approx((1.0, 0.5))


def test_a_robot_of_ones_own_picks_a_block_up_and_is_seen(tmp_path):
    path = str(write_small_robot(tmp_path))
    model = robot_model(path)
    tool = kinematics(model).tool(np.array(model.home_rad))
    assert kinematics(model).inverse(tool) is not None
    wrist = Camera("wrist", model.cameras[0].pose, 64, 64, model.cameras[0].fov_y_rad, mount="robot")
    scene = Scene("bench", (TABLE, box("block", (0.05, 0.05, 0.05), (*AT, 0.0255), 0.2)), cameras=(wrist,),
                  robots=(RobotPlacement("robot", path),))  # fmt: skip
    simulator = BulletConfig().build()
    simulator.reset(scene)
    controller = ControllerConfig().build(scene, "robot", period_s=simulator.control_period_s)
    openings = []
    for height_m, open_ in ((0.2, True), (0.03, False), (0.2, False)):
        report = controller.begin(
            MoveTo((*AT, height_m), DOWN, open_, avoid_collisions=open_), simulator.state(), seed=1
        )
        while report is None:
            answer = controller.tick(simulator.state())
            report = answer if isinstance(answer, ControllerReport) else simulator.advance({"robot": answer})
        assert report.status is ControllerStatus.DONE, report
        openings.append(simulator.state().robots["robot"].end_effector().gripper)
    state, image = simulator.state(), simulator.observe("robot").images["wrist"]
    simulator.close()
    assert state.held == {"robot": "block"}
    assert state.pose["block"].position_m[2] > 0.15
    assert openings[0] == pytest.approx(1.0, abs=0.02)
    assert 0.4 < openings[1] < 0.8
    seen = set() if image.instance is None else set(np.unique(image.instance).tolist())
    assert {scene.instance_ids()["robot"], scene.instance_ids()["block"]} <= seen


@pytest.mark.parametrize("carrier", ["palm", "left_finger"])
def test_links_that_a_gripper_carries_beside_its_fingers_do_not_push_on_what_it_holds(tmp_path, carrier):
    path = str(write_small_robot(tmp_path))
    gripper = tmp_path / "gripper" / "gripper.urdf"
    pad = '<link name="pad"><collision><geometry><box size="0.03 0.03 0.03"/></geometry></collision></link>'
    joint = (
        f'<joint name="pad" type="fixed"><parent link="{carrier}"/><child link="pad"/><origin xyz="0 0 0.08"/></joint>'
    )
    gripper.write_text(gripper.read_text().replace("</robot>", f"{pad}{joint}</robot>"))
    model = robot_model(path)
    tool = kinematics(model).tool(np.array(model.home_rad))
    scene = Scene("held", (TABLE, box("block", (0.05, 0.05, 0.05), tool.position_m, 0.2)),
                  robots=(RobotPlacement("robot", path, gripper=0.0),))  # fmt: skip
    simulator = BulletConfig().build()
    simulator.reset(scene)
    simulator._attachments.hold(("robot", "gripper"), "block")
    for _ in range(3):
        simulator.advance({})
    robot, block = simulator._robots["robot"].uid, simulator._handles["block"].uid
    contacts = simulator._bullet.getContactPoints(robot, block)
    moved_m = np.linalg.norm(np.subtract(simulator.state().pose["block"].position_m, tool.position_m))
    simulator.close()
    assert contacts == ()
    assert moved_m < 0.002


def test_two_arms_of_ones_own_on_a_base_of_ones_own_move_and_drive(tmp_path):
    """Each arm and gripper has a prefix; the second arm stands beside the first."""

    def double(model):
        arm = model["arms"][0]
        model["parts"], model["arms"] = [{"urdf": "cart.urdf"}], []
        for side, y in (("l_", 0.3), ("r_", -0.3)):
            model["parts"] += [
                {"urdf": "arm.urdf", "prefix": side, "parent": "cart_on_casters", "at": {"position_m": [0, y, 0.2]}},
                {"urdf": "gripper/gripper.urdf", "prefix": f"{side}g_", "parent": f"{side}flange"},
            ]
            gripper = arm["gripper"] | {
                "joints": {f"{side}g_left": {"closed": 0, "open": 0.04}},
                "fingers": [f"{side}g_left_finger", f"{side}g_right_finger"],
            }
            names = {
                "name": side,
                "joints": [f"{side}{joint}" for joint in arm["joints"]],
                "tool_link": f"{side}g_palm",
            }
            model["arms"].append(arm | names | {"gripper": gripper})
        model["drive"] = {"kind": "holonomic", "linear_limit_mps": 1, "lateral_limit_mps": 1, "angular_limit_radps": 1,
                          "force_n": 300, "torque_nm": 80}  # fmt: skip

    path = write_small_robot(tmp_path, double)
    (tmp_path / "cart.urdf").write_text(
        '<robot name="cart"><link name="cart_on_casters"><inertial><origin xyz="0 0 0.1"/><mass value="80"/>'
        '<inertia ixx="5" ixy="0" ixz="0" iyy="5" iyz="0" izz="5"/></inertial><collision><origin xyz="0 0 0.1"/>'
        '<geometry><box size="0.6 0.9 0.2"/></geometry></collision></link></robot>'
    )
    model = robot_model(str(path))
    simulator = BulletConfig().build()
    floor = box("floor", (6.0, 6.0, 0.1), (0.0, 0.0, -0.05))
    simulator.reset(Scene("floor", (floor,), robots=(RobotPlacement("robot", str(path)),)))
    goal = {"l_": np.array(model.end_effector("l_").home_rad) + np.array([0.3, 0, 0, 0, 0])}
    for _ in range(30):
        command = Command(joint_position_rad=goal, gripper={"r_": 0.5}, base_velocity=np.array([0.2, 0.1, 0.0]))
        simulator.advance({"robot": command})
    state = simulator.state().robots["robot"]
    simulator.close()
    assert state.joint_position_rad[model.columns("l_")][0] == pytest.approx(0.3, abs=0.02)
    assert state.joint_position_rad[model.columns("r_")][0] == pytest.approx(0.0, abs=0.02)
    assert (state.end_effectors["l_"].gripper, state.end_effectors["r_"].gripper) == pytest.approx((1.0, 0.5), abs=0.02)
    assert state.base.position_m[0] > 0.1
    assert state.base.position_m[1] > 0.05


def test_the_tables_of_memorybench_take_another_robot_with_its_cameras_and_the_panda_by_default(tmp_path):
    path = str(write_small_robot(tmp_path))
    scene = PutBlockBack(robot=path, camera_px=32).sample(3).scene
    usual = PutBlockBack(camera_px=32).sample(3).scene
    assert [(robot.name, robot.model) for robot in scene.robots] == [("small", path)]
    assert [(camera.name, camera.mount, camera.width_px) for camera in scene.cameras][-1] == ("wrist", "small", 32)
    assert (scene.bodies, scene.cameras[:3]) == (usual.bodies, usual.cameras[:3])
    assert [robot.name for robot in usual.robots] == ["panda"]


def test_an_edited_robot_makes_another_run(tmp_path, monkeypatch):
    def run_of(folder: str, old: str = "", new: str = "") -> str:
        (tmp_path / folder).mkdir()
        write_small_robot(tmp_path / folder)
        mesh = tmp_path / folder / "gripper" / "meshes" / "palm.obj"
        mesh.write_text(mesh.read_text().replace(old, new))
        monkeypatch.chdir(tmp_path / folder)
        return fingerprint({"tasks": {"task": PutBlockBack(robot="small.json")}})

    assert run_of("first") == run_of("second") != run_of("third", "0.06", "0.05")


@pytest.mark.parametrize("robot", ["kuka", "mobile_panda", "dual_panda"])
def test_a_robot_that_cannot_play_at_the_table_is_refused(robot):
    with pytest.raises(ConfigError, match="one arm with a gripper"):
        PutBlockBack(robot=robot)


def _arm(**changes: object) -> Change:
    return lambda model: model["arms"][0].update(changes)


def _gripper(**changes: object) -> Change:
    return lambda model: model["arms"][0]["gripper"].update(changes)


def _part(index: int, **changes: object) -> Change:
    return lambda model: model["parts"][index].update(changes)


def _top(**changes: object) -> Change:
    return lambda model: model.update(changes)


REFUSED = {
    "an unknown key": (_top(arm=[]), "documented fields.*`arm`"),
    "another version": (_top(version=2), "documented fields"),
    "a name with a slash": (_top(name="../small"), "documented fields"),
    "a package that is not installed": (_top(package="no_such_package"), "installed Python package"),
    "a urdf outside": (_part(0, urdf="../arm.urdf"), "inside its root"),
    "an absolute path": (_part(0, urdf="/etc/hostname"), "inside its root"),
    "a urdf that is missing": (_part(1, urdf="grip.urdf"), "'grip.urdf'.* must exist"),
    "a part without a parent": (_part(1, parent=""), "every other part one"),
    "a part on a missing link": (_part(1, parent="flang"), "Did you mean 'flange'"),
    "a prefix that leaves a folder": (_part(1, prefix="../"), "letters, digits"),
    "two parts of the same names": (
        lambda model: model["parts"].append({"urdf": "arm.urdf", "parent": "flange"}), "prefix"),
    "a missing joint": (_arm(joints=["turn", "shoulder", "elbow", "wrst", "roll"]), "Did you mean 'wrist'"),
    "joints out of order": (_arm(joints=["shoulder", "turn", "elbow", "wrist", "roll"]), "from base to tool"),
    "a prismatic joint of an arm": (_arm(joints=["turn", "shoulder", "elbow", "wrist", "roll", "g_left"]), "revolute"),
    "a missing tool link": (_arm(tool_link="palm"), "Did you mean 'g_palm'"),
    "a home of another length": (_arm(home_rad=[0, 0, 1]), "5 joints"),
    "a home beyond the limits": (_arm(home_rad=[0, 0, 0, 0, 0]), "`home_rad`.*'elbow'"),
    "limits beyond the urdf": (
        _arm(lower_rad=[-9, -1, 0.1, -1.5, -3], upper_rad=[3, 2.5, 2.6, 2.5, 3]), "within its URDF's"),
    "no speed": (_arm(velocity_limit_radps=[0, 1, 1, 1, 1]), "must be positive"),
    "a missing finger": (_gripper(fingers=["g_left_finger", "g_lft"]), "finger of the gripper"),
    "one finger": (_gripper(fingers=["g_left_finger"]), "two fingers"),
    "a finger that stands still": (_gripper(fingers=["g_left_finger", "g_palm"]), "must be moved"),
    "a mimic of a mimic": (_gripper(mimic={"g_left": {"joint": "g_right"}}, joints={}), "mimics another"),
    "a mimic of an arm joint": (_gripper(mimic={"g_right": {"joint": "roll"}}), "mimics"),
    "fingers that do not open": (_gripper(joints={"g_left": {"closed": 0, "open": 0}}), "elsewhere when closed"),
    "an opening beyond the limit": (_gripper(joints={"g_left": {"closed": 0, "open": 0.4}}), "within the limits"),
    "a gripper joint on the arm": (_gripper(joints={"roll": {"closed": 0, "open": 1}}), "last joint of the arm"),
    "no stroke": (_gripper(stroke_m=0), "documented fields"),
    "a joint that nothing moves": (lambda model: model["arms"][0].pop("gripper"), "g_left"),
    "no arm and no drive": (lambda model: model.update(arms=[]), "an arm or a drive"),
    "a missing link of a camera": (_top(cameras=[{"name": "c", "link": "hnd"}]), "link of camera"),
    "a wheel that is limited": (
        _top(drive={"kind": "differential", "left_joints": ["turn"], "right_joints": ["roll"], "wheel_radius_m": 0.1,
                    "track_m": 0.5, "linear_limit_mps": 1, "angular_limit_radps": 1, "wheel_torque_nm": 9}),
        "continuous"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED)
def test_a_model_file_that_does_not_fit_is_refused_by_its_rule(tmp_path, change, words):
    with pytest.raises(EmbodiedError, match=f"(?s){words}") as caught:
        robot_model(str(write_small_robot(tmp_path, change)))
    assert "panda" not in str(caught.value).lower()
    assert caught.value.remedy


URDF_REFUSED = {
    "a continuous joint without limits": (
        'name="turn" type="revolute"',
        'name="turn" type="continuous"',
        "`lower_rad`",
    ),
    "a floating joint": ('name="turn" type="revolute"', 'name="turn" type="floating"', "simulated"),
    "a joint without limits": ('<limit lower="-3" upper="3" velocity="3" effort="30"/>', "", "limits of each joint"),
    "a missing mesh": ('<box size="0.14 0.14 0.2"/>', '<mesh filename="gone.obj"/>', "must exist"),
    "a mesh outside": ('<box size="0.14 0.14 0.2"/>', '<mesh filename="../../x.obj"/>', "inside its root"),
    "a mesh of the network": ('<box size="0.14 0.14 0.2"/>', '<mesh filename="http://x/y.obj"/>', "package://"),
    "a mesh of another package": (
        '<box size="0.14 0.14 0.2"/>',
        '<mesh filename="package://etc/y.obj"/>',
        "must exist",
    ),
    "entities": ('<robot name="arm"', '<!DOCTYPE x [<!ENTITY a "b">]><robot name="arm"', "entities"),
    "two roots": ('<link name="base">', '<link name="other"/><link name="base">', "one tree"),
    "a joint to a missing link": ('<child link="column"/>', '<child link="colum"/>', "links that exist"),
    "a limit that is not a number": ('upper="2.6"', 'upper="wide"', "must be finite"),
    "a place that is not finite": ('<origin xyz="0 0 0.2"/>', '<origin xyz="0 0 nan"/>', "must be finite"),
    "an axis without direction": ('<axis xyz="0 0 1"/>', '<axis xyz="0 0 0"/>', "direction"),
    "a shape of another kind": (
        '<box size="0.14 0.14 0.2"/>',
        '<capsule radius="1" length="1"/>',
        "cylinder or sphere",
    ),
    "a box without a size": ('<box size="0.14 0.14 0.2"/>', "<box/>", "3 numbers"),
    "a box of no width": ('<box size="0.14 0.14 0.2"/>', '<box size="0.14 0 0.2"/>', "positive"),
}


@pytest.mark.parametrize(("old", "new", "words"), URDF_REFUSED.values(), ids=URDF_REFUSED)
def test_a_urdf_that_cannot_be_used_is_refused_by_its_rule(tmp_path, old, new, words):
    path = write_small_robot(tmp_path)
    urdf = tmp_path / "arm.urdf"
    assert old in urdf.read_text()
    urdf.write_text(urdf.read_text().replace(old, new))
    with pytest.raises(EmbodiedError, match=f"(?s){words}") as caught:
        robot_model(str(path))
    assert caught.value.remedy


def test_a_continuous_joint_with_limits_in_the_model_file_is_limited(tmp_path):
    path = write_small_robot(tmp_path, _arm(lower_rad=[-2, -1, 0.1, -1.5, -3], upper_rad=[2, 2.5, 2.6, 2.5, 3]))
    urdf = tmp_path / "arm.urdf"
    urdf.write_text(urdf.read_text().replace('name="turn" type="revolute"', 'name="turn" type="continuous"'))
    model = robot_model(str(path))
    assert (model.end_effector().lower_rad[0], model.end_effector().upper_rad[0]) == (-2, 2)
    assert kinematics(model).tool(np.array(model.home_rad)).position_m[2] > 0.1


def test_a_name_that_is_no_robot_and_a_path_that_is_no_file_are_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'panda'"):
        robot_model("pandas")
    with pytest.raises(EmbodiedError, match="readable file"):
        robot_model("robots/none.json")
    with pytest.raises(EmbodiedError, match="must be JSON"):
        robot_model(str(Path(__file__).with_name("small_robot.py")))
