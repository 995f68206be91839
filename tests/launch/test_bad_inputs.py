"""What a person may type by mistake: one message with rule, value and remedy, at once, and nothing is left behind."""

import fcntl
import importlib
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore

from embodied.errors import PathError
from embodied.evaluation import evaluator
from embodied.memory import open_bank
from embodied.types import Outcome
from launch import __main__ as commands
from launch import argument_checks, cli
from policies.registry import FAMILIES
from tests.memory.writers import EventFactory, home
from tests.policies.training.demonstrations import two_tasks
from tests.policies.training.learners import TinyConfig

ROOT = Path(__file__).parents[2]
LONG = "a" * 300

# Command, arguments, and what the message must contain. {data}: a folder of demonstrations; {bank}: a bank.
ROWS = [
    # The eleven rows of the review, and the examples beside them.
    ("evaluate", ["output=out", "memory.url=sqlite:///README.txt"], ["README.txt", "not a database"]),
    ("memory", ["summary", "url=sqlite:///README.txt"], ["README.txt", "not a database"]),
    ("memory", ["verify", "url=sqlite:///README.txt"], ["README.txt", "not a database"]),
    ("evaluate", ["output=out", "memory.url=sqlite:///owned.db"], ["owned.db", "Process 4242 has it open"]),
    ("evaluate", ["output=out", "compute=cluster", "address=127.0.0.1:{refused}"], ["{refused}", "ray start"]),
    ("evaluate", ["output=out", "compute=cluster", "address=127.0.0.1:{proxy}"], ["{proxy}", "without an answer"]),
    ("collect", ["output=out", "compute=cluster", "address=127.0.0.1:{refused}"], ["{refused}", "ray start"]),
    ("train", ["data={data}", "output=out", "compute=cluster", "address=127.0.0.1:{refused}"], ["ray start"]),
    ("train", ["data={data}", "output=out", "compute.gpus=1"], ["Got 1", "GPUs that torch finds on this machine, 0"]),
    ("evaluate", ["output=out", "policy=[expert,", "guesser]"], ["'policy=[expert,'", "policy='[expert,guesser]'"]),
    ("evaluate", ["output=out", "--policy", "expert"], ["'--policy expert'", "Write policy=expert."]),
    ("evaluate", ["output=out", "--policy=expert"], ["'--policy=expert'", "Write policy=expert."]),
    ("memory", ["query", "url={bank}"], ["must ask for something", "where"]),
    ("memory", ["query", "url={bank}", "kinds=[nope]"], ["must ask for something"]),
    ("train", ["data={data}", "output=out", "stage.steps=4"], ["'stage.steps'", "Did you mean steps?"]),
    (
        "train",
        ["data={data}", "policy=tiny_schema", "output=trained", "steps=2"],
        ["must not become smaller", "steps was 4, is 2", "Set steps=4 or more"],
    ),
    (
        "train",
        ["data={data}", "policy=tiny_schema", "output=trained", "steps=8", "seed=1"],
        ["seed was 0, is 1", "steps alone may grow"],
    ),
    # Places.
    ("evaluate", ["output="], ["output must name a folder"]),
    ("evaluate", ["output=README.txt"], ["README.txt", "must be a folder"]),
    ("evaluate", ["output=README.txt/x"], ["Not a directory", "Choose another"]),
    ("evaluate", ["output=occupied"], ["occupied with x.txt", "Choose another"]),
    ("evaluate", ["output=/proc/x"], ["/proc/x", "can be made and written"]),
    ("evaluate", ["output=/dev/full"], ["/dev/full", "must be a folder"]),
    ("evaluate", [f"output={LONG}"], ["File name too long"]),
    ("evaluate", ["output=occupied", "memory.url=sqlite:///new.db"], ["occupied with x.txt"]),
    ("evaluate", ["output=größe", "episodes=0"], ["episodes must be at least 1"]),
    ("evaluate", ["output=a folder/größe x", "episodes=0"], ["episodes must be at least 1"]),
    ("evaluate", ["output=\udcff"], ["UTF-8"]),
    ("collect", ["output=occupied"], ["occupied with x.txt"]),
    ("train", ["data={data}", "policy=tiny_schema", "output=/proc/x"], ["/proc/x", "can be made and written"]),
    ("bench", ["what=render", "output=/proc/x.json"], ["/proc/x.json", "can be written"]),
    ("bench", ["what=render", "seed=-1"], ["Got -1", "seed must lie in"]),
    ("memory", ["export", "url={bank}", "output=/proc/x.jsonl"], ["/proc/", "can be made"]),
    # Banks.
    ("evaluate", ["output=out", "memory.url=postgres://host/x"], ["'postgres://host/x'", "sqlite:///relative.db"]),
    ("evaluate", ["output=out", "memory.url=sqlite://two.db"], ["sqlite:///relative.db"]),
    ("evaluate", ["output=out", "memory.url=sqlite:///nowhere/x.db"], ["nowhere", "Make its folder first"]),
    ("evaluate", ["output=out", "memory.url=sqlite:////proc/x.db"], ["/proc/x.db", "can be written"]),
    ("evaluate", ["output=out", "memory.url=sqlite:///other.db"], ["another program"]),
    ("evaluate", ["output=out", "memory.url=sqlite:///a.db", "memory.truth_url=sqlite:///README.txt"], ["database"]),
    ("evaluate", ["output=out", "memory.url=sqlite:///a.db", "episodes=0"], ["episodes must be at least 1"]),
    ("evaluate", ["output=out", "memory.url=sqlite:///a.db", "videos=-1"], ["videos must be 0 or more"]),
    ("evaluate", ["output=out", "memory.url=sqlite:///a.db", "memory.start_s=nan"], ["memory.start_s"]),
    ("memory", ["verify", "url=sqlite:///other.db"], ["another program"]),
    ("memory", ["query", "url={bank}", "where=nope"], ["'nope'", "Known"]),
    ("memory", ["query", "url={bank}", "from_s=5", "to_s=1", "name=cup"], ["(5.0, 1.0)"]),
    ("memory", ["sumary", "url={bank}"], ["Did you mean 'summary'?"]),
    # Numbers.
    ("evaluate", ["output=out", "episodes=1000000000000"], ["1000000000000", "at most"]),
    ("evaluate", ["output=out", "seed=1099511627776"], ["1099511627776", "seed must lie in"]),
    ("evaluate", ["output=out", "latency.mean_s=nan"], ["nan", "latency.mean_s"]),
    ("evaluate", ["output=out", "latency.deviation_s=-1"], ["-1", "latency.deviation_s"]),
    ("evaluate", ["output=out", "compute.deadline_s=0"], ["0", "compute.deadline_s must be positive"]),
    ("evaluate", ["output=out", "compute.workers=1000000"], ["1000000", "compute.workers must be at most"]),
    ("evaluate", ["output=out", "compute.object_store_mb=1000000000"], ["1000000000", "memory of this machine"]),
    ("evaluate", ["output=out", "suite.put_block_back.camera_px=10000000"], ["10000000", "4096"]),
    ("evaluate", ["output=out", "suite.put_block_back.time_limit_s=nan"], ["nan", "time_limit_s"]),
    ("evaluate", ["output=out", "simulator.world.gravity_mps2=nan"], ["nan", "gravity_mps2"]),
    ("collect", ["output=out", "demos=-1"], ["-1", "demos must lie in"]),
    ("collect", ["output=out", "rate_hz=7"], ["7", "choose 20, 10, 5, 4, 2 or 1 Hz"]),
    ("collect", ["output=out", "recorder.depth_precision_m=nan"], ["nan", "depth_precision_m"]),
    ("train", ["data={data}", "output=out", "optimiser.learning_rate=nan"], ["nan", "learning_rate"]),
    ("train", ["data={data}", "output=out", "batch=7", "compute.workers=2"], ["(7, 2)", "multiple"]),
    ("train", ["data={data}", "output=out", "log.keep=0"], ["(10, 250, 0)", "keep must be at least 1"]),
    # Lists and shards.
    ("evaluate", ["output=out", "episode_list=nope"], ["'nope'", "episode list must be one that exists"]),
    ("evaluate", ["output=out", "episode_list=README.txt", "episodes=3"], ["README.txt", "readable JSON"]),
    ("evaluate", ["output=out", "shard=9/8"], ["'9/8'", "INDEX/COUNT"]),
    ("evaluate", ["output=out", "shard=1/8"], ["shard=1/8 without a salt", "all shards the same one, such as salt="]),
    ("evaluate", ["output=out", "episodes=3", "shard=1/8"], ["shard 1/8 of 3 episodes", "fewer shards"]),
    ("lists", ["output=README.txt"], ["README.txt", ".json"]),
    ("lists", ["output=new.json", "episodes=0"], ["(0, 0)", "episodes must lie in"]),
    ("lists", ["output=new.json", "split=tset"], ["'tset'", "Did you mean 'test'?"]),
    ("compare", ["occupied", "occupied"], ["occupied", "finished launch.evaluate"]),
    ("compare", ["occupied"], ["'b'", "must be given"]),
    ("compare", ["a", "b", "c"], ["c", "key=value"]),
    ("compare", ["a", "b", "output=x.pdf"], ["x.pdf", ".html"]),
    ("compare", ["a", "b", "policy_a=expert"], ["policy_a and policy_b"]),
    ("merge", ["output=out"], ["At least one shard"]),
    ("merge", ["occupied", "output=out"], ["occupied", "finished launch.evaluate"]),
    # Names and files.
    ("evaluate", ["output=out", "policy=[sam2act]", "policy_options.sam2act.weights=README.txt"], ["README.txt"]),
    ("evaluate", ["output=out", "simulator.renderer=vulkan"], ["'vulkan'", "Known: auto"]),
    ("evaluate", ["output=out", "simulator.world.asset_root=/nonexistent"], ["/nonexistent", "Leave it empty"]),
    ("evaluate", ["output=out", "team.panda.cameras=[nope]"], ["'nope'", "Known: front"]),
    ("evaluate", ["output=out", "team.nobody.policy=expert"], ["'nobody'", "Known: panda"]),
    ("evaluate", ["output=out", "team=foo"], ["'foo'", "by name"]),
    ("evaluate", ["output=out", "dispatcher=schedule", "dispatcher.steps=[3]"], ["dispatcher.steps[0]"]),
    ("evaluate", ["output=out", "dispatcher=schedule", "dispatcher.steps=[{robot:nobody,instruction:x}]"], ["nobody"]),
    ("evaluate", ["output=out", "suite=teamwork", "controls=[normal,off]"], ["two_robots", "controls=[normal]"]),
    ("collect", ["output=out", "recorder.cameras=[]"], ["[]", "at least one camera"]),
    ("collect", ["output=out", "recorder.cameras=[front,front]"], ["each once"]),
    ("collect", ["output=out", "policy=expret"], ["'expret'", "Did you mean 'expert'?"]),
    ("train", ["data=nowhere", "output=out"], ["nowhere", "launch.collect"]),
    ("train", ["data={data}", "output=out", "policy=sam2"], ["'sam2'", "Did you mean"]),
    ("train", ["data={data}", "output=out", "stage.start=README.txt"], ["README.txt"]),
    # Servers.
    ("serve", ["policy=expert"], ["'expert'", "truth never leaves"]),
    ("serve", ["policy=[random,sam2act]"], ["One policy must be served", "Start a server for each"]),
    ("serve", ["policy=random", "host=0.0.0.0"], ["'0.0.0.0'", "token and TLS", "insecure=true"]),
    ("serve", ["policy=random", "host=0.0.0.0", "token_env=NO_SUCH_VARIABLE"], ["NO_SUCH_VARIABLE", "at least 16"]),
    ("serve", ["policy=random", "token_file=README.txt", "token_env=X"], ["not both"]),
    ("serve", ["policy=random", "tls_certificate=README.txt"], ["given together"]),
    ("serve", ["policy=random", "tls_certificate=README.txt", "tls_key=README.txt"], ["README.txt", "PEM"]),
    ("serve", ["policy=random", "port=65536"], ["65536", "port must lie in"]),
    ("serve", ["policy=random", "window_ms=nan"], ["nan", "window_s must be"]),
    ("serve", ["policy=random", "port={proxy}"], ["{proxy}", "port=0 takes any free one"]),
    ("credentials", ["add", "file=README.txt", "name=a"], ["README.txt", "readable JSON"]),
    ("credentials", ["add", "file=new.json"], ["name=panda"]),
    ("credentials", ["add", "file=new.json", "name=site/x"], ["site/x", "reserved"]),
    ("credentials", ["add", "file=new.json", "name=a", "role=KING"], ["KING"]),
    ("serve_memory", ["url=sqlite:///new.db", "credentials=README.txt"], ["README.txt", "readable JSON"]),
    ("serve_memory", [], ["url"]),
    ("serve_memory", ["url=:memory:"], ["must lie in a file", "sqlite:///FILE"]),
    ("serve_memory", ["url=sqlite:///new.db", "host=0.0.0.0"], ["'0.0.0.0'", "token and TLS", "insecure=true"]),
    ("serve_memory", ["url=sqlite:///new.db", "port=65536"], ["65536", "port must lie in"]),
    ("serve_memory", ["url=sqlite:///new.db", "port={proxy}"], ["{proxy}", "port=0 takes any free one"]),
    ("serve_memory", ["url=sqlite:///README.txt"], ["README.txt", "not a database"]),
    ("serve", ["policy=random", "bank=sqlite:///README.txt"], ["README.txt", "not a database"]),
    # Labels of policies.
    ("evaluate", ["output=out", "policy=[a]", "policy_options.a.margin=20"], ["policy_options.a.kind=POLICY"]),
    ("evaluate", ["output=out", "policy_options.expert.foo=1"], ["There are no settings in policy_options.expert."]),
    ("evaluate", ["output=out", "policy=[patrol]"], ["'patrol'", "plugins=[my_module]"]),
    (
        "evaluate",
        ["output=out", "policy=[low]", "policy_options.low.kind=random", "policy_options.low.tilt_limit_rad=9"],
        ["Policy 'low'", "`tilt_limit_rad` must lie in"],
    ),
    # Hydra.
    ("evaluate", ["output=out", "--config-name=nothing"], ["'nothing'", "Leave --config-name out"]),
    ("evaluate", ["output=out", "--config-dir=nowhere"], ["nowhere"]),
    ("evaluate", ["output=out", "--cfg", "everything"], ["everything"]),
    ("evaluate", ["output=out", "++x=1"], ["'x'", "Known here"]),
    ("evaluate", ["-m", "output=out", "episodes=1,x"], ["'x'", "whole number"]),
    ("evaluate", ["-m", "output=out", "suite.put_block_back.patches=1,2"], ["Got 1", "2 to 16"]),
    ("evaluate", ["output=out", "-m", "episodes=1,2"], ["'episodes=1,2'", "Move the option to the front"]),
    ("evaluate", ["output=${nope}"], ["'output'", "nope"]),
]
AT_MOST_S = 5.0


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A folder of demonstrations, a bank, a port that refuses, and a proxy that accepts connections and closes them."""
    folder = tmp_path_factory.mktemp("shared")
    factory = EventFactory()
    with open_bank(f"sqlite:///{folder}/bank.db") as bank:
        bank.append([factory.event(place) for place in home()])
        bank.append(factory.seen("cup", 1.0, 1.0))
    with socket.create_server(("127.0.0.1", 0)) as server:
        refused = server.getsockname()[1]
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        ended = threading.Event()
        proxy.settimeout(0.1)

        def close_all():
            while not ended.is_set():
                with suppress(TimeoutError):
                    connection, _ = proxy.accept()
                    with connection:
                        connection.settimeout(1.0)
                        connection.recv(100)

        closing = threading.Thread(target=close_all, daemon=True)
        closing.start()
        yield {
            "data": two_tasks(folder / "data", episodes=3),
            "bank": f"sqlite:///{folder}/bank.db",
            "refused": refused,
            "proxy": proxy.getsockname()[1],
        }
        ended.set()
        closing.join()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a text file, a database of another program, a bank in use, a training, and things of others."""
    (tmp_path / "README.txt").write_text("hello\n" * 100)
    (tmp_path / "occupied").mkdir()
    (tmp_path / "occupied/x.txt").touch()
    (tmp_path / "trained/checkpoints").mkdir(parents=True)
    db = sqlite3.connect(tmp_path / "other.db")
    db.execute("CREATE TABLE t (x)")
    db.close()
    (tmp_path / "owned.db").touch()
    lock = os.open(tmp_path / "owned.db.lock", os.O_RDWR | os.O_CREAT)
    os.write(lock, b"4242")
    fcntl.flock(lock, fcntl.LOCK_EX)
    monkeypatch.chdir(tmp_path)
    # Commands share Hydra's store, which a process of a user has for one command.
    own = {name: entry for name, entry in ConfigStore.instance().repo.items() if name.startswith(("hydra", "_dummy"))}
    monkeypatch.setattr(ConfigStore.instance(), "repo", own)
    monkeypatch.setitem(FAMILIES.own, "tiny", TinyConfig)
    yield tmp_path
    os.close(lock)


