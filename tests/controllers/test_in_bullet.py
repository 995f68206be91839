"""Controllers move real physics: pick and place, walls, springs, stops, and bases."""

import numpy as np
import pytest

from embodied.controllers import ControllerConfig
from embodied.controllers.robot_controller import RobotController
from embodied.geometry import Pose, angle_between, compose, quaternion_from_yaw
from embodied.robots.catalogue import robot_model
from embodied.robots.kinematics import kinematics
from embodied.scenes.scene import Body, Box, Joint, Part, RobotPlacement, Scene, Spring
from embodied.simulators.bullet import BulletConfig, BulletSimulator
from embodied.types import ControllerReport, ControllerStatus, DeltaPose, Drive, MoveTo
from tests.controllers.worlds import DOWN, PANDA, TABLE, box

BLOCK = box("block", (0.05, 0.05, 0.05), (0.55, 0.2, 0.0255), 0.3)
FENCE = box("fence", (0.4, 0.02, 0.3), (0.55, 0.0, 0.15))
DONE = ControllerReport(ControllerStatus.DONE)


@pytest.fixture(scope="module")
def simulator():
    simulator = BulletConfig().build()
    yield simulator
    simulator.close()


def perform(simulator: BulletSimulator, controller: RobotController, intent, *, seed=1):
    states = [simulator.state()]
    outcome = controller.begin(intent, states[0], seed=seed)
    while outcome is None:
        answer = controller.tick(states[-1])
        if isinstance(answer, ControllerReport):
            outcome = answer
        else:
            simulator.advance({"robot": answer})
            states.append(simulator.state())
        assert len(states) < 400
    return outcome, states


def start(simulator, *bodies, joints=(), robot=PANDA):
    scene = Scene("bench", (TABLE, *bodies), tuple(joints), robots=(robot,))
    simulator.reset(scene)
    return ControllerConfig().build(scene, "robot", period_s=simulator.control_period_s)


def down(x, y, z, *, open_=True, avoid=True):
    return MoveTo((x, y, z), DOWN, open_, avoid)


def carry(simulator) -> list[np.ndarray]:
    controller = start(simulator, BLOCK, FENCE)
    tour = [
        down(0.55, 0.2, 0.15),
        down(0.55, 0.2, 0.025),
        down(0.55, 0.2, 0.025, open_=False),
        down(0.55, 0.2, 0.15, open_=False),
        down(0.55, -0.2, 0.15, open_=False),
        down(0.55, -0.2, 0.027, open_=False),
        down(0.55, -0.2, 0.027),
        down(0.55, -0.2, 0.15),
    ]
    joints = []
    for step, intent in enumerate(tour):
        report, states = perform(simulator, controller, intent, seed=step)
        assert report == DONE, step
        here = states[-1].robots["robot"]
        assert np.linalg.norm(np.subtract(here.tool.position_m, intent.position_m)) < 2e-3
        assert angle_between(here.tool.orientation, DOWN) < 0.01
        assert (states[-1].held["robot"] == "block") == (2 <= step <= 5)
        assert all(state.contact.isdisjoint({("fence", "robot"), ("block", "fence")}) for state in states), step
        joints += [state.robots["robot"].joint_position_rad for state in states]
    block = simulator.state().pose["block"]
    assert block.position_m == pytest.approx((0.55, -0.2, 0.025), abs=3e-3)
    return joints


def test_a_block_is_carried_over_a_fence_the_same_way_every_time(simulator):
    first = carry(simulator)
    assert np.array_equal(first, carry(simulator))


def test_joints_follow_smoothly_and_within_their_speed(simulator):
    controller = start(simulator)
    _, states = perform(simulator, controller, down(0.4, -0.35, 0.1))
    joints = np.array([state.robots["robot"].joint_position_rad for state in states])
    speed = np.diff(joints, axis=0) / 0.05
    assert (np.abs(speed) <= np.array(robot_model("panda").arm.velocity_limit_radps)).all()
    # A jerk of the profile's own size, and no more: peaks of minimum jerk stay near 60 * distance / duration^3.
    jerk = np.diff(speed, n=2, axis=0) / 0.05**2
    duration_s = 0.05 * len(joints)
    assert np.abs(jerk).max() < 6 * 60 * np.abs(joints[-1] - joints[0]).max() / duration_s**3


