"""Suite `teamwork` as commands on real physics: evaluated with a team, and collected at a rate."""

import subprocess
import sys

import msgspec
import pytest

from embodied.evaluation.dataset_index import read_dataset
from embodied.scenes.hall import MOBILE, STANDING
from embodied.trajectories import read_trajectory

LIMIT_S = 240


def run(command, *settings):
    return subprocess.run(
        [sys.executable, "-m", f"launch.{command}", "suite=teamwork", "compute=inline", *settings],
        capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip


def test_a_team_is_evaluated_and_its_settings_are_stated_in_the_report(tmp_path):
    done = run(
        "evaluate", "policy=[guesser,expert]", "team.standing.policy=expert", "team.mobile.cameras=[mobile_wrist]",
        "team.mobile.instruction='bring it'", "latency.mean_s=0.1", "episodes=3", "videos=0", f"output={tmp_path}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Robot standing: played by expert." in done.stdout
    assert "Robot mobile: sees mobile_wrist; instructed 'bring it'." in done.stdout
    assert "A decision takes 0.1 s, while the world goes on." in done.stdout
    rows = [msgspec.json.decode(line) for line in (tmp_path / "episodes.jsonl").read_bytes().splitlines()]
    expert = [row for row in rows if row["policy"] == "expert"]
    assert [row["outcome"] for row in expert] == ["success"] * 3
    for row in rows:
        assert {name: one["policy"] for name, one in row["robots"].items()} == {STANDING: "expert", MOBILE: ""}
    run_settings = msgspec.json.decode((tmp_path / "results.json").read_bytes())["run"]
    assert run_settings["team"][MOBILE] == {"policy": "", "cameras": ["mobile_wrist"], "instruction": "bring it"}
    assert (run_settings["tier"], run_settings["latency"]["mean_s"]) == ("", 0.1)
    assert "teamwork: guesser, expert" in (tmp_path / "report.md").read_text()


def test_a_schedule_assigns_the_robots(tmp_path):
    steps = "dispatcher.steps=[{robot:mobile,instruction:fetch},{robot:standing,instruction:move,at_s:3.0}]"
    done = run(
        "evaluate", "policy=[expert]", "dispatcher=schedule", steps, "episodes=1", "videos=0", f"output={tmp_path}"
    )
    assert done.returncode == 0, done.stderr
    (row,) = [msgspec.json.decode(line) for line in (tmp_path / "episodes.jsonl").read_bytes().splitlines()]
    assert row["outcome"] == "success"
    undelayed_s = 11.05
    assert row["sim_time_s"] > undelayed_s + 1.0


def test_demonstrations_of_both_robots_are_collected_and_what_was_lost_is_made_again(tmp_path):
    command = ["collect", "rate_hz=10", "demos=2", "suite.two_robots.camera_px=32", f"output={tmp_path}"]
    done = run(*command)
    assert done.returncode == 0, done.stderr
    assert "two_robots: 2 demonstrations, 0 failures of policy expert" in done.stdout
    dataset = read_dataset(tmp_path)
    assert [(file.seed, file.robot) for file in dataset.files] == [
        (seed, robot) for seed in (0, 1) for robot in (MOBILE, STANDING)
    ]
    for file in dataset.files:
        trajectory = read_trajectory(tmp_path / file.file)
        assert set(trajectory.observations[0].images) == {"front", f"{file.robot}_wrist"}
    made = {path: path.read_bytes() for path in [*tmp_path.rglob("*.npz"), tmp_path / "dataset.json"]}
    (tmp_path / dataset.files[1].file).unlink()
    assert run(*command).returncode == 0
    assert {path: path.read_bytes() for path in made} == made


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["team.stnding.policy=expert"], "Did you mean 'standing'"),
        (["team.standing.polcy=expert"], "Did you mean team.standing.policy"),
        (["team.standing.policy=exprt"], "Did you mean 'expert'"),
        (["team.standing=expert"], "team.standing.policy=expert"),
        (["team.mobile.cameras=[mobile_wrst]"], "Did you mean 'mobile_wrist'"),
        (["dispatcher=schedule", "dispatcher.steps=[{robot:mobil,instruction:go}]"], "Did you mean 'mobile'"),
    ],
)
def test_settings_of_a_team_that_cannot_be_are_refused_with_the_nearest_right_name(settings, message, tmp_path):
    done = run("evaluate", "policy=[random]", "episodes=1", f"output={tmp_path / 'never'}", *settings)
    assert (done.returncode, (tmp_path / "never" / "episodes.jsonl").exists()) == (2, False)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
