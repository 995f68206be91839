"""Draws what a day is about: which room stays closed, which receptacles stay untouched, and what is carried."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from embodied.scenes.house import House, HouseObject
from embodied.tasks.findingdory.home_map import HomeMap

_UNTOUCHED_SHARE = 0.3


@dataclass(frozen=True)
class Agenda:
    """`closed` is a room that is never entered, "" where all are needed; receptacles in `untouched` are not used.

    `objects` are candidates for being carried, the preferred ones first, each of another category; `count` of them are.
    """

    closed: str
    untouched: frozenset[str]
    objects: tuple[HouseObject, ...]
    count: int


def closed_room(rng: np.random.Generator, house: House, home_map: HomeMap) -> str:
    """Returns a room of `house` without which all others are still connected, drawn with `rng`, "" where there is none.

    `home_map` is its map. The robot's own room and, where possible, rooms with many receptacles are left out.
    """
    start = home_map.room_at(house.scene.robots[0].base.position_m)
    held = Counter(one.room for one in house.receptacles)
    names = [room.name for number, room in enumerate(house.rooms) if number != start]
    possible = [name for name in names if _connected(house, name)]
    if not possible:
        return ""
    fewest = sorted(possible, key=lambda name: (held[name], name))[: max(1, (len(possible) + 1) // 2)]
    return fewest[int(rng.integers(len(fewest)))]


def drawn_agenda(rng: np.random.Generator, house: House, closed: str, interactions: tuple[int, int]) -> Agenda:
    """Returns an agenda drawn with `rng`, of `interactions` (least, most) in `house`, where `closed` is not entered."""
    count = int(rng.integers(interactions[0], interactions[1] + 1))
    usable = [one for one in house.receptacles if one.room != closed]
    spared = max(2, round(_UNTOUCHED_SHARE * len(usable)))
    loads = Counter(one.receptacle for one in house.objects)
    order = rng.permutation(len(usable)).tolist()
    # Receptacles with fewer objects are spared first: there is less to carry away from them.
    emptiest = sorted(order, key=lambda index: loads[usable[index].name])
    untouched = frozenset(usable[index].name for index in emptiest[:spared])
    rooms = {one.name: one.room for one in house.receptacles}
    free = [one for one in house.objects if rooms[one.receptacle] != closed and one.receptacle not in untouched]
    kinds = Counter(one.category for one in house.objects)
    ranked = sorted(
        (free[index] for index in rng.permutation(len(free)).tolist()), key=lambda one: kinds[one.category] < 2
    )
    distinct = {one.category: one for one in reversed(ranked)}
    return Agenda(closed, untouched, tuple(one for one in ranked if distinct[one.category] is one), count)


def _connected(house: House, without: str) -> bool:
    """Returns whether every room but `without` can be reached from every other through the doors of the rest."""
    rooms = {room.name for room in house.rooms} - {without}
    reached, edge = set(), [min(rooms)] if rooms else []
    while edge:
        here = edge.pop()
        reached.add(here)
        for door in house.doors:
            if here in door.rooms and without not in door.rooms:
                edge += [name for name in door.rooms if name not in reached]
    return reached == rooms
