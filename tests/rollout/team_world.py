"""Two arms at a table and a mobile base beside it: a task, three policies, and a schedule that reassigns one arm.

`python -m tests.rollout.team_world FOLDER` plays the evaluation of these in one process, as a user's script would.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from embodied.controllers import ControllerConfig
from embodied.evaluation.evaluator import evaluate
from embodied.evaluation.plan import Evaluation
from embodied.geometry import Pose, look_at, quaternion_from_euler, quaternion_from_yaw
from embodied.planning import ScheduleConfig, ScheduledStep
from embodied.rollout.inline import InlineCompute
from embodied.rollout.team import AgentConfig
from embodied.rollout.worker import WorkerConfig
from embodied.scenes.scene import Body, Box, Camera, Part, RobotPlacement, Scene
from embodied.seeding import stream
from embodied.simulators.bullet import BulletConfig
from embodied.specs import KEYFRAME, ObservationSpec
from embodied.types import (
    ControllerReport,
    ControllerStatus,
    Decision,
    Episode,
    GoTo,
    Limits,
    Mission,
    MoveTo,
    Outcome,
    Progress,
    Request,
    Skill,
    Wait,
)

NAME, LEFT, RIGHT, ROVER = "tidy", "left", "right", "rover"
DOWN = quaternion_from_euler(np.pi, 0.0, 0.0)
TOP_M, SIDE_M = 0.3, 0.05
GOAL_M = (1.6, 0.8)
STAND_BY, PICK_RED, PICK_GREEN, DRIVE = "stand by", "pick the red block", "pick the green block", "drive to the corner"
ARRIVED_M = 0.05


def tidy_scene(red_y_m: float, green_y_m: float) -> Scene:
    """Returns the world; the arms face each other across the table, the base stands in a corner of the hall."""
    colours = {"red": (0.8, 0.1, 0.1, 1.0), "green": (0.1, 0.6, 0.2, 1.0)}
    places = {"red": (-0.12, red_y_m), "green": (0.12, green_y_m)}
    cubes = {name: (Part(Box((SIDE_M, SIDE_M, SIDE_M)), rgba=rgba),) for name, rgba in colours.items()}
    blocks = [
        Body(name, cubes[name], Pose((x, y, TOP_M + SIDE_M / 2)), 0.2, graspable=True)
        for name, (x, y) in places.items()
    ]
    front = look_at((0.0, -2.4, 1.6), (0.0, 0.0, 0.3))
    ahead = look_at((0.1, 0.0, 0.3), (1.0, 0.0, 0.1))
    return Scene(
        name="tidy",
        bodies=(
            Body("floor", (Part(Box((8.0, 8.0, 0.1))),), Pose((0.0, 0.0, -0.05))),
            Body("table", (Part(Box((0.6, 0.9, TOP_M))),), Pose((0.0, 0.0, TOP_M / 2))),
            *blocks,
        ),
        cameras=(
            Camera("front", front, 32, 24, 0.8),
            Camera("left_wrist", Pose((0.07, 0.0, -0.14)), 24, 24, 1.0, mount=LEFT),
            Camera("ahead", ahead, 24, 24, 1.0, mount=ROVER),
        ),
        robots=(
            RobotPlacement(LEFT, "panda", Pose((-0.62, 0.0, 0.0))),
            RobotPlacement(RIGHT, "panda", Pose((0.62, 0.0, 0.0), quaternion_from_yaw(np.pi))),
            RobotPlacement(ROVER, "differential_base", Pose((1.6, -1.2, 0.0), quaternion_from_yaw(np.pi / 2))),
        ),
    )


@dataclass(kw_only=True)
class TidyTask:
    """Both blocks shall be held, each by an arm, and the base shall stand in its corner; failures are feedback."""

    name = NAME
    tier = ""
    columns = ()

    def chance(self, episode: Episode) -> None:
        return None

    def sample(self, seed: int, *, split: str = "test") -> Episode:
        red_y_m, green_y_m = stream(seed, NAME, split, "layout").uniform(-0.1, 0.1, 2)
        return Episode(
            id=f"{NAME}/{split}/{seed}", task=NAME, tier="", variant=0, seed=seed, split=split, instruction="tidy up",
            scene=tidy_scene(float(red_y_m), float(green_y_m)), limits=Limits(sim_time_s=30.0),
            goal=Mission(("left holds red", "right holds green", "rover in its corner")),
        )  # fmt: skip

    def begin(self, episode, state):
        return self.advance(episode, Progress(), state)

    def advance(self, episode, progress, state):
        x, y, _ = state.robots[ROVER].base.position_m
        metrics = {"rover_x_m": x, "rover_y_m": y}
        for block in ("red", "green"):
            metrics |= {
                f"{block}_{axis}_m": value for axis, value in zip("xyz", state.pose[block].position_m, strict=True)
            }
        done = [
            state.held[LEFT] == "red",
            state.held[RIGHT] == "green",
            np.hypot(x - GOAL_M[0], y - GOAL_M[1]) < ARRIVED_M,
        ]
        names = episode.goal.propositions
        reached = tuple(name for name, holds in zip(names, done, strict=True) if holds)
        outcome = Outcome.SUCCESS if all(done) else Outcome.RUNNING
        return replace(progress, reached=reached, metrics=metrics, outcome=outcome)

    def after_failure(self, episode, progress, feedback, robot):
        return progress


@dataclass(kw_only=True)
class ArmPolicyConfig:
    """An arm that does what its instruction says; with `careless` it first reaches for what is out of reach."""

    careless: bool = False

    def build(self) -> "ArmPolicy":
        return ArmPolicy(careless=self.careless)


class ArmPolicy:
    privileged = False
    action_spec = KEYFRAME
    observation_spec = ObservationSpec(cameras=None)

    def __init__(self, *, careless: bool) -> None:
        self._careless = careless

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        return [self._decide(request) for request in requests]

    def _decide(self, request: Request) -> Decision:
        if request.instruction == STAND_BY:
            return Decision((Wait(60.0),))
        if self._careless and request.feedback is None:
            return Decision((MoveTo((0.0, 3.0, 1.0), DOWN, gripper_open=True), Wait(5.0)))
        pick = Skill("pick", {"object": "red" if request.instruction == PICK_RED else "green"})
        return Decision((pick,), report=ControllerReport(ControllerStatus.DONE))


@dataclass(kw_only=True)
class DriverConfig:
    """A base that drives to its corner, and waits there."""

    def build(self) -> "Driver":
        return Driver()


class Driver:
    privileged = False
    action_spec = KEYFRAME
    observation_spec = ObservationSpec(cameras=())

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        return [
            Decision((GoTo(GOAL_M),) if request.carry is None else (Wait(0.5),), carry={"gone": True})
            for request in requests
        ]


def tidy_worker() -> WorkerConfig:
    """Returns the run: the careless arm is on the left; once it has failed, the right one is called off and sent on."""
    return WorkerConfig(
        simulator=BulletConfig(),
        controller=ControllerConfig(),
        tasks={NAME: TidyTask()},
        policies={"careful": ArmPolicyConfig()},
        team={
            LEFT: AgentConfig(policy="careless", cameras=["left_wrist"]),
            RIGHT: AgentConfig(cameras=["front"]),
            ROVER: AgentConfig(policy="driver", cameras=["ahead"]),
        },
        team_policies={"careless": ArmPolicyConfig(careless=True), "driver": DriverConfig()},
        dispatcher=ScheduleConfig(
            steps=[
                ScheduledStep(robot=LEFT, instruction=PICK_RED, at_s=1.0),
                ScheduledStep(robot=RIGHT, instruction=STAND_BY),
                ScheduledStep(robot=ROVER, instruction=DRIVE),
                ScheduledStep(robot=RIGHT, instruction=PICK_GREEN, subtask="green", after_failure_of=LEFT),
            ]
        ),
    )


def tidy_evaluation(worker: WorkerConfig | None = None) -> Evaluation:
    return Evaluation(suite="teamwork", tier="", worker=worker or tidy_worker(), episodes=4, seed=0, salt="")


def play_all(folder: Path) -> None:
    evaluation = tidy_evaluation()
    evaluate(evaluation, compute=InlineCompute(evaluation.worker), output=folder, config="", videos=0)


if __name__ == "__main__":
    play_all(Path(sys.argv[1]))
