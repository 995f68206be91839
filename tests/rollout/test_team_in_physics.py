"""Two arms and a mobile base in real physics: one fails, one is cancelled and reassigned, the third goes on."""

import subprocess
import sys
import time
from dataclasses import replace
from itertools import pairwise

import msgspec
import pytest

from embodied.evaluation.evaluator import evaluate
from embodied.rollout.compute import ComputeConfig
from embodied.rollout.episode import EpisodeContext, play
from embodied.rollout.inline import InlineCompute
from embodied.rollout.team import team_agents
from embodied.rollout.worker import build_controller
from embodied.types import ControllerStatus, Outcome, RobotRecord
from tests.rollout.team_world import (
    DRIVE,
    LEFT,
    PICK_GREEN,
    PICK_RED,
    RIGHT,
    ROVER,
    STAND_BY,
    TidyTask,
    tidy_evaluation,
    tidy_worker,
)


class Watch:
    """What each policy was asked, and how intents ended, by simulated time."""

    def __init__(self):
        self.requests, self.feedback, self.rover_y_m, self.time_s = [], [], [], 0.0

    def on_begin(self, episode, simulator): ...
    def on_end(self, record): ...

    def on_decision(self, request, decision):
        self.requests.append((request.observation.robot, request.instruction, tuple(request.observation.images)))

    def on_feedback(self, robot, feedback):
        self.feedback.append((robot, feedback.intent, feedback.status, round(self.time_s, 2)))

    def on_step(self, state, progress):
        self.time_s = state.time_s
        self.rover_y_m.append((state.time_s, state.robots[ROVER].base.position_m[1]))


@pytest.fixture(scope="module")
def watched():
    worker, task, watch = tidy_worker(), TidyTask(), Watch()
    episode, simulator = task.sample(0), worker.simulator.build()
    policies = {name: config.build() for name, config in worker.team_policies.items()}
    policies[""] = worker.policies["careful"].build()
    try:
        context = EpisodeContext(
            simulator, task, policies[""],
            lambda one: {robot.name: build_controller(worker, one.scene, robot.name) for robot in one.scene.robots},
            agents=team_agents(worker.team, policies),
            make_dispatcher=worker.dispatcher.build,
        )  # fmt: skip
        return play(episode, context, observers=[watch]), watch
    finally:
        simulator.close()


def rows(folder):
    """The rows of an evaluation but for what may differ."""
    lines = (folder / "episodes.jsonl").read_bytes().splitlines()
    found = [msgspec.json.decode(line) for line in lines]
    return sorted(({**row, "wall_s": 0, "attempt": 1} for row in found), key=lambda row: row["seed"])


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    evaluation = tidy_evaluation()
    evaluate(evaluation, compute=InlineCompute(evaluation.worker), output=folder, config="", videos=0)
    return folder


def test_each_robot_is_asked_with_its_own_instruction_and_cameras(watched):
    _, watch = watched
    assert {request for request in watch.requests if request[0] == LEFT} == {(LEFT, PICK_RED, ("left_wrist",))}
    assert {request[1:] for request in watch.requests if request[0] == ROVER} == {(DRIVE, ("ahead",))}
    assert [request[1:] for request in watch.requests if request[0] == RIGHT] == [
        (STAND_BY, ("front",)), (PICK_GREEN, ("front",)),
    ]  # fmt: skip


def test_one_fails_one_is_cancelled_and_reassigned_and_the_third_goes_on(watched):
    ending, watch = watched
    assert ending.progress.outcome is Outcome.SUCCESS, ending.progress
    failed = [
        (robot, intent, at_s) for robot, intent, status, at_s in watch.feedback if status is ControllerStatus.FAILED
    ]
    cancelled = [
        (robot, intent, at_s) for robot, intent, status, at_s in watch.feedback if status is ControllerStatus.CANCELLED
    ]
    assert failed == [(LEFT, "MoveTo", 1.0)]
    assert [(robot, intent) for robot, intent, _ in cancelled] == [(RIGHT, "Wait")]
    assert cancelled[0][2] == pytest.approx(1.0, abs=0.06), "at the next period"
    assert (LEFT, "Skill", ControllerStatus.DONE) in [one[:3] for one in watch.feedback]
    assert (RIGHT, "Skill", ControllerStatus.DONE) in [one[:3] for one in watch.feedback]
    assert ending.robots[ROVER] == RobotRecord("driver", decisions=1, intents=1), (
        "one GoTo, neither failed nor cancelled"
    )
    shifts = [after - before for (_, before), (at_s, after) in pairwise(watch.rover_y_m) if 1.0 < at_s < 1.5]
    assert min(shifts) > 0.01, "it was on its way while the left arm failed and the right one was cancelled"


def test_the_record_says_what_each_robot_did(alone):
    for row in rows(alone):
        assert row["outcome"] == "success", row
        counts = {name: (one["policy"], one["failed"], one["cancelled"]) for name, one in row["robots"].items()}
        assert counts == {LEFT: ("careless", 1, 0), RIGHT: ("", 0, 1), ROVER: ("driver", 0, 0)}


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_give_the_same_rows(alone, workers, ray_session, tmp_path):
    evaluation = tidy_evaluation()
    compute = ComputeConfig(workers=workers).build(evaluation.worker)
    evaluate(evaluation, compute=compute, output=tmp_path, config="", videos=0)
    assert rows(tmp_path) == rows(alone)


def test_a_run_that_was_killed_goes_on_to_the_same_rows(alone, tmp_path):
    folder = tmp_path / "killed"
    command = [sys.executable, "-m", "tests.rollout.team_world", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline_s = time.monotonic() + 120.0
        while not (folder / "episodes.jsonl").exists() or not (folder / "episodes.jsonl").read_bytes():
            assert process.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    assert 1 <= len(rows(folder)) < 4, "it was killed in the middle"
    evaluation = tidy_evaluation()
    evaluate(evaluation, compute=InlineCompute(evaluation.worker), output=folder, config="", videos=0)
    assert rows(folder) == rows(alone)


def test_another_team_is_another_run():
    worker = tidy_worker()
    others = [
        replace(worker, team={**worker.team, RIGHT: replace(worker.team[RIGHT], cameras=["left_wrist"])}),
        replace(worker, team_policies={**worker.team_policies, "careless": worker.policies["careful"]}),
        replace(worker, dispatcher=replace(worker.dispatcher, steps=worker.dispatcher.steps[:3])),
        replace(worker, latency=replace(worker.latency, mean_s=0.1)),
    ]
    assert len({tidy_evaluation(one).run for one in (worker, *others)}) == 5
