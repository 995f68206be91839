"""A tiny world for tests: grippers that float, blocks that can be carried, bins of which one is right.

It keeps the contracts of `embodied.protocols`, as `tests/contracts` checks, and costs microseconds per step.
"""

import copy
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from embodied.errors import IntentError, SimulationError, unknown_name
from embodied.geometry import Pose, intrinsics_matrix, vector3
from embodied.protocols import Controller, Policy, Simulator
from embodied.robots.catalogue import robot_model
from embodied.robots.commands import check_command, proprio
from embodied.robots.robot import Arm, Gripper, RobotModel
from embodied.scenes.changes import BodyAttributes, check_effect, check_not_held
from embodied.scenes.scene import Body, Box, Camera, Joint, Part, RobotPlacement, Scene
from embodied.seeding import stream
from embodied.simulators.world import WorldConfig
from embodied.specs import KEYFRAME, ObservationSpec
from embodied.tasks.goals import ChoosesOne
from embodied.types import (
    CameraImage,
    Choice,
    Command,
    ControllerReport,
    ControllerStatus,
    Decision,
    EndEffectorState,
    Episode,
    Intent,
    IntentFeedback,
    Limits,
    MoveTo,
    Observation,
    Outcome,
    PlaceBody,
    Progress,
    Request,
    RobotState,
    SetJoint,
    Wait,
    WorldChange,
    WorldState,
    held_bodies,
)

PERIOD_S = 0.05
STEP_M = 0.1
REACH_M = 0.03
DOWN = (1.0, 0.0, 0.0, 0.0)
BINS = {"left": (0.3, 0.3, 0.1), "right": (0.3, -0.3, 0.1)}
SPLITS = ("train", "validation", "test")
BLOCK_START = (0.5, 0.0, 0.1)
# What the robots of the tiny world are, whatever model the scene names: their joints are x, y and z of the gripper.
FLOATING = RobotModel(
    "floating",
    arms=(
        Arm(
            "gripper", urdf="", joints=("x", "y", "z"), home_rad=(0.0, 0.0, 0.5), lower_rad=(-100.0,) * 3,
            upper_rad=(100.0,) * 3, velocity_limit_radps=(2.0,) * 3, effort_limit_nm=(1.0,) * 3, tool_link="",
            tool_in_link=Pose(), gripper=Gripper(("", ""), ("", ""), stroke_m=0.04, force_n=1.0,
            closed_at=(0.0, 0.0), open_at=(0.04, 0.04)),
        ),
    ),
)  # fmt: skip


# --- A world ----------------------------------------------------------------------------------------------------------


def fake_scene(robots: Sequence[str] = ("arm",)) -> Scene:
    """A free block, two bins, a drawer on a joint, and two cameras."""
    box = (Part(Box((0.04, 0.04, 0.04))),)
    return Scene(
        name="fake",
        bodies=(
            Body("table", box),
            Body("block", box, pose=Pose(BLOCK_START), mass_kg=0.1, graspable=True),
            *(Body(name, box, pose=Pose(place)) for name, place in BINS.items()),
            Body("drawer", box, mass_kg=0.1),
        ),
        joints=(Joint("slide", "prismatic", "table", "drawer", upper=0.2),),
        cameras=(Camera("front", Pose(), 16, 12), Camera("wrist", Pose(), 8, 8, mount=robots[0])),
        robots=tuple(RobotPlacement(name, "panda") for name in robots),
    )


