"""Text that is safe to show in a terminal, whatever names it contains."""

import logging
import re

# Controls such as the beginning of an escape sequence, marks that reverse the direction of text, and halves of pairs.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Returns `text` with each character that a terminal would obey, or cannot encode, as \uXXXX, as in JSON."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def one_line(text: str) -> str:
    r"""Returns `text` with the ends of lines as \uXXXX: a name in a list must not look like an entry of its own."""
    return text.replace("\n", "\\u000a").replace("\r", "\\u000d")


class PrintableFormatter(logging.Formatter):
    """Formats log lines as printable text."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line of a record."""
        return printable(super().format(record))
