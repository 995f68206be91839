"""What questions about a day depend on, and nothing else: things, rooms, interactions, times and distances.

The judge's truth, the log of what was believed, and a story written by hand all have this shape.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from math import inf
from typing import Any

import msgspec

from embodied.errors import DataError
from embodied.geometry import Vector3

ATTRIBUTES = ("shape", "colour", "material", "function", "print")


class ObjectFact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A loose object at the end of the day.

    Its attributes are "" where they are unknown. `room` and `receptacle` (a name) are where it is, "" for unknown;
    `position_m` is in the world, None for unknown. `distance_m` is the length of the shortest path to it from the pose
    in which the day ended, infinite where there is none. `candidate` says whether it may be asked for as untouched.
    """

    name: str
    category: str
    shape: str = ""
    colour: str = ""
    material: str = ""
    function: str = ""
    print: str = ""
    room: str = ""
    receptacle: str = ""
    position_m: Vector3 | None = None
    distance_m: float = inf
    candidate: bool = True


class ReceptacleFact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A support of objects. Those with the same `group` belong to one piece of furniture: any of them is as good.

    "" stands for a group of its own. `distance_m` is that to the nearest place from which it can be seen; all else as
    in `ObjectFact`.
    """

    name: str
    category: str
    room: str = ""
    group: str = ""
    position_m: Vector3 | None = None
    distance_m: float = inf
    candidate: bool = True


class RoomFact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A room, and the number of steps of the day in which the base was inside."""

    name: str
    category: str = ""
    steps: int = 0


class InteractionFact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One object that was picked from `source` and placed on `destination`, with the rooms of both.

    Times are minutes since midnight on the clock of the day: the source is touched from `pick_start_min` to
    `carry_start_min`, the destination from `place_start_min` to `place_end_min`, the object all the time.
    """

    object: str
    source: str
    destination: str
    source_room: str
    destination_room: str
    pick_start_min: float
    carry_start_min: float
    place_start_min: float
    place_end_min: float

    @property
    def duration_min(self) -> float:
        """The minutes from the beginning of the pick to the end of the place."""
        return self.place_end_min - self.pick_start_min


class DayFacts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A day, as far as questions ask for it; `interactions` are in the order in which they began.

    Raises `DataError` for names that occur twice or are not listed, times that run backwards, and values that are not
    finite where they must be.
    """

    objects: tuple[ObjectFact, ...]
    receptacles: tuple[ReceptacleFact, ...]
    rooms: tuple[RoomFact, ...]
    interactions: tuple[InteractionFact, ...]

    def __post_init__(self) -> None:
        _require_unique("objects", self.objects)
        _require_unique("receptacles", self.receptacles)
        _require_unique("rooms", self.rooms)
        self._require_known()
        _require_order(list(_times(self.interactions)))
        for thing in (*self.objects, *self.receptacles):
            if not thing.distance_m >= 0:
                raise DataError("Distances must be 0 or more.", value=(thing.name, thing.distance_m))

    def _require_known(self) -> None:
        objects, receptacles, rooms = (
            {one.name for one in kind} for kind in (self.objects, self.receptacles, self.rooms)
        )
        for one in self.interactions:
            for name, known in (
                (one.object, objects),
                (one.source, receptacles),
                (one.destination, receptacles),
                (one.source_room or None, rooms | {None}),
                (one.destination_room or None, rooms | {None}),
            ):
                if name not in known:
                    raise DataError(
                        "Interactions must name objects, receptacles and rooms of the facts.",
                        value=name,
                        remedy="Add it to them.",
                    )


def _times(interactions: Iterable[InteractionFact]) -> Iterator[float]:
    """Yields the times of interactions, of which each but the first must be no earlier than the one before."""
    for one in interactions:
        yield from (one.pick_start_min, one.carry_start_min, one.place_start_min, one.place_end_min)


def _require_order(times: list[float]) -> None:
    for earlier, later in pairwise(times):
        if not -inf < earlier <= later < inf:
            raise DataError(
                "Interactions must be finite in time, and follow one another.",
                value=(earlier, later),
                remedy="Sort them by their pick, and give minutes since midnight.",
            )


def _require_unique(kind: str, things: Iterable[Any]) -> None:
    names = [thing.name for thing in things]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or "" in names:
        raise DataError(f"The {kind} of facts must have names, each its own.", value=twice or "")
