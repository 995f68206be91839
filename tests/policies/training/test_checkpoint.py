"""Checkpoints and shipped policies: whole, checked, refused by name."""

import logging
import signal
import subprocess
import sys
import time

import msgspec
import pytest
import torch

from embodied.errors import ConfigError, DataError, UnknownNameError
from policies import policy
from policies.folders import json_bytes, write_folder
from policies.policy import _columns, curve_rows, from_pretrained, save_pretrained
from policies.registry import FAMILIES
from policies.training.checkpoint import (
    SCHEMA,
    SCHEMA_VERSION,
    State,
    newest_checkpoint,
    read_checkpoint,
    save_checkpoint,
    tidy,
)
from policies.weights import load_weights
from tests.policies.training.learners import TinyConfig

FILES = ("weights.safetensors", "average.safetensors", "optimiser.safetensors", "state.json", "manifest.json")


@pytest.fixture(autouse=True)
def tiny_family(monkeypatch):
    monkeypatch.setitem(FAMILIES.own, "tiny", TinyConfig)


def state(step):
    return State(
        schema=SCHEMA, version=SCHEMA_VERSION, step=step, family="tiny", policy={}, normalisation={}, settings={},
        commit="", versions={}, sums={"loss": 0.1 + 0.2}, summed=1, wall_s=1.0,
    )  # fmt: skip


def parts(step):
    return {
        name: {"a": torch.full((3, 2), float(step)), "b": torch.arange(4)}
        for name in ("weights", "average", "optimiser")
    }


@pytest.fixture
def shelf(tmp_path):
    for step in (10, 20):
        save_checkpoint(tmp_path, state(step), parts(step))
    return tmp_path


def test_a_checkpoint_comes_back_as_it_was(shelf):
    checkpoint = newest_checkpoint(shelf)
    assert checkpoint.state == state(20)
    assert torch.equal(checkpoint.optimiser["a"], parts(20)["optimiser"]["a"])
    assert checkpoint.weights["b"].dtype == torch.int64


