"""Controllers keep their contract, and every rule of it catches those that break it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from embodied.controllers import ControllerConfig
from embodied.controllers.action_spaces import action_space
from embodied.controllers.settings import ControllerSettings
from embodied.errors import IntentError
from embodied.geometry import Pose, vector3
from embodied.robots.catalogue import robot_model, robot_names
from embodied.robots.robot import RobotModel
from embodied.scenes.scene import Body, Box, Part, RobotPlacement, Scene
from embodied.testing import ContractError, check_controller, home_state, obedient
from embodied.types import (
    ActionChunk,
    Command,
    ControllerReport,
    ControllerStatus,
    DeltaPose,
    Drive,
    EndEffectorState,
    GoTo,
    Intent,
    MoveTo,
    Skill,
    Wait,
    WorldState,
    held_bodies,
)
from tests.fakes import DOWN, FLOATING, FakeController, FakeSimulator, fake_scene

PERIOD_S = 0.05
STILL = (0.0, 0.0, 0.0)


def scene_of(model: str) -> Scene:
    cube = Body("cube", (Part(Box((0.04, 0.04, 0.04))),), Pose((1.5, 1.5, 0.02)), mass_kg=0.05, graspable=True)
    floor = Body("floor", (Part(Box((20.0, 20.0, 0.1))),), Pose((0.0, 0.0, -0.06)))
    return Scene("yard", (floor, cube), robots=(RobotPlacement("robot", model),))


def examples(model: RobotModel, state: WorldState) -> list[Intent]:
    """An intent, or several, of every type that the robot's controller takes, which end soon."""
    end_effector = model.end_effectors[-1] if len(model.arms) > 1 else ""
    found: list[Intent] = [Wait(0.15)]
    if model.arms:
        tool = state.robots["robot"].end_effector(model.end_effectors[-1]).tool
        up = (tool.position_m[0], tool.position_m[1], tool.position_m[2] + 0.02)
        space = action_space("joint_position", model, ControllerSettings(), rate_hz=10.0, end_effector=end_effector)
        arm = model.arms[-1]
        opening = [] if arm.gripper is None else [0.5]
        rows = np.array([[*(np.array(arm.home_rad) + 0.02 * row), *opening] for row in (1, 2)])
        found += [
            MoveTo(up, tool.orientation, gripper_open=True, avoid_collisions=False, end_effector=end_effector),
            MoveTo((5.0, 0.0, 0.5), tool.orientation, gripper_open=True, end_effector=end_effector),
            DeltaPose((0.0, 0.0, 0.01), STILL, gripper_open=False, end_effector=end_effector),
            ActionChunk(space, rows),
            Skill("move", {"position_m": up, **({"end_effector": end_effector} if end_effector else {})}),
        ]
    if model.drive is not None:
        space = action_space("base_velocity", model, ControllerSettings(), rate_hz=10.0)
        found += [
            Drive(0.3, 0.1, 0.3),
            ActionChunk(space, np.linspace(0.1, 0.2, 2 * space.size).reshape(2, -1)),
            GoTo((0.2, 0.0)),
        ]
        found.append(Skill("drive", {"position_m": (0.2, 0.0, 0.0)}))
    return found


@pytest.mark.parametrize("name", robot_names())
def test_the_controller_of_every_robot_of_the_catalogue_keeps_the_contract(name):
    model, scene = robot_model(name), scene_of(name)
    state = home_state(scene)
    check_controller(
        lambda: ControllerConfig().build(scene, "robot", period_s=PERIOD_S),
        examples(model, state),
        robot="robot",
        model=model,
        state=state,
        follower=lambda: obedient(scene, "robot", period_s=PERIOD_S),
        refused=["forward", None, Skill("no such skill"), Skill("pick", {"object": 3})],
    )


# --- The fake, and those that break it ------------------------------------------------------------------------------


def floating(state: WorldState, command: Command) -> WorldState:
    """The next state of a fake robot that is where it is sent."""
    here = state.robots["arm"]
    tool = here.end_effectors["gripper"]
    place = here.joint_position_rad if command.joint_position_rad is None else np.array(command.joint_position_rad)
    opening = tool.gripper if command.gripper is None else command.gripper
    now = EndEffectorState(Pose(vector3(place), DOWN), opening)
    robots = {"arm": replace(here, joint_position_rad=place, end_effectors={"gripper": now})}
    return replace(state, time_s=state.time_s + PERIOD_S, robots=robots, held=held_bodies(robots))


def begun() -> WorldState:
    simulator = FakeSimulator()
    simulator.reset(fake_scene())
    return simulator.state()


def check_fake(make: Callable[[], FakeController]) -> None:
    intents = [
        MoveTo((0.2, 0.1, 0.3), DOWN, gripper_open=False),
        MoveTo((0.2, 0.1, -0.3), DOWN, gripper_open=True),
        Wait(0.2),
    ]
    check_controller(make, intents, robot="arm", model=FLOATING, state=begun(), follower=lambda: floating)


def test_the_fake_controller_keeps_the_contract():
    check_fake(lambda: FakeController("arm"))


class Planted(FakeController):
    def __init__(self):
        super().__init__("arm")


class NoTypes(Planted):
    handles = frozenset()


class ClaimsDrive(Planted):
    handles = frozenset({MoveTo, Wait, Drive})