def test_the_posture_at_a_keyframe_is_the_same_after_different_pasts(simulator):
    ends = []
    for past in (down(0.4, 0.35, 0.3), down(0.65, -0.3, 0.1)):
        controller = start(simulator)
        assert perform(simulator, controller, past)[0] == DONE
        report, states = perform(simulator, controller, down(0.5, 0.0, 0.2))
        assert report == DONE
        ends.append(states[-1].robots["robot"].joint_position_rad)
    assert np.abs(ends[0] - ends[1]).max() < 2e-3


def test_a_sprung_button_is_pressed_to_its_stop_and_let_go(simulator):
    plate = box("plate", (0.1, 0.1, 0.02), (0.5, 0.0, 0.01))
    cap = Body("cap", (Part(Box((0.05, 0.05, 0.02))),), mass_kg=0.05)
    press = Joint("press", "prismatic", "plate", "cap", Pose((0.0, 0.0, 0.025)), (0.0, 0.0, -1.0), 0.0, 0.01,
                  spring=Spring(1000.0, 2.0))  # fmt: skip
    controller = start(simulator, plate, cap, joints=[press])
    assert perform(simulator, controller, down(0.5, 0.0, 0.12, open_=False))[0] == DONE
    report, states = perform(simulator, controller, down(0.5, 0.0, 0.03, open_=False, avoid=False))
    assert report == DONE
    assert max(state.joint["press"] for state in states) > 0.006
    report, states = perform(simulator, controller, down(0.5, 0.0, 0.12, open_=False))
    assert report == DONE
    assert states[-1].joint["press"] < 0.001


def test_pushing_on_a_table_ends_as_blocked(simulator):
    controller = start(simulator)
    assert perform(simulator, controller, down(0.5, 0.0, 0.1, open_=False))[0] == DONE
    report, _ = perform(simulator, controller, down(0.5, 0.0, -0.04, open_=False, avoid=False))
    assert report.status is ControllerStatus.FAILED
    assert report.reason.startswith("blocked: tool is ")
    assert perform(simulator, controller, down(0.5, 0.0, 0.2))[0] == DONE


def test_small_steps_add_up(simulator):
    controller = start(simulator)
    before = simulator.state().robots["robot"].tool
    for _ in range(5):
        report, states = perform(simulator, controller, DeltaPose((0.01, 0.0, -0.02), (0.0, 0.0, 0.05), False))
        assert report == DONE
    after = states[-1].robots["robot"].tool
    assert np.subtract(after.position_m, before.position_m) == pytest.approx((0.05, 0.0, -0.1), abs=5e-3)
    assert angle_between(before.orientation, after.orientation) == pytest.approx(0.25, abs=0.02)


def test_a_mobile_manipulator_drives_and_then_reaches(simulator):
    floor = box("floor", (20.0, 20.0, 0.1), (0.0, 0.0, -0.05))
    scene = Scene("hall", (floor,), robots=(RobotPlacement("robot", "mobile_panda", Pose((1.0, 0.0, 0.0))),))
    simulator.reset(scene)
    controller = ControllerConfig().build(scene, "robot", period_s=simulator.control_period_s)
    assert perform(simulator, controller, Drive(0.5, 0.3, 1.0))[0] == DONE
    base = simulator.state().robots["robot"].base
    assert base.position_m[0] > 1.35
    assert base.yaw_rad == pytest.approx(0.3, abs=0.1)
    target = compose(base, Pose((0.7, 0.1, 0.5), kinematics(robot_model("mobile_panda")).tool(
        np.array(robot_model("mobile_panda").arm.home_rad)).orientation))  # fmt: skip
    report, states = perform(simulator, controller, MoveTo(target.position_m, target.orientation, False))
    assert report == DONE
    assert states[-1].robots["robot"].tool.position_m == pytest.approx(target.position_m, abs=0.01)
    assert states[-1].robots["robot"].gripper < 0.05


def test_a_second_arm_stays_clear_of_the_first(simulator):
    other = RobotPlacement("robot", "kuka", Pose((1.0, 0.0, 0.0), quaternion_from_yaw(np.pi)))
    scene = Scene("pair", (), robots=(other, RobotPlacement("panda", "panda")))
    simulator.reset(scene)
    controller = ControllerConfig().build(scene, "robot", period_s=simulator.control_period_s)
    tool = simulator.state().robots["panda"].tool
    report, _ = perform(simulator, controller, MoveTo(tool.position_m, tool.orientation, True))
    assert report.reason.startswith("goal in collision: lbr_iiwa_")
    assert report.reason.endswith(" with panda")
