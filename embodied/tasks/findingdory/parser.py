"""Reads an instruction: which template it is, and what its slots are."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from embodied.errors import QuestionError
from embodied.tasks.findingdory.question import Question, minutes_of, time_of
from embodied.tasks.findingdory.table import TEMPLATES, Template
from embodied.tasks.findingdory.vocabulary import NUMBERS, ORDINALS, is_receptacle, number_of, ordinal_of, split_pair
from embodied.tasks.findingdory.wording import wording

LONGEST = 2_000
_TOLERANT = {
    "navigate to ": "navigate (?:to )+",
    " again": "(?: again)?",
    " yesterday": "(?: yesterday)?",
    " interactions after": " interactions? after",
    " interactions before": " interactions? before",
}
_PREFIX = re.compile(r"^the robot'?s goal is\s*:?\s*", re.IGNORECASE)
_ORDINAL = rf"(?:{'|'.join(ORDINALS)}|\d+(?:st|nd|rd|th))"
_PAIR = "{category} and {other_category}"
# Words of the sentences themselves; a category that holds one was taken from a sentence of another template.
_GRAMMAR = r"(?:objects?|receptacles?|that|which|you|interacted|interactions?|yesterday)"
_CATEGORY = rf"(?:(?!\b{_GRAMMAR}\b).)+?"
_OF_SLOT = {
    "category": _CATEGORY,
    "receptacle": _CATEGORY,
    "pair": rf"{_CATEGORY} and {_CATEGORY}",
    "attribute": ".+?",
    "ordinal": _ORDINAL,
    "k": rf"(?:\d+|{'|'.join(NUMBERS)})",
    "time": r"\d{1,2}:\d\d",
    "order": rf"{_ORDINAL}(?:\s*,?\s*(?:and\s+|then\s+)?{_ORDINAL})*",
}


def parse(instruction: str) -> Question:
    """Returns the question that an instruction asks, by its grammar: any category, attribute and number may fill it.

    The official quirks are accepted: a doubled "to", "a apple", "all the table", and "10th" for the eleventh. Where
    objects and receptacles are asked for in the same words, as in "Navigate to a stool.", the kind follows from the
    word (`vocabulary.is_receptacle`). Raises `QuestionError` for text of no template.
    """
    text = _plain(instruction)
    found = [
        (each, match.groupdict())
        for each in TEMPLATES.values()
        if (match := _pattern(each.phrase).fullmatch(text)) is not None
    ]
    chosen = [(each, slots) for each, slots in found if _fits(each, slots)]
    if not chosen:
        raise QuestionError(
            "An instruction must be a sentence of one of the 60 templates.",
            value=instruction,
            remedy=f"Such as {wording(Question('nth_obj', {'ordinal': 3}))!r}; see embodied.tasks.findingdory.table.",
        )
    if len(chosen) > 1:
        raise QuestionError(
            "An instruction must belong to one template.",
            value=instruction,
            remedy=f"It could be any of {', '.join(each.slug for each, _ in chosen)}.",
        )
    [(kind, slots)] = chosen
    return Question(kind.slug, _values(slots))


def _plain(instruction: str) -> str:
    if not isinstance(instruction, str) or len(instruction) > LONGEST:
        raise QuestionError(f"An instruction must be text of at most {LONGEST} characters.", value=instruction)
    text = " ".join(instruction.replace("\u2019", "'").split())
    return _PREFIX.sub("", text).rstrip(" .!")


def _fits(kind: Template, slots: Mapping[str, str]) -> bool:
    """Returns whether the word that was found is of the kind that the template asks for, where only that differs."""
    if kind.slug == "recall_rec":
        return is_receptacle(slots["receptacle"])
    if kind.slug == "recall_obj":
        return not is_receptacle(slots["category"]) and slots["category"].lower() != "room"
    return "pair" not in slots or split_pair(slots["pair"]) is not None


@cache
def _pattern(phrase: str) -> re.Pattern[str]:
    """Returns the pattern of a sentence without its full stop; what is missing or doubled in official ones is free."""
    pieces = re.split(r"(\{\w+\})", phrase.rstrip(".").lower().replace(_PAIR, "{pair}"))
    return re.compile(
        "".join(_slot(piece[1:-1]) if piece.startswith("{") else _fixed(piece) for piece in pieces), re.IGNORECASE
    )


def _slot(name: str) -> str:
    return f"(?P<{name}>{_OF_SLOT[name]})"


def _fixed(text: str) -> str:
    """Returns the pattern of fixed words: either article, and some words that may be missing or doubled."""
    pattern = re.sub(r"\ban? ", "an? ", re.escape(text).replace(r"\ ", " "))
    for words, tolerant in _TOLERANT.items():
        pattern = pattern.replace(words, tolerant)
    return pattern


def _values(slots: Mapping[str, str]) -> dict[str, Any]:
    """Returns the values of slots from their text."""
    values: dict[str, Any] = {}
    for name, text in slots.items():
        if name == "pair":
            pair = split_pair(text)
            values |= {} if pair is None else {"category": pair[0], "other_category": pair[1]}
        elif name == "ordinal":
            values[name] = ordinal_of(text)
        elif name == "k":
            values[name] = number_of(text)
        elif name == "time":
            values[name] = time_of(minutes_of(text))
        elif name == "order":
            values[name] = [ordinal_of(each) for each in re.findall(_ORDINAL, text.lower())]
        else:
            values[name] = text.strip()
    return values
