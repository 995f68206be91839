"""What people type: it is refused in one clear message, or it does what it says."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def enter(folder, *arguments):
    """Runs the door as a person would, from an empty folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error::SyntaxWarning"}
    return subprocess.run(
        [sys.executable, "-m", "launch.evaluate", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip


REFUSALS = {
    "episodess=3": ("'episodess'", "Did you mean episodes?"),
    "suite.put_block_bcak.patches=8": ("'suite.put_block_bcak'", "Did you mean suite.put_block_back?"),
    "suite.put_block_back.patchs=8": ("'suite.put_block_back.patchs'", "Did you mean suite.put_block_back.patches?"),
    "compute.workrs=2": ("'compute.workrs'", "Did you mean compute.workers?"),
    "policy_options.random.tilt=1": ("'policy_options.random.tilt'", "tilt_limit_rad"),
    "comput=inline": ("'comput'", "Did you mean compute?"),
    "+extra=1": ("'extra'", "Known here: address"),
    "~seed": ("'seed'", "must not be removed"),
    "controller.period_s=0.1": ("'controller.period_s'", "velocity_scale"),
    "address=nowhere:1": ("nowhere:1", "compute=cluster"),
    "simulator.world.asset_root=/nonexistent": ("/nonexistent", "Leave it empty"),
    "suite.put_block_back.placement_noise_rad=-5": ("-5", "placement_noise_rad"),
    "suite.name=foo": ("foo", "memorybench"),
    "episodes=many": ("'many'", "'episodes' must be a whole number"),
    "seed=1.5": ("1.5", "'seed' must be a whole number"),
    "seed=null": ("'null'", "'seed' must be a whole number"),
    "compute.deadline_s=soon": ("'soon'", "'compute.deadline_s' must be a number"),
    "tier=strickt": ("'strickt'", "Did you mean 'strict'? Known: faithful, strict, both."),
    "simulator.renderer=opngl": ("'opngl'", "Did you mean 'opengl'? Known: auto, opengl, tiny."),
    "policy=3": ("3", "'policy' must be a name or a list of names"),
    "policy=expret": ("'expret'", "Did you mean 'expert'?"),
    "+plugins=[json]": ("'plugins'", "Write plugins=[my_module]."),
    "plugins=[json]": ("'json'", "must have a constant EMBODIED"),
    "plugins=[no_such_module]": ("'no_such_module'", "ModuleNotFoundError"),
    "plugins=[a/b]": ("'[a/b]'", "must name Python modules"),
    "policy_options.mine.kind=exprt": ("'exprt'", "Did you mean 'expert'?"),
    "policy_options.expert.kind=random": ("'expert'", "that no other policy has"),
    "policy=[expret]": ("'expret'", "Did you mean 'expert'?"),
    "policy=[expert,expert]": ("['expert', 'expert']", "each once"),
    "policy=[]": ("[]", "At least one policy"),
    "controls=[normal,whiped]": ("'whiped'", "Did you mean 'wiped'?"),
    "controls=[off,wiped]": ("['off', 'wiped']", "Set controls=[normal,off,wiped]."),
    "controls=[normal,normal]": ("['normal', 'normal']", "each once"),
    "suite.tasks=[put_blok_back]": ("'put_blok_back'", "Did you mean 'put_block_back'?"),
    "suite=memorybenhc": ("'memorybenhc'", "Did you mean 'memorybench'? Known: memorybench, teamwork."),
    "compute=locl": ("'locl'", "Did you mean 'local'?"),
    "compute=null": ("NoneType", "must be a string"),
    "episodes=0": ("0", "episodes must be at least 1"),
    "seed=-1": ("-1", "seed must lie in"),
    "split=vaildation": ("'vaildation'", "Did you mean 'validation'?"),
    "suite.spec=3": ("3", "must be 1 or 2"),
    "videos=-1": ("-1", "videos must be 0 or more"),
    "compute.workers=0": ("0", "compute.workers must be at least 1"),
    "suite.put_block_back.patches=1": ("1", "must lie in 2 to 16"),
    "suite.put_block_back.patches=17": ("17", "must lie in 2 to 16"),
    "simulator.world.control_hz=7": ("7", "control_hz must divide"),
    "policy=[expert": ("'policy=[expert'", "key=value"),
    "nonsense": ("'nonsense'", "key=value"),
}


def _refused(folder, *arguments):
    ended = enter(folder, *arguments)
    assert ended.returncode == 2, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert list(folder.iterdir()) == []
    return ended.stderr


# A process takes a second to start: one refusal of each kind goes through one, all go through the function.
@pytest.mark.parametrize("argument", ["episodess=3", "tier=strickt", "compute=locl", "episodes=0"])
def test_a_wrong_setting_is_refused_in_one_line_and_nothing_is_started(tmp_path, argument):
    printed = _refused(tmp_path, argument, "output=out")
    for part in REFUSALS[argument]:
        assert part in printed


@pytest.mark.parametrize("argument", REFUSALS)
def test_every_refusal_names_the_value_and_the_remedy(tmp_path, argument, monkeypatch, capsys):
    from launch.evaluate import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["evaluate", argument, "output=out"])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    for part in REFUSALS[argument]:
        assert part in printed.err
    assert list(tmp_path.iterdir()) == []


def test_episodes_under_a_control_do_not_resume_from_a_bank_and_no_bank_is_made(tmp_path):
    printed = _refused(
        tmp_path, "controls=[normal,wiped]", "memory.resume=true", "memory.url=sqlite:///run.db", "output=out"
    )
    assert "memory.resume=true" in printed
    assert "controls=[normal]" in printed


def test_an_output_must_be_given(tmp_path):
    assert "'output' must be given. Add output=... to the command." in _refused(tmp_path, "episodes=1")


def test_a_wrong_setting_in_a_sweep_is_refused_too(tmp_path):
    assert "'episodes' must be a whole number. Got 'x'" in enter(tmp_path, "-m", "episodes=1,x", "output=out").stderr


def test_help_is_quick_and_shows_the_settings(tmp_path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = enter(tmp_path, "--help")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    took_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert ended.returncode == 0
    assert "distractor_presses" in ended.stdout
    assert "suite=memorybench" in ended.stdout
    assert took_s < 2.0  # Of the processor's time: the clock also counts what else the machine does.


@pytest.mark.parametrize(
    "library", ["torch", "ray", "pybullet", "open3d", "pinocchio", "ompl", "moderngl", "matplotlib"]
)
def test_the_door_loads_no_heavy_library_before_it_is_needed(library):
    code = f"import sys, launch.evaluate; sys.exit({library!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_composed_settings_are_shown_and_nothing_is_started(tmp_path):
    ended = enter(tmp_path, "--cfg", "job", "tier=both", "suite.put_block_back.patches=8", "output=out")
    shown = yaml.safe_load(ended.stdout)
    assert (shown["tier"], shown["suite"]["put_block_back"]["patches"]) == ("both", 8)
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_takes_its_address_from_the_command(tmp_path):
    ended = enter(tmp_path, "--cfg", "job", "--resolve", "compute=cluster", "address=10.0.0.5:6379", "output=out")
    assert yaml.safe_load(ended.stdout)["compute"]["address"] == "10.0.0.5:6379"


QUICK = (
    "compute=inline", "suite.tasks=[put_block_back]", "policy=[random]", "episodes=2", "videos=0",
    "suite.put_block_back.time_limit_s=1.0",
)  # fmt: skip


def test_an_evaluation_ends_in_a_table_and_a_report_and_running_it_again_changes_nothing(tmp_path):
    first = enter(tmp_path, *QUICK, "output=out")
    assert first.returncode == 0, first.stderr
    assert "put_block_back/strict" in first.stdout
    assert first.stdout.endswith("Report: out/report.html\n")
    assert first.stderr == "Writing to out, in this process.\n", "no line of a library"
    out = tmp_path / "out"
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    results = {"results.json", "run.json", "report.html", "report.md", "intents.jsonl"}
    assert set(before) == {".lock", "config.yaml", "episodes.jsonl", "episode_list.json", *results}
    assert yaml.safe_load(before["config.yaml"])["suite"]["put_block_back"]["time_limit_s"] == 1.0
    again = enter(tmp_path, *QUICK, "output=out")
    assert again.stdout == first.stdout
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_sweep_gives_each_job_a_folder_of_its_own(tmp_path):
    ended = enter(tmp_path, "-m", *QUICK, "suite.put_block_back.patches=2,8", "split=validation", "output=out")
    assert ended.returncode == 0, ended.stderr
    for number, chance in (("0", 0.5), ("1", 0.125)):
        results = json.loads((tmp_path / "out" / number / "results.json").read_text())
        (entry,) = results["tasks"].values()
        assert (results["run"]["split"], list(results["run"]["spec"].values())) == ("validation", [2])
        assert len(results["run"]["salt"]) == 32
        assert "/validation/" in (tmp_path / "out" / number / "episodes.jsonl").read_text()
        assert entry["random"]["chance"] == chance
    assert sorted(entry.name for entry in (tmp_path / "out").iterdir()) == ["0", "1", "multirun.yaml"]


def test_a_policy_without_memory_plays_as_it_is_and_the_table_says_why(tmp_path):
    ended = enter(tmp_path, *QUICK, "controls=[normal,off,oracle]", "output=out")
    assert ended.returncode == 0, ended.stderr
    assert (
        "random was not played under off: no memory.\nrandom was not played under oracle: takes no hints."
        in ended.stdout
    )
    rows = (tmp_path / "out" / "episodes.jsonl").read_text().splitlines()
    assert len(rows) == 2
