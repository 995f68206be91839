"""Finds the code of README and docs: Python blocks, files that a page asks the reader to write, and commands."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^(?:[^\n]*Save this as `([^`\n]+)`:\n\n)?```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_FILE = re.compile(r"\A# (\S+\.py)\n")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page. `saved_as` is where the text before it asks the reader to save it."""

    language: str
    text: str
    saved_as: str = ""

    @property
    def file(self) -> str:
        """Where the reader saves it: as the page says, or as its first line does; "" for what is only read."""
        found = _FILE.match(self.text)
        return self.saved_as or (found.group(1) if found else "")

    @property
    def commands(self) -> list[list[str]]:
        """The commands of a shell block as words; comments are left out."""
        joined = self.text.replace("\\\n", " ")
        return [words for line in joined.splitlines() if (words := shlex.split(line, comments=True))]


def blocks(page: Path) -> list[Block]:
    """Returns the fenced blocks of a page that name a language, in order."""
    return [Block(language, text, name) for name, language, text in _BLOCK.findall(page.read_text())]


def commands(page: Path) -> list[list[str]]:
    """Returns the commands of all shell blocks of a page, in order."""
    return [words for block in blocks(page) if block.language in ("sh", "bash") for words in block.commands]


def name_of(page: Path) -> str:
    """Returns the path of a page from the root of the project."""
    return str(page.relative_to(ROOT))
