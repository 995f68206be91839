"""The models of objects by category and split."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, get_args

import msgspec

from embodied.errors import SceneError, unknown_name
from embodied.geometry import Pose, Vector3
from embodied.scenes.objects.categories import BRIGHT, CATEGORIES
from embodied.scenes.objects.colours import tinted
from embodied.scenes.objects.design import Design
from embodied.scenes.parts import bounds, rounded
from embodied.scenes.scene import Body, Box, Part
from embodied.seeding import stream

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
MODELS_PER_CATEGORY: Mapping[Split, int] = {"train": 16, "validation": 6, "test": 8}
_CATALOGUE_SEED = 15
_SHORT = {"train": "a", "validation": "b", "test": "c"}


class ObjectModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that can stand in a home, with its five attributes; `print` is "" for a plain one.

    `parts` are what is seen and one invisible box that collides, centred on the frame; `size_m` are the edges of it.
    """

    name: str
    category: str
    shape: str
    colour: str
    material: str
    function: str
    print: str
    size_m: Vector3
    mass_kg: float
    parts: tuple[Part, ...]


def object_model(category: str, split: Split, index: int) -> ObjectModel:
    """Returns model number `index` of `category` in `split`; models of different splits have nothing in common.

    Sizes and shades are drawn anew for each model, and no two models of a category have the same material, colour and
    print within a split. Raises `UnknownNameError` for a category, `SceneError` for a split or index out of range.
    """
    if category not in CATEGORIES:
        raise unknown_name("category of objects", category, CATEGORIES)
    if split not in MODELS_PER_CATEGORY:
        raise SceneError("A split must be train, validation or test.", value=split)
    if not 0 <= index < MODELS_PER_CATEGORY[split]:
        raise SceneError(
            f"The split {split!r} has {MODELS_PER_CATEGORY[split]} models per category.",
            value=index,
            remedy="Count from 0.",
        )
    return _model(category, split, index)


def object_body(name: str, model: ObjectModel, pose: Pose) -> Body:
    """Returns the body `name` of `model`, with the centre of its box at `pose` in the world."""
    return Body(name, model.parts, pose, model.mass_kg, friction=0.9, category=model.category, graspable=True)


@dataclass(frozen=True)
class _Look:
    material: str
    colour: str
    second: str
    print: str


@lru_cache(maxsize=4096)
def _looks(category: str, split: Split) -> tuple[_Look, ...]:
    """Returns what the models of a split look like; combinations repeat only where there are too few."""
    kind, count = CATEGORIES[category], MODELS_PER_CATEGORY[split]
    rng = stream(_CATALOGUE_SEED, "looks", category, split)
    looks: list[_Look] = []
    taken: set[tuple[str, str, str]] = set()
    for attempt in range(40 * count):
        material = str(rng.choice(list(kind.materials)))
        colour = str(rng.choice(kind.materials[material]))
        second = str(rng.choice([name for name in (*BRIGHT, "brown", "gray", "cream") if name != colour]))
        figure = str(rng.choice(kind.prints)) if kind.prints and rng.random() < 0.6 else ""
        key = (material, colour, figure)
        if key not in taken or attempt >= 20 * count:
            taken.add(key)
            looks.append(_Look(material, colour, second, figure))
        if len(looks) == count:
            break
    return tuple(looks)


@lru_cache(maxsize=4096)
def _model(category: str, split: Split, index: int) -> ObjectModel:
    kind, look = CATEGORIES[category], _looks(category, split)[index]
    rng = stream(_CATALOGUE_SEED, "model", category, split, index)
    main, second = tinted(look.colour, look.material, rng), tinted(look.second, "", rng)
    seen = kind.build(Design(rng, main, second, look.print, look.material))
    low, high = bounds(seen)
    middle, size = (low + high) / 2, rounded(high - low + 2e-4)
    parts = (
        Part(Box(size), visible=False),
        *(
            msgspec.structs.replace(
                part, collides=False, pose=Pose(rounded(part.pose.position_m - middle), part.pose.orientation)
            )
            for part in seen
        ),
    )
    colour = f"{look.colour} and {look.second}" if kind.two_tone or look.print else look.colour
    return ObjectModel(
        name=f"{category.replace(' ', '_')}_{_SHORT[split]}{index:02d}",
        category=category,
        shape=kind.shape,
        colour=colour,
        material=look.material,
        function=kind.function,
        print=look.print,
        size_m=size,
        mass_kg=kind.mass_kg,
        parts=parts,
    )
