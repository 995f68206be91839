"""A package from outside and a module that is not installed, as commands: evaluated and trained without a change."""

import json
import shutil

import pytest

from tests.plugins.installing import PACKAGE, command, install, install_outside_lab

EVALUATE = (
    "suite=outside",
    "policy=[expert,hover]",
    "simulator=paced",
    "simulator.label=mine",
    "videos=0",
    "episodes=1",
)
MODULE = """
from outside_lab.memories import LastConfig
from outside_lab.policies import HoverConfig
from outside_lab.simulators import PacedConfig
from outside_lab.tasks import OUTSIDE

EMBODIED = {
    "suites": {"outside": OUTSIDE},
    "policies": {"hover": HoverConfig},
    "simulators": {"paced": PacedConfig},
    "memories": {"last": LastConfig},
}
"""
NO_EXPERT = """
from dataclasses import dataclass
from outside_lab.tasks import OpenNextDrawer

@dataclass(kw_only=True)
class Unsolved(OpenNextDrawer):
    @property
    def expert(self):
        return None

EMBODIED = {"tasks": {"unsolved": Unsolved}}
"""


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    return install_outside_lab(folder)


@pytest.fixture
def bare(tmp_path):
    """A folder with the same code and a module that names its parts; nothing in it is installed."""
    folder = tmp_path / "bare"
    shutil.copytree(PACKAGE / "outside_lab", folder / "outside_lab", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "my_lab.py").write_text(MODULE)
    return folder


def outcomes(output):
    """The outcome of each episode by policy, and what results.json says of the run."""
    rows = [json.loads(line) for line in (output / "episodes.jsonl").read_text().splitlines()]
    return {row["policy"]: row["outcome"] for row in rows}, json.loads((output / "results.json").read_text())["run"]


def require_played(done, output):
    assert done.returncode == 0, done.stderr
    found, run = outcomes(output)
    assert found == {"expert": "success", "hover": "timeout"}
    assert run["renderer"] == "mine: tiny"
    return run


def test_an_installed_package_is_evaluated_and_edited_code_is_not_resumed(site, tmp_path):
    output, settings = tmp_path / "out", ("dispatcher=late", "policy_options.hover.height_m=1.2", "compute=inline")
    done = command("evaluate", *EVALUATE, *settings, f"output={output}", paths=(site,))
    run = require_played(done, output)
    assert run["plugins"]["outside-lab"]["version"] == "1.2"
    source = site / "outside_lab" / "policies.py"
    source.write_text(source.read_text().replace("gripper_open=True", "gripper_open=False"))
    again = command("evaluate", *EVALUATE, *settings, f"output={output}", paths=(site,))
    assert again.returncode == 2
    assert "must hold one run" in again.stderr


def test_a_broken_package_is_one_error_where_it_is_used_and_none_where_it_is_not(site, tmp_path):
    install(
        site, "broken-lab", points={"embodied.policies": "bad = bad_lab:Bad"}, modules={"bad_lab.py": "import gone\n"}
    )
    done = command("evaluate", "policy=bad", f"output={tmp_path / 'out'}", paths=(site,))
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line]
    for words in (
        "'bad' (embodied.policies) = bad_lab:Bad of package 'broken-lab'",
        "No module named 'gone'",
        "Repair",
    ):
        assert words in line
    shown = command("evaluate", "policy=hover", "--help", paths=(site,))
    assert shown.returncode == 0
    for words in ("paced", "outside", "policy_options.hover.*", "height_m", "Left out", "broken-lab"):
        assert words in shown.stdout + shown.stderr


