"""Learned policies as evaluations choose them."""

from dataclasses import replace

import pytest
import torch

from embodied.errors import ConfigError, UnknownNameError
from embodied.evaluation import provenance
from embodied.evaluation.preflight import Parts
from embodied.evaluation.provenance import fingerprint, versions
from embodied.evaluation.report import html, markdown
from embodied.evaluation.summary import summarised
from policies.learned import LearnedPolicyConfig
from policies.policy import PRETRAINED, from_pretrained, save_pretrained
from policies.sam2act.policy import Sam2ActPolicy
from tests.evaluation.fakes import evaluation
from tests.policies.sam2act.small import request, small_config


def shipped(folder, *, seed: int = 0):
    torch.manual_seed(seed)
    learner = small_config().build()
    save_pretrained(folder, learner, family="sam2act", tensors=learner.state_dict(), training={"curves": []})
    return learner


def test_a_shipped_policy_decides_what_the_trained_one_would(tmp_path):
    learner = shipped(tmp_path / "one")
    policy = LearnedPolicyConfig(weights=str(tmp_path / "one")).pinned().build()
    assert isinstance(policy, Sam2ActPolicy)
    theirs, ours = (one.act([request(1)])[0] for one in (policy, learner.policy(model_id="the same")))
    assert theirs.intents == ours.intents


def test_other_weights_are_another_choice_and_another_model(tmp_path):
    names = [str(tmp_path / name) for name in ("one", "two")]
    for seed, name in enumerate(names):
        shipped(tmp_path / name, seed=seed)
    one, two = (LearnedPolicyConfig(weights=name).pinned() for name in names)
    assert one.digest != two.digest
    models = {config.build().act([request(1)])[0].moments[0].model_id for config in (one, two)}
    assert len(models) == 2
    assert one.curves == tmp_path / "one" / "curves.json"


def test_weights_that_change_under_an_evaluation_are_refused(tmp_path):
    shipped(tmp_path / "one")
    pinned = LearnedPolicyConfig(weights=str(tmp_path / "one")).pinned()
    shipped(tmp_path / "two", seed=1)
    with pytest.raises(ConfigError, match="must not change while they are evaluated"):
        replace(pinned, weights=str(tmp_path / "two")).build()


def test_weights_that_are_not_there_are_refused_before_anything_starts():
    with pytest.raises(UnknownNameError, match="pretrained policy"):
        LearnedPolicyConfig(weights="sam2act_minus").pinned()


def test_the_folder_of_a_training_is_answered_with_that_of_its_policy(tmp_path):
    shipped(tmp_path / "run" / "policy")
    with pytest.raises(UnknownNameError, match=rf"Did you mean '{tmp_path}/run/policy'"):
        LearnedPolicyConfig(weights=str(tmp_path / "run")).pinned()


def test_another_version_of_torch_is_another_run(monkeypatch):
    here = fingerprint({})
    assert "torch" in versions()
    known = provenance.version
    monkeypatch.setattr(provenance, "version", lambda name: "0.0" if name == "torch" else known(name))
    assert fingerprint({}) != here


def test_results_say_which_weights_were_played(tmp_path):
    shipped(tmp_path / "one")
    plan = evaluation()
    pinned = LearnedPolicyConfig(weights=str(tmp_path / "one")).pinned()
    policies = {**plan.worker.policies, "sam2act": pinned}
    logged = summarised(replace(plan, worker=replace(plan.worker, policies=policies)), [], Parts((), "none"))
    assert logged["run"]["weights"] == {"sam2act": {"from": str(tmp_path / "one"), "sha256": pinned.digest}}
    assert pinned.digest in html(logged, [], config="")
    assert pinned.digest in markdown(logged, [])


@pytest.mark.parametrize("folder", sorted(PRETRAINED.glob("*/")), ids=lambda folder: folder.name)
def test_what_is_shipped_is_small_whole_and_says_what_made_it(folder):
    found = from_pretrained(folder.name)
    assert found.build().policy(model_id="shipped").observation_spec.cameras
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 15e6
    assert found.training["command"].startswith("python -m launch.train ")
    assert found.training["data"]["digest"]
    assert found.training["hours"] > 0.0
    assert {"seed", "hardware", "commit", "versions"} <= found.training.keys()
