"""A question: a template with its slots filled."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embodied.errors import QuestionError
from embodied.tasks.findingdory.table import Template, template

_TIME = re.compile(r"(\d{1,2}):(\d\d)")
_COUNTED = ("ordinal", "k")


@dataclass(frozen=True)
class Question:
    """A template by its `slug`, and the values of its `slots`, all of them and no others.

    `category` and `other_category` name objects and `receptacle` furniture, as the instruction names them, such as
    "second teapot" where there are two; `attribute` is a shape, colour, material, function or print; `ordinal` and `k`
    are whole numbers from 1; `time` is "H:MM" on the clock of the day; `order` is a list of ordinals. Raises
    `QuestionError`.
    """

    slug: str
    slots: Mapping[str, Any]

    def __post_init__(self) -> None:
        wanted = self.template.slots
        if set(self.slots) != set(wanted):
            raise QuestionError(
                f"A question of {self.slug!r} must fill the slots of its template.",
                value=sorted(self.slots),
                remedy=f"Give {', '.join(wanted) or 'no slots'}.",
            )
        for name, value in self.slots.items():
            _check(self.slug, name, value)

    @property
    def template(self) -> Template:
        """The template. Raises `QuestionError`."""
        return template(self.slug)

    @property
    def group(self) -> str:
        """The official category of the question, such as "Time-Based"."""
        return self.template.group


def minutes_of(time: str) -> int:
    """Returns the minutes since midnight of a time "H:MM". Raises `QuestionError`."""
    match = _TIME.fullmatch(time.strip())
    if match is None or not (int(match[1]) < 24 and int(match[2]) < 60):
        raise QuestionError("A time must read H:MM, from 0:00 to 23:59.", value=time, remedy="Write such as 6:07.")
    return int(match[1]) * 60 + int(match[2])


def time_of(minutes: int) -> str:
    """Returns the time "H:MM" of a number of minutes since midnight. Raises `QuestionError` beyond the day."""
    if not 0 <= minutes < 24 * 60:
        raise QuestionError("Minutes of a day must lie in [0, 1440).", value=minutes)
    return f"{minutes // 60}:{minutes % 60:02d}"


def _check(slug: str, name: str, value: Any) -> None:
    if name == "time":
        minutes_of(value)
        return
    if name == "order":
        sound = isinstance(value, list) and bool(value) and all(_counts(each) for each in value)
        wanted = "a list of different whole numbers from 1"
        sound = sound and len(set(value)) == len(value)
    elif name in _COUNTED:
        sound, wanted = _counts(value), "a whole number from 1"
    else:
        sound, wanted = isinstance(value, str) and bool(value.strip()), "text"
    if not sound:
        raise QuestionError(f"Slot {name!r} of {slug!r} must be {wanted}.", value=value)


def _counts(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1
