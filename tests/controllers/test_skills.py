"""Skills and drives in PyBullet: a mobile manipulator goes through an opening, picks, places; reasons of failure."""

import numpy as np
import pytest

from embodied.controllers import ControllerConfig
from embodied.controllers.registry import handled_intents
from embodied.controllers.skills.registry import SKILLS, skills_of
from embodied.controllers.skills.routines import ROUTINES
from embodied.errors import IntentError
from embodied.geometry import Pose, quaternion_from_yaw
from embodied.robots.catalogue import robot_model
from embodied.rollout.bank_feed.robot_skills import registration
from embodied.scenes.scene import Body, Box, Part, RobotPlacement, Scene
from embodied.scenes.tabletop import BUTTON, DRAWERS, button, chest, on_table, slide, tabletop_scene
from embodied.simulators.bullet.simulator import BulletConfig
from embodied.types import ControllerReport, ControllerStatus, Drive, GoTo, MoveTo, Skill
from tests.controllers.worlds import box

DONE = ControllerReport(ControllerStatus.DONE)
FLOOR = box("floor", (12.0, 12.0, 0.1), (0.0, 0.0, -0.05))
# A wall across the hall with an opening of 1.1 m around y = 0.6; a low table behind it.
LEFT, RIGHT = box("left", (0.1, 3.0, 2.0), (0.0, 2.65, 1.0)), box("right", (0.1, 5.0, 2.0), (0.0, -2.45, 1.0))
TABLE = box("table", (0.6, 1.0, 0.4), (2.6, -0.4, 0.2))
BLOCK = Body("block", (Part(Box((0.05, 0.05, 0.05))),), Pose((2.45, -0.5, 0.425), quaternion_from_yaw(0.4)), 0.2,
             graspable=True)  # fmt: skip
AT_TABLE = GoTo((1.8, -0.4), 0.0)


@pytest.fixture(scope="module")
def simulator():
    simulator = BulletConfig().build()
    yield simulator
    simulator.close()


def hall(*bodies, model="mobile_panda", at=(-1.8, -1.2), yaw_rad=1.5):
    robot = RobotPlacement("robot", model, Pose((*at, 0.0), quaternion_from_yaw(yaw_rad)))
    return Scene("hall", (FLOOR, LEFT, RIGHT, TABLE, *bodies), robots=(robot,))


def start(simulator, scene, robot="robot"):
    simulator.reset(scene)
    return ControllerConfig().build(scene, robot, period_s=simulator.control_period_s)


def run(simulator, active, intent, *, robot="robot", watch=None):
    report = active.begin(intent, simulator.state(), seed=1)
    periods = 0
    while report is None:
        answer = active.tick(simulator.state())
        if isinstance(answer, ControllerReport):
            return answer
        simulator.advance({robot: answer})
        periods += 1
        if watch is not None:
            watch(simulator.state())
        assert periods < 2000
    return report


def off_m(state, place):
    return float(np.linalg.norm(np.subtract(state.robots["robot"].base.position_m[:2], place)))


def test_a_mobile_manipulator_drives_through_an_opening_and_picks_and_places(simulator):
    active = start(simulator, hall(BLOCK))
    touched = set()

    def watch(state):
        touched.update(pair for pair in state.contact if "robot" in pair and "floor" not in pair)

    assert run(simulator, active, AT_TABLE, watch=watch) == DONE
    state = simulator.state()
    assert touched == set()
    assert off_m(state, AT_TABLE.position_m) < 0.06
    assert state.robots["robot"].base.yaw_rad == pytest.approx(0.0, abs=0.06)
    assert run(simulator, active, Skill("pick", {"object": "block"})) == DONE
    state = simulator.state()
    assert state.held["robot"] == "block"
    assert state.pose["block"].position_m[2] > 0.5
    assert run(simulator, active, Skill("place", {"object": "block", "at": [2.45, -0.1, 0.425]})) == DONE
    state = simulator.state()
    assert state.held["robot"] is None
    assert state.pose["block"].position_m == pytest.approx((2.45, -0.1, 0.425), abs=0.01)


def test_a_block_is_carried_through_the_opening_with_the_arm_folded(simulator):
    active = start(simulator, hall(BLOCK, at=(1.8, -0.4), yaw_rad=0.0))
    assert run(simulator, active, Skill("pick", {"object": "block"})) == DONE
    assert run(simulator, active, GoTo((-1.5, 0.0))) == DONE
    assert simulator.state().held["robot"] == "block"
    assert off_m(simulator.state(), (-1.5, 0.0)) < 0.06


