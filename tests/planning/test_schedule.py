"""A schedule assigns each step once, when all of its conditions hold, and refuses what could never be."""

import pytest

from embodied.errors import ConfigError, UnknownNameError
from embodied.planning import ScheduleConfig, ScheduledStep
from embodied.types import (
    Assignment,
    Cancel,
    Clock,
    ControllerReport,
    ControllerStatus,
    IntentFeedback,
    RobotStatus,
    TeamSnapshot,
)
from tests.fakes import FakeTask

EPISODE = FakeTask(robots=("arm", "leg")).sample(0)
FAILED = IntentFeedback("MoveTo", ControllerStatus.FAILED, "out of reach")
DONE = IntentFeedback("MoveTo", ControllerStatus.DONE)


def step(robot="arm", instruction="go", **settings):
    return ScheduledStep(robot=robot, instruction=instruction, **settings)


def schedule(*steps):
    return ScheduleConfig(steps=list(steps)).build(EPISODE)


def snapshot(time_s=0.0, *, feedback=None, report=None):
    arm = RobotStatus(None, busy=False, decisions=0, intents=0, feedback=feedback, report=report)
    return TeamSnapshot("tidy up", time_s, {"arm": arm, "leg": RobotStatus(None, busy=False, decisions=0, intents=0)})


def test_a_step_without_conditions_is_assigned_at_once_and_only_once():
    made = schedule(step(subtask="first"), step("leg", "come"))
    assert made.assign(snapshot()) == {"arm": Assignment("go", "first"), "leg": Assignment("come")}
    assert made.assign(snapshot(1.0)) == {}


def test_the_clock_is_looked_at_only_while_a_step_waits_for_it():
    made = schedule(step(at_s=0.5))
    assert made.rate_hz == 10.0
    assert made.assign(snapshot(0.49)) == {}
    assert made.assign(snapshot(0.5)) == {"arm": Assignment("go")}
    assert made.rate_hz is None
    assert schedule(step()).rate_hz is None


def test_a_step_waits_for_the_failure_of_a_robot():
    made = schedule(step("leg", "", cancel="arm has failed", after_failure_of="arm"))
    assert made.assign(snapshot(feedback=DONE)) == {}
    assert made.assign(snapshot(feedback=FAILED)) == {"leg": Cancel("arm has failed")}


def test_a_step_waits_for_a_report_and_for_all_of_its_conditions():
    made = schedule(step("leg", after_report_of="arm", at_s=2.0))
    reported = ControllerReport(ControllerStatus.DONE)
    assert made.assign(snapshot(1.0, report=reported)) == {}
    assert made.assign(snapshot(3.0)) == {}
    assert made.assign(snapshot(3.0, report=reported)) == {"leg": Assignment("go")}


def test_of_two_steps_for_one_robot_that_are_due_together_the_last_one_counts():
    assert schedule(step(), step(instruction="stop")).assign(snapshot()) == {"arm": Assignment("stop")}


@pytest.mark.parametrize(
    "steps",
    [
        [],
        [step("amr")],
        [step(after_failure_of="lag")],
        [step(after_report_of="lag")],
        [step(instruction="")],
        [step(instruction=" ")],
        [step(cancel="both")],
        [step(at_s=-0.1)],
        [step(at_s=float("nan"))],
    ],
)
def test_what_could_never_be_is_refused(steps):
    with pytest.raises((ConfigError, UnknownNameError)):
        ScheduleConfig(steps=steps).build(EPISODE)


def test_a_step_cannot_wait_for_a_time_that_the_clock_hides():
    hidden = FakeTask(robots=("arm", "leg"), overrides={"clock": Clock.KEYFRAMES}).sample(0)
    with pytest.raises(ConfigError, match="clock"):
        ScheduleConfig(steps=[step(at_s=1.0)]).build(hidden)
    with pytest.raises(ConfigError, match="rate_hz"):
        ScheduleConfig(steps=[step()], rate_hz=0.0).build(EPISODE)
