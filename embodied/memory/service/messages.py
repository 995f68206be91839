"""Calls to the owner of a bank and their answers, as messages between processes: msgpack, nothing is unpickled.

A message is a number of eight bytes, which an answer repeats, and a value in the encoding of `embodied.codec`. Events
cross in the encoding of the outbox (`schema.codec`), everything else as plain values: dataclasses as mappings of their
fields, which are read with the types that a query declares for its answer.
"""

import dataclasses
import struct
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Any, get_type_hints

import msgspec
import numpy as np

from embodied import errors
from embodied.codec import CodecLimits, decode, encode
from embodied.codec.fields import built, field_of, mapping, sequence
from embodied.errors import CodecError, EmbodiedError, MemoryBankError, unknown_name
from embodied.memory.queries.read_call import ReadCall
from embodied.memory.queries.reads import QUERIES
from embodied.memory.retention.retention import RetentionConfig
from embodied.memory.schema.codec import decode_events, encode_events
from embodied.memory.schema.event import Event
from embodied.memory.schema.limits import LARGEST_NUMBER
from embodied.memory.schema.query import EventFilter, Query
from embodied.memory.service.commit_queue import Result
from embodied.memory.service.service import MOST_EVENT_BYTES, Link, SlowDownError, UnreachableError
from embodied.memory.storage.lock import OwnedError

MEBIBYTE = 2**20
LARGEST_REQUEST_BYTES = 40 * MEBIBYTE  # The events of one append have at most 32 MiB.
LARGEST_ANSWER_BYTES = 40 * MEBIBYTE
REQUEST = CodecLimits(message_bytes=LARGEST_REQUEST_BYTES, values=50_000)
ANSWER = CodecLimits(message_bytes=LARGEST_ANSWER_BYTES, values=4_000_000, entries=2_000_000)
NUMBER = struct.Struct(">Q")
MOST_DIGITS = 1_000  # Of a number beyond 64 bits, which a bank refuses as such.
CLASS = "class"  # The key that names the class of an argument.
_CLASSES = {kind.__name__: kind for kind in (ReadCall, Query, EventFilter, RetentionConfig)}
_KINDS = {
    kind.__name__: kind
    for kind in (*vars(errors).values(), UnreachableError, SlowDownError, OwnedError)
    if isinstance(kind, type) and issubclass(kind, EmbodiedError)
}


def numbered(number: int, body: bytes) -> bytes:
    """Returns the message with this number and body."""
    return NUMBER.pack(number) + body


def split(message: bytes) -> tuple[int, memoryview]:
    """Returns the number and the body of a message. Raises `CodecError` for one that is too short to have a number."""
    if len(message) < NUMBER.size:
        raise CodecError("A message must begin with a number of 8 bytes.", value=f"{len(message)} bytes")
    return NUMBER.unpack_from(message)[0], memoryview(message)[NUMBER.size :]


def encode_call(method: str, arguments: Mapping[str, Any]) -> bytes:
    """Returns the body of a call of a method of `Link`. Raises `MemoryBankError` for arguments that cannot cross.

    What an argument may be is checked by the bank, as if it were in the same process.
    """
    try:
        return encode({"method": method, "arguments": _argument(arguments)}, REQUEST)
    except CodecError as error:
        raise MemoryBankError(
            "The arguments of a call to a bank must be plain values, arrays, or the documented classes.",
            value=error.value,
            remedy=error.rule,
        ) from error


def decode_call(body: memoryview) -> tuple[str, dict[str, Any]]:
    """Returns the method and the arguments of a call. Raises `CodecError` for malformed ones."""
    plain = mapping(decode(body, REQUEST), "call")
    method = built(str, field_of(plain, "method", "call"), "call.method")
    return method, dict(mapping(_from_argument(field_of(plain, "arguments", "call")), "call.arguments"))