@pytest.mark.parametrize(
    ("bodies", "intent", "reason"),
    [
        ((box("shut", (0.1, 1.3, 2.0), (0.0, 0.6, 1.0)),), AT_TABLE, "the way is blocked by 'right'"),
        ((), GoTo((2.2, -0.4)), "the goal is too near 'table' for the base"),
        ((BLOCK,), Skill("pick", {"object": "block"}), "unreachable: "),
        ((), Skill("pick", {"object": "cup"}), "there is no body 'cup'"),
        ((), Skill("pick", {"object": "table"}), "'table' cannot be grasped"),
        ((BLOCK,), Skill("place", {"object": "block", "on": "table"}), "'block' is not held"),
        ((), Skill("open", {"object": "table"}), "'table' has no prismatic or revolute joint that moves"),
    ],
)
def test_what_cannot_be_done_fails_with_a_reason_and_moves_nothing(simulator, bodies, intent, reason):
    walls = (box("end", (0.1, 4.0, 2.0), (0.0, 6.0, 1.0)), box("other_end", (0.1, 4.0, 2.0), (0.0, -6.5, 1.0)))
    active = start(simulator, hall(*bodies, *walls))
    folded = robot_model("mobile_panda").arms[0].stow_rad
    if isinstance(intent, GoTo):
        scene = hall(*bodies, *walls)
        robot = RobotPlacement("robot", "mobile_panda", scene.robots[0].base, folded)
        active = start(simulator, Scene("hall", scene.bodies, robots=(robot,)))
    report = run(simulator, active, intent)
    assert report.status is ControllerStatus.FAILED
    assert report.reason.startswith(reason)
    assert simulator.state().time_s == 0.0


def test_a_way_that_is_blocked_while_driving_is_planned_anew_and_then_given_up(simulator):
    gate = Body("gate", (Part(Box((0.1, 1.1, 1.0))),), Pose((0.0, 4.5, 0.6)), 40.0)
    ends = (box("end", (0.1, 4.0, 2.0), (0.0, 6.1, 1.0)), box("other_end", (0.1, 4.0, 2.0), (0.0, -6.9, 1.0)))
    scene = Scene("hall", (FLOOR, LEFT, RIGHT, *ends, gate), robots=(
        RobotPlacement("robot", "differential_base", Pose((-1.8, 0.6, 0.0))),))  # fmt: skip
    active = start(simulator, scene)

    def shut(state):
        if state.robots["robot"].base.position_m[0] > -1.4 and state.pose["gate"].position_m[1] > 4.0:
            simulator.teleport("gate", Pose((0.0, 0.6, 0.5)))

    report = run(simulator, active, GoTo((1.5, 0.6)), watch=shut)
    assert report == ControllerReport(ControllerStatus.FAILED, "the way is blocked by 'gate'")
    assert -1.4 < simulator.state().robots["robot"].base.position_m[0] < -0.4


def test_a_drawer_is_opened_and_closed_and_a_button_pressed(simulator):
    drawers, slides = chest(on_table(0.25, 0.28), opened=DRAWERS[1], detent=None)
    button_bodies, button_joints = button(on_table(0.2, -0.2))
    scene = tabletop_scene("bench", bodies=(*drawers, *button_bodies), joints=(*slides, *button_joints))
    active = start(simulator, scene, "panda")
    assert run(simulator, active, Skill("close", {"object": DRAWERS[1]}), robot="panda") == DONE
    assert simulator.state().joint[slide(DRAWERS[1])] < 0.03
    assert run(simulator, active, Skill("open", {"object": DRAWERS[2]}), robot="panda") == DONE
    assert simulator.state().joint[slide(DRAWERS[2])] > 0.18
    pressed = []
    press = Skill("press", {"object": "button_cap"})
    assert run(simulator, active, press, robot="panda", watch=lambda s: pressed.append(s.joint[BUTTON])) == DONE
    assert max(pressed) > 0.003


@pytest.mark.parametrize(
    ("skill", "words"),
    [
        (Skill("juggle", {"object": "block"}), "It has: close, drive, move, open, pick, place, press"),
        (Skill("pick", {}), "Missing: \\['object'\\]"),
        (Skill("pick", {"object": "block", "speed": 1.0}), "unknown: \\['speed'\\]"),
        (Skill("pick", {"object": 3}), "must be a string"),
        (Skill("place", {"object": "block", "at": [1.0, float("nan"), 0.0]}), "finite"),
        (Skill("pick", {"object": "block", "end_effector": "left"}), "end effectors"),
    ],
)
def test_arguments_are_checked_before_anything_moves(simulator, skill, words):
    with pytest.raises(IntentError, match=words):
        run(simulator, start(simulator, hall(BLOCK)), skill)