class FakeSimulator:
    """Grippers move straight to the first three joint targets, x, y and z, by 0.1 m a period; closed ones carry bodies.

    All robots are of `model`; joints beyond the first three stay at zero.
    """

    control_period_s = PERIOD_S
    renderer = "fake"
    model = FLOATING

    def __init__(self) -> None:
        self.resets = 0
        self.closed = False

    def reset(self, scene: Scene) -> None:
        for placed in scene.robots:
            robot_model(placed.model)
        self.resets += 1
        self._scene, self._ticks = scene, 0
        self._hand = {robot.name: np.array([0.0, 0.0, 0.5]) for robot in scene.robots}
        self._goal = {name: place.copy() for name, place in self._hand.items()}
        self._gripper = {robot.name: robot.gripper for robot in scene.robots}
        self._held: dict[str, str | None] = {robot.name: None for robot in scene.robots}
        self._place = {body.name: np.array(body.pose.position_m) for body in scene.bodies}
        self._joint = {joint.name: joint.position for joint in scene.joints}
        self._attributes = BodyAttributes.of(scene)

    def apply(self, changes: Sequence[WorldChange]) -> None:
        for change in changes:
            check_effect(self._scene, change)
            check_not_held(change, self._scene, self._held.values())
        for change in changes:
            if isinstance(change, PlaceBody):
                self._place[change.body] = np.array(change.pose.position_m)
            elif isinstance(change, SetJoint):
                self._joint[change.joint] = change.position
        self._attributes = self._attributes.changed(changes)

    def advance(self, commands: Mapping[str, Command]) -> None:
        for robot, command in commands.items():
            self._check(robot, command)
        for robot, command in commands.items():
            if command.joint_position_rad is not None:
                self._goal[robot] = np.array(command.joint_position_rad)[:3]
            if command.gripper is not None:
                self._gripper[robot] = command.gripper
        self._ticks += 1
        for robot in self._hand:
            self._move(robot)

    def _check(self, robot: str, command: Command) -> None:
        self._require(robot)
        check_command(robot, self.model, command)

    def _require(self, robot: str) -> None:
        if robot not in self._hand:
            raise unknown_name("robot", robot, self._hand)

    def _move(self, robot: str) -> None:
        way = self._goal[robot] - self._hand[robot]
        distance = float(np.linalg.norm(way))
        self._hand[robot] += way if distance <= STEP_M else way * (STEP_M / distance)
        if abs(self._hand[robot]).max() > 50.0:
            raise SimulationError("The physics must stay finite.", value=robot)
        if self._gripper[robot] > 0.5:
            self._held[robot] = None
        elif self._held[robot] is None:
            near = [
                name for name in ("block", "drawer") if np.linalg.norm(self._place[name] - self._hand[robot]) < REACH_M
            ]
            self._held[robot] = near[0] if near else None
        held = self._held[robot]
        if held is not None:
            self._place[held] = self._hand[robot].copy()

    def observe(self, robot: str, cameras: Sequence[str] | None = None) -> Observation:
        self._require(robot)
        names = [camera.name for camera in self._scene.cameras] if cameras is None else cameras
        images = {name: self._image(name) for name in names}
        seen = proprio(self.model, self._robot_state(robot))
        return Observation(robot, images, seen, float(self._gripper[robot]), self.time_s)

    def _image(self, name: str) -> CameraImage:
        camera = self._scene.camera(name)
        shape = (camera.height_px, camera.width_px)
        rgb = np.full((*shape, 3), self._ticks % 256, dtype=np.uint8)
        self._paint(rgb)
        depth_m, instance = np.ones(shape, dtype=np.float32), np.ones(shape, dtype=np.int32)
        return CameraImage(rgb, depth_m, instance, intrinsics_matrix(*shape[::-1], camera.fov_y_rad), np.eye(4))

    def _paint(self, rgb: np.ndarray) -> None:
        """Draws bodies and grippers from above as squares: held bodies white, closed grippers red, open ones green."""
        for index, (name, place) in enumerate(self._place.items()):
            shade = 255 if name in self._held.values() else 100 + 10 * index
            _square(rgb, place, (shade, shade, shade), share=0.1)
        for robot, place in self._hand.items():
            _square(rgb, place, (0, 255, 0) if self._gripper[robot] > 0.5 else (255, 0, 0), share=0.04)

    @property
    def time_s(self) -> float:
        return self._ticks * PERIOD_S

    def state(self) -> WorldState:
        robots = {name: self._robot_state(name) for name in self._hand}
        poses = {name: Pose(vector3(place)) for name, place in self._place.items()}
        return WorldState(
            self.time_s,
            poses,
            dict(self._joint),
            frozenset(),
            held_bodies(robots),
            robots,
            self._attributes.properties,
            self._attributes.colours,
        )

    def _robot_state(self, robot: str) -> RobotState:
        tool = Pose(vector3(self._hand[robot]), DOWN)
        end_effector = EndEffectorState(tool, float(self._gripper[robot]), self._held[robot])
        joints = np.zeros(len(self.model.joints))
        joints[:3] = self._hand[robot]
        return RobotState(joints, np.zeros(len(joints)), Pose(), {"gripper": end_effector})

    def save(self) -> object:
        names = ("_ticks", "_hand", "_goal", "_gripper", "_held", "_place", "_joint", "_attributes")
        return copy.deepcopy({name: vars(self)[name] for name in names})

    def restore(self, saved: Any) -> None:
        vars(self).update(copy.deepcopy(saved))

    def close(self) -> None:
        self.closed = True