class TakesSkills(Planted):
    def begin(self, intent, state, *, seed):
        return super().begin(Wait(0.1) if isinstance(intent, Skill) else intent, state, seed=seed)


class Trembling(Planted):
    def tick(self, state):
        command = super().tick(state)
        if isinstance(command, Command) and command.joint_position_rad is not None:
            return replace(command, joint_position_rad=command.joint_position_rad + 1e-9 * np.random.random())
        return command


class Counting(Planted):
    runs = 0

    def begin(self, intent, state, *, seed):
        type(self).runs += 1
        return super().begin(intent, state, seed=seed)

    def tick(self, state):
        command = super().tick(state)
        return replace(command, gripper=0.001 * self.runs) if isinstance(command, Command) else command


class WritesState(Planted):
    def tick(self, state):
        state.robots["arm"].joint_position_rad[:] = 0.0
        return super().tick(state)


class OneCommand(Planted):
    def __init__(self):
        super().__init__()
        self._target = np.zeros(3)

    def tick(self, state):
        command = super().tick(state)
        if isinstance(command, Command) and command.joint_position_rad is not None:
            self._target[:] = command.joint_position_rad
            return replace(command, joint_position_rad=self._target)
        return command

    def hold(self):
        self._target[:] = 0.0
        return Command()


class WideGripper(Planted):
    def tick(self, state):
        command = super().tick(state)
        opening = isinstance(command, Command) and command.gripper is not None
        return replace(command, gripper=8.0) if opening else command


class FourJoints(Planted):
    def tick(self, state):
        command = super().tick(state)
        moving = isinstance(command, Command) and command.joint_position_rad is not None
        return replace(command, joint_position_rad=np.zeros(4)) if moving else command


class Endless(Planted):
    def tick(self, state):
        return Command() if isinstance(self._active, Wait) else super().tick(state)


class NoReason(Planted):
    def begin(self, intent, state, *, seed):
        report = super().begin(intent, state, seed=seed)
        return None if report is None else ControllerReport(report.status)


class DoneForEver(Planted):
    def tick(self, state):
        try:
            return super().tick(state)
        except IntentError:
            return ControllerReport(ControllerStatus.DONE)


class TakesNaN(Planted):
    def begin(self, intent, state, *, seed):
        if isinstance(intent, MoveTo) and not np.isfinite(intent.position_m).all():
            intent = Wait(0.1)
        return super().begin(intent, state, seed=seed)


class RaisesValueError(Planted):
    def begin(self, intent, state, *, seed):
        if isinstance(intent, Wait) and not np.isfinite(intent.duration_s):
            raise ValueError("a duration must be finite")
        return super().begin(intent, state, seed=seed)


class GoesOnWhenRefused(Planted):
    def begin(self, intent, state, *, seed):
        try:
            return super().begin(intent, state, seed=seed)
        except IntentError:
            self._active = Wait(1.0)
            raise


class SlipsWhenRefused(Planted):
    slipped = False

    def begin(self, intent, state, *, seed):
        try:
            return super().begin(intent, state, seed=seed)
        except IntentError:
            self.slipped = True
            raise

    def hold(self):
        return Command(gripper=0.3) if self.slipped else super().hold()


class DropsWhenRefused(SlipsWhenRefused):
    hold = FakeController.hold

    def tick(self, state):
        command = super().tick(state)
        return replace(command, gripper=0.9) if self.slipped and isinstance(command, Command) else command


class CancelsAsDone(Planted):
    def cancel(self):
        super().cancel()
        return ControllerReport(ControllerStatus.DONE)


class GoesOnAfterCancel(Planted):
    def cancel(self):
        return ControllerReport(ControllerStatus.CANCELLED)


class SpringsBack(Planted):
    cancelled = False

    def cancel(self):
        self.cancelled = True
        return super().cancel()

    def hold(self):
        return Command(joint_position_rad=np.zeros(3)) if self.cancelled else super().hold()


class HoldsNothing(Planted):
    def hold(self):
        return None


class GoesHome(Planted):
    def hold(self):
        return Command(joint_position_rad=np.array([0.0, 0.0, 0.5]))


PLANTED = [
    ("handles", NoTypes),
    ("handles", ClaimsDrive),
    ("handles", TakesSkills),
    ("determinism", Trembling),
    ("determinism", Counting),
    ("determinism", WritesState),
    ("results_stay", OneCommand),
    ("commands", WideGripper),
    ("commands", FourJoints),
    ("ends", Endless),
    ("ends", NoReason),
    ("tick_after_end", DoneForEver),
    ("refusals", TakesNaN),
    ("refusals", RaisesValueError),
    ("refused_moves_nothing", GoesOnWhenRefused),
    ("refused_moves_nothing", SlipsWhenRefused),
    ("refused_moves_nothing", DropsWhenRefused),
    ("cancel", CancelsAsDone),
    ("cancel", GoesOnAfterCancel),
    ("cancel", SpringsBack),
    ("hold", HoldsNothing),
    ("hold", GoesHome),
]


@pytest.mark.parametrize(("rule", "broken"), PLANTED, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_controller_is_refused_by_the_rule_that_it_breaks(rule, broken):
    with pytest.raises(ContractError) as caught:
        check_fake(broken)
    assert caught.value.name == rule, caught.value
