"""Where a stage begins: what it takes over, and what is refused before its first step."""

import dataclasses
import math

import pytest
import torch

from embodied.errors import ConfigError, DataError
from policies.policy import from_pretrained, save_pretrained
from policies.sam2act import MemoryKind, RegionCropConfig
from policies.training.config import OptimiserConfig, StageConfig, TrainingConfig
from policies.training.plan import begin_stage
from tests.policies.sam2act.small import small_config

BESIDE_HAND = ["encoder", "language", "coarse", "upsampling", "fine"]


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A policy without memory, shipped."""
    folder = tmp_path_factory.mktemp("start") / "policy"
    torch.manual_seed(1)
    learner = small_config(MemoryKind.off).build()
    save_pretrained(folder, learner, family="sam2act", tensors=learner.state_dict(), training={"curves": []})
    return folder


def begun(start, *, kind=MemoryKind.off, fresh=(), frozen=(), **settings):
    learner = dataclasses.replace(small_config(kind), **settings).build()
    drawn = torch.random.get_rng_state()
    begin_stage(learner, StageConfig(start=str(start), fresh=[*fresh], frozen=[*frozen]), None)
    assert torch.equal(torch.random.get_rng_state(), drawn)
    return learner.state_dict()


@pytest.mark.parametrize("settings", [{"time_input": False}, {"zoom": 3.0}, {"radius_px": 2}], ids=str)
def test_frozen_parts_must_be_shown_what_they_were_trained_with(start, settings):
    ((name, value),) = settings.items()
    with pytest.raises(ConfigError, match=rf"{name} was .*, is {value}'.*Give the settings of the start"):
        begun(start, frozen=BESIDE_HAND, **settings)
    assert begun(start, **settings), "Where nothing is frozen, all parts can adapt."


def test_what_begins_anew_and_what_concerns_learning_alone_may_be_set_otherwise(start):
    anew = {"kind": MemoryKind.window, "fresh": ["memory", "moment"], "frozen": [*BESIDE_HAND, "hand"]}
    assert begun(start, **anew, easy_share=0.5, heat_sigma_px=2.0)
    with pytest.raises(ConfigError, match="time_input was True, is False"):
        begun(start, **anew, time_input=False)


def test_a_part_that_begins_anew_may_be_left_out_or_be_of_another_size(start):
    theirs = from_pretrained(start).tensors
    for settings in (
        {"glimpse": RegionCropConfig(window=0)},
        {"glimpse": RegionCropConfig(window=8)},
        {"hand_hidden": 24},
    ):
        ours = begun(start, fresh=["hand"], frozen=BESIDE_HAND, **settings)
        kept = [name for name in ours if ".hand." not in name and ".glimpse." not in name]
        assert all(torch.equal(ours[name], theirs[name]) for name in kept)
        assert any(not torch.equal(ours[name], theirs[name]) for name in ours if name in theirs and ".hand." in name)
    with pytest.raises(DataError, match=r"architecture.*unexpected network\.glimpse"):
        begun(start, glimpse=RegionCropConfig(window=0))


def test_groups_that_begin_anew_need_others_that_go_on():
    with pytest.raises(ConfigError, match=r"may name groups only where.*recipe=without_memory"):
        TrainingConfig(stage=StageConfig(fresh=["memory"])).check()


@pytest.mark.parametrize("settings", [{"learning_rate": math.inf}, {"weight_decay": math.inf}], ids=str)
def test_rates_that_leave_no_number_as_it_is_are_refused(settings):
    with pytest.raises(ConfigError, match="no rate infinite"):
        TrainingConfig(optimiser=OptimiserConfig(**settings)).check()
    with pytest.raises(ConfigError, match="and finite"):
        TrainingConfig(epochs=math.inf).check()
