"""`--help` explains each setting in a line, and shows nothing that a person cannot choose."""

import importlib
import os
import re
import subprocess
import sys

import pytest
from hydra.core.config_store import ConfigStore

from launch.help import WIDTH, explanations
from launch.parts import PLANNERS, POLICIES, SIMULATORS
from policies.memory.registry import MEMORIES
from policies.registry import FAMILIES
from policies.training.config import OptimiserConfig
from tests.plugins.installing import install_outside_lab

SETTING = re.compile(r"^  ([\w.]+)=(.*)$")


@pytest.fixture
def page(monkeypatch, capsys):
    """Returns what a command shows for --help, from a store of schemas of its own."""

    def shown(command, *arguments):
        own = {name: one for name, one in ConfigStore.instance().repo.items() if name.startswith(("hydra", "_dummy"))}
        monkeypatch.setattr(ConfigStore.instance(), "repo", own)
        monkeypatch.setattr(sys, "argv", [command, *arguments, "--help"])
        with pytest.raises(SystemExit) as ended:
            importlib.import_module(f"launch.{command}").main()
        assert ended.value.code == 0
        return capsys.readouterr().out

    return shown


@pytest.mark.parametrize(
    "command",
    ["bench", "collect", "compare", "credentials", "evaluate", "lists", "memory", "serve", "serve_memory", "train"],
)
def test_every_setting_is_explained_in_a_line(page, command):
    lines = page(command).splitlines()
    settings = [line for line in lines[lines.index("Settings, changed by name=VALUE:") :] if SETTING.match(line)]
    assert len(settings) > 4
    for line in settings:
        value, _, why = SETTING.match(line)[2].partition("  ")
        assert value
        assert why.strip(), line
        assert len(line) <= WIDTH
        assert not line.endswith("..."), line
    assert not [line for line in lines if "_schema" in line]


def test_a_suite_that_plays_nothing_has_a_page_of_its_own(page):
    lines = page("evaluate", "suite=findingdory_offline").splitlines()
    settings = {match[1]: match[2] for line in lines if (match := SETTING.match(line))}
    assert set(settings) == {"suite", "annotations", "policy", "answers", "constant", "frames", "seed", "output"}
    assert all(value.partition("  ")[2].strip() and not value.endswith("...") for value in settings.values())


def test_the_page_of_evaluations_fits_two_screens_and_names_the_parts(page):
    shown = page("evaluate")
    assert len(shown.splitlines()) <= 100
    assert "  suite: memorybench, teamwork\n" in shown
    assert "training" not in shown
    assert re.search(r"^  episodes=null +of each task, with each policy", shown, re.MULTILINE)
    assert re.search(r"^  compute\.workers=2 +processes that play", shown, re.MULTILINE)
    assert "distractor_presses" in shown


def test_settings_on_the_command_line_are_those_that_are_shown(page):
    shown = page("evaluate", "suite=teamwork", "episodes=7", "address=10.0.0.5:6379")
    assert "  suite.two_robots.* " in shown
    assert "  episodes=7 " in shown
    assert "  compute.address=${address} " in shown


def test_the_recipes_of_trainings_are_parts(page):
    assert "  recipe: memory, without_memory\n" in page("train")


@pytest.fixture
def outside_lab(tmp_path, monkeypatch):
    """The outside package of the tests, installed; afterwards nothing of it is loaded."""
    install_outside_lab(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "outside_lab"]:
        del sys.modules[name]
    for registry in (MEMORIES, POLICIES, FAMILIES, SIMULATORS, PLANNERS):
        registry.loaded.clear()


@pytest.mark.usefixtures("outside_lab")
def test_the_memories_of_a_training_are_shown_with_the_settings_of_those_from_outside(page):
    shown = page("train")
    assert "\n  policy.memory.kind: keep_first, last, merging, none, off, recurrent, window\n" in shown
    assert "\n    for last: policy.memory.options.gain=1.0\n" in shown


def test_a_page_whose_reader_has_exited_is_no_error():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "launch.train", "--help"],
        stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_explanations_come_from_the_attributes_of_a_docstring_and_of_its_bases():
    class Base:
        """A base.

        Attributes:
            one: the first
                of two lines
            two: of the base
        """

    class Derived(Base):
        """Another.

        Attributes:
            two: of its own

        Not an attribute: this.
        """

    assert explanations(Derived) == {"one": "the first of two lines", "two": "of its own"}
    assert set(explanations(OptimiserConfig)) == set(vars(OptimiserConfig()))