def test_robots_can_run_what_they_have_the_parts_for():
    every = {"move", "press", "pick", "place", "open", "close", "drive"}
    assert {skill.name for skill in skills_of(robot_model("mobile_panda"))} == every
    assert {skill.name for skill in skills_of(robot_model("panda"))} == every - {"drive"}
    assert {skill.name for skill in skills_of(robot_model("kuka"))} == {"move", "press"}
    assert {skill.name for skill in skills_of(robot_model("differential_base"))} == {"drive"}
    assert SKILLS.own.keys() == ROUTINES.keys() == every
    assert MoveTo not in handled_intents(robot_model("differential_base"))
    assert GoTo in handled_intents(robot_model("differential_base"))


@pytest.mark.parametrize("model", ["mobile_panda", "panda", "kuka", "differential_base"])
def test_every_advertised_skill_is_one_that_the_controller_runs(simulator, model):
    advertised = {skill.name for skill in registration(RobotPlacement("robot", model)).skills}
    active = start(simulator, hall(BLOCK, model=model))
    for name in ("move", "press", "pick", "place", "open", "close", "drive"):
        where = {"position_m": [0.0, 0.0, 0.0]} if name in {"move", "drive"} else {"object": "nothing"}
        if name in advertised:
            report = active.begin(Skill(name, where), simulator.state(), seed=1)
            assert report is None or report.status is ControllerStatus.FAILED
        else:
            with pytest.raises(IntentError, match="one that it has"):
                active.begin(Skill(name, where), simulator.state(), seed=1)


def test_a_holonomic_base_goes_sideways_at_its_heading_and_around_what_is_in_the_way(simulator):
    active = start(simulator, hall(model="holonomic_base", at=(-1.5, 0.0), yaw_rad=0.3))
    assert run(simulator, active, Drive(0.0, 0.0, 2.0, lateral_mps=0.4)) == DONE
    base = simulator.state().robots["robot"].base
    along, left = np.cos(0.3) * (base.position_m[0] + 1.5), -np.sin(0.3) * (base.position_m[0] + 1.5)
    along, left = along + np.sin(0.3) * base.position_m[1], left + np.cos(0.3) * base.position_m[1]
    assert left == pytest.approx(0.8, abs=0.05)
    assert along == pytest.approx(0.0, abs=0.02)
    assert base.yaw_rad == pytest.approx(0.3, abs=0.02)
    headings = []
    report = run(simulator, active, GoTo((1.5, -1.0)), watch=lambda s: headings.append(s.robots["robot"].base.yaw_rad))
    assert report == DONE
    assert off_m(simulator.state(), (1.5, -1.0)) < 0.06
    assert np.ptp(headings) < 0.05
    assert run(simulator, active, GoTo((1.5, -1.0), 2.0)) == DONE
    assert simulator.state().robots["robot"].base.yaw_rad == pytest.approx(2.0, abs=0.06)


def test_a_holonomic_base_is_held_up_by_a_wall_and_a_differential_one_does_not_go_sideways(simulator):
    active = start(simulator, hall(model="holonomic_base", at=(-1.0, -1.5), yaw_rad=0.0))
    assert run(simulator, active, Drive(0.8, 0.0, 2.0)) == DONE
    assert simulator.state().robots["robot"].base.position_m[0] < -0.35
    assert ("right", "robot") in simulator.state().contact
    with pytest.raises(IntentError, match="lateral_mps"):
        run(simulator, start(simulator, hall()), Drive(0.0, 0.0, 1.0, lateral_mps=0.1))


def test_a_holonomic_manipulator_picks(simulator):
    active = start(simulator, hall(BLOCK, model="holonomic_panda", at=(1.8, 0.4), yaw_rad=0.0))
    assert run(simulator, active, AT_TABLE) == DONE
    assert run(simulator, active, Skill("pick", {"object": "block"})) == DONE
    assert simulator.state().held["robot"] == "block"


def test_the_tool_moves_and_the_base_drives_as_skills(simulator):
    active = start(simulator, hall(at=(1.0, 0.6), yaw_rad=0.0))
    x, y, z = simulator.state().robots["robot"].tool.position_m
    assert run(simulator, active, Skill("move", {"position_m": [x, y + 0.1, z]})) == DONE
    assert simulator.state().robots["robot"].tool.position_m[1] == pytest.approx(y + 0.1, abs=0.01)
    assert run(simulator, active, Skill("drive", {"position_m": [0.9, -0.6, 0.0]})) == DONE
    assert off_m(simulator.state(), (0.9, -0.6)) < 0.06