def encode_answer(method: str, answer: Any, query: str = "") -> bytes:
    """Returns the body of the `answer` of a `method` of `Link`, or with "read" of a `query`.

    Raises `MemoryBankError` for one that is too large.
    """
    try:
        return encode({"answer": _answer(method, answer, query)}, ANSWER)
    except CodecError as error:
        raise MemoryBankError(
            "The answer to a query must fit into one message.",
            value=error.value,
            remedy=f"Limit the query. {error.rule}",
        ) from error


def encode_error(error: Exception) -> bytes:
    """Returns the body of an answer that is an error."""
    return encode({"error": error_to_plain(error)}, ANSWER)


def decode_answer(body: memoryview, method: str, *, query: str = "", groups: int = 0) -> Any:
    """Returns the answer in `body`, with the types that `method` or `query` declares; a commit had so many `groups`.

    Raises the error that the answer is, and `CodecError` for a malformed one.
    """
    found = mapping(decode(body, ANSWER), "answer")
    if "error" in found:
        raise error_from_plain(found["error"])
    plain = field_of(found, "answer", "answer")
    if method == "commit":
        return results_from_plain(plain, groups)
    kind = answer_kind(method, query)
    try:
        return _EVENTS[kind][1](plain) if kind in _EVENTS else built(kind, plain, f"answer of {query or method}")
    except MemoryBankError as error:
        raise CodecError("The events of an answer must be such as a bank holds.", value=f"{error!s:.200}") from error


@cache
def answer_kind(method: str, query: str = "") -> Any:
    """Returns the type of an answer. Raises `UnknownNameError` for an unknown query."""
    if method != "read":
        return get_type_hints(getattr(Link, method))["return"]
    if query not in QUERIES:
        raise unknown_name("query of a memory bank", query, QUERIES)
    return get_type_hints(QUERIES[query])["return"]


def error_to_plain(error: Exception) -> dict[str, Any]:
    """Returns an error as plain values; one that is not of this project says only of which class it is."""
    if not isinstance(error, EmbodiedError):
        return error_to_plain(
            MemoryBankError(
                "The owner of a bank must not fail unexpectedly.",
                value=type(error).__name__,
                remedy="Its log shows where.",
            )
        )
    known = next(kind for kind in type(error).__mro__ if kind.__name__ in _KINDS)
    value = error.value if _is_plain(error.value) else f"{error.value!r:.{errors.LONGEST_VALUE}}"
    given = {} if isinstance(error.value, errors.NotGiven) else {"value": value}
    return {"kind": known.__name__, "rule": error.rule, "remedy": error.remedy, "message": str(error), **given}


def error_from_plain(plain: Any) -> EmbodiedError:
    """Returns an error with the same message. Its value is a text where the original was no plain value."""
    found = mapping(plain, "error")
    kind = _KINDS.get(found.get("kind", ""), MemoryBankError)
    rule, remedy, text = (built(str, field_of(found, name, "error"), name) for name in ("rule", "remedy", "message"))
    error = kind(rule, value=found.get("value", errors.NotGiven.VALUE), remedy=remedy)
    error.args = (text,)
    return error


def results_to_plain(results: Sequence[Result]) -> dict[str, Any]:
    """Returns the results of a commit: all numbers in one array, -1 as the length of a group that was refused."""
    numbers = [number for result in results if isinstance(result, list) for number in result]
    return {
        "numbers": np.array(numbers, np.int64),
        "lengths": np.array([len(one) if isinstance(one, list) else -1 for one in results], np.int64),
        "errors": tuple(error_to_plain(one) for one in results if not isinstance(one, list)),
    }


