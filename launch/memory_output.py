"""How a command of `launch.memory` answers: lines of text for people, or one JSON document for programs."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec

from launch import cli
from launch.printing import one_line, printable


class OutputFormat(Enum):
    """How an answer is printed."""

    text = "text"
    json = "json"


@dataclass(frozen=True)
class CommandAnswer:
    """The answer of a command, as `lines` of text and as a `document` of plain values, dataclasses and events."""

    lines: Iterable[str]
    document: Mapping[str, Any]

    def show(self, output: OutputFormat) -> None:
        """Prints the answer to stdout."""
        if output is OutputFormat.json:
            cli.print_text(json_text(self.document))
            return
        for line in self.lines:
            cli.print_text(line)


def show_lazily(
    output: OutputFormat, lines: Callable[[], Iterable[str]], document: Callable[[], Mapping[str, Any]]
) -> None:
    """Prints `lines` or the `document`, as `output` says; the other is not computed. Names stay within their lines."""
    if output is OutputFormat.json:
        cli.print_text(json_text(document()))
        return
    for line in lines():
        cli.print_text(one_line(line))


def json_text(document: Mapping[str, Any]) -> str:
    """Returns a document as indented JSON. Numbers that are not finite become null, bytes base64."""
    return msgspec.json.format(msgspec.json.encode(document, enc_hook=_plain), indent=2).decode()


def path_text(path: object) -> str:
    """Returns the name of a file as text that JSON can hold."""
    return printable(str(path))


def _plain(value: Any) -> Any:
    """Returns a value that JSON lacks, such as a path, as text."""
    return path_text(value)
