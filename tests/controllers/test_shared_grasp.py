"""A robot whose two grippers hold one body: no intent may move one arm alone, and what is refused moves nothing."""

import numpy as np
import pytest

from embodied.controllers import ControllerConfig, ControllerSettings
from embodied.controllers.action_spaces import action_space, rotation_to_6d
from embodied.geometry import rotation_matrix
from embodied.robots.catalogue import robot_model
from embodied.simulators.bullet import BulletConfig
from embodied.simulators.rendering.choice import RendererChoice
from embodied.types import ActionChunk, ControllerReport, ControllerStatus, DeltaPose, MoveTo, Skill
from tests.two_arms import PICK, SCENE, TAKE, move

MODEL = robot_model("dual_panda")
REASON = "'right' also holds 'block': one of the two grippers must open before 'left' moves"


def space(name):
    return action_space(name, MODEL, ControllerSettings(), rate_hz=20.0, end_effector="left")


class Run:
    """A world, its controller, and the states since both grippers held the block."""

    def __init__(self):
        self.simulator = BulletConfig(renderer=RendererChoice.tiny).build()
        self.simulator.reset(SCENE)
        self.controller = ControllerConfig().build(SCENE, "dual", period_s=self.simulator.control_period_s)
        self.states = []
        assert [self.play(intent).status for intent in (*PICK, *TAKE)] == [ControllerStatus.DONE] * 5
        self.held = self.simulator.save()
        self.states = [self.simulator.state()]

    def play(self, intent):
        """Carries out one intent; returns its report."""
        answer = self.controller.begin(intent, self.simulator.state(), seed=1)
        while not isinstance(answer, ControllerReport):
            answer = self.controller.tick(self.simulator.state())
            if not isinstance(answer, ControllerReport):
                self.simulator.advance({"dual": answer})
                self.states.append(self.simulator.state())
        return answer

    @property
    def left(self):
        return self.states[-1].robots["dual"].end_effectors["left"]

    def joints(self):
        """Present joint angles (7,) of the left arm."""
        return self.states[-1].robots["dual"].joint_position_rad[MODEL.columns("left")]

    def chunk(self, shifts_rad, openings):
        """Returns rows that add `shifts_rad` to the first joint, with the openings of the left gripper."""
        rows = np.tile(np.append(self.joints(), 0.0), (len(shifts_rad), 1))
        rows[:, 0] += shifts_rad
        rows[:, -1] = openings
        return ActionChunk(space("joint_position"), rows)


@pytest.fixture(scope="module")
def world():
    made = Run()
    yield made
    made.simulator.close()


@pytest.fixture
def run(world):
    world.simulator.restore(world.held)
    world.states = [world.simulator.state()]
    assert set(world.states[0].held.values()) == {"block"}
    world.controller = ControllerConfig().build(SCENE, "dual", period_s=world.simulator.control_period_s)
    return world


def ee_pose(run, shift_m):
    tool = run.left.tool
    row = [*np.add(tool.position_m, (0.0, 0.0, shift_m)), *rotation_to_6d(rotation_matrix(tool.orientation)), 0.0]
    return ActionChunk(space("ee_pose"), np.array([row, row]))