def _square(rgb: np.ndarray, place: np.ndarray, colour: tuple[int, int, int], *, share: float) -> None:
    """Fills a square of `share` of the image's height, and one pixel at least; the image shows x and y in [-1, 1] m."""
    size = np.array(rgb.shape[:2])
    middle, half = (place[:2] + 1.0) / 2.0 * size, max(0.5, share * size[0] / 2.0)
    (top, left), (bottom, right) = (
        np.clip(np.floor(edge), 0, size).astype(int) for edge in (middle - half, middle + half)
    )
    rgb[top:bottom, left:right] = colour


@dataclass(kw_only=True)
class FakeSimulatorConfig:
    """Builds the fake world."""

    world: WorldConfig = field(default_factory=lambda: WorldConfig(control_hz=round(1.0 / PERIOD_S)))

    def build(self) -> Simulator:
        return FakeSimulator()


class FakeController:
    """Moves straight, then sets the gripper; below z = 0 nothing can be reached."""

    def __init__(self, robot: str) -> None:
        self._robot = robot
        self._active: MoveTo | Wait | None = None
        self._end_s = 0.0
        self._gripping = False
        self.begun: list[Intent] = []

    def begin(self, intent: Intent, state: WorldState, *, seed: int) -> ControllerReport | None:
        self._active = None
        self._check(intent)
        self.begun.append(intent)
        if isinstance(intent, Wait):
            self._end_s = state.time_s + intent.duration_s
        elif isinstance(intent, MoveTo) and intent.position_m[2] < 0.0:
            return ControllerReport(ControllerStatus.FAILED, "below the table")
        self._active, self._gripping = intent, False
        return None

    def _check(self, intent: Intent) -> None:
        if not isinstance(intent, MoveTo | Wait):
            raise IntentError("The fake controller takes MoveTo and Wait.", value=type(intent).__name__)
        if isinstance(intent, Wait):
            numbers, sizes = [intent.duration_s], [1]
        else:
            numbers, sizes = (
                [*intent.position_m, *intent.orientation],
                [len(intent.position_m), len(intent.orientation)],
            )
        if sizes not in ([1], [3, 4]) or not np.isfinite(numbers).all():
            raise IntentError("The numbers of an intent must be finite, and as many as documented.", value=intent)

    @property
    def handles(self) -> frozenset[type]:
        return frozenset({MoveTo, Wait})

    def cancel(self) -> ControllerReport:
        self._active = None
        return ControllerReport(ControllerStatus.CANCELLED)

    def hold(self) -> Command:
        return Command()

    def tick(self, state: WorldState) -> Command | ControllerReport:
        intent = self._active
        if intent is None:
            raise IntentError("A tick must follow a `begin` that did not fail.")
        if isinstance(intent, Wait):
            return self._ended() if state.time_s >= self._end_s - 1e-9 else Command()
        if self._gripping:
            return self._ended()
        joints = state.robots[self._robot].joint_position_rad
        goal = np.append(intent.position_m, np.zeros(len(joints) - 3))
        if np.linalg.norm(joints - goal) < 1e-6:
            self._gripping = True
            return Command(gripper=1.0 if intent.gripper_open else 0.0)
        return Command(joint_position_rad=goal)

    def _ended(self) -> ControllerReport:
        self._active = None
        return ControllerReport(ControllerStatus.DONE)


@dataclass(kw_only=True)
class FakeControllerConfig:
    """Builds a fake controller."""

    def build(self, scene: Scene, robot: str, *, period_s: float, asset_root: str = "") -> Controller:
        return FakeController(scene.robot(robot).name)


# --- A task -----------------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class FakeTask(ChoosesOne):
    """Take the block into the right bin: phases `taken`, `binned`; the first bin touched is the choice.

    Evaluations take its seeds in order, so that tests know them.
    """

    seeds_in_order = True

    name: str = "bin_block"
    tier: str = "strict"
    robots: tuple[str, ...] = ("arm",)
    overrides: Mapping[str, object] = field(default_factory=dict)

    def sample(self, seed: int, *, split: str = "test") -> Episode:
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        target = sorted(BINS)[int(stream(seed, "target", split).integers(2))]
        episode = Episode(
            id=f"{self.name}/{split}/{seed}",
            task=self.name,
            tier=self.tier,
            variant=sorted(BINS).index(target),
            seed=seed,
            split=split,
            instruction="put the block into its bin",
            scene=fake_scene(self.robots),
            goal=Choice(tuple(sorted(BINS)), target),
            limits=Limits(intents=25, sim_time_s=20.0),
        )
        return replace(episode, **self.overrides)

    def begin(self, episode: Episode, state: WorldState) -> Progress:
        return Progress()

    def after_failure(self, episode: Episode, progress: Progress, feedback: IntentFeedback, robot: str) -> Progress:
        return replace(progress, outcome=Outcome.FAILURE, reason=f"controller: {feedback.reason}")

    def advance(self, episode: Episode, progress: Progress, state: WorldState) -> Progress:
        if not progress.reached and "block" in state.held.values():
            progress = replace(progress, reached=("taken",))
        for name, place in BINS.items():
            if progress.reached and np.linalg.norm(np.subtract(state.pose["block"].position_m, place)) < REACH_M:
                right = name == episode.choice_goal.target
                return replace(
                    progress,
                    choice=name,
                    reached=(*progress.reached, "binned") if right else progress.reached,
                    outcome=Outcome.SUCCESS if right else Outcome.FAILURE,
                    reason="" if right else f"wrong bin: {name}",
                )
        return progress


