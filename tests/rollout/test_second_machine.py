"""A node whose file system has other code, or none, never plays it under the identity of the driver's."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

ROOT = Path(__file__).parents[2]
PACKAGES = ("embodied", "policies", "launch")
RIGHT = "return episode.goal.target if"
WRONG = "return episode.goal.candidates[0] if"
NODE = """
mount --bind {seen} {driver}
for package in {installed}; do mount --bind {empty} $package; done
exec {python} -m ray.scripts.scripts start --address={address} --num-cpus=1 --block
"""


def may_unshare() -> bool:
    found = shutil.which("unshare")
    return found is not None and subprocess.run([found, "-m", "true"], capture_output=True, check=False).returncode == 0


def installed_packages() -> list[str]:
    """The folders in which the packages are installed for every process of this Python."""
    code = "from importlib.util import find_spec as f; print(*(f(n).submodule_search_locations[0] for n in NAMES))"
    found = subprocess.run(
        [sys.executable, "-c", code.replace("NAMES", repr(PACKAGES))],
        cwd="/", env={**os.environ, "PYTHONPATH": ""}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return found.stdout.split()


def page_command() -> list[str]:
    """The command of the page, as words."""
    page = (ROOT / "docs" / "tutorials" / "second_machine.md").read_text()
    (command,) = re.findall(r"^python (-m launch\.evaluate .*compute=cluster.*)$", page, re.MULTILINE)
    return shlex.split(command)


def clone(folder: Path) -> Path:
    for name in (*PACKAGES, "sim_configs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(folder), "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}


def evaluated(driver: Path, address: str, output: Path, *settings: str) -> "subprocess.CompletedProcess[str]":
    words = [word for word in page_command() if not word.startswith(("address=", "output="))]
    return subprocess.run(
        [sys.executable, *words, f"address={address}", f"output={output}", *settings],
        cwd=driver, env=environment(driver), capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


@pytest.fixture
def clones(tmp_path):
    """The clone of the driver, whose expert takes the first candidate, one that is as it should be, and nothing."""
    driver, other, empty = clone(tmp_path / "driver"), clone(tmp_path / "other"), tmp_path / "empty"
    scripted = driver / "policies" / "scripted.py"
    assert RIGHT in scripted.read_text()
    scripted.write_text(scripted.read_text().replace(RIGHT, WRONG))
    empty.mkdir()
    return {"driver": driver, "other": other, "empty": empty}


@pytest.fixture
def head(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    yield cluster.address
    cluster.shutdown()


@pytest.fixture
def node(tmp_path, clones, head):
    """Starts a second node in a mount namespace of its own, where the driver's folder shows another clone."""
    started = []

    def start(seen: str) -> None:
        installed = installed_packages() if seen == "empty" else []
        script = tmp_path / "node.sh"
        script.write_text(
            NODE.format(
                seen=clones[seen], driver=clones["driver"], empty=clones["empty"], installed=" ".join(installed),
                python=sys.executable, address=head,
            )
        )  # fmt: skip
        words = ["unshare", "-m", "bash", str(script)]
        with (tmp_path / "node.log").open("w") as log:
            started.append(subprocess.Popen(words, env=environment(Path("/nowhere")), stdout=log, stderr=log, cwd="/"))
        deadline_s = time.monotonic() + 60.0
        while "Ray runtime started" not in (tmp_path / "node.log").read_text():
            assert time.monotonic() < deadline_s, (tmp_path / "node.log").read_text()
            time.sleep(0.5)

    yield start
    for process in started:
        process.terminate()
        try:
            process.wait(40.0)
        except subprocess.TimeoutExpired:
            process.kill()


def played_here(driver: Path, output: Path) -> "subprocess.CompletedProcess[str]":
    words = [word for word in page_command() if not word.startswith(("address=", "output=", "compute"))]
    return subprocess.run(
        [sys.executable, *words, "compute=inline", f"output={output}"],
        cwd=driver, env=environment(driver), capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip


@pytest.mark.proof
@pytest.mark.timeout(900)
@pytest.mark.skipif(not may_unshare(), reason="mount namespaces need privileges")
@pytest.mark.parametrize(("seen", "refusal"), [("other", "policies: SHA-256"), ("empty", "No module named")])
def test_another_clone_on_a_node_is_refused_in_one_line_or_gets_the_drivers_code(  # noqa: PLR0917
    tmp_path, clones, node, head, seen, refusal
):
    node(seen)
    driver = clones["driver"]
    refused = evaluated(driver, head, tmp_path / "refused", "compute.ship_mb=0")
    assert refused.returncode == 2, refused.stderr
    (line,) = [line for line in refused.stderr.splitlines() if "Error" in line]
    assert line.startswith("PluginError")
    assert refusal in line
    if seen == "other":
        assert len(set(re.findall(r"[0-9a-f]{64}", line))) == 2
    shipped, local = evaluated(driver, head, tmp_path / "shipped"), played_here(driver, tmp_path / "local")
    assert (shipped.returncode, local.returncode) == (0, 0), shipped.stderr + local.stderr
    assert "33.3" in shipped.stdout
    assert shipped.stdout.splitlines()[3] == local.stdout.splitlines()[3]


def trained(driver: Path, data: Path, output: Path, *settings: str) -> "subprocess.CompletedProcess[str]":
    words = ["-m", "launch.train", f"data={data}", f"output={output}", "steps=1", "batch=1", "log.tensorboard=false"]
    return subprocess.run(
        [sys.executable, *words, *settings],
        cwd=driver, env=environment(driver), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.mark.proof
@pytest.mark.timeout(900)
@pytest.mark.skipif(not may_unshare(), reason="mount namespaces need privileges")
def test_a_training_on_a_node_with_another_clone_is_refused_before_its_first_step_or_gets_the_drivers_code(
    tmp_path, clones, node, head
):
    node("other")
    driver, data = clones["driver"], tmp_path / "data"
    few = ["suite.tasks=[reopen_drawer]", "suite.reopen_drawer.camera_px=64", "demos=2", "compute=inline"]
    collected = subprocess.run(
        [sys.executable, "-m", "launch.collect", *few, f"output={data}"],
        cwd=clones["other"], env=environment(clones["other"]), capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert collected.returncode == 0, collected.stderr
    cluster = ("compute=cluster", f"address={head}", "compute.workers=1")
    refused = trained(driver, data, tmp_path / "refused", *cluster, "compute.ship_mb=0")
    assert refused.returncode == 2, refused.stderr
    (line,) = [line for line in refused.stderr.splitlines() if "Error" in line]
    assert line.startswith("PluginError")
    assert "policies: SHA-256" in line
    assert len(set(re.findall(r"[0-9a-f]{64}", line))) == 2
    assert not (tmp_path / "refused" / "metrics.jsonl").exists()
    shipped = trained(driver, data, tmp_path / "shipped", *cluster)
    assert shipped.returncode == 0, shipped.stderr
    assert "1 of 1 steps" in shipped.stdout
