"""Ordinals, and which category words name receptacles."""

import re
from collections.abc import Iterator

from embodied.errors import QuestionError

_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh")
_MORE = ("twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth")
ORDINALS: tuple[str, ...] = (*_ORDINALS, *_MORE, "twentieth")
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_DIGITS = re.compile(r"(\d+)(?:st|nd|rd|th)")
# The official generator has ten words and then counts from 0: with 11 interactions it lists "tenth" and "10th".
_OFFICIAL_ELEVENTH = "10th"

RECEPTACLES = frozenset(
    {
        *("bathtub", "bed", "bench", "cabinet", "chair", "chest of drawers", "coffee table", "couch", "counter"),
        *("filing cabinet", "hamper", "serving cart", "shelves", "shoe rack", "sink", "stand", "stool", "table"),
        *("toilet", "trunk", "wardrobe", "washer dryer"),
    }
)
"""Receptacle categories of Open-Vocabulary Mobile Manipulation (OVMM), from which FindingDory takes its own."""

# Words for furniture beyond those: a category that ends in one of them is a receptacle, such as "kitchen island".
_FURNITURE = frozenset(
    {
        *("armchair", "armoire", "bathtub", "bed", "bench", "bookcase", "bookshelf", "buffet", "bunk", "bureau"),
        *("cabinet", "cart", "chair", "chest", "closet", "commode", "console", "couch", "counter", "countertop"),
        *("credenza", "crib", "cupboard", "desk", "dishwasher", "drawer", "drawers", "dresser", "dryer", "fireplace"),
        *("freezer", "fridge", "futon", "hamper", "island", "ledge", "loveseat", "mantel", "mattress", "nightstand"),
        *("ottoman", "oven", "pantry", "piano", "pouf", "refrigerator", "sectional", "settee", "shelf", "shelves"),
        *("shelving", "sideboard", "sink", "sofa", "stool", "stove", "table", "tabletop", "toilet", "trolley"),
        *("vanity", "wardrobe", "washer", "windowsill", "workbench"),
    }
)
_STANDS = frozenset({"bedside stand", "corner stand", "night stand", "plant stand", "side stand", "tv stand"})
_SMALL = frozenset({"doll", "doll's", "mini", "miniature", "model", "toy"})  # A toy table is an object.
_NOT_FURNITURE = frozenset({"game console", "gaming console", "video game console", "hair dryer"})

# Categories with an "and" of their own, which a pair of categories is not split at.
_COMPOUNDS = (
    *("salt and pepper shaker", "salt and pepper shakers", "salt and pepper mill", "salt and pepper", "cup and saucer"),
    *("mortar and pestle", "dustpan and brush", "pen and paper", "bow and arrow", "hook and loop", "nuts and bolts"),
)


def is_receptacle(category: str) -> bool:
    """Returns whether a category is one of furniture, by its last word where it is in no list.

    Official sentences for objects and receptacles are the same where one is to be recalled: "Navigate to a stool.".
    """
    text = category.lower()
    if text in RECEPTACLES or text in _STANDS:
        return True
    words = text.split()
    if not words or words[0] in _SMALL or text in _NOT_FURNITURE:
        return False
    return words[-1] in _FURNITURE


def ordinal_of(word: str) -> int:
    """Returns the number, from 1, that an ordinal stands for. Raises `QuestionError`.

    The official "10th" is 11: it follows "tenth". Other digits mean what they say.
    """
    text = word.strip().lower()
    if text in ORDINALS:
        return ORDINALS.index(text) + 1
    match = _DIGITS.fullmatch(text)
    if match is None or not int(match[1]):
        raise QuestionError(
            "An ordinal must be a word such as third, or digits such as 12th.",
            value=word,
            remedy=f"Known words: {', '.join(ORDINALS)}.",
        )
    return 11 if text == _OFFICIAL_ELEVENTH else int(match[1])


def ordinal_word(number: int) -> str:
    """Returns the word for a number from 1, in digits above twenty. Raises `QuestionError` below 1."""
    if number < 1:
        raise QuestionError("Ordinals must count from 1.", value=number)
    if number <= len(ORDINALS):
        return ORDINALS[number - 1]
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def number_of(word: str) -> int:
    """Returns a count given in digits or as a word up to twelve. Raises `QuestionError`."""
    text = word.strip().lower()
    if text in NUMBERS:
        return NUMBERS.index(text) + 1
    if not text.isdecimal() or not int(text):
        raise QuestionError("A count of interactions must be a whole number from 1 on.", value=word)
    return int(text)


def split_pair(text: str) -> tuple[str, str] | None:
    """Returns the two categories that "and" joins, or None where there are not two.

    Categories with an "and" of their own, such as "salt and pepper shaker", stay whole where they are well known or
    where an ordinal begins the second category; otherwise the last "and" is the one between the two.
    """
    splits = [(left, right) for left, right in _splits(text) if left and right]
    whole = [pair for pair in splits if not any(_cuts(text, pair[0], compound) for compound in _COMPOUNDS)]
    counted = [pair for pair in whole if pair[1].split()[0].lower() in ORDINALS]
    best = counted or whole
    return best[-1] if best else None


def _splits(text: str) -> Iterator[tuple[str, str]]:
    for found in re.finditer(" and ", text, re.IGNORECASE):
        yield text[: found.start()].strip(), text[found.end() :].strip()


def _cuts(text: str, left: str, compound: str) -> bool:
    """Returns whether the split of `text` behind `left` would cut an occurrence of `compound`."""
    places = (found.span() for found in re.finditer(rf"\b{re.escape(compound)}\b", text, re.IGNORECASE))
    return any(start < len(left) < end for start, end in places)
