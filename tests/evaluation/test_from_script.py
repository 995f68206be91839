"""A policy that exists in a script is evaluated there, in real physics."""

import msgspec
import pytest

from embodied.errors import ConfigError, UnknownNameError
from embodied.evaluation import FunctionPolicy, evaluate_policies
from embodied.evaluation.from_script import _Given
from embodied.types import Decision, MoveTo, Wait
from policies.scripted import ExpertConfig


def reach_up(request):
    assert set(request.observation.images) == {"front"}
    return MoveTo((0.3, 0.0, 1.1), (1.0, 0.0, 0.0, 0.0), gripper_open=True)


def reach_far(request):
    return MoveTo((3.0, 0.0, 1.1), (1.0, 0.0, 0.0, 0.0), gripper_open=True)


def test_functions_are_evaluated_under_their_names_and_a_second_call_plays_nothing_again(tmp_path):
    policies = {"up": FunctionPolicy(reach_up, cameras=["front"]), "far": FunctionPolicy(reach_far, cameras=[])}
    call = {"tasks": ["reopen_drawer"], "episodes": 2, "output": tmp_path}
    results = evaluate_policies(policies, **call)
    entries = results["tasks"]["reopen_drawer/strict"]
    assert {name: entry["success"] for name, entry in entries.items()} == {"up": 0, "far": 0}
    rows = (tmp_path / "episodes.jsonl").read_bytes()
    outcomes = {(row["policy"], row["outcome"]) for row in map(msgspec.json.decode, rows.splitlines())}
    assert outcomes == {("up", "timeout"), ("far", "failure")}
    assert evaluate_policies(policies, **call)["tasks"] == results["tasks"]
    assert (tmp_path / "episodes.jsonl").read_bytes() == rows


class Remembering(FunctionPolicy):
    """Keeps in itself what it was asked."""

    def __init__(self):
        super().__init__(reach_up)
        self.asked = []

    def act(self, requests):
        self.asked += requests
        return super().act(requests)


def test_each_episode_gets_a_copy_of_a_policy_that_is_as_it_was_given():
    given = Remembering()
    builder = _Given(digest_of_source="", policy=given)
    first = builder.build()
    first.asked.append("a request")
    assert builder.build().asked == given.asked == []
    given.stateless = True
    assert builder.build() is given


def test_a_policy_that_cannot_be_copied_must_declare_that_it_keeps_nothing():
    given = Remembering()
    given.asked = (number for number in range(3))
    with pytest.raises(ConfigError, match="possible to copy a policy for each episode"):
        _Given(digest_of_source="", policy=given).build()


def test_unknown_names_are_refused(tmp_path):
    policies = {"up": FunctionPolicy(reach_up)}
    with pytest.raises(UnknownNameError, match="Did you mean 'teamwork'"):
        evaluate_policies(policies, suite="teamwrk", output=tmp_path)
    with pytest.raises(UnknownNameError, match="Did you mean 'reopen_drawer'"):
        evaluate_policies(policies, tasks=["reopen_drawr"], output=tmp_path)


def test_a_policy_without_a_source_is_refused(tmp_path):
    scope = {}
    exec("def typed(request): ...", scope)
    with pytest.raises(ConfigError, match="written in a file"):
        evaluate_policies({"typed": FunctionPolicy(scope["typed"])}, output=tmp_path)


def waits_or_moves(request):
    """Waits, then moves as often as its carry says, then reports with a whole decision."""
    turn = 0 if request.carry is None else request.carry["turn"]
    if turn == 0:
        return Wait(0.1), {"turn": 1}
    if turn == 1:
        return Decision((reach_high(request),), carry={"turn": 2})
    return Wait(200.0)


def reach_high(request):
    return MoveTo((0.3, 0.0, 1.1), (1.0, 0.0, 0.0, 0.0), gripper_open=True)


def test_a_plain_function_a_function_with_a_carry_and_a_config_stand_beside_each_other(tmp_path):
    policies = {"high": reach_high, "turns": waits_or_moves, "expert": ExpertConfig()}
    results = evaluate_policies(policies, tasks=["reopen_drawer"], episodes=1, output=tmp_path)
    rows = [msgspec.json.decode(row) for row in (tmp_path / "episodes.jsonl").read_bytes().splitlines()]
    steps = {row["policy"]: row["steps"] for row in rows}
    assert (steps["high"], steps["turns"]) == (25, 3)
    assert results["tasks"]["reopen_drawer/strict"]["expert"]["success"] == 1
    assert results["run"]["privileged"] == ["expert"]


@pytest.mark.parametrize(
    ("policies", "words"),
    [
        ([reach_up], ["by name", "'list'", "{'mine': policy}"]),
        ({"expert": "expert"}, ["Policy 'expert' must be an object with `act`", "'expert'", "ExpertConfig()"]),
        ({"expert": ExpertConfig}, ["'ExpertConfig'", "Make an object of the class"]),
    ],
)
def test_what_is_no_policy_is_refused_in_words(tmp_path, policies, words):
    with pytest.raises(ConfigError) as caught:
        evaluate_policies(policies, output=tmp_path / "out")
    assert all(word in str(caught.value) for word in words)
    assert not (tmp_path / "out").exists()
