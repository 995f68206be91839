"""Limits on what one event, one append and one commit may contain, so that no writer holds up the others.

They apply to what is written. Events that an older bank holds already are read whatever their size.
"""

import re
from typing import Any

import msgspec

from embodied import names
from embodied.errors import MemoryBankError
from embodied.memory.schema.kinds import Forgotten

LARGEST_NUMBER = 2**63 - 1
MOST_SKIPPED = 2**32  # Numbers that a restored bank has lost are skipped: years of a robot.
LARGEST_EVENT_BYTES = 8 * 2**20
LARGEST_APPEND_BYTES = 32 * 2**20  # All events of one append together.
MOST_EVENTS = 10_000  # Of one append.
MOST_ROWS = 250_000  # That one append writes: its events, what they mention, and what merges move.
DEEPEST_CONTAINMENT = 256
LARGEST_COMMIT = 100  # Events: five milliseconds, for which other clients wait. Unless one append alone has more.
LARGEST_COMMIT_ROWS = 2_000  # Some ten milliseconds. Unless one append alone has more.
LARGEST_COMMIT_BYTES = 2**20  # Unless one append alone is larger.
LONGEST_NAME = 1_000
LONGEST_TEXT = 2**16
MOST_NAMES = 1_000
MOST_CORNERS = 500
DEEPEST_JSON = 64
FREE_TEXTS = frozenset({"evidence", "reason", "instruction", "arguments", "feedback"})
ANY_TEXTS = FREE_TEXTS | {"outcome", "preconditions", "effects"}
_COUNTED_ELSEWHERE = frozenset({"polygon", "workspace", "covariance", "ranges", "kept"})
_BRACKETS = re.compile(r"[][{}]")
_JSON_TEXT = re.compile(r'"(?:[^"\\]|\\.)*+"')


def check_size(payload: Any, body: bytes, bulk: bytes | None) -> None:
    """Raises `MemoryBankError` for a `payload` with too many bytes, too many names, or too long a text.

    `body` and `bulk` are its encoding, which is never shorter than any text in it.
    """
    size = len(body) + (0 if bulk is None else len(bulk))
    if size > LARGEST_EVENT_BYTES and not isinstance(payload, Forgotten):
        raise MemoryBankError(
            f"An event must not be larger than {LARGEST_EVENT_BYTES} bytes.",
            value=f"{size} bytes of {type(payload).__name__}",
            remedy="Store large data in a file, and its path in `evidence`.",
        )
    if len(body) > min(LONGEST_NAME, MOST_NAMES):
        check_texts(payload)


def check_append_size(size: int) -> None:
    """Raises `MemoryBankError` where the events of one append have more than the largest `size`, in bytes."""
    if size > LARGEST_APPEND_BYTES:
        raise MemoryBankError(
            f"The events of one append must not be larger than {LARGEST_APPEND_BYTES} bytes together.",
            value=f"{size} bytes",
            remedy="Append them in several parts.",
        )


def check_append_count(count: int) -> None:
    """Raises `MemoryBankError` where one append has more than the largest `count` of events."""
    if count > MOST_EVENTS:
        raise MemoryBankError(
            f"One append must not have more than {MOST_EVENTS} events.", value=count, remedy="Append them in parts."
        )


def check_rows(count: int) -> None:
    """Raises `MemoryBankError` where one append has written more than the largest `count` of rows."""
    if count > MOST_ROWS:
        raise MemoryBankError(
            f"One append must not write more than {MOST_ROWS} rows: others would wait for it.",
            value=f"{count} rows",
            remedy="Append its events in parts. Each name in an event is a row; a merge moves what is inside a thing.",
        )


def check_next_number(writer: str, number: int, last: int) -> None:
    """Raises `MemoryBankError` for a `number` so far above the `last` of its `writer` that few are left for it."""
    if number > min(last + MOST_SKIPPED, LARGEST_NUMBER):
        raise MemoryBankError(
            f"A writer must not skip more than {MOST_SKIPPED} numbers, and numbers end at {LARGEST_NUMBER}.",
            value=(writer, number),
            remedy=f"Its last one was {last}: continue above it, or under another writer such as {writer + '/2'!r}.",
        )


def check_name(what: str, name: str) -> None:
    """Raises `MemoryBankError` for a name (`what` says of what) that is too long to be kept in memory."""
    if len(name) > LONGEST_NAME:
        raise MemoryBankError(
            f"A name must not be longer than {LONGEST_NAME} characters.",
            value=f"{what}: {len(name)} characters, {name[:40]!r}...",
            remedy="Write long text into `evidence`, `reason`, `instruction`, `arguments` or `feedback`.",
        )


def check_sound(what: str, name: str) -> None:
    """Raises `MemoryBankError` for a name (`what` says of what) that looks like another one but differs from it."""
    if not names.is_sound(name):
        raise MemoryBankError(
            f"A name must be {names.RULE}.", value=f"{what}: {names.shown(name)}", remedy=names.remedy(name)
        )


def check_names(payload: msgspec.Struct) -> None:
    """Raises `MemoryBankError` for a payload with a name that is not sound; free texts may be anything."""
    for field in payload.__struct_fields__:
        if field in ANY_TEXTS:
            continue
        value = getattr(payload, field)
        if type(value) is str:
            check_sound(field, value)
        elif type(value) is tuple and value and field not in _COUNTED_ELSEWHERE:
            for one in value:
                if type(one) is str:
                    check_sound(field, one)
                elif isinstance(one, msgspec.Struct):
                    check_names(one)


def check_depth(what: str, text: str) -> None:
    """Raises `MemoryBankError` for JSON `text` that is nested too deeply; `what` names it in the message."""
    if text.count("{") + text.count("[") <= DEEPEST_JSON:
        return
    depth = 0
    for bracket in _BRACKETS.findall(_JSON_TEXT.sub("", text)):
        depth += 1 if bracket in "{[" else -1
        if depth > DEEPEST_JSON:
            raise MemoryBankError(
                f"{what} must be nested at most {DEEPEST_JSON} deep.",
                value=f"more than {DEEPEST_JSON} deep",
                remedy="Flatten them.",
            )


def check_texts(payload: msgspec.Struct) -> None:
    """Raises `MemoryBankError` for a payload with too many names in a field, or too long a name or text."""
    for name in payload.__struct_fields__:
        value = getattr(payload, name)
        if isinstance(value, str):
            _check_text(name, value)
        elif isinstance(value, tuple) and name not in _COUNTED_ELSEWHERE:
            if len(value) > MOST_NAMES:
                raise MemoryBankError(
                    f"A field of an event must not have more than {MOST_NAMES} entries.",
                    value=f"{name}: {len(value)} entries",
                    remedy="Leave out what nothing will ask for, or write several events.",
                )
            for one in value:
                if isinstance(one, str):
                    check_name(name, one)
                elif isinstance(one, msgspec.Struct):
                    check_texts(one)


def _check_text(name: str, text: str) -> None:
    if name not in FREE_TEXTS:
        check_name(name, text)
    elif len(text) > LONGEST_TEXT:
        raise MemoryBankError(
            f"A text in an event must not be longer than {LONGEST_TEXT} characters.",
            value=f"{name}: {len(text)} characters",
            remedy="Store it in a file, and its path in `evidence`.",
        )