def typed(command, arguments, monkeypatch, capsys):
    """Runs a command in this process as if it had been typed; returns its exit code and what it printed."""
    monkeypatch.setattr(sys, "argv", [command, *arguments])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"launch.{command}").main()
    return ended.value.code, capsys.readouterr()


def things(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("command", "arguments", "wanted"),
    ROWS,
    ids=lambda value: value if isinstance(value, str) else " ".join(value)[:60],
)
def test_it_is_refused_in_one_message_at_once_and_nothing_is_left(  # noqa: PLR0917
    here, shared, command, arguments, wanted, monkeypatch, capsys
):
    if "output=trained" in arguments:
        _train_before(here, shared, monkeypatch)
    importlib.import_module(f"launch.{command}")
    before, began_s = things(here), time.process_time()
    code, said = typed(command, [filled(text, shared) for text in arguments], monkeypatch, capsys)
    assert time.process_time() - began_s < AT_MOST_S
    assert code == cli.REFUSED
    assert said.out == ""
    assert "Traceback" not in said.err
    assert [line.partition(": ")[0].endswith("Error") for line in said.err.splitlines()].count(True) == 1
    for text in wanted:
        assert filled(text, shared) in said.err
    assert things(here) == before


def filled(text, shared):
    for name, value in shared.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text


