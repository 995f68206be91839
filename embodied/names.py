"""Names that look the same are the same: text without invisible letters, in one Unicode form."""

import re
import unicodedata

# Controls, separators of lines, halves of pairs, marks of direction, and letters without width. A joiner may stand
# between two letters that are not ASCII, as in Persian and in emoji.
_BARRED = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\uffff]"
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)
RULE = "without control characters, invisible letters, or space at its ends, and composed (Unicode NFC)"


def is_sound(name: str) -> bool:
    """Returns whether a name is `RULE`, so that no two names of one bank or scene look alike but differ."""
    if name.isascii():
        return name.isprintable() and name.strip() == name
    return unicodedata.is_normalized("NFC", name) and name.strip() == name and not _BARRED.search(name)


def shown(name: str) -> str:
    """Returns a name as a Python literal in ASCII, in which nothing is invisible."""
    return ascii(name)


def remedy(name: str) -> str:
    """Returns what to write in place of a name that is not sound."""
    sound = _BARRED.sub("", unicodedata.normalize("NFC", name)).strip()
    return f"Write {sound!a}." if sound else "Give another name."
