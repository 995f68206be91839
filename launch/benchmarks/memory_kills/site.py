"""The processes of `memory_kills`: one that hosts the bank on Ray, and one for each robot; all can be killed."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import msgspec

from embodied.errors import MemoryBankError
from launch.benchmarks.memory_kills.robot import LAST_LIFE
from launch.benchmarks.memory_poison.links import free_port, prepared

SETTLE_S = 120.0


class Site:
    """A host and its `robots`, whose files lie in `folder`. Use it in `with`."""

    def __init__(self, folder: Path, *, robots: int) -> None:
        self._folder = folder
        self._names = [f"robot_{number}" for number in range(robots)]
        self._port = free_port()
        self._address = msgspec.json.encode(prepared(folder, self._names, self._port)).decode()
        self._life = 0
        self._robots: dict[str, _Process] = {}
        self._printed: list[str] = []
        self._host: subprocess.Popen[str] | None = None
        self._pids: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self.start_host()
        self.start_robots()
        if self.await_answers(since_s=time.monotonic(), timeout_s=SETTLE_S) is None:
            raise MemoryBankError("Robots must be answered before the first kill.", value=f"none in {SETTLE_S} s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill_robots()
        if self._host is not None:
            self._host.communicate()  # Closes its input: it closes the bank, and ends.

    def start_host(self) -> None:
        """Starts Ray and the owner of the bank, and waits until both run."""
        command = [sys.executable, "-m", "launch.benchmarks.memory_kills.host", str(self._folder), str(self._port)]
        errors = (self._folder / "host.txt").open("ab")
        self._host = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        self._pids = self._line_of_host()

    def start_robots(self) -> None:
        """Starts a process for each robot."""
        self._life += 1
        for name in self._names:
            arguments = [self._address, str(self._folder), name, str(self._life)]
            command = [sys.executable, "-m", "launch.benchmarks.memory_kills.robot", *arguments]
            self._robots[name] = _Process(command, self._printed, self._folder / f"{name}.txt")

    def kill_robots(self) -> None:
        """Kills all robots' programs."""
        for robot in self._robots.values():
            robot.kill()
        self._robots.clear()

    def kill_owner(self) -> None:
        """Kills the process that owns the bank; Ray starts another."""
        if self._host is not None and self._host.stdin is not None:
            self._host.stdin.write("\n")
            self._host.stdin.flush()
            os.kill(self._line_of_host()["owner"], signal.SIGKILL)

    def kill_head(self) -> None:
        """Kills Ray's head, at which all processes of the site but the robots' end."""
        for pid in self._pids["head"]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._host is not None:
            self._host.kill()
            self._host.communicate()
        for pid in self._pids["all"]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def await_answers(self, *, since_s: float, timeout_s: float) -> float | None:
        """Returns when every robot had an event acknowledged after `since_s` (both `time.monotonic`), None if late."""
        due_s = time.monotonic() + timeout_s
        while time.monotonic() < due_s:
            times = [robot.answered_after(since_s) for robot in self._robots.values()]
            if None not in times:
                return max(time_s for time_s in times if time_s is not None)
            time.sleep(0.02)
        return None

    def ended(self) -> list[str]:
        """Returns the robots whose programs have ended by themselves."""
        return [name for name, robot in self._robots.items() if robot.has_ended()]

    def settle(self) -> None:
        """Stops all robots from writing more, and waits until the bank has what their outboxes hold."""
        self.kill_robots()
        for name in self._names:
            arguments = [self._address, str(self._folder), name, LAST_LIFE]
            command = [sys.executable, "-m", "launch.benchmarks.memory_kills.robot", *arguments]
            subprocess.run(command, check=True, capture_output=True, timeout=SETTLE_S)  # noqa: S603

    def printed(self) -> list[str]:
        """Returns all lines that robots have printed."""
        return list(self._printed)

    def _line_of_host(self) -> dict[str, Any]:
        """Returns the next line of JSON that the host prints; Ray may print others between."""
        while self._host is not None and self._host.stdout is not None and (line := self._host.stdout.readline()):
            if line.startswith("{"):
                return dict(json.loads(line))
        raise MemoryBankError(
            "The host of a bank must start.", value=(self._folder / "host.txt").read_text()[-2000:], remedy="See there."
        )


class _Process:
    """The program of one robot; a thread reads what it prints."""

    def __init__(self, command: list[str], printed: list[str], errors: Path) -> None:
        self._printed = printed
        self._answered: deque[tuple[float, float]] = deque(maxlen=500)  # Times of writing and of the answer.
        self._process = subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.PIPE, stderr=errors.open("ab"), text=True
        )
        self._reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def answered_after(self, since_s: float) -> float | None:
        """Returns when the first event of after `since_s` was acknowledged (`time.monotonic`), None for none yet."""
        times = [answered_s for stored_s, answered_s in list(self._answered) if stored_s > since_s]
        return min(times, default=None)

    def has_ended(self) -> bool:
        """Returns whether the program has ended."""
        return self._process.poll() is not None

    def kill(self) -> None:
        """Kills the program, and reads the rest of what it printed."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self, lines: IO[str] | None) -> None:
        stored_s: dict[str, float] = {}
        for line in lines or ():
            self._printed.append(line.strip())
            match line.split():
                case ["stored", name]:
                    stored_s[name] = time.monotonic()
                case ["acknowledged", name, _]:
                    self._answered.append((stored_s.pop(name, 0.0), time.monotonic()))