def _train_before(here, shared, monkeypatch):
    """Writes what a training of four steps on the same demonstrations has written down about itself."""
    from policies.training import job

    class StoppedError(Exception): ...

    def stop(*_):
        raise StoppedError

    monkeypatch.setattr(job, "progress", stop)
    arguments = ["steps=4", "policy=tiny_schema", f"data={shared['data']}", "output=trained"]
    monkeypatch.setattr(sys, "argv", ["train", *arguments])
    with pytest.raises(StoppedError):
        importlib.import_module("launch.train").main()


def test_commands_are_listed_with_a_line_each(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["launch"])
    assert commands.main() == 0
    listed = capsys.readouterr().out
    for name in ("bench", "collect", "evaluate", "memory", "train"):
        assert f"python -m launch.{name} " in listed
    assert "Evaluates policies." in listed
    monkeypatch.setattr(sys, "argv", ["launch", "evaluate", "output=out"])
    assert commands.main() != 0
    assert "python -m launch.evaluate" in capsys.readouterr().err


def test_the_package_itself_can_be_run():
    done = subprocess.run([sys.executable, "-m", "launch"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "python -m launch.train" in done.stdout


def record(outcome, seed=0):
    from tests.evaluation.fakes import drawn
    from tests.rollout.test_worker import CONFIG, JOB

    played = drawn(CONFIG, replace(JOB, seed=seed), wall_s=0.1)
    return replace(played, outcome=outcome, reason="no such gripper" if outcome is Outcome.INVALID else "")


def test_a_run_of_invalid_episodes_alone_fails_with_the_reason_of_the_first(tmp_path, caplog):
    with pytest.raises(evaluator.NothingPlayedError, match=r"2 invalid episodes in .*no such gripper"):
        evaluator._report_invalid([record(Outcome.INVALID), record(Outcome.INVALID, 1)], tmp_path)
    evaluator._report_invalid([record(Outcome.INVALID), record(Outcome.SUCCESS, 1)], tmp_path)
    assert "1 of 2 episodes are invalid; the first" in caplog.text


def test_results_that_cannot_be_printed_are_refused(monkeypatch):
    with Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr(cli, "_results_descriptor", full.fileno)
        with pytest.raises(PathError, match="No space left"):
            cli.print_text("result")


def test_letters_beyond_ascii_are_quoted_for_hydra_and_lists_are_not():
    assert argument_checks.quoted("output=größe x") == "output='größe x'"
    assert argument_checks.quoted("policy=[ä]") == "policy=[ä]"
    assert argument_checks.quoted("output=plain") == "output=plain"
