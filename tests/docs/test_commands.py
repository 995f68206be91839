"""Every command in README and docs exists, and every setting in it is accepted; `make proof` runs them all, small."""

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from functools import cache

import pytest

from tests.docs.snippets import PAGES, ROOT, blocks, commands, name_of

OTHER_PROGRAMS = {"make", "source", "pip"}
COMMANDS = [(name_of(page), words) for page in PAGES for words in commands(page)]
PROVEN = {"train_ppo.py"}  # By tests/environments/test_learners.py: it needs packages from a registry.
SCRIPTS = [
    (page, words[1])
    for page, words in COMMANDS
    if words[0] == "python" and words[1].endswith(".py") and words[1] not in PROVEN
]
LAUNCHED = [(page, words[2].partition(".")[2], words[3:]) for page, words in COMMANDS if words[:2] == ["python", "-m"]]
SMALL = {  # What makes a command quick, and nothing else.
    "evaluate": ["episodes=1", "videos=0", "compute=inline"],
    "collect": ["demos=2", "compute=inline"],
    "train": ["steps=2", "compute=inline"],
    "lists": ["episodes=2"],
}
LIMIT_S = 900


@cache
def targets():
    """The targets of the Makefile."""
    lines = (ROOT / "Makefile").read_text().splitlines()
    return {line.partition(":")[0] for line in lines if line and line[0].isalpha() and ":" in line and "=" not in line}


def files_of(page, folder):
    """Writes the files that a page asks its reader to save."""
    for block in blocks(ROOT / page):
        if block.file:
            (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.file).write_text(block.text)


def environment(folder):
    """The environment of a reader who works in `folder`."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


def test_the_pages_have_commands():
    assert len(LAUNCHED) > 15
    assert {words[0] for _, words in COMMANDS} <= OTHER_PROGRAMS | {"python"}


@pytest.mark.parametrize(("page", "words"), [one for one in COMMANDS if one[1][0] == "make"])
def test_make_has_every_target_that_is_named(page, words):
    assert {word for word in words[1:] if "=" not in word} <= targets(), page


@pytest.mark.parametrize("command", sorted({command for _, command, _ in LAUNCHED}))
def test_every_setting_is_accepted(command, tmp_path):
    calls = [settings for _, name, settings in LAUNCHED if name == command]
    for page in PAGES:
        files_of(name_of(page), tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.composing", command],
        cwd=tmp_path, env=environment(tmp_path), input=json.dumps(calls), capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    refusals = json.loads(done.stdout.strip().splitlines()[-1])
    assert dict(zip(map(" ".join, calls), refusals, strict=True)) == dict.fromkeys(map(" ".join, calls), "")


@pytest.mark.parametrize(("page", "script"), SCRIPTS)
def test_scripts_that_the_reader_saves_run(page, script, tmp_path):
    files_of(page, tmp_path)
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.proof
@pytest.mark.timeout(4 * LIMIT_S)
@pytest.mark.parametrize("page", sorted({page for page, _, _ in LAUNCHED}))
def test_the_commands_of_a_page_run_one_after_another(page, tmp_path):
    files_of(page, tmp_path)
    for words in (one for name, one in COMMANDS if name == page and one[:2] == ["pip", "install"]):
        packages = [sys.executable, "-m", *words, "--quiet", "--target", str(tmp_path)]
        subprocess.run(packages, check=True, timeout=LIMIT_S)
    with ExitStack() as servers:
        for _, command, settings in (one for one in LAUNCHED if one[0] == page):
            words = [sys.executable, "-m", f"launch.{command}", *settings, *_small(command, settings)]
            if command in ("serve", "serve_memory") and "--help" not in settings:
                servers.enter_context(_served(words, tmp_path))
                continue
            done = subprocess.run(
                words, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True, timeout=LIMIT_S,
                check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@contextmanager
def _served(words: list[str], folder):
    """Runs a server while the later commands of a page run."""
    port = next((int(one.partition("=")[2]) for one in words if one.startswith("port=")), 8000)
    server = subprocess.Popen(words, cwd=folder, env=environment(folder))
    try:
        for _ in range(600):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, " ".join(words)
            time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait(timeout=60)


def _small(command: str, settings: list[str]) -> list[str]:
    if "--help" in settings:
        return []
    given = [one.partition("=")[0] for one in settings]
    small = [one for one in SMALL.get(command, []) if "episode_list" not in given or "episodes" not in one]
    placed = "compute=cluster" in settings or "compute.workers" in given
    return [one for one in small if not placed or "compute" not in one]
