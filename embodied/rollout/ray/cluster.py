"""Starts, joins and stops Ray without leaving processes, folders or shared memory behind."""

import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import psutil
import ray
from ray._raylet import AuthenticationTokenLoader, Config  # pyright: ignore[reportAttributeAccessIssue]

from embodied.plugins import SHIP_MB, shipped_code
from embodied.rollout.ray.address import require_answer, unreachable

# Ray puts Unix sockets some 65 characters below its folder, and the kernel takes 107 in all.
LONGEST_TEMP_FOLDER = 24
STOP_WAIT_S = 5.0
WITH_IGNORED_FILES = "RAY_RUNTIME_ENV_IGNORE_GITIGNORE"  # Ships files that git ignores: a package may need them.
QUIET_RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_prestart_worker_first_driver": "0",  # Our actors bring their own environment, so those would stay idle.
}


@contextmanager
def local_cluster(*, cpus: int, object_store_mb: int) -> Iterator[None]:
    """Runs a private Ray on this machine, protected by a token, and removes all of it at the end.

    Where this process is already connected to Ray, that cluster is used and left running. It gets `cpus` logical cores
    and `object_store_mb` of shared memory.
    """
    if ray.is_initialized():
        with stopped_by_sigterm():
            yield
        return
    folder = Path(tempfile.mkdtemp(prefix="em-", dir=_short_temp_folder()))
    before = set(psutil.Process().children())
    os.environ.update(QUIET_RAY)
    _require_token()
    try:
        ray.init(
            address="local",  # Else Ray would join the cluster that RAY_ADDRESS names.
            num_cpus=cpus,
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
            object_store_memory=object_store_mb * 2**20,
            _temp_dir=str(folder),
        )
        with stopped_by_sigterm():
            yield
    finally:
        with signals_ignored():
            _stop(set(psutil.Process().children()) - before, folder)


@contextmanager
def existing_cluster(address: str, *, ship_mb: float = SHIP_MB) -> Iterator[None]:
    """Joins the Ray cluster at `address` and leaves it, running, at the end; its token is the user's to set.

    `address` reads HOST:PORT, or "auto" for the cluster of this machine. Our code and that of plugins is shipped to all
    nodes, unless it is larger than `ship_mb`. Raises `ConfigError` where no cluster runs there.
    """
    if ray.is_initialized():
        with stopped_by_sigterm():
            yield
        return
    require_answer(address)
    try:
        _join(address, ship_mb)
        with stopped_by_sigterm():
            yield
    finally:
        with signals_ignored():
            ray.shutdown()


def _join(address: str, ship_mb: float) -> None:
    os.environ[WITH_IGNORED_FILES] = "1"
    code = shipped_code(ship_mb)
    with tempfile.TemporaryDirectory() as folder:
        # Without a working folder Ray would look for code in the driver's folder before that which is shipped.
        (Path(folder) / "README").write_text("Workers of a run start here.\n")
        environment = {"py_modules": code, "working_dir": folder, "excludes": ["__pycache__"]} if code else None
        try:
            ray.init(address=address, log_to_driver=False, configure_logging=False, runtime_env=environment)
        except ConnectionError as error:
            raise unreachable(address, error) from error


@contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Turns SIGTERM into `SystemExit` inside, so that what was started is stopped; main thread only, else nothing."""

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def signals_ignored() -> Iterator[None]:
    """Ignores SIGINT and SIGTERM inside, so that a second Ctrl-C does not leave a half-stopped cluster behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def end_processes(processes: Iterable[psutil.Process], *, timeout_s: float = 0.0) -> None:
    """Waits `timeout_s` for processes to end, then kills those that have not: SIGKILL ends stopped ones too."""
    _, alive = psutil.wait_procs(list(processes), timeout=timeout_s)
    for process in alive:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue  # It has ended by itself.
    psutil.wait_procs(alive, timeout=STOP_WAIT_S)


def _stop(daemons: Iterable[psutil.Process], folder: Path) -> None:
    family = [process for daemon in daemons for process in _with_descendants(daemon)]
    ray.shutdown()
    end_processes(family, timeout_s=STOP_WAIT_S)
    shutil.rmtree(folder, ignore_errors=True)


def _with_descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return [process]


def _short_temp_folder() -> str:
    folder = tempfile.gettempdir()
    return folder if len(folder) <= LONGEST_TEMP_FOLDER else "/tmp"  # noqa: S108 - mkdtemp makes a private folder in it


def _require_token() -> None:
    """Turns Ray's token authentication on, with a random token where the user has set none."""
    os.environ["RAY_AUTH_MODE"] = "token"
    if "RAY_AUTH_TOKEN" not in os.environ and "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    # Ray read these variables when it was imported, and would start its servers closed but itself without the key.
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()
