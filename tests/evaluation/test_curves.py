"""Learning curves as training leaves them."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from embodied.errors import DataError
from embodied.evaluation.curves import Curves, curves_figure, curves_of, read_curves
from embodied.evaluation.provenance import fingerprint

CURVES = {
    "step": [0, 10, 20],
    "train_loss": [3.0, 2.0, 1.0],
    "validation_loss": [3.5, None, 1.5],
    "accuracy": [0, 1, 1],
}


def written(folder, content):
    path = folder / "curves.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@dataclass(kw_only=True)
class Learned:
    curves: Path | None = None

    def build(self):
        raise AssertionError("curves are read from the configuration")


def test_losses_are_drawn_over_steps_and_other_metrics_are_not(tmp_path):
    (curves,) = read_curves(written(tmp_path, CURVES))
    assert curves.steps == (0, 10, 20)
    assert list(curves.losses) == ["train_loss", "validation_loss"]
    figure = curves_figure(curves, policy="p")
    assert "train loss" in figure
    assert "validation loss" in figure
    assert "accuracy" not in figure


def test_validation_is_dotted_in_the_colour_of_training_and_what_is_learnt_is_cut_off(tmp_path):
    def colours(columns):
        (curves,) = read_curves(written(tmp_path, columns))
        figure = curves_figure(curves, policy="p")
        lines = [part for part in figure.split("<path")[1:] if "stroke-width: 1.5" in part.split("/>")[0]]
        return [(re.search(r"stroke: (#\w+)", line)[1], "stroke-dasharray" in line.split("/>")[0]) for line in lines]

    both = colours({"step": [0, 1], "train_loss": [3.0, 2.0], "validation_loss": [3.5, 1.5]})
    assert {dotted for _, dotted in both} == {True, False}
    assert len({colour for colour, _ in both}) == 1
    assert len({colour for colour, _ in colours({"step": [0, 1], "loss": [3.0, 2.0], "other_loss": [3.5, 1.5]})}) == 2
    deep = curves_figure(Curves((0.0, 1.0), {"loss": (10.0, 1e-9)}), policy="p")
    assert "1e-09" not in deep
    assert "1e-08" not in deep


def test_without_a_loss_all_metrics_are_drawn_and_nothing_at_all_is_an_empty_figure(tmp_path):
    (curves,) = read_curves(written(tmp_path, {"step": [0, 1], "accuracy": [0.0, 1.0]}))
    assert "accuracy" in curves_figure(curves, policy="p")
    (nothing,) = read_curves(written(tmp_path, {"step": []}))
    assert "<svg" in curves_figure(nothing, policy="p")


def test_stages_are_distinguished_and_have_the_metrics_that_they_measured(tmp_path):
    columns = {"stage": [1, 1, 2], "step": [10, 20, 10], "loss": [3.0, 2.0, 1.0], "fine_loss": [1.0, None, None]}
    first, second = read_curves(written(tmp_path, columns))
    assert first.steps == (10, 20)
    assert first.metrics == {"loss": (3.0, 2.0), "fine_loss": (1.0, None)}
    assert second.steps == (10,)
    assert second.metrics == {"loss": (1.0,)}


def test_only_policies_that_say_where_their_curves_lie_have_some(tmp_path):
    path = written(tmp_path, CURVES)
    found = curves_of({"learned": Learned(curves=path), "young": Learned(), "scripted": object()})
    assert list(found) == ["learned"]


def test_a_path_in_a_configuration_counts_for_the_identity_of_a_run(tmp_path):
    here, there = (fingerprint({"policy": Learned(curves=tmp_path / name)}) for name in "ab")
    assert here != there


@pytest.mark.parametrize(
    ("content", "logged"),
    [
        ("{", "curves.json"),
        ({"step": [0], "loss": ["low"]}, "curves.json"),
        ({"step": [0, 1], "loss": [1.0]}, "curves.json: loss"),
        ({"step": [0, None], "loss": [1.0, 1.0]}, "curves.json: step"),
        ({"step": [0, 1], "stage": [1]}, "curves.json: stage"),
        ({"step": [0], "stage": [None]}, "curves.json: stage"),
        ({"loss": [1.0]}, "curves.json: loss"),
    ],
)
def test_a_file_of_anything_else_is_refused_by_name(tmp_path, content, logged):
    with pytest.raises(DataError, match="Learning curves must") as refused:
        read_curves(written(tmp_path, content))
    assert logged in str(refused.value)


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.json"):
        read_curves(tmp_path / "nowhere.json")
