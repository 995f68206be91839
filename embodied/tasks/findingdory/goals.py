"""What a question asks to be reached: the entities that satisfy each of its goals, from the facts of a day."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from embodied.tasks.findingdory.day_index import (
    DayIndex,
    Names,
    distinct,
    durations_min,
    extreme,
    furniture_at,
    furniture_distances_m,
    joined,
    object_distances_m,
    objects_at,
    room_steps,
    same,
)
from embodied.tasks.findingdory.facts import DayFacts, InteractionFact
from embodied.tasks.findingdory.question import Question, minutes_of

OBJECT, RECEPTACLE, ROOM = "object", "receptacle", "room"


@dataclass(frozen=True)
class Goal:
    """Entities of one `kind` ("object", "receptacle", "room") to be reached.

    Each of `targets` is one goal: the names of entities of which any satisfies it, empty where none does. `mode` is
    "single" for one goal, "unordered" for all of them in any order, "ordered" for all of them in this order.
    """

    kind: str
    mode: str
    targets: tuple[Names, ...]

    @property
    def possible(self) -> bool:
        """Whether there is a goal, and an entity for each."""
        return bool(self.targets) and all(self.targets)


def goal_of(question: Question, facts: DayFacts) -> Goal:
    """Returns what a question asks for. Goals that nothing satisfies have no entities; none is an error.

    Objects are where the day has left them. A receptacle stands for all of its furniture group. Ordinals count
    interactions, so that a receptacle may have several; goals of several entities hold each one once. The farthest
    thing is the one at the largest finite distance; equal ones are all right.
    """
    kind, targets = _RULES[question.slug](DayIndex(facts), question.slots)
    return Goal(kind, question.template.goals, tuple(targets))


Slots = Mapping[str, Any]
Rule = Callable[[DayIndex, Slots], tuple[str, Sequence[Names]]]


def _objects(choose: Callable[[DayIndex, Slots], Iterable[str]]) -> Rule:
    """Returns the rule of a single goal: any of the chosen objects."""
    return lambda day, slots: (OBJECT, [frozenset(choose(day, slots))])


def _furniture(choose: Callable[[DayIndex, Slots], Iterable[Names]]) -> Rule:
    """Returns the rule of a single goal: any of the chosen pieces of furniture."""
    return lambda day, slots: (RECEPTACLE, [joined(choose(day, slots))])


def _rooms(choose: Callable[[DayIndex, Slots], Iterable[str]]) -> Rule:
    """Returns the rule of a single goal: any of the chosen rooms."""
    return lambda day, slots: (ROOM, [frozenset(choose(day, slots)) - {""}])


def _attribute(name: str) -> Rule:
    return _objects(lambda day, s: [o for o in day.touched if same(getattr(day.objects[o], name), s["attribute"])])


def _farthest(choose: Callable[[DayIndex], Iterable[Names]]) -> Rule:
    """Returns the rule of the chosen furniture at the largest finite distance, to its nearest receptacle."""

    def rule(day: DayIndex, slots: Slots) -> tuple[str, Sequence[Names]]:
        del slots
        return RECEPTACLE, [joined(extreme(furniture_distances_m(day, choose(day)), largest=True))]

    return rule


def _numbered(numbers: Callable[[DayIndex, Slots], Iterable[int]], what: str) -> Rule:
    """Returns the rule of the object, source or destination of the interactions with these numbers, from 0."""

    def rule(day: DayIndex, slots: Slots) -> tuple[str, Sequence[Names]]:
        found = {OBJECT: day.moved, "source": day.sources, "destination": day.destinations}[what]
        chosen = joined(found[at] for at in numbers(day, slots) if 0 <= at < len(found))
        return (OBJECT if what == OBJECT else RECEPTACLE), [chosen]

    return rule


def _nth(day: DayIndex, slots: Slots) -> list[int]:
    del day
    return [slots["ordinal"] - 1]


def _shifted(day: DayIndex, slots: Slots, *, sign: int) -> list[int]:
    return [at + sign * slots.get("k", 1) for at in day.numbers(slots["category"])]


_after, _before = partial(_shifted, sign=1), partial(_shifted, sign=-1)


def _between(day: DayIndex, slots: Slots) -> list[int]:
    pairs = [(a, b) for a in day.numbers(slots["category"]) for b in day.numbers(slots["other_category"])]
    return [at for a, b in pairs for at in range(min(a, b) + 1, max(a, b))]


def _room_of_nth(room: Callable[[InteractionFact], str]) -> Rule:
    return _rooms(lambda day, s: [room(one) for one in day.facts.interactions[s["ordinal"] - 1 : s["ordinal"]]])


def _room_of_object(room: Callable[[InteractionFact], str]) -> Rule:
    return _rooms(lambda day, s: [room(day.facts.interactions[at]) for at in day.numbers(s["category"])])


def _all(choose: Callable[[DayIndex], Iterable[Names]]) -> Rule:
    """Returns the rule of one goal for each chosen piece of furniture."""
    return lambda day, slots: (
        RECEPTACLE,
        distinct(f for f in choose(day) if "receptacle" not in slots or day.is_furniture(f, slots["receptacle"])),
    )


def _in_order(choose: Callable[[DayIndex], Sequence[Names]], kind: str) -> Rule:
    """Returns the rule of the chosen entities at the listed ordinals."""

    def rule(day: DayIndex, slots: Slots) -> tuple[str, Sequence[Names]]:
        found = choose(day)
        return kind, [found[at - 1] if at <= len(found) else frozenset() for at in slots["order"]]

    return rule


def _chosen_furniture(choose: Callable[[DayIndex], Iterable[Names]]) -> Rule:
    return _furniture(
        lambda day, s: (f for f in choose(day) if "receptacle" not in s or day.is_furniture(f, s["receptacle"]))
    )


def _from_furniture(day: DayIndex, slots: Slots) -> list[str]:
    pairs = zip(day.facts.interactions, day.sources, strict=True)
    return [one.object for one, source in pairs if day.is_furniture(source, slots["receptacle"])]


_picks, _places = (lambda day: day.sources), (lambda day: day.destinations)
_uses, _leaves = (lambda day: day.used), (lambda day: day.unused)

_RULES: dict[str, Rule] = {
    "recall_obj": _objects(lambda day, s: [o for o in day.objects if day.is_object(o, s["category"])]),
    "recall_rec": _chosen_furniture(lambda day: day.groups.values()),
    "obj_int": _objects(lambda day, _: day.touched),
    "obj_not": _objects(lambda day, _: day.untouched),
    "rec_int": _chosen_furniture(_uses),
    "rec_pick": _chosen_furniture(_picks),
    "rec_place": _chosen_furniture(_places),
    "rec_not": _chosen_furniture(_leaves),
    "cobj_int": _objects(lambda day, s: [o for o in day.touched if day.is_object(o, s["category"])]),
    "cobj_not": _objects(lambda day, s: [o for o in day.untouched if day.is_object(o, s["category"])]),
    "crec_not": _chosen_furniture(_leaves),
    "crec_pick": _chosen_furniture(_picks),
    "crec_place": _chosen_furniture(_places),
    "obj_from_rec": _objects(_from_furniture),
    "rec_of_obj": _numbered(lambda day, s: day.numbers(s["category"]), "source"),
    "attr_shape": _attribute("shape"),
    "attr_color": _attribute("colour"),
    "attr_material": _attribute("material"),
    "attr_function": _attribute("function"),
    "attr_print": _attribute("print"),
    "far_obj": _objects(lambda day, _: extreme(object_distances_m(day), largest=True)),
    "far_rec_int": _farthest(_uses),
    "far_rec_pick": _farthest(_picks),
    "far_rec_place": _farthest(_places),
    "far_rec_not": _farthest(_leaves),
    "room_not": _rooms(lambda day, _: [room.name for room in day.facts.rooms if not room.steps]),
    "room_pick_nth": _room_of_nth(lambda one: one.source_room),
    "room_place_nth": _room_of_nth(lambda one: one.destination_room),
    "room_pick_obj": _room_of_object(lambda one: one.source_room),
    "room_place_obj": _room_of_object(lambda one: one.destination_room),
    "nth_obj": _numbered(_nth, OBJECT),
    "nth_rec_pick": _numbered(_nth, "source"),
    "nth_rec_place": _numbered(_nth, "destination"),
    "obj_nth_rec": _numbered(_nth, OBJECT),
    "rec_nth_obj": _numbered(_nth, "source"),
    "obj_after": _numbered(_after, OBJECT),
    "obj_before": _numbered(_before, OBJECT),
    "obj_k_after": _numbered(_after, OBJECT),
    "obj_k_before": _numbered(_before, OBJECT),
    "pick_after": _numbered(_after, "source"),
    "place_before": _numbered(_before, "destination"),
    "pick_k_after": _numbered(_after, "source"),
    "place_k_before": _numbered(_before, "destination"),
    "obj_between": _numbered(_between, OBJECT),
    "pick_between": _numbered(_between, "source"),
    "place_between": _numbered(_between, "destination"),
    "obj_at_t": _objects(lambda day, s: objects_at(day, minutes_of(s["time"]))),
    "rec_at_t": _furniture(lambda day, s: furniture_at(day, minutes_of(s["time"]))),
    "dur_short": _numbered(lambda day, _: extreme(durations_min(day), largest=False), OBJECT),
    "dur_long": _numbered(lambda day, _: extreme(durations_min(day), largest=True), OBJECT),
    "room_longest": _rooms(lambda day, _: extreme(room_steps(day), largest=True)),
    "all_obj": lambda day, _: (OBJECT, [frozenset((name,)) for name in day.touched]),
    "all_rec": _all(_uses),
    "all_rec_pick": _all(_picks),
    "all_rec_place": _all(_places),
    "all_crec_pick": _all(_picks),
    "all_crec_place": _all(_places),
    "ord_obj": _in_order(lambda day: day.moved, OBJECT),
    "ord_rec_pick": _in_order(_picks, RECEPTACLE),
    "ord_rec_place": _in_order(_places, RECEPTACLE),
}
