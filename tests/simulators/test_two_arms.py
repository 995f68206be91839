"""A robot with two arms in PyBullet: it hands a block over, its arms collide, and both renderers show it."""

import itertools

import numpy as np
import pytest

from embodied.controllers import ControllerConfig, ControllerSettings
from embodied.controllers.action_spaces import action_space
from embodied.errors import IntentError
from embodied.geometry import Pose, compose, invert
from embodied.robots.catalogue import robot_model
from embodied.simulators.bullet import BulletConfig
from embodied.simulators.rendering.choice import RendererChoice
from embodied.types import ActionChunk, ControllerReport, ControllerStatus, DeltaPose, Intent, MoveTo, WorldState
from tests.two_arms import DOWN, LET_GO, PICK, PLACE, SCENE, TABLE_TOP_M, TAKE, move


class Run:
    """One simulator, one controller, and every state since the reset."""

    def __init__(self) -> None:
        self.simulator = BulletConfig(renderer=RendererChoice.tiny).build()
        self.simulator.reset(SCENE)
        self.controller = ControllerConfig().build(SCENE, "dual", period_s=self.simulator.control_period_s)
        self.states = [self.simulator.state()]

    def play(self, *intents: Intent) -> ControllerReport:
        """Carries out intents one after another; returns how the last one ended."""
        report = ControllerReport(ControllerStatus.DONE)
        for intent in intents:
            outcome = self.controller.begin(intent, self.simulator.state(), seed=1)
            while outcome is None:
                answer = self.controller.tick(self.simulator.state())
                if isinstance(answer, ControllerReport):
                    outcome = answer
                else:
                    self.simulator.advance({"dual": answer})
                    self.states.append(self.simulator.state())
            report = outcome
        return report


@pytest.fixture
def run():
    made = Run()
    yield made
    made.simulator.close()


def block_in_right(state: WorldState) -> Pose:
    return compose(invert(state.robots["dual"].end_effector("right").tool), state.pose["block"])


def test_a_block_is_handed_from_one_gripper_to_the_other_and_placed(run):
    assert run.play(*PICK).status is ControllerStatus.DONE
    assert run.states[-1].held == {"dual/left": "block", "dual/right": None}
    assert run.play(*TAKE).status is ControllerStatus.DONE
    assert run.states[-1].held == {"dual/left": "block", "dual/right": "block"}
    taken = next(index for index, state in enumerate(run.states) if state.held["dual/right"] == "block")
    assert run.play(*LET_GO).status is ControllerStatus.DONE
    assert run.states[-1].held == {"dual/left": None, "dual/right": "block"}
    assert run.play(PLACE[0]).status is ControllerStatus.DONE
    first = np.array(block_in_right(run.states[taken]).position_m)
    away_m = [np.linalg.norm(block_in_right(state).position_m - first) for state in run.states[taken:]]
    assert max(away_m) < 0.005
    assert run.play(PLACE[1]).status is ControllerStatus.DONE
    assert run.states[-1].held == {"dual/left": None, "dual/right": None}
    assert run.states[-1].pose["block"].position_m == pytest.approx((0.5, -0.2, TABLE_TOP_M + 0.02), abs=0.005)
    still = [np.array(state.pose["block"].position_m) for state in run.states]
    assert max(np.abs(after - before).max() for before, after in itertools.pairwise(still)) < 0.05


def test_an_instant_at_which_both_grippers_hold_the_block_is_restored_bit_for_bit(run):
    run.play(*PICK, *TAKE)
    saved = run.simulator.save()
    count = len(run.states)
    run.play(*LET_GO)
    first = run.states[count:]
    run.simulator.restore(saved)
    assert run.simulator.state().held == {"dual/left": "block", "dual/right": "block"}
    del run.states[count:]
    run.play(*LET_GO)
    assert len(run.states[count:]) == len(first)
    for before, after in zip(first, run.states[count:], strict=True):
        assert before.pose == after.pose
        assert before.held == after.held
        assert np.array_equal(before.robots["dual"].joint_position_rad, after.robots["dual"].joint_position_rad)


def test_one_arm_moves_and_the_other_stands_still(run):
    right = run.states[0].robots["dual"].end_effector("right").tool
    left = run.states[0].robots["dual"].end_effector("left").tool
    step = DeltaPose((0.03, 0.0, 0.0), (0.0, 0.0, 0.0), gripper_open=False, end_effector="left")
    assert run.play(step).status is ControllerStatus.DONE
    here = run.states[-1].robots["dual"]
    assert here.end_effector("left").tool.position_m[0] - left.position_m[0] == pytest.approx(0.03, abs=0.005)
    assert np.subtract(here.end_effector("right").tool.position_m, right.position_m) == pytest.approx(
        np.zeros(3), abs=1e-3
    )
    assert here.end_effector("right").gripper == pytest.approx(1.0, abs=0.01)
    assert here.end_effector("left").gripper < 0.9


def test_a_chunk_moves_the_arm_that_its_action_space_names(run):
    model, start = robot_model("dual_panda"), run.states[0].robots["dual"].joint_position_rad
    space = action_space("joint_position", model, ControllerSettings(), rate_hz=10.0, end_effector="right")
    steps = np.linspace(0.02, 0.2, 10)[:, None] * np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    rows = np.hstack([start[model.columns("right")] + steps, np.ones((10, 1))])
    assert run.play(ActionChunk(space, rows)).status is ControllerStatus.DONE
    moved = run.states[-1].robots["dual"].joint_position_rad - start
    assert moved[model.columns("right")] == pytest.approx([0.2, 0, 0, 0, 0, 0, 0], abs=0.02)
    assert moved[model.columns("left")] == pytest.approx(np.zeros(7), abs=1e-3)
    assert len(run.states) == 21  # 10 rows at 10 Hz take 20 control periods.


def test_an_arm_does_not_go_where_the_other_one_is(run):
    assert run.play(move("right", 0.5, 0.0, 0.3, open_=True)).status is ControllerStatus.DONE
    refused = run.play(move("left", 0.5, 0.03, 0.3, open_=True))
    assert refused.status is ControllerStatus.FAILED
    assert "left_panda" in refused.reason
    assert "right_panda" in refused.reason
    forced = run.play(move("left", 0.5, 0.03, 0.3, open_=True, avoid=False))
    assert forced.status is ControllerStatus.FAILED
    assert "blocked" in forced.reason
    assert ("dual", "dual") in run.states[-1].contact


@pytest.mark.parametrize("name", ["", "gripper"])
def test_an_intent_of_a_robot_with_two_arms_names_one_of_them(run, name):
    with pytest.raises(IntentError, match="left, right"):
        run.play(MoveTo((0.5, 0.0, 0.7), DOWN, gripper_open=True, end_effector=name))
    with pytest.raises(IntentError, match="left, right"):
        run.play(DeltaPose((0.0, 0.0, 0.01), (0.0, 0.0, 0.0), gripper_open=True, end_effector=name))
    assert len(run.states) == 1


@pytest.mark.parametrize("renderer", [RendererChoice.opengl, RendererChoice.tiny])
def test_both_renderers_show_both_arms(renderer):
    simulator = BulletConfig(renderer=renderer).build()
    try:
        simulator.reset(SCENE)
        image = simulator.observe("dual").images["front"]
    finally:
        simulator.close()
    robot = image.instance == SCENE.instance_ids()["dual"]
    left_half, right_half = robot[:, 24:].sum(), robot[:, :24].sum()  # The camera looks at the robot's front.
    assert min(left_half, right_half) > 40
    assert abs(int(left_half) - int(right_half)) < 0.25 * robot.sum()
