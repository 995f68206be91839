"""Object models: many categories with five attributes, and no model in two splits."""

import numpy as np
import pytest

from embodied.errors import SceneError, UnknownNameError
from embodied.scenes.objects import CATEGORIES, MODELS_PER_CATEGORY, SPLITS, object_model
from embodied.scenes.parts import bounds

MODELS = {
    split: [
        object_model(category, split, index) for category in CATEGORIES for index in range(MODELS_PER_CATEGORY[split])
    ]
    for split in SPLITS
}


def test_there_are_many_categories_with_five_attributes():
    assert len(CATEGORIES) >= 30
    for model in MODELS["train"]:
        assert all((model.shape, model.colour, model.material, model.function))
    for attribute, least in {"shape": 8, "colour": 12, "material": 8, "function": 15, "print": 7}.items():
        assert len({getattr(model, attribute) for model in MODELS["test"]}) >= least
    assert 0.15 < np.mean([model.print != "" for model in MODELS["test"]]) < 0.6


def test_no_two_splits_share_a_geometry_or_a_shade():
    for first, second in ((0, 1), (0, 2), (1, 2)):
        one, other = MODELS[SPLITS[first]], MODELS[SPLITS[second]]
        assert not {model.size_m for model in one} & {model.size_m for model in other}
        assert not {model.parts for model in one} & {model.parts for model in other}
        shades = {part.rgba for model in other for part in model.parts}
        assert all({part.rgba for part in model.parts if part.visible} - shades for model in one)
        assert not {model.name for model in one} & {model.name for model in other}


def test_models_fill_the_box_that_collides_and_can_be_placed():
    for model in (*MODELS["train"], *MODELS["test"]):
        low, high = bounds([part for part in model.parts if part.visible])
        assert np.allclose(low, -high, atol=2e-3)
        assert np.allclose(high - low, model.size_m, atol=2e-3)
        assert min(model.size_m) > 0.02
        assert max(model.size_m) < 0.45
        assert sum(part.collides for part in model.parts) == 1
        assert len(model.parts) <= 24


def test_models_of_a_category_differ_within_a_split():
    for split in SPLITS:
        assert len({model.parts for model in MODELS[split]}) == len(MODELS[split])


def test_unknown_models_are_refused():
    with pytest.raises(UnknownNameError, match="mug"):
        object_model("mugg", "test", 0)
    with pytest.raises(SceneError, match="A split must"):
        object_model("mug", "all", 0)
    with pytest.raises(SceneError, match="models per category"):
        object_model("mug", "test", 99)
