"""Prose is plain English: docstrings, comments, messages and pages avoid words of a private dialect."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("embodied", "policies", "launch", "tests")
DIALECT = {  # As regular expressions of whole words; beside each, what to write.
    "told|tells?|telling": "log, report, show",
    "films?(?! strips?)|filmed|filming": "video, record",
    "nobody|somebody|whoever|whom": "no process, another user; name who it is",
    "hires?|hired|buried|bur(?:y|ies)|farewell|politely|impatient": "start, end, timeout",
    "whereabouts|errands?|deeds?|telepathy|rehearsals?": "location, task, action, leak, preflight",
    "rivals?|glimpses?|patience": "baselines, crop, timeout",
    "for good|beyond doubt|in vain|led astray|anon|nonetheless|lest": "permanently, and so on",
    "makes? no sense|(?<!there )are (?-i:none)|(?:what|that|which|one|still|and) is (?-i:none)": "invalid",
    "turn(?:s|ed)? out to be": "is found to be, is merged",
    "scribe|deaf": "writer, ignoring",
    "reminds?|reminded|forgetful": "gets moments, loses",
    "vouch(?:es)?|poisoned|honest": "guarantees",
    # Words of the tasks in their usual meaning; what is refused is their use for parts of the program.
    "(?:our|this|open(?:s|ed)? the) house|house(?:'s)? (?:rules?|style)": "project",
    "(?:front|open) door|doors? of (?:the|this) (?:package|project|program|library|bank|command)": "command line",
    "seams? of": "interface",
    "twin (?:episodes?|jobs?|rows?|results?)|twins? of (?:an?|the|this|each) (?:episode|job|row)": "counterfactual",
    "(?:robot|agent|policy|team)(?:'s)? seats?|seats? (?:of|for) (?:an?|the|each|every) (?:robot|agent|policy)": "slot",
    "strangers? (?:files?|folders?|with)|strangers? (?:to|in) (?:the|this|a) (?:folder|package|layer)": "other files",
    "rooms? of (?:the|this) (?:package|project|program|library)": "package",
}
# Where a word has its usual meaning: the file, and the word. `test_words.py` itself is not searched.
EXCEPTIONS = {
    ("sim_configs/training/policy/sam2act_small.yaml", "glimpse"),  # A setting, as shipped weights have it.
    ("embodied/evaluation/report_lines.py", "tell"),  # "Too few episodes to tell" is the usual phrase.
    ("tests/evaluation/test_report.py", "tell"),  # The same.
    ("tests/golden/test_old_files.py", "tell"),  # The same.
    ("tests/golden/test_old_files.py", "turned out to be"),  # A file of ec2eb94 contains it.
    ("tests/architecture/test_names.py", "told"),  # A name that the lint of names finds.
    ("tests/memory/test_refusals.py", "telepathy"),  # An unknown kind of event.
    ("embodied/environments/vla_eval.py", "that is none"),
}
_WORDS = re.compile(rf"\b(?:{'|'.join(DIALECT)})\b", re.IGNORECASE)


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yields docstrings, comments and messages of a module with their lines, and the names of its tests as words.

    A message has three words or more.
    """
    source = path.read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.lineno, node.name.removeprefix("test_").replace("_", " ")
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
    paths.remove(Path(__file__))
    assert [one for path in paths for one in found_in(path, prose(path))] == []


def test_pages_and_settings_are_written_in_plain_english():
    paths = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "sim_configs").rglob("*.yaml")]
    assert len(paths) > 30
    found = [one for path in paths for one in found_in(path, iter(enumerate(path.read_text().splitlines(), 1)))]
    assert found == []


def test_the_lint_finds_whole_words_outside_code():
    texts = iter(
        [(1, "A film, told to nobody."), (2, "`film` and launch.film=3, a filmy, untold house_of"), (3, "House rules")]
    )
    assert [one.split("'")[1] for one in found_in(ROOT / "x.py", texts)] == ["film", "told", "nobody", "House rules"]


def test_the_lint_lets_words_of_homes_and_teams_stand_in_their_usual_meaning():
    usual = (
        "Each room of the house has a door; the doors of the cupboard are open.",
        "Two twins of one shape stand on the seats of the chairs, and a stranger moves one.",
        "There is none in the film strip.",
    )
    refused = (
        "A package of this house.",
        "The robot's seat.",
        "The twin episode.",
        "An open door.",
        "A number that is none.",
    )
    assert found_in(ROOT / "x.py", iter(enumerate(usual))) == []
    found = found_in(ROOT / "x.py", iter(enumerate(refused)))
    assert [one.split(":")[1] for one in found] == ["0", "1", "2", "3", "4"]


def test_the_lint_reads_names_of_tests(tmp_path: Path):
    module = tmp_path / "module.py"
    module.write_text("def test_a_thing_that_nobody_sees():\n    ...\n\n\ndef nobody():\n    ...\n")
    assert list(prose(module)) == [(1, "a thing that nobody sees")]
