"""Kills and stops workers and interrupts runs, and checks that the results equal those of an undisturbed run."""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import psutil

from embodied.errors import ConfigError
from embodied.seeding import stream
from launch.benchmark import Benchmark

WORKER_TITLE = "ray::PooledWorker"
MAY_DIFFER = ("wall_s", "attempt")
MARK = "EMBODIED_FAULT_TRIAL"
RAY_FOLDER = re.compile(r"(/[^ =]*/em-[^/ ]+)/session_")
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - looked at, never written
ROWS = "episodes.jsonl"
LONGEST_DELAY_S = 1.0
POLL_S = 0.02


class Fault(StrEnum):
    """A fault of a run.

    It is SIGKILL or SIGSTOP to one worker, SIGINT to the command and its process group, or SIGTERM to the command.
    """

    KILL = "kill"
    STOP = "stop"
    INTERRUPT = "interrupt"
    TERMINATE = "terminate"


@dataclass(kw_only=True)
class FaultsBenchConfig:
    """How many trials of each fault, and the run that suffers them: `episodes` of each strict task with the expert."""

    kill: int = 20
    stop: int = 2
    interrupt: int = 2
    terminate: int = 1
    episodes: int = 4
    workers: int = 2
    deadline_s: float = 15.0
    tasks: list[str] = field(default_factory=lambda: ["reopen_drawer", "put_block_back", "rearrange_block"])

    def check(self) -> None:
        """Raises `ConfigError` for counts out of range."""
        if min(self.kill, self.stop, self.interrupt, self.terminate) < 0:
            raise ConfigError("faults.kill, stop, interrupt and terminate must not be negative.", value=vars(self))
        if min(self.episodes, self.workers) < 1:
            raise ConfigError("faults.episodes and faults.workers must be at least 1.", value=vars(self))


@dataclass(frozen=True)
class Strike:
    """When a fault occurs: `delay_s` after `after_rows` episodes are on the disk."""

    fault: Fault
    after_rows: int
    delay_s: float


@dataclass
class Run:
    """One run of the command: its output and remaining processes. `busy_s` is from its first worker to its end."""

    rows: list[str]
    code: int
    busy_s: float
    hit: bool
    processes: list[str]
    folders: list[str]
    shared_memory: list[str]

    @property
    def clean(self) -> bool:
        """Whether nothing was left behind."""
        return not (self.processes or self.folders or self.shared_memory)


def measure(config: FaultsBenchConfig, *, seed: int, folder: Path) -> dict[str, Any]:
    """Returns, trial by trial, whether a run with a fault ended in the rows of an undisturbed run.

    Runs `python -m launch.evaluate` as `config` says, under `folder`, in new subfolders. A fault comes at a random
    moment, drawn from `seed`, while there are workers; `hit` is false where the run had ended by then. Rows are
    compared as bytes, without `wall_s`, `attempt` and order. Interrupted runs are run again, in the same folder. Raises
    `ConfigError`.
    """
    config.check()
    alone = _run(config, folder / "alone", seed=seed)
    if alone.code != 0:
        raise ConfigError("The undisturbed run must succeed.", value=alone.code, remedy=f"See {folder}/alone.txt.")
    wanted = [Fault(name) for name in ("kill", "stop", "interrupt", "terminate") for _ in range(getattr(config, name))]
    trials = [
        _trial(config, folder / f"trial_{number:02d}_{fault}", fault=fault, alone=alone, seed=seed)
        for number, fault in enumerate(wanted)
    ]
    return {
        "what": "faults",
        "seed": seed,
        "alone": {"episodes": len(alone.rows), "busy_s": round(alone.busy_s, 2), "clean": alone.clean},
        "trials": trials,
        "goals": {"every_trial_as_alone": {"met": alone.clean and all(trial["as_alone"] for trial in trials)}},
    }


def _trial(config: FaultsBenchConfig, folder: Path, *, fault: Fault, alone: Run, seed: int) -> dict[str, Any]:
    draw = stream(seed, "faults", folder.name)
    after_rows, delay_s = int(draw.integers(len(alone.rows))), float(draw.uniform(0.0, LONGEST_DELAY_S))
    strike = Strike(fault, after_rows=after_rows, delay_s=delay_s)
    first = _run(config, folder, seed=seed, strike=strike)
    last = first
    if fault in (Fault.INTERRUPT, Fault.TERMINATE):
        last = _run(config, folder, seed=seed)
    as_alone = last.code == 0 and sorted(last.rows) == sorted(alone.rows) and first.clean and last.clean
    return {
        "fault": fault.value,
        "after_rows": strike.after_rows,
        "delay_s": round(strike.delay_s, 2),
        "hit": first.hit,
        "code": first.code,
        "rows": len(first.rows),
        "busy_s": round(first.busy_s, 2),
        "left": [*first.processes, *first.folders, *first.shared_memory, *last.processes, *last.folders],
        "as_alone": as_alone,
    }


