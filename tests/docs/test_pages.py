"""The Python of README and docs runs, links lead somewhere, and the pages build without a warning."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from launch.__main__ import commands
from tests.docs.snippets import PAGES, ROOT, blocks, name_of
from tests.docs.snippets import commands as commands_of

README_LIMIT = 9_000
_LINK = re.compile(r"\]\(([^)#]+)\)")
PYTHON = [
    (name_of(page), [block.text for block in found])
    for page in PAGES
    if (found := [block for block in blocks(page) if block.language == "python" and not block.file])
]


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_bytes()) <= README_LIMIT


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_to_files_that_are_there(page):
    for target in _LINK.findall(page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize(("page", "snippets"), PYTHON, ids=[page for page, _ in PYTHON])
def test_the_python_of_a_page_runs(page, snippets, tmp_path):
    for block in blocks(ROOT / page):
        if block.file:
            (tmp_path / block.file).write_text(block.text)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(snippets)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_every_page_is_reached_from_the_index():
    listed = set(re.findall(r"^([\w/]+)$", (ROOT / "docs" / "index.md").read_text(), re.MULTILINE))
    pages = {str(page.relative_to(ROOT / "docs").with_suffix("")) for page in (ROOT / "docs").rglob("*.md")}
    assert {page for page in pages if not page.startswith("results/")} - {"index"} <= listed


def test_the_page_of_the_command_line_lists_and_explains_every_command():
    page = (ROOT / "docs" / "cli.md").read_text()
    listed = dict(re.findall(r"^\| `python -m launch\.(\w+)` \| (.+) \|$", page, re.MULTILINE))
    assert {name: f"{sentence}." for name, sentence in listed.items()} == commands()
    shown = {
        words[2].partition(".")[2] for words in commands_of(ROOT / "docs" / "cli.md") if words[:2] == ["python", "-m"]
    }
    assert shown == set(commands())


@pytest.mark.proof
def test_the_pages_build_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "reference" / "protocols.html").exists()
    assert Path(tmp_path / "index.html").stat().st_size > 5_000
