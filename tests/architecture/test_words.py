"""Prose is plain English: docstrings, comments, messages and pages avoid words of a private dialect."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("embodied", "policies", "launch")
DIALECT = {  # As regular expressions of whole words; beside each, what to write.
    "told|tells?|telling": "log, report, show",
    "films?|filmed|filming": "video, record",
    "nobody|somebody|whoever|whom": "no process, another user; name who it is",
    "hires?|hired|buried|bur(?:y|ies)|farewell|politely|impatient": "start, end, timeout",
    "whereabouts|errands?|deeds?|telepathy|rehearsals?": "location, task, action, leak, preflight",
    "twins?|strangers?|rivals?": "counterfactual, other files, baselines",
    "glimpses?|patience": "crop, timeout",
    "for good|beyond doubt|in vain|led astray|anon|nonetheless|lest": "permanently, and so on",
    "makes? no sense|what is none|(?<!there )are none": "invalid, of another type",
    "turn(?:s|ed)? out to be": "is found to be, is merged",
    "house|doors? of|seams of": "project, command line, interface",
    "scribe|seats?|deaf": "writer, slot, ignoring",
    "reminds?|reminded|forgetful": "gets moments, loses",
    "vouch(?:es)?|poisoned|honest": "guarantees",
}
# Where a word has its usual meaning: the file, and the word.
EXCEPTIONS = {
    ("sim_configs/training/policy/sam2act_small.yaml", "glimpse"),  # A setting, as shipped weights have it.
    ("embodied/evaluation/report_lines.py", "tell"),  # "Too few episodes to tell" is the usual phrase.
}
_WORDS = re.compile(rf"\b(?:{'|'.join(DIALECT)})\b", re.IGNORECASE)


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yields docstrings, comments and messages of a module with their lines; a message has three words or more."""
    source = path.read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.count(" ") > 1:
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def found_in(path: Path, texts: Iterator[tuple[int, str]]) -> list[str]:
    name = str(path.relative_to(ROOT))
    return [
        f"{name}:{line}: {match[0]!r} in {' '.join(text.split())[:80]!r}"
        for line, text in texts
        for match in _WORDS.finditer(re.sub(r"`[^`]*`|\S*[_./=]\S+", "", text))
        if (name, match[0].lower()) not in EXCEPTIONS
    ]


def test_source_is_written_in_plain_english():
    paths = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    assert [one for path in paths for one in found_in(path, prose(path))] == []


def test_pages_and_settings_are_written_in_plain_english():
    paths = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "sim_configs").rglob("*.yaml")]
    assert len(paths) > 30
    found = [one for path in paths for one in found_in(path, iter(enumerate(path.read_text().splitlines(), 1)))]
    assert found == []


def test_the_lint_finds_whole_words_outside_code():
    texts = iter(
        [(1, "A film, told to nobody."), (2, "`film` and launch.film=3, a filmy, untold house_of"), (3, "House")]
    )
    assert [one.split("'")[1] for one in found_in(ROOT / "x.py", texts)] == ["film", "told", "nobody", "House"]