def test_a_file_of_settings_cannot_name_modules(bare, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.yaml").write_text("defaults: [evaluate, _self_]\nplugins: [my_lab]\n")
    done = command("evaluate", "--config-dir", f"{tmp_path / 'own'}", "--config-name", "mine", "output=x", folder=bare)
    assert done.returncode == 2
    assert "must stand on the command line alone" in done.stderr
    assert "plugins=[my_module]" in done.stderr


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_an_installed_package_is_evaluated_on_ray(site, tmp_path):
    done = command("evaluate", *EVALUATE, "compute.workers=1", f"output={tmp_path / 'out'}", paths=(site,))
    require_played(done, tmp_path / "out")


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_a_module_that_is_not_installed_is_evaluated_on_ray_and_recorded(bare, tmp_path):
    output = tmp_path / "out"
    done = command("evaluate", "plugins=my_lab", *EVALUATE, "compute.workers=1", f"output={output}", folder=bare)
    run = require_played(done, output)
    assert list(run["plugins"]) == ["my_lab"]
    (recorded,) = [line for line in (output / "config.yaml").read_text().splitlines() if "my_lab" in line]
    assert recorded.startswith("# plugins=[my_lab]  SHA-256")
    source = bare / "outside_lab" / "policies.py"  # Imported by the module that is named.
    source.write_text(source.read_text().replace("gripper_open=True", "gripper_open=False"))
    again = command("evaluate", "plugins=my_lab", *EVALUATE, "compute.workers=1", f"output={output}", folder=bare)
    assert again.returncode == 2
    assert "must hold one run" in again.stderr


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_an_expert_is_refused_on_ray_for_a_task_that_has_none(bare, tmp_path):
    (bare / "no_expert.py").write_text(NO_EXPERT)
    settings = ("plugins=[no_expert]", "suite=unsolved", "policy=expert", "episodes=1", "videos=0", "compute.workers=1")
    done = command("evaluate", *settings, f"output={tmp_path / 'out'}", folder=bare)
    assert done.returncode == 2
    assert "ConfigError: A task must have an expert here." in done.stderr


@pytest.mark.proof
@pytest.mark.timeout(900)
@pytest.mark.parametrize("compute", ["inline", "local"])
def test_a_memory_from_outside_is_trained_and_its_weights_are_played(bare, tmp_path, compute):
    data, output = tmp_path / "data", tmp_path / "training"
    done = command("collect", "suite.tasks=put_block_back", "demos=1", "compute=inline", f"output={data}")
    assert done.returncode == 0, done.stderr
    settings = (
        "plugins=[my_lab]", f"data={data}", f"output={output}", "policy.memory.kind=last",
        "policy.memory.options.gain=0.5", "steps=2", "batch=1", "sampling.held_out=0", f"compute={compute}",
    )  # fmt: skip
    done = command("train", *settings, folder=bare, limit_s=600)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 steps" in done.stdout
    assert list(json.loads((output / "run.json").read_text())["plugins"]) == ["my_lab"]
    played = command(
        "evaluate", "plugins=[my_lab]", "policy=mine", "policy_options.mine.kind=sam2act", "suite.tasks=put_block_back",
        f"policy_options.mine.weights={output / 'policy'}", "episodes=1", "videos=0", "compute=inline",
        f"output={tmp_path / 'out'}", folder=bare,
    )  # fmt: skip
    assert played.returncode == 0, played.stderr
    assert list(outcomes(tmp_path / "out")[0]) == ["mine"]
    unknown = command("train", *settings[1:], "steps=3", folder=bare)
    assert unknown.returncode == 2
    assert "A memory must be one that exists. Got 'last'." in unknown.stderr


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_two_checkpoints_of_one_family_stand_in_one_table_under_labels_of_the_user(tmp_path):
    done = command(
        "evaluate", "suite.tasks=reopen_drawer", "policy=[plain,remembering]", "policy_options.plain.kind=sam2act",
        "policy_options.remembering.kind=sam2act", "policy_options.remembering.weights=sam2act_plus-memorybench",
        "episodes=2", "videos=1", "compute=inline", f"output={tmp_path}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found, run = outcomes(tmp_path)
    assert set(found) == set(run["weights"]) == {"plain", "remembering"}
    assert run["weights"]["plain"]["sha256"] != run["weights"]["remembering"]["sha256"]
    table = [line for line in done.stdout.splitlines() if "plain" in line or "remembering" in line]
    assert len(table) == 2
    assert all("remembering" in path.name or "plain" in path.name for path in (tmp_path / "videos").iterdir())


@pytest.mark.proof
@pytest.mark.timeout(900)
def test_the_package_is_installed_by_pip_as_well(tmp_path):
    import subprocess
    import sys

    copied = shutil.copytree(PACKAGE, tmp_path / "package", ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*pip, "--target", str(tmp_path / "site"), str(copied)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    output = tmp_path / "out"
    require_played(
        command("evaluate", *EVALUATE, "compute=inline", f"output={output}", paths=(tmp_path / "site",)), output
    )
