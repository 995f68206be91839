"""Names that look the same are the same: text without invisible letters, in one Unicode form."""

import re
import unicodedata

# Controls, separators of lines, halves of pairs, marks of direction, letters without width, and spaces but the ASCII
# one. A joiner may stand between two letters that are not ASCII, as in Persian and in emoji; what selects the form of a
# letter, or tags it, as in emoji, must follow one that is not ASCII.
_BARRED = re.compile(
    "[\x00-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180e\u2000-\u200b\u200e\u200f\u2028-\u202f"
    "\u205f-\u206f\u3000\u3164\ud800-\udfff\ufeff\uffa0\ufff9-\uffff]"
    "|(?<![^\x00-\x7f])[\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0000-\U000e0fff]"
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
RULE = "without control characters, invisible letters, unusual spaces, or space at its ends, and composed (Unicode NFC)"


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
    sound = _BARRED.sub("", unicodedata.normalize("NFC", _SPACES.sub(" ", name))).strip()
    return f"Write {sound!a}." if sound else "Give another name."
