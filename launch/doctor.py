"""Checks what this machine offers to a run, and prints a remedy for what is missing: `python -m launch.doctor`."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from embodied.errors import EmbodiedError, MissingDependencyError

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - measured, not written
LEAST_SHARED_MB = 256
NEEDED, OPTIONAL = "MISSING", "optional"
FAILED = 1


@dataclass(frozen=True)
class Finding:
    """One line of the report: `state` is "ok", `NEEDED` or `OPTIONAL`; the remedy is "" where nothing is missing."""

    name: str
    state: str
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        remedy = f" {self.remedy}" if self.remedy else ""
        return f"{self.state:>8}  {self.name}: {self.found}.{remedy}"


def rendering() -> Finding:
    """Returns whether OpenGL starts through EGL, and on what it renders."""
    from embodied.simulators.rendering.gl_context import create_context

    try:
        context = create_context()
    except MissingDependencyError as error:
        slow = f"{error.remedy} Until then images come from TinyRenderer, which is many times slower."
        return Finding("rendering", NEEDED, "OpenGL does not start", slow)
    name = str(context.info["GL_RENDERER"])
    context.release()
    return Finding("rendering", "ok", f"OpenGL on {name}")


def ray() -> Finding:
    """Returns the version of Ray."""
    try:
        return Finding("Ray", "ok", f"version {version('ray')}")
    except PackageNotFoundError:
        return Finding("Ray", NEEDED, "not installed", "pip install ray, or set compute=inline.")


def shared_memory() -> Finding:
    """Returns how much shared memory Ray may use."""
    if not SHARED_MEMORY.is_dir():
        return Finding("shared memory", OPTIONAL, "there is no /dev/shm", "Ray uses files instead, which are slower.")
    free_mb = shutil.disk_usage(SHARED_MEMORY).free // 2**20
    if free_mb < LEAST_SHARED_MB:
        remedy = "Start the container with --shm-size=1g, or set compute.object_store_mb=80."
        return Finding("shared memory", NEEDED, f"{free_mb} MB are free in /dev/shm", remedy)
    return Finding("shared memory", "ok", f"{free_mb} MB are free in /dev/shm")


def cores() -> Finding:
    """Returns how many processor cores this process may use."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Finding("cores", "ok", f"{count}; compute.workers={count} uses all of them")


def gpu() -> Finding:
    """Returns the CUDA devices that torch finds."""
    if find_spec("torch") is None:
        return Finding("GPU", OPTIONAL, "torch is not installed", "pip install '.[train]' for learned policies.")
    import torch

    count = torch.cuda.device_count()
    if not count:
        return Finding("GPU", OPTIONAL, "torch finds none", "Policies run on the CPU; leave compute.gpus at 0.")
    return Finding("GPU", "ok", ", ".join(torch.cuda.get_device_name(number) for number in range(count)))


def habitat() -> Finding:
    """Returns whether an interpreter with habitat-sim is named, and what it has."""
    from embodied.simulators.habitat import HabitatConfig
    from embodied.simulators.habitat.config import PYTHON_VARIABLE, start_worker

    try:
        python = HabitatConfig().interpreter()
    except MissingDependencyError:
        remedy = f"PyBullet, the default simulator, needs nothing more; else see docs/habitat.md and {PYTHON_VARIABLE}."
        return Finding("habitat-sim", OPTIONAL, "not installed", remedy)
    try:
        worker = start_worker(python, 30.0)
    except EmbodiedError as error:
        return Finding("habitat-sim", OPTIONAL, f"not usable: {error.value}", error.remedy)
    facts = worker.facts
    worker.close()
    return Finding("habitat-sim", "ok", f"{facts['habitat']} for Python {facts['python']}")


def writing() -> Finding:
    """Returns whether the current folder and the folder for temporary files can be written."""
    for folder in (Path.cwd(), Path(tempfile.gettempdir())):
        try:
            with tempfile.TemporaryFile(dir=folder):
                continue
        except OSError as error:
            remedy = "Change to a folder that can be written, or set TMPDIR."
            return Finding("write access", NEEDED, f"{folder}: {error.strerror}", remedy)
    free_mb = shutil.disk_usage(Path.cwd()).free // 2**20
    return Finding("write access", "ok", f"{Path.cwd()}, {free_mb} MB free")


CHECKS: tuple[Callable[[], Finding], ...] = (rendering, ray, shared_memory, cores, gpu, habitat, writing)


def findings() -> Iterator[Finding]:
    """Yields what each check has found."""
    for check in CHECKS:
        yield check()


def main() -> None:
    """Prints the findings; exits with 1 where something needed is missing."""
    if len(sys.argv) > 1:
        wanted = sys.argv[1:] in (["--help"], ["-h"], ["--cfg", "job"])
        (sys.stdout if wanted else sys.stderr).write(f"{__doc__}\nIt has no settings.\n")
        raise SystemExit(0 if wanted else 2)
    missing = False
    for finding in findings():
        missing |= finding.state == NEEDED
        sys.stdout.write(f"{finding}\n")
        sys.stdout.flush()
    raise SystemExit(FAILED if missing else 0)


if __name__ == "__main__":
    main()
