"""A policy that exists in a script is evaluated there, in real physics."""

import msgspec
import pytest

from embodied.errors import ConfigError, UnknownNameError
from embodied.evaluation import FunctionPolicy, evaluate_policies
from embodied.types import MoveTo


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
