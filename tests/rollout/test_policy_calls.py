"""Whatever a policy raises or returns ends its own episode, with a reason that its author can act on."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from embodied.errors import ConfigError, PolicyFaultError
from embodied.rollout.policy_calls import build_policy
from embodied.rollout.worker import SimulatorWorker
from embodied.specs import KEYFRAME, ObservationSpec
from embodied.types import Decision, MoveTo, Outcome, Wait
from tests.fakes import DOWN, FakePolicy
from tests.rollout.test_worker import CONFIG, JOB

HERE = Path(__file__).name
MOVE = MoveTo((0.3, 0.0, 0.3), DOWN, gripper_open=True)


class Answers:
    """Waits once, then answers with what `answer` returns."""

    observation_spec = ObservationSpec(cameras=("front",))
    action_spec = KEYFRAME
    privileged = False

    def __init__(self, answer):
        self.answer = answer

    def act(self, requests):
        return [Decision((Wait(0.1),))] if requests[0].step == 0 else self.answer(requests)


LINE_OF_ACT = Answers.act.__code__.co_firstlineno


@dataclass
class Builds:
    """Builds whatever `make` returns."""

    make: Any

    def build(self):
        return self.make()


def played(answer):
    config = replace(CONFIG, policies={"mine": Builds(lambda: Answers(answer))})
    return SimulatorWorker(config).run(replace(JOB, policy="mine"))


def test_an_exception_is_the_reason_of_an_invalid_episode_with_its_place_in_the_code_of_the_policy():
    def answer(requests):
        return json.loads("no JSON")  # Raised within a library, called from this file.

    result = played(answer)
    line = answer.__code__.co_firstlineno + 1
    assert result.record.outcome is Outcome.INVALID
    assert result.record.reason == (
        "PolicyFaultError: Policy 'mine' must not raise an exception in `act`. Got 'JSONDecodeError: Expecting value: "
        f"line 1 column 1 (char 0) in {HERE}:{line}, at step 1 of arm'. Correct the policy; nothing moved."
    )
    assert "json.loads" in result.traceback
    assert result.traceback.rstrip().endswith("Expecting value: line 1 column 1 (char 0)")


def test_an_image_of_a_camera_that_is_not_declared_says_which_ones_there_are():
    reason = played(lambda requests: requests[0].observation.images["wrist"]).record.reason
    assert "KeyError: 'wrist'" in reason
    assert "cameras that `observation_spec` names" in reason


@pytest.mark.parametrize(
    ("answer", "rule", "value", "remedy"),
    [
        (lambda requests: None, "must return a list of decisions", "None", "return [...]"),
        (lambda requests: Decision((MOVE,)), "must return a list of decisions", "Decision", "Return a list"),
        (lambda requests: [], "must answer all 1 requests", "0 decisions", "one decision per request"),
        (lambda requests: [MOVE], "must return objects of type Decision", "MoveTo", "Decision((intent,))"),
        (lambda requests: [Decision(MOVE)], "whose `intents` are a tuple", "MoveTo", "needs the comma"),
        (lambda requests: [Decision((None,))], "`intents` are of MoveTo, DeltaPose,", "None", ""),
        (lambda requests: [Decision((MOVE,), moments=(3,))], "`moments` are of Moment", "int", ""),
        (lambda requests: [Decision((MOVE,), report="done")], "must report with a ControllerReport", "str", ""),
        (lambda requests: [Decision((MOVE,), carry=[1])], "must return a carry of names", "list", "Return a dict"),
        (lambda requests: [Decision(())], "at least one intent", "no intents", "Return `Wait`"),
    ],
)
def test_what_is_no_decision_is_named_with_the_policy_the_step_and_the_remedy(answer, rule, value, remedy):
    result = played(answer)
    assert result.record.outcome is Outcome.INVALID
    assert result.record.reason.startswith("PolicyFaultError: Policy 'mine' must")
    assert rule in result.record.reason
    assert (
        f"Got '{value} from act in {HERE}:{Answers.act.__code__.co_firstlineno}, at step 1 of arm'"
        in result.record.reason
    )
    assert remedy in result.record.reason
    assert result.traceback == ""


def test_a_worker_goes_on_after_a_policy_has_failed():
    broken = Builds(lambda: Answers(lambda requests: None))
    worker = SimulatorWorker(replace(CONFIG, policies={**CONFIG.policies, "mine": broken}))
    assert worker.run(replace(JOB, policy="mine")).record.outcome is Outcome.INVALID
    assert worker.run(JOB).record.outcome is Outcome.SUCCESS


def test_a_policy_that_cannot_be_built_in_a_worker_makes_its_own_episodes_invalid():
    result = SimulatorWorker(replace(CONFIG, policies={"mine": Builds(lambda: 1 / 0)})).run(replace(JOB, policy="mine"))
    assert result.record.outcome is Outcome.INVALID
    assert "Policy 'mine' must not raise an exception in `build`" in result.record.reason
    assert "ZeroDivisionError" in result.traceback


def test_errors_in_settings_end_the_run():
    def answer(requests):
        raise ConfigError("policy_options.mine.height_m must be positive.", value=-1)

    with pytest.raises(ConfigError, match="height_m"):
        played(answer)


class NoObservationSpec:
    action_spec = KEYFRAME
    privileged = False
    act = FakePolicy.act


class NamesItsSpace(FakePolicy):
    action_spec = "keyframe"


@pytest.mark.parametrize(
    ("make", "rule", "value", "remedy"),
    [
        (
            lambda: 1 / 0,
            "must not raise an exception in `build`",
            f"ZeroDivisionError: division by zero in {HERE}:",
            "",
        ),
        (lambda: None, "must be an object with a method `act`", "None from Builds", "End build with `return`"),
        (object, "must be an object with a method `act`", "object from Builds", "act(self, requests)"),
        (NoObservationSpec, "must have `observation_spec`, of type ObservationSpec", "NoObservationSpec", "cameras="),
        (NamesItsSpace, "must have `action_spec`, of type", "NamesItsSpace.action_spec = str", "KEYFRAME"),
        (lambda: FakePolicy(privileged=1), "must have `privileged`", "FakePolicy.privileged = int", "= False"),
    ],
)
def test_what_is_no_policy_is_refused_when_it_is_built(make, rule, value, remedy):
    with pytest.raises(PolicyFaultError) as caught:
        build_policy("mine", Builds(make))
    assert str(caught.value).startswith("Policy 'mine' must")
    for part in (rule, value, remedy):
        assert part in str(caught.value)