def _run(config: FaultsBenchConfig, output: Path, *, seed: int, strike: Strike | None = None) -> Run:
    shared_before = _shared_memory()
    mark = secrets.token_hex(16)
    with _command(config, output, seed=seed, mark=mark) as process:
        started_s = _first_worker_s(process)
        folders = _ray_folders(process)
        hit = strike is not None and _inflict(strike, process, rows=output / ROWS)
        process.wait()
        busy_s = time.monotonic() - started_s
    left = _marked(mark)
    rows = output / ROWS
    return Run(
        rows=[_comparable(line) for line in rows.read_text().splitlines()] if rows.exists() else [],
        code=process.returncode,
        busy_s=busy_s,
        hit=hit,
        processes=left,
        folders=[folder for folder in folders if Path(folder).exists()],
        shared_memory=sorted(_shared_memory() - shared_before),
    )


@contextmanager
def _command(config: FaultsBenchConfig, output: Path, *, seed: int, mark: str) -> Iterator[subprocess.Popen[bytes]]:
    settings = [
        "suite=memorybench",
        f"suite.tasks=[{','.join(config.tasks)}]",
        "policy=[expert]",
        f"episodes={config.episodes}",
        f"seed={seed}",
        f"salt=faults-{seed}",  # All trials are the same run.
        "videos=0",
        f"compute.workers={config.workers}",
        f"compute.deadline_s={config.deadline_s}",
        f"output={output}",
    ]
    # Ray overwrites process titles, and the environment by which processes are found, unless this is set.
    environment = os.environ | {MARK: mark, "SPT_NOENV": "1"}
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.with_suffix(".txt").open("ab") as printed:
        process = subprocess.Popen(  # noqa: S603 - our own command, with settings that were checked
            [sys.executable, "-m", "launch.evaluate", *settings],
            env=environment,
            stdout=printed,
            stderr=printed,
            start_new_session=True,  # A signal to this process group acts like Ctrl-C in a terminal.
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()


def _first_worker_s(process: subprocess.Popen[bytes]) -> float:
    while process.poll() is None and not _workers(process):
        time.sleep(POLL_S)
    return time.monotonic()


def _inflict(strike: Strike, process: subprocess.Popen[bytes], *, rows: Path) -> bool:
    """Waits for the moment, then sends the signal; returns whether the run was still going."""
    while process.poll() is None and _lines(rows) < strike.after_rows:
        time.sleep(POLL_S)
    time.sleep(strike.delay_s)
    workers = _workers(process)
    while process.poll() is None and not workers:
        time.sleep(POLL_S)
        workers = _workers(process)
    if process.poll() is not None:
        return False
    match strike.fault:
        case Fault.INTERRUPT:
            os.killpg(process.pid, signal.SIGINT)
        case Fault.TERMINATE:
            process.terminate()
        case Fault.KILL:
            workers[0].kill()
        case Fault.STOP:
            workers[0].suspend()
    return True


def _lines(rows: Path) -> int:
    return len(rows.read_bytes().splitlines()) if rows.exists() else 0


def _workers(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return [worker for worker in _family(process) if _command_line(worker).startswith(WORKER_TITLE)]


def _ray_folders(process: subprocess.Popen[bytes]) -> list[str]:
    lines = [_command_line(member) for member in _family(process)]
    return sorted({folder for line in lines for folder in RAY_FOLDER.findall(line)})


def _family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _marked(mark: str) -> list[str]:
    """Returns the remaining processes of a run, wherever they are in the process tree."""
    left = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                left.append(f"{process.pid} {_command_line(process)}")
        except (psutil.Error, OSError):
            continue  # It has ended, or belongs to another user.
    return left


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _shared_memory() -> set[str]:
    return {str(path) for path in SHARED_MEMORY.glob("plasma*")} if SHARED_MEMORY.exists() else set()


def _comparable(line: str) -> str:
    row = json.loads(line)
    return json.dumps({name: value for name, value in row.items() if name not in MAY_DIFFER}, sort_keys=True)


BENCHMARK = Benchmark(
    configs={"faults": FaultsBenchConfig},
    measure=lambda run, config: measure(config, seed=run.seed, folder=run.folder),
)