REFUSED = {
    "MoveTo": lambda run: move("left", 0.5, 0.08, 0.3, open_=False),
    "MoveTo that opens at its end": lambda run: move("left", 0.5, 0.15, 0.25, open_=True, avoid=False),
    "DeltaPose": lambda run: DeltaPose((0.0, 0.0, 0.03), (0.0, 0.0, 0.0), gripper_open=False, end_effector="left"),
    "turning DeltaPose": lambda run: DeltaPose((0.0,) * 3, (0.0, 0.0, 0.1), gripper_open=False, end_effector="left"),
    "joint chunk": lambda run: run.chunk([0.02, 0.05], 0.0),
    "joint chunk that opens too late": lambda run: run.chunk([0.0, 0.03, 0.03], [0.0, 0.0, 1.0]),
    "ee_pose chunk": lambda run: ee_pose(run, 0.02),
    "ee_delta chunk": lambda run: ActionChunk(space("ee_delta"), np.array([[0.0, 0.0, 0.02, 0.0, 0.0, 0.0, 0.0]])),
    "move skill": lambda run: Skill("move", {"position_m": (0.5, 0.08, 0.9), "end_effector": "left"}),
    "place skill": lambda run: Skill("place", {"object": "block", "on": "table", "end_effector": "left"}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_moving_one_arm_fails_with_the_reason_before_anything_moves(run, name):
    report = run.play(REFUSED[name](run))
    assert report == ControllerReport(ControllerStatus.FAILED, REASON)
    assert len(run.states) == 1


def test_opening_in_place_is_allowed_and_frees_both_arms(run):
    assert run.play(MoveTo(run.left.tool.position_m, run.left.tool.orientation, True, False, "left")).reason == ""
    assert run.states[-1].held == {"dual/left": None, "dual/right": "block"}
    assert run.play(move("left", 0.45, 0.3, 0.4, open_=True)).status is ControllerStatus.DONE
    assert run.play(move("right", 0.5, -0.2, 0.35, open_=False)).status is ControllerStatus.DONE


def test_a_move_to_a_place_that_counts_as_arrived_opens_without_a_tug(run):
    x, y, z = run.left.tool.position_m
    before = run.states[0].pose["block"].position_m
    assert run.play(MoveTo((x + 0.01, y - 0.008, z), run.left.tool.orientation, True, False, "left")).reason == ""
    assert run.states[-1].held == {"dual/left": None, "dual/right": "block"}
    moved_m = [np.linalg.norm(np.subtract(state.pose["block"].position_m, before)) for state in run.states]
    assert max(moved_m) < 2e-3


@pytest.mark.parametrize("name", ["DeltaPose", "chunk"])
def test_an_arm_may_move_in_the_period_in_which_its_gripper_opens(run, name):
    if name == "chunk":
        intent = run.chunk([0.0, 0.0, 0.02, 0.04], [0.0, 1.0, 1.0, 1.0])
    else:
        intent = DeltaPose((0.0, 0.02, 0.0), (0.0, 0.0, 0.0), gripper_open=True, end_effector="left")
    assert run.play(intent).status is ControllerStatus.DONE
    assert run.states[-1].held == {"dual/left": None, "dual/right": "block"}


def test_standing_still_is_allowed(run):
    assert run.play(run.chunk([0.0, 0.001, 0.0], 0.0)).status is ControllerStatus.DONE
    still = DeltaPose((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), gripper_open=False, end_effector="left")
    assert run.play(still).status is ControllerStatus.DONE
    assert set(run.states[-1].held.values()) == {"block"}


def test_a_chunk_that_grasps_on_its_way_ends_where_the_other_gripper_holds_the_body_too(run):
    assert run.play(run.chunk([0.0] * 8, 1.0)).status is ControllerStatus.DONE
    assert run.left.held is None
    before = run.joints()[0]
    closing = run.chunk(np.concatenate([np.zeros(10), np.linspace(0.01, 0.2, 10)]), 0.0)
    assert run.play(closing) == ControllerReport(ControllerStatus.FAILED, REASON)
    assert set(run.states[-1].held.values()) == {"block"}
    assert abs(run.joints()[0] - before) < 0.01


def test_a_skill_does_not_lift_what_the_other_gripper_holds(run):
    assert run.play(run.chunk([0.0] * 4, 1.0)).status is ControllerStatus.DONE
    count = len(run.states)
    report = run.play(Skill("pick", {"object": "block", "end_effector": "left"}))
    assert report.status is ControllerStatus.FAILED
    assert "held by the robot's other gripper" in report.reason
    assert len(run.states) == count
