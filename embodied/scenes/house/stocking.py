"""Chooses the objects of a home, most of them in pairs of one category, and puts them onto surfaces."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from embodied.geometry import Pose, quaternion_from_yaw
from embodied.scenes.house.records import Receptacle, Surface
from embodied.scenes.objects import CATEGORIES, MODELS_PER_CATEGORY, ObjectModel, Split, object_model

LIFT_M = 0.0005  # Between a surface and the object that starts on it.
_APART_M = 0.03
_FULLEST = 0.45  # Of a surface's area; the rest is for what is put there later.
_MOST_ON_SURFACE = 3
_USUAL_ROOM = 0.55  # How often an object stands in a room where one looks for it.
_TRIES = 14


class Stocked(NamedTuple):
    """A model that stands on a surface of a receptacle, at the pose of its middle in the world."""

    model: ObjectModel
    receptacle: Receptacle
    surface: Surface
    pose: Pose


@dataclass(eq=False)
class _Shelf:
    """A surface while it is filled: `taken` are the middles and half extents of what stands on it, in its frame."""

    receptacle: Receptacle
    surface: Surface
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)

    @property
    def filled(self) -> float:
        area = self.surface.size_m[0] * self.surface.size_m[1]
        return sum(4 * one[2] * one[3] for one in self.taken) / area


def choose_models(rng: np.random.Generator, split: Split, count: int) -> list[ObjectModel]:
    """Returns `count` different models of `split`, drawn with `rng`: four fifths of them in pairs of one category."""
    names = [str(name) for name in rng.permutation(list(CATEGORIES))]
    pairs = min(2 * count // 5, len(names))
    wanted = [*(name for name in names[:pairs] for _ in range(2)), *names[pairs:]][:count]
    models = []
    for name, number in Counter(wanted).items():
        chosen = rng.permutation(MODELS_PER_CATEGORY[split])[:number].tolist()
        models += [object_model(name, split, index) for index in chosen]
    return models


def stock(
    rng: np.random.Generator,
    receptacles: Sequence[Receptacle],
    room_categories: Mapping[str, str],
    models: Sequence[ObjectModel],
) -> tuple[Stocked, ...]:
    """Returns `models` on surfaces of `receptacles`, large ones first; one that fits nowhere is left out.

    Places are drawn with `rng`. `room_categories` are by room name: a little more than half of the objects stand where
    one expects them. Two objects of one category stand on different receptacles, in different rooms where possible.
    """
    shelves = [_Shelf(receptacle, surface) for receptacle in receptacles for surface in receptacle.surfaces]
    stocked: list[Stocked] = []
    for model in sorted(models, key=lambda one: (-one.size_m[0] * one.size_m[1], one.name)):
        others = [one.receptacle for one in stocked if one.model.category == model.category]
        for index in _order(rng, shelves, model, room_categories, others):
            pose = _fit(rng, shelves[index], model)
            if pose is not None:
                stocked.append(Stocked(model, shelves[index].receptacle, shelves[index].surface, pose))
                break
    return tuple(stocked)


def _order(
    rng: np.random.Generator,
    shelves: Sequence[_Shelf],
    model: ObjectModel,
    room_categories: Mapping[str, str],
    others: Sequence[Receptacle],
) -> list[int]:
    """Returns the surfaces to be tried, best first; never the receptacle of another object of the category."""
    usual = rng.random() < _USUAL_ROOM
    rooms = CATEGORIES[model.category].rooms
    ranked = []
    for index, draw in enumerate(rng.random(len(shelves)).tolist()):
        receptacle = shelves[index].receptacle
        if any(receptacle.name == other.name for other in others):
            continue
        same_room = any(receptacle.room == other.room for other in others)
        unusual = usual and room_categories[receptacle.room] not in rooms
        ranked.append((same_room, unusual, len(shelves[index].taken), draw, index))
    return [one[-1] for one in sorted(ranked)]


def _fit(rng: np.random.Generator, shelf: _Shelf, model: ObjectModel) -> Pose | None:
    """Returns where `model` stands on the surface, None where it finds no place; what it covers is then taken."""
    length, width, height = model.size_m
    if height + 0.02 > shelf.surface.clear_height_m or len(shelf.taken) >= _MOST_ON_SURFACE:
        return None
    size = shelf.surface.size_m
    for _ in range(_TRIES):
        yaw = float(rng.uniform(-np.pi, np.pi))
        cos, sin = abs(np.cos(yaw)), abs(np.sin(yaw))
        half = ((length * cos + width * sin) / 2, (length * sin + width * cos) / 2)
        spare = (size[0] / 2 - half[0], size[1] / 2 - half[1])
        if min(spare) < 0.0:
            continue
        x, y = (float(rng.uniform(-one, one)) for one in spare)
        apart = all(
            abs(x - px) >= half[0] + ph + _APART_M or abs(y - py) >= half[1] + pw + _APART_M
            for px, py, ph, pw in shelf.taken
        )
        full = shelf.filled + 4 * half[0] * half[1] / (size[0] * size[1]) > _FULLEST
        if apart and not (full and shelf.taken):
            shelf.taken.append((x, y, *half))
            return _placed(shelf.surface, (x, y, height / 2 + LIFT_M), yaw)
    return None


def _placed(surface: Surface, at_m: tuple[float, float, float], yaw_rad: float) -> Pose:
    """Returns the pose in the world of what stands at `at_m` in the frame of the upright `surface`."""
    turned = surface.pose.yaw_rad
    cos, sin = float(np.cos(turned)), float(np.sin(turned))
    x, y, z = surface.pose.position_m
    position = (x + cos * at_m[0] - sin * at_m[1], y + sin * at_m[0] + cos * at_m[1], z + at_m[2])
    return Pose(
        (round(position[0], 5), round(position[1], 5), round(position[2], 5)), quaternion_from_yaw(turned + yaw_rad)
    )