@pytest.mark.parametrize("harm", ["flip", "truncate", "remove"])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_is_refused_by_name_and_the_last_good_one_used(shelf, name, harm, caplog):
    path = shelf / "00000020" / name
    content = bytearray(path.read_bytes())
    if harm == "remove":
        path.unlink()
    else:
        content[len(content) // 2] ^= 4
        path.write_bytes(content if harm == "flip" else content[: len(content) // 2])
    with caplog.at_level(logging.WARNING):
        checkpoint = newest_checkpoint(shelf)
    assert checkpoint.state.step == 10
    assert str(shelf / "00000020") in caplog.text
    with pytest.raises(DataError, match=r"must be whole and unaltered.*00000020"):
        read_checkpoint(shelf / "00000020")


def test_a_run_whose_checkpoints_are_all_damaged_does_not_begin_anew_in_silence(shelf):
    for step in ("00000010", "00000020"):
        (shelf / step / "state.json").write_text("{}")
    with pytest.raises(DataError, match="One checkpoint of a run must be whole"):
        newest_checkpoint(shelf)


def test_without_checkpoints_there_is_none(tmp_path):
    assert newest_checkpoint(tmp_path / "none") is None


def test_what_need_not_stay_goes(shelf):
    (shelf / "00000090").mkdir()  # Damaged: it is beyond the step that was gone on from.
    (shelf / ".00000025.abc.part").mkdir()
    for step in (30, 40, 50):
        save_checkpoint(shelf, state(step), parts(step))
    tidy(shelf, step=50, keep=2, keep_every=20)
    assert sorted(path.name for path in shelf.iterdir()) == ["00000020", "00000040", "00000050"]


WRITER = """
import sys
from pathlib import Path
from tests.policies.training.test_checkpoint import parts, state
from policies.training.checkpoint import save_checkpoint, tidy
for step in range(int(sys.argv[2]), 10**6):
    save_checkpoint(Path(sys.argv[1]), state(step), parts(step))
    print("saved", flush=True)
    tidy(Path(sys.argv[1]), step=step, keep=1, keep_every=0)
"""


def test_a_kill_at_any_time_leaves_a_good_checkpoint(tmp_path):
    reached = 0
    for kill in range(3):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(reached + 1)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout.readline() == b"saved\n"
            time.sleep(0.013 * kill)
            writer.send_signal(signal.SIGKILL)
        step = newest_checkpoint(tmp_path).state.step
        assert step > reached
        reached = step


# --- Shipped policies -------------------------------------------------------------------------------------------------


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    monkeypatch.setattr(policy, "PRETRAINED", tmp_path)
    learner = TinyConfig(width=12).build()
    curves = [{"step": step, "loss": 1.0 / (step + 1)} for step in range(2000)]
    for step in (501, 1003):
        curves[step]["validation_loss"] = 2.0
    story = {"command": "python -m launch.train", "curves": curves}
    save_pretrained(tmp_path / "tiny-made_up", learner, family="tiny", tensors=learner.state_dict(), training=story)
    return tmp_path / "tiny-made_up", learner


def test_a_shipped_policy_is_found_by_name_or_folder_and_decides_the_same(shipped):
    folder, learner = shipped
    for name in ("tiny-made_up", folder, str(folder)):
        found = from_pretrained(name)
        assert found.config == TinyConfig(width=12)
        assert found.training == {"command": "python -m launch.train"}
        built = found.build()
        assert not built.training
        assert all(torch.equal(value, built.state_dict()[key]) for key, value in learner.state_dict().items())
    curves = msgspec.json.decode((folder / "curves.json").read_bytes())
    assert 250 <= len(curves["step"]) == len(curves["loss"]) <= 510
    assert [step for step, value in zip(curves["step"], curves["validation_loss"], strict=True) if value] == [501, 1003]


def test_a_policy_that_is_not_there_is_refused_with_the_nearest_name(shipped):
    with pytest.raises(UnknownNameError, match="Did you mean 'tiny-made_up'"):
        from_pretrained("tiny-madeup")


def test_weights_that_are_no_safetensors_are_refused(shipped):
    folder, learner = shipped
    torch.save(learner.state_dict(), folder / "model.safetensors")
    with pytest.raises(DataError, match=r"must be a safetensors file.*model\.safetensors"):
        from_pretrained(folder)


def test_each_stage_is_thinned_by_itself_and_keeps_its_validation(tmp_path):
    long = [{"stage": 1, "step": step, "loss": 1.0, "fine": 1.0} for step in range(2000)]
    short = [{"stage": 2, "step": step, "loss": 1.0} for step in range(40)]
    logged = [{"stage": 2, "step": 7, "validation_loss": 2.0}]
    columns = _columns([*long, *short, *logged])
    assert columns["stage"].count(1) == 500
    assert columns["stage"].count(2) == 41
    assert [value for value in columns["validation_loss"] if value is not None] == [2.0]


@pytest.mark.parametrize("columns", [{"step": [1, 2], "loss": [1.0]}, {"step": ["one"]}])
def test_curves_of_another_form_are_refused_by_name(tmp_path, columns):
    write_folder(tmp_path / "odd", {"curves.json": json_bytes(columns)})
    with pytest.raises(DataError, match=r"odd.*curves\.json"):
        curve_rows(tmp_path / "odd")


@pytest.mark.parametrize("name", ["config.json", "training.json", "curves.json", "model.safetensors"])
def test_an_altered_policy_is_refused_by_name(shipped, name):
    path = shipped[0] / name
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"must be whole and unaltered.*tiny-made_up"):
        from_pretrained("tiny-made_up")


def test_a_policy_of_another_version_or_normalisation_is_refused(shipped, monkeypatch):
    folder, learner = shipped
    monkeypatch.setattr(policy, "SCHEMA_VERSION", 0)
    save_pretrained(folder, learner, family="tiny", tensors=learner.state_dict(), training={})
    monkeypatch.undo()
    monkeypatch.setitem(FAMILIES.own, "tiny", TinyConfig)
    with pytest.raises(DataError, match=r"version 1.*version 0"):
        from_pretrained(folder)
    monkeypatch.setattr(learner, "normalisation", lambda: {"cameras": ["above"]})
    save_pretrained(folder, learner, family="tiny", tensors=learner.state_dict(), training={})
    with pytest.raises(DataError, match=r"must scale numbers as it did.*above"):
        from_pretrained(folder).build()


def test_weights_of_another_architecture_are_refused_with_at_most_five_names(tmp_path):
    wide, narrow = TinyConfig(width=16).build(), TinyConfig(width=8).build()
    before = {name: tensor.clone() for name, tensor in narrow.state_dict().items()}
    with pytest.raises(DataError, match=r"eye\.0\.weight is \(16, 8\) instead of \(8, 8\).* and 1 more"):
        load_weights(narrow, {**wide.state_dict(), "left_over": torch.zeros(1)}, tmp_path)
    fewer = {name: tensor for name, tensor in narrow.state_dict().items() if name != "head.2.bias"}
    with pytest.raises(DataError, match=r"missing head\.2\.bias"):
        load_weights(narrow, fewer, tmp_path)
    assert all(torch.equal(before[name], tensor) for name, tensor in narrow.state_dict().items())


@pytest.mark.parametrize(
    ("family", "settings", "error", "printed"),
    [
        ("tinny", {}, UnknownNameError, "Did you mean 'tiny'"),
        ("tiny", {"widht": 3}, UnknownNameError, "Did you mean 'width'"),
        ("tiny", {"width": "three"}, ConfigError, "must fit its schema"),
    ],
)
def test_settings_that_no_family_has_are_refused(family, settings, error, printed):
    with pytest.raises(error, match=printed):
        policy.config_from_json(family, settings)
