"""Simulators keep their contract, and every rule of it catches those that break it."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from embodied.errors import UnknownNameError
from embodied.geometry import Pose, look_at
from embodied.robots.catalogue import robot_model, robot_names
from embodied.scenes.scene import Body, Box, Camera, Joint, Part, RobotPlacement, Scene
from embodied.simulators.bullet.simulator import BulletConfig
from embodied.testing import ContractError, check_simulator
from embodied.testing.played_world import usual_commands
from embodied.types import Command
from launch.benchmarks.placement.offsets import picked_world
from launch.benchmarks.placement.scenario import placing_scene
from tests.evaluation.notebook import CueTask, CueWorld
from tests.fakes import FLOATING, FakeSimulator, fake_scene
from tests.rollout.test_events_and_grasps import StartsHolding
from tests.worlds import FLOATING_PANDA, PandaWorld

TINY = fake_scene(("arm", "other"))
MODELS = {"panda": FLOATING}
MOVES = [
    {
        "arm": Command(np.array([0.1 * step, 0.0, 0.3]), gripper=float(step % 2)),
        "other": Command(np.array([0.5, 0.0, 0.1])),
    }
    for step in range(6)
]


MOVES_OF_ONE = [{"arm": one["arm"]} for one in MOVES]
PANDA = {"panda": robot_model("panda")}


def bullet_scene() -> Scene:
    """Every robot of the catalogue on a floor, a free block, a drawer, a fixed camera and a carried one."""
    part = (Part(Box((0.06, 0.06, 0.06))),)
    robots = [RobotPlacement(name, name, Pose((0.0, 2.0 * row, 0.0))) for row, name in enumerate(robot_names())]
    return Scene(
        "all robots",
        bodies=(
            Body("floor", (Part(Box((12.0, 24.0, 0.1))),), Pose((0.0, 8.0, -0.05))),
            Body("block", part, Pose((1.5, 0.0, 0.2)), mass_kg=0.1, graspable=True),
            Body("cabinet", part, Pose((3.0, 0.0, 0.5))),
            Body("drawer", part, mass_kg=0.2),
        ),
        joints=(Joint("slide", "prismatic", "cabinet", "drawer", Pose((0.0, 0.0, 0.2)), (1.0, 0.0, 0.0), upper=0.2),),
        cameras=(
            Camera("front", look_at((6.0, 5.0, 5.0), (0.5, 5.0, 0.3)), 96, 64, fov_y_rad=1.2),
            Camera("wrist", Pose(), 12, 12, mount="panda"),
        ),
        robots=tuple(robots),
    )


def check_tiny(make):
    check_simulator(make, TINY, commands=MOVES, models=MODELS)


def test_bullet_keeps_the_contract_with_every_robot_of_the_catalogue():
    check_simulator(BulletConfig().build, bullet_scene())


def test_the_tiny_world_keeps_the_contract():
    check_tiny(FakeSimulator)


@pytest.mark.parametrize("make", [CueWorld, StartsHolding])
def test_tiny_worlds_with_a_cue_or_a_held_block_keep_the_contract(make):
    check_simulator(make, CueTask().sample(2).scene, commands=MOVES_OF_ONE, models=MODELS)


def test_the_tiny_world_of_floating_pandas_keeps_the_contract():
    moves = [{"arm": Command(np.append(one["arm"].joint_position_rad, np.zeros(4)))} for one in MOVES_OF_ONE]
    check_simulator(PandaWorld, fake_scene(), commands=moves, models={"panda": FLOATING_PANDA})


def test_the_world_of_the_placement_benchmark_keeps_the_contract():
    check_simulator(picked_world, placing_scene(), commands=usual_commands(placing_scene(), PANDA)[:2])


class Drifting(FakeSimulator):
    def advance(self, commands):
        super().advance(commands)
        self._hand["arm"][0] += 1e-9 * np.random.random()


class Remembering(FakeSimulator):
    def reset(self, scene):
        super().reset(scene)
        self._hand["arm"][0] += 1e-9 * self.resets


class Blinking(FakeSimulator):
    def observe(self, robot, cameras=None):
        self._hand[robot][1] += 1e-9
        return super().observe(robot, cameras)


class LateClock(FakeSimulator):
    def state(self):
        return replace(super().state(), time_s=self.time_s + 0.05)


class SlowClock(FakeSimulator):
    @property
    def control_period_s(self):
        return 0.1


class Degrees(FakeSimulator):
    def state(self):
        state = super().state()
        return replace(state, robots={name: replace(robot, end_effectors={}) for name, robot in state.robots.items()})


class Bodiless(FakeSimulator):
    def state(self):
        state = super().state()
        return replace(state, pose={name: pose for name, pose in state.pose.items() if name != "table"})


class NotANumber(FakeSimulator):
    def state(self):
        return replace(super().state(), joint={"slide": float("nan")})


class HoldsTwo(FakeSimulator):
    def state(self):
        return replace(super().state(), held={"arm": "block", "other": "block"})


class Seeing(FakeSimulator):
    """Images are changed by `image`."""

    changes: ClassVar[dict] = {}

    def _image(self, name):
        image = super()._image(name)
        return replace(image, **{part: change(getattr(image, part)) for part, change in self.changes.items()})


class WideProprio(FakeSimulator):
    def observe(self, robot, cameras=None):
        seen = super().observe(robot, cameras)
        return replace(seen, proprio=seen.proprio.astype(np.float64))


class AllCameras(FakeSimulator):
    def observe(self, robot, cameras=None):
        return super().observe(robot)


class Writing(FakeSimulator):
    def advance(self, commands):
        for command in commands.values():
            target = command.joint_position_rad
            if target is not None:
                target += 0.0
        super().advance(commands)


class Keeping(FakeSimulator):
    def advance(self, commands):
        super().advance(commands)
        for robot, command in commands.items():
            if command.joint_position_rad is not None:
                self._goal[robot] = command.joint_position_rad


class OneArray(FakeSimulator):
    def _robot_state(self, robot):
        return replace(super()._robot_state(robot), joint_position_rad=self._hand[robot])


class ForgetsGoals(FakeSimulator):
    def restore(self, saved):
        goal = self._goal
        super().restore(saved)
        self._goal = goal


class SavesItself(FakeSimulator):
    def save(self):
        return self._ticks, self._hand, self._goal, self._gripper, self._held, self._place


class TakesNaN(FakeSimulator):
    def _check(self, robot, command):
        self._require(robot)


class RaisesValueError(FakeSimulator):
    def _check(self, robot, command):
        if command.joint_position_rad is not None and np.shape(command.joint_position_rad) != (3,):
            raise ValueError("three numbers are expected")
        super()._check(robot, command)


class MovesTheRest(FakeSimulator):
    def advance(self, commands):
        for robot, command in commands.items():
            self._check(robot, command)
            if command.gripper is not None:
                self._gripper[robot] = command.gripper
            if command.joint_position_rad is not None:
                self._hand[robot] += 1e-6
        super().advance(commands)


class TicksOnRefusal(FakeSimulator):
    def _check(self, robot, command):
        try:
            super()._check(robot, command)
        except Exception:
            self._goal["arm"] += 0.1
            raise


class AnyScene(FakeSimulator):
    def reset(self, scene):
        super().reset(Scene("empty") if any(robot.model == "no robot model" for robot in scene.robots) else scene)


class ClosesOnce(FakeSimulator):
    def close(self):
        if self.closed:
            raise RuntimeError("already closed")
        super().close()


class Teleporting(FakeSimulator):
    def teleport(self, body, pose):
        if body not in self._place:
            raise UnknownNameError("A body must exist.", value=body)
        self._place[body] = np.array(pose.position_m) + 0.01


class TeleportsAnything(Teleporting):
    def teleport(self, body, pose):
        self._place[body] = np.array(pose.position_m)


def seeing(**changes):
    return type("Changed", (Seeing,), {"changes": changes})


PLANTED = [
    ("determinism", Drifting),
    ("reset_forgets", Remembering),
    ("observe_moves_nothing", Blinking),
    ("clock", LateClock),
    ("clock", SlowClock),
    ("state_units", Degrees),
    ("state_units", Bodiless),
    ("state_units", NotANumber),
    ("state_units", HoldsTwo),
    ("observation_units", WideProprio),
    ("observation_units", AllCameras),
    ("observation_units", seeing(depth_m=lambda depth: np.full_like(depth, np.inf))),
    ("observation_units", seeing(depth_m=lambda depth: 1000 * depth.astype(np.uint16))),
    ("observation_units", seeing(rgb=lambda rgb: rgb.transpose(2, 0, 1))),
    ("observation_units", seeing(intrinsics=lambda _: np.eye(3))),
    ("observation_units", seeing(instance=lambda ids: ids * 99)),
    ("observation_units", seeing(world_from_camera=lambda matrix: 2.0 * matrix)),
    ("read_only_inputs", Writing),
    ("read_only_inputs", Keeping),
    ("results_stay", OneArray),
    ("save_restore", ForgetsGoals),
    ("save_restore", SavesItself),
    ("refusals", TakesNaN),
    ("refusals", RaisesValueError),
    ("refused_moves_nothing", TicksOnRefusal),
    ("refused_moves_nothing", MovesTheRest),
    ("bad_scene", AnyScene),
    ("teleport", Teleporting),
    ("teleport", TeleportsAnything),
    ("close_twice", ClosesOnce),
]


@pytest.mark.parametrize(("rule", "broken"), PLANTED, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_simulator_is_refused_by_the_rule_that_it_breaks(rule, broken):
    with pytest.raises(ContractError) as caught:
        check_tiny(broken)
    assert caught.value.name == rule, caught.value
    assert caught.value.rule
    assert caught.value.remedy
