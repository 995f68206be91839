"""The facts of a day by object, furniture, room and time: what the rules of templates look up."""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from math import inf
from typing import Any

from embodied.tasks.findingdory.facts import DayFacts, ObjectFact, ReceptacleFact
from embodied.tasks.findingdory.vocabulary import ORDINALS

Names = frozenset[str]


class DayIndex:
    """The interactions of a day by object, receptacle, room and time, for the rules of templates."""

    def __init__(self, facts: DayFacts) -> None:
        self.facts = facts
        self.objects: Mapping[str, ObjectFact] = {one.name: one for one in facts.objects}
        self.receptacles: Mapping[str, ReceptacleFact] = {one.name: one for one in facts.receptacles}

    @cached_property
    def touched(self) -> list[str]:
        """The objects that were touched, each once, by their first interaction."""
        return list(dict.fromkeys(one.object for one in self.facts.interactions))

    @cached_property
    def untouched(self) -> list[str]:
        """The objects that were not touched and may be asked for as such."""
        return [one.name for one in self.facts.objects if one.candidate and one.name not in self.touched]

    @cached_property
    def moved(self) -> list[Names]:
        """The object of each interaction, alone in its set, in order."""
        return [frozenset((one.object,)) for one in self.facts.interactions]

    @cached_property
    def sources(self) -> list[Names]:
        """The furniture of each pick, in order."""
        return [self.furniture(one.source) for one in self.facts.interactions]

    @cached_property
    def destinations(self) -> list[Names]:
        """The furniture of each place, in order."""
        return [self.furniture(one.destination) for one in self.facts.interactions]

    @cached_property
    def used(self) -> list[Names]:
        """The furniture of each pick and place, in order."""
        pairs = zip(self.sources, self.destinations, strict=True)
        return [furniture for pair in pairs for furniture in pair]

    @cached_property
    def unused(self) -> list[Names]:
        """The furniture that was not touched and may be asked for as such."""
        used = frozenset().union(*self.used)
        return distinct(self.furniture(r.name) for r in self.facts.receptacles if r.candidate and r.name not in used)

    @cached_property
    def groups(self) -> Mapping[str, Names]:
        """The names of the receptacles of each furniture group."""
        found: dict[str, set[str]] = {}
        for one in self.facts.receptacles:
            found.setdefault(one.group or one.name, set()).add(one.name)
        return {group: frozenset(names) for group, names in found.items()}

    def furniture(self, receptacle: str) -> Names:
        """Returns the names of all receptacles of the same piece of furniture."""
        return self.groups[self.receptacles[receptacle].group or receptacle]

    def is_object(self, name: str, category: str) -> bool:
        """Returns whether an object is of a category, which may have an ordinal, such as "second teapot".

        It counts the touched objects of the category in the order of their interactions.
        """
        if same(self.objects[name].category, category):
            return True
        ordinal, _, plain = plain_text(category).partition(" ")
        if ordinal not in ORDINALS:
            return False
        own = [each for each in self.touched if same(self.objects[each].category, plain)]
        return name in own and own.index(name) == ORDINALS.index(ordinal)

    def is_furniture(self, names: Names, category: str) -> bool:
        """Returns whether any receptacle of a piece of furniture is of a category."""
        return any(same(self.receptacles[name].category, category) for name in names)

    def numbers(self, category: str) -> list[int]:
        """Returns the numbers, from 0, of the interactions with objects of a category."""
        return [at for at, one in enumerate(self.facts.interactions) if self.is_object(one.object, category)]


@lru_cache(maxsize=65_536)
def plain_text(text: str) -> str:
    """Returns a category or attribute in the form in which they are compared: lower case, with spaces."""
    return " ".join(text.replace("_", " ").lower().split())


def same(first: str, second: str) -> bool:
    """Returns whether two categories or attributes are the same, however they are written."""
    return plain_text(first) == plain_text(second)


def distinct(found: Iterable[Names]) -> list[Names]:
    """Returns sets without repeats, in order."""
    return list(dict.fromkeys(found))


def joined(found: Iterable[Names]) -> Names:
    """Returns the union of sets."""
    return frozenset().union(*found)


def extreme(values: Mapping[Any, float], *, largest: bool) -> list[Any]:
    """Returns the keys of the largest or smallest finite value; none without one."""
    finite = {key: value for key, value in values.items() if -inf < value < inf}
    best = (max if largest else min)(finite.values(), default=None)
    return [key for key, value in finite.items() if value == best]


def furniture_distances_m(day: DayIndex, furniture: Iterable[Names]) -> dict[Names, float]:
    """Returns the distance of each piece of furniture: that of the nearest of its receptacles."""
    return {names: min(day.receptacles[name].distance_m for name in names) for names in furniture}


def object_distances_m(day: DayIndex) -> dict[str, float]:
    """Returns the distance of each touched object."""
    return {name: day.objects[name].distance_m for name in day.touched}


def durations_min(day: DayIndex) -> dict[int, float]:
    """Returns the duration of each interaction, by its number from 0."""
    return {at: one.duration_min for at, one in enumerate(day.facts.interactions)}


def room_steps(day: DayIndex) -> dict[str, float]:
    """Returns the number of steps in each room that was visited."""
    return {room.name: float(room.steps) for room in day.facts.rooms if room.steps}


def objects_at(day: DayIndex, time_min: float) -> list[str]:
    """Returns the objects that were touched at a time, in minutes since midnight; both ends belong to an interval."""
    return [i.object for i in day.facts.interactions if i.pick_start_min <= time_min <= i.place_end_min]


def furniture_at(day: DayIndex, time_min: float) -> Iterator[Names]:
    """Yields the furniture that was touched at a time, in minutes since midnight."""
    for one in day.facts.interactions:
        if one.pick_start_min <= time_min <= one.carry_start_min:
            yield day.furniture(one.source)
        if one.place_start_min <= time_min <= one.place_end_min:
            yield day.furniture(one.destination)