# --- Policies ---------------------------------------------------------------------------------------------------------


def carry_to(place: tuple[float, float, float]) -> tuple[MoveTo, ...]:
    """Takes the block to `place`."""
    return (MoveTo(BLOCK_START, DOWN, gripper_open=False), MoveTo(place, DOWN, gripper_open=False))


@dataclass
class FakePolicy:
    """Carries the block: to the target if privileged, else to a bin drawn from the request's seed."""

    privileged: bool = False
    cameras: Sequence[str] | None = ()
    seen: list[Request] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)

    action_spec = KEYFRAME

    @property
    def observation_spec(self) -> ObservationSpec:
        return ObservationSpec(cameras=None if self.cameras is None else tuple(self.cameras))

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        self.seen += requests
        self.batches.append(len(requests))
        return [self._decide(request) for request in requests]

    def _decide(self, request: Request) -> Decision:
        names = sorted(BINS)
        chosen = names[int(stream(request.seed, "choice").integers(2))]
        if request.truth is not None:
            chosen = request.truth.episode.choice_goal.target
        take, put = carry_to(BINS[chosen])
        return Decision(intents=(put if request.step % 2 else take,), carry={"step": request.step})


@dataclass
class ScriptedPolicy:
    """Answers with one decision after another, the same for every robot; then it waits."""

    script: Sequence[Sequence[Intent]]
    privileged: bool = False
    cameras: Sequence[str] | None = ()
    seen: list[Request] = field(default_factory=list)

    action_spec = KEYFRAME

    @property
    def observation_spec(self) -> ObservationSpec:
        return ObservationSpec(cameras=None if self.cameras is None else tuple(self.cameras))

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        self.seen += requests
        return [self._decide(request) for request in requests]

    def _decide(self, request: Request) -> Decision:
        turn = (request.carry or {"turn": 0})["turn"]
        intents = self.script[turn] if turn < len(self.script) else (Wait(0.5),)
        return Decision(intents=tuple(intents), carry={"turn": turn + 1})


@dataclass(kw_only=True)
class FakePolicyConfig:
    """Builds a `FakePolicy`."""

    privileged: bool = False

    def build(self) -> Policy:
        return FakePolicy(privileged=self.privileged)


@dataclass(kw_only=True)
class FaultyPolicyConfig:
    """Builds an expert that fails on the episodes of `seeds`, at its second request, in the way of `fault`.

    `kill` and `stop` send the signal to their own process, `hang` never returns, `late` needs `late_s`; with a
    `once_folder` each episode fails only the first time. `error` raises what is not an `EmbodiedError`.
    """

    fault: str
    seeds: tuple[int, ...] = ()
    late_s: float = 0.0
    once_folder: str = ""

    def build(self) -> Policy:
        return FaultyPolicy(self)


class FaultyPolicy(FakePolicy):
    """See `FaultyPolicyConfig`."""

    def __init__(self, config: FaultyPolicyConfig) -> None:
        super().__init__(privileged=True)
        self._config = config

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        for request in requests:
            assert request.truth is not None
            if request.step == 1 and request.truth.episode.seed in self._config.seeds and self._may_fail(request):
                self._fail()
        return super().act(requests)

    def _may_fail(self, request: Request) -> bool:
        if not self._config.once_folder:
            return True
        assert request.truth is not None
        mark = Path(self._config.once_folder) / str(request.truth.episode.seed)
        if mark.exists():
            return False
        mark.touch()
        return True

    def _fail(self) -> None:
        match self._config.fault:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "hang":
                while True:
                    pass
            case "late":
                time.sleep(self._config.late_s)
            case "error":
                raise ZeroDivisionError("a bug in a policy")
            case other:
                raise unknown_name("fault", other, ("kill", "segfault", "stop", "hang", "late", "error"))
