"""Instances of templates that a day allows: valid, unambiguous, and such that their sentence can be read back."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, inf
from typing import Any

import numpy as np

from embodied.errors import ConfigError, QuestionError
from embodied.seeding import stream
from embodied.tasks.findingdory.day_index import (
    DayIndex,
    Names,
    distinct,
    durations_min,
    furniture_at,
    furniture_distances_m,
    object_distances_m,
    objects_at,
    plain_text,
    room_steps,
)
from embodied.tasks.findingdory.facts import DayFacts
from embodied.tasks.findingdory.goals import goal_of
from embodied.tasks.findingdory.parser import parse
from embodied.tasks.findingdory.question import Question, time_of
from embodied.tasks.findingdory.table import TEMPLATES, template
from embodied.tasks.findingdory.vocabulary import ordinal_word
from embodied.tasks.findingdory.wording import wording

Slots = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SamplingLimits:
    """How far an extreme must be ahead of the next thing to be asked for.

    `margin_m` is for the farthest things, `margin_min` (minutes of the day) for the quickest and slowest, and
    `margin_steps` for the room with most steps. Raises `ConfigError`.
    """

    margin_m: float = 0.25
    margin_min: float = 1.0
    margin_steps: int = 5

    def __post_init__(self) -> None:
        if not all(0 <= value < inf for value in (self.margin_m, self.margin_min, self.margin_steps)):
            raise ConfigError("Margins must be finite and 0 or more.", value=self)


def sample_questions(
    facts: DayFacts,
    seed: int,
    *,
    limits: SamplingLimits = SamplingLimits(),
) -> dict[str, Question]:
    """Returns one question of each template that has a valid one in these `facts`, by slug, drawn with `seed`.

    The draw of one template is independent of all others. `limits` as in `valid_questions`.
    """
    found = {}
    for slug in TEMPLATES:
        draws = stream(seed, "question", slug)
        valid = valid_questions(slug, facts, draws=draws, limits=limits)
        if valid:
            found[slug] = valid[int(draws.integers(len(valid)))]
    return found


def valid_questions(
    slug: str,
    facts: DayFacts,
    *,
    draws: np.random.Generator,
    limits: SamplingLimits = SamplingLimits(),
) -> list[Question]:
    """Returns the valid questions of the template `slug` about a day, empty where its preconditions do not hold.

    Each has an entity for each goal in `facts`, names things that only one answer fits where the sentence asks for one
    ("the ..."), and is ahead of others by `limits` where it asks for an extreme. `draws` shuffle ordered goals. Raises
    `QuestionError` for an unknown slug.
    """
    template(slug)
    day = DayIndex(facts)
    if slug in _EXTREMES and not _EXTREMES[slug](day, limits):
        return []
    questions = [Question(slug, slots) for slots in _CANDIDATES.get(slug, _once)(day, draws)]
    return [each for each in questions if goal_of(each, facts).possible and _readable(each)]


def _readable(question: Question) -> bool:
    """Returns whether the sentence of a question is read as the same question."""
    try:
        return parse(wording(question)) == question
    except QuestionError:
        return False


def object_name(day: DayIndex, number: int) -> str | None:
    """Returns how an instruction names the object of interaction `number` (from 0) of a day; None for ambiguous ones.

    That is its category, such as "teapot", or where several of them were touched "second teapot", which counts them in
    the order of the interactions.
    """
    own = day.facts.interactions[number].object
    category = plain_text(day.objects[own].category)
    alike = [name for name in day.touched if plain_text(day.objects[name].category) == category]
    name = category if len(alike) == 1 else f"{ordinal_word(alike.index(own) + 1)} {category}"
    return name if day.numbers(name) == [number] else None


def _once(day: DayIndex, draws: np.random.Generator) -> Iterator[Slots]:
    """Yields the empty slots of a template that has none."""
    del day, draws
    yield {}


Candidates = Callable[[DayIndex, np.random.Generator], Iterable[Slots]]


def _texts(slot: str, choose: Callable[[DayIndex], Iterable[str]]) -> Candidates:
    """Returns the candidates with each of the chosen texts in `slot`, each once, in alphabetical order."""
    return lambda day, _: [{slot: text} for text in sorted({plain_text(text) for text in choose(day)} - {""})]


def _object_categories(day: DayIndex, names: Iterable[str]) -> set[str]:
    return {plain_text(day.objects[name].category) for name in names}


def _furniture_categories(day: DayIndex, furniture: Iterable[Names]) -> set[str]:
    return {plain_text(day.receptacles[name].category) for names in furniture for name in names}


def _recalled(day: DayIndex) -> set[str]:
    return _object_categories(day, [*day.touched, *day.untouched])


def _recalled_furniture(day: DayIndex) -> set[str]:
    return _furniture_categories(day, [*day.used, *day.unused])


def _touched_once(day: DayIndex) -> list[str]:
    """Returns the categories of which one object was touched, once."""
    return [name for at in range(len(day.facts.interactions)) if (name := object_name(day, at)) in _recalled(day)]


def _both_kinds(day: DayIndex) -> set[str]:
    """Returns the categories of which one object was touched and another was not."""
    return _object_categories(day, day.touched) & _object_categories(day, day.untouched)


def _furniture_of_both_kinds(day: DayIndex) -> set[str]:
    return _furniture_categories(day, day.used) & _furniture_categories(day, day.unused)


def _attribute(name: str) -> Candidates:
    return _texts("attribute", lambda day: [getattr(day.objects[each], name) for each in day.touched])


def _ordinals(day: DayIndex, draws: np.random.Generator) -> Iterator[Slots]:
    del draws
    yield from ({"ordinal": at + 1} for at in range(len(day.facts.interactions)))


def _shifts(sign: int, *, counted: bool) -> Candidates:
    """Returns the interactions beside another one, by `sign` after or before it; further away if `counted`."""

    def candidates(day: DayIndex, draws: np.random.Generator) -> Iterator[Slots]:
        del draws
        count = len(day.facts.interactions)
        for at in range(count):
            name = object_name(day, at)
            for k in range(2, count) if counted else (1,):
                if name is not None and 0 <= at + sign * k < count:
                    yield {"k": k, "category": name} if counted else {"category": name}

    return candidates


def _between(day: DayIndex, draws: np.random.Generator) -> Iterator[Slots]:
    """Yields the objects around each interaction but the first and the last."""
    del draws
    for at in range(len(day.facts.interactions) - 2):
        first, second = object_name(day, at), object_name(day, at + 2)
        if first is not None and second is not None:
            yield {"category": first, "other_category": second}


def _minutes(spans: Iterable[tuple[float, float]]) -> list[int]:
    """Returns the whole minutes within intervals, in minutes since midnight."""
    return sorted({minute for start, end in spans for minute in range(ceil(start), floor(end) + 1)})


def _object_times(day: DayIndex, draws: np.random.Generator) -> Iterator[Slots]:
    del draws
    for minute in _minutes((one.pick_start_min, one.place_end_min) for one in day.facts.interactions):
        if len(set(objects_at(day, minute))) == 1:
            yield {"time": time_of(minute)}


def _furniture_times(day: DayIndex, draws: np.random.Generator) -> Iterator[Slots]:
    del draws
    picks = [(one.pick_start_min, one.carry_start_min) for one in day.facts.interactions]
    places = [(one.place_start_min, one.place_end_min) for one in day.facts.interactions]
    for minute in _minutes([*picks, *places]):
        if len(set(furniture_at(day, minute))) == 1:
            yield {"time": time_of(minute)}


def _orders(choose: Callable[[DayIndex], Sequence[Names]]) -> Candidates:
    """Returns one shuffled list of the ordinals of the chosen entities, each entity once, by its first ordinal."""

    def candidates(day: DayIndex, draws: np.random.Generator) -> Iterator[Slots]:
        found = choose(day)
        ordinals = [found.index(each) + 1 for each in distinct(found)]
        if ordinals:
            yield {"order": [ordinals[at] for at in draws.permutation(len(ordinals))]}

    return candidates


_OF_TOUCHED = _texts("category", _touched_once)
_OF_SOURCE = _texts("receptacle", lambda day: _furniture_categories(day, day.sources))
_OF_DESTINATION = _texts("receptacle", lambda day: _furniture_categories(day, day.destinations))

_CANDIDATES: Mapping[str, Candidates] = {
    "recall_obj": _texts("category", _recalled),
    "recall_rec": _texts("receptacle", _recalled_furniture),
    "cobj_not": _texts("category", _both_kinds),
    "crec_not": _texts("receptacle", _furniture_of_both_kinds),
    **dict.fromkeys(("cobj_int", "rec_of_obj", "room_pick_obj", "room_place_obj"), _OF_TOUCHED),
    **dict.fromkeys(("crec_pick", "obj_from_rec", "all_crec_pick"), _OF_SOURCE),
    **dict.fromkeys(("crec_place", "all_crec_place"), _OF_DESTINATION),
    "attr_shape": _attribute("shape"),
    "attr_color": _attribute("colour"),
    "attr_material": _attribute("material"),
    "attr_function": _attribute("function"),
    "attr_print": _attribute("print"),
    **dict.fromkeys([slug for slug, each in TEMPLATES.items() if each.slots == ("ordinal",)], _ordinals),
    **dict.fromkeys(("obj_after", "pick_after"), _shifts(1, counted=False)),
    **dict.fromkeys(("obj_before", "place_before"), _shifts(-1, counted=False)),
    **dict.fromkeys(("obj_k_after", "pick_k_after"), _shifts(1, counted=True)),
    **dict.fromkeys(("obj_k_before", "place_k_before"), _shifts(-1, counted=True)),
    **dict.fromkeys(("obj_between", "pick_between", "place_between"), _between),
    "obj_at_t": _object_times,
    "rec_at_t": _furniture_times,
    "ord_obj": _orders(lambda day: day.moved),
    "ord_rec_pick": _orders(lambda day: day.sources),
    "ord_rec_place": _orders(lambda day: day.destinations),
}


def _ahead(values: Mapping[Any, float], margin: float, *, largest: bool = True) -> bool:
    """Returns whether one value is ahead of all others by a margin, and all are finite."""
    ranked = sorted(values.values(), reverse=largest)
    if not ranked or not all(-inf < value < inf for value in ranked):
        return False
    return len(ranked) == 1 or (ranked[0] != ranked[1] and abs(ranked[0] - ranked[1]) >= margin)


def _farthest(choose: Callable[[DayIndex], Iterable[Names]]) -> Callable[[DayIndex, SamplingLimits], bool]:
    return lambda day, limits: _ahead(furniture_distances_m(day, choose(day)), limits.margin_m)


_EXTREMES: Mapping[str, Callable[[DayIndex, SamplingLimits], bool]] = {
    "far_obj": lambda day, limits: _ahead(object_distances_m(day), limits.margin_m),
    "far_rec_int": _farthest(lambda day: day.used),
    "far_rec_pick": _farthest(lambda day: day.sources),
    "far_rec_place": _farthest(lambda day: day.destinations),
    "far_rec_not": _farthest(lambda day: day.unused),
    "dur_short": lambda day, limits: _ahead(durations_min(day), limits.margin_min, largest=False),
    "dur_long": lambda day, limits: _ahead(durations_min(day), limits.margin_min),
    "room_longest": lambda day, limits: _ahead(room_steps(day), limits.margin_steps),
}