def results_from_plain(plain: Any, groups: int) -> list[Result]:
    """Returns the results of a commit of so many `groups`. Raises `CodecError` where they do not fit."""
    found = mapping(plain, "results")
    numbers, lengths = np.asarray(found.get("numbers")).tolist(), np.asarray(found.get("lengths")).tolist()
    refusals = iter(sequence(found.get("errors"), "errors"))
    results: list[Result] = []
    start = 0
    for length in lengths:
        if length < 0:
            error = error_from_plain(next(refusals, None))
            results.append(error if isinstance(error, MemoryBankError) else MemoryBankError(error.rule))
        else:
            results.append(numbers[start : start + length])
            start += length
    if len(results) != groups or start != len(numbers):
        raise CodecError("A commit must be answered for each of its groups.", value=(len(results), groups))
    return results


def bounded(events: list[Event], seq: int) -> tuple[bytes, int]:
    """Returns the encoding of events and the number up to which they were checked: fewer where they are too large."""
    content = encode_events(events)
    while len(content) > MOST_EVENT_BYTES and len(events) > 1:
        events = events[: max(1, len(events) // 2)]
        content, seq = encode_events(events), events[-1].seq
    return content, seq


def _answer(method: str, answer: Any, query: str) -> Any:
    if method == "commit":
        return results_to_plain(answer)
    kind = answer_kind(method, query)
    return _EVENTS[kind][0](answer) if kind in _EVENTS else _plain(answer)


def _argument(value: Any) -> Any:
    """Returns an argument as a plain value; of the documented classes with a key for the class."""
    if isinstance(value, Enum):
        return value.value
    if type(value).__name__ in _CLASSES and type(value) is _CLASSES[type(value).__name__]:
        return {CLASS: type(value).__name__, **{name: _argument(one) for name, one in vars(value).items()}}
    if isinstance(value, Mapping):
        return {name: _argument(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        items = tuple(map(_argument, value))
        return items if isinstance(value, tuple) else {CLASS: "list", "items": items}
    if type(value) is int and abs(value) > LARGEST_NUMBER:
        return {CLASS: "int", "hexadecimal": hex(value)}
    return str(value) if isinstance(value, str) else value


def _from_argument(plain: Any) -> Any:
    if isinstance(plain, tuple):
        return tuple(map(_from_argument, plain))
    if not isinstance(plain, Mapping):
        return plain
    fields = {name: _from_argument(one) for name, one in plain.items() if name != CLASS}
    if CLASS not in plain:
        return fields
    named = plain[CLASS] if isinstance(plain[CLASS], str) else ""
    if named == "list":
        return list(sequence(field_of(fields, "items", "argument"), "argument"))
    if named == "int":
        return _whole(built(str, field_of(fields, "hexadecimal", "argument"), "argument"))
    kind = _CLASSES.get(named)
    if kind is None:
        raise CodecError("The class of an argument must be a documented one.", value=f"{plain[CLASS]!r:.80}")
    try:
        return kind(**fields)
    except TypeError as error:
        raise CodecError(f"The fields of {kind.__name__} must be known.", value=f"{error!s:.200}") from error


def _whole(text: str) -> int:
    try:
        return int(text[:MOST_DIGITS], 16)
    except ValueError as error:
        raise CodecError("A large whole number must be hexadecimal.", value=f"{text:.80}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value


def _is_plain(value: Any) -> bool:
    if type(value) is int:
        return abs(value) < 2**63
    if type(value) in (tuple, str):
        return len(value) < errors.LONGEST_VALUE and (type(value) is str or all(map(_is_plain, value)))
    return value is None or type(value) in (bool, float)


def _one_event(content: Any) -> Event | None:
    events = decode_events(built(bytes, content, "event"))
    return events[0] if events else None


def _changes(plain: Any) -> tuple[list[Event], int]:
    content, seq = built(tuple[bytes, int], plain, "changes")
    return decode_events(content), seq


_EVENTS: Mapping[Any, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    list[Event]: (encode_events, lambda content: decode_events(built(bytes, content, "events"))),
    Event | None: (lambda event: encode_events([] if event is None else [event]), _one_event),
    tuple[list[Event], int]: (lambda found: bounded(*found), _changes),
}
