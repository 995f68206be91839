"""The provenance of a result: the run's identity, versions of the relevant libraries, the processor."""

import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from embodied.plugins import OfferedPart, sources_of
from embodied.rollout.worker import WorkerConfig

LIBRARIES = ("embodied-memory", "pybullet", "ompl", "pin", "coal", "numpy", "ray", "torch")
DECISIVE = ("embodied-memory", "pybullet", "ompl", "pin", "coal", "numpy", "torch")
RUN_ID_LENGTH = 16


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Returns the identity of everything that determines results: `settings` and the libraries that move bodies.

    Dataclasses count by their name and fields, enums by their value, mappings without regard to order.
    """
    return _digest({"settings": settings, "versions": _decisive_versions(), "code": code_sha256()})


def policy_settings(policies: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the class of the config of each policy, as `config`, and its settings that determine results."""
    found = {}
    for label, config in policies.items():
        plain = _plain(config) if is_dataclass(config) else {}
        options = {name: value for name, value in plain.items() if name}
        found[label] = {"config": type(config).__name__.lstrip("_"), "options": options}
    return found


def digests(settings: Mapping[str, Any]) -> dict[str, str]:
    """Returns a digest of each part that `fingerprint` covers: of every setting, every library, and this project.

    Settings that are mappings are split by entry, as `policies.expert`.
    """
    everything = {**settings, "libraries": _decisive_versions(), "this project": code_sha256()}
    found: dict[str, str] = {}
    for name, value in everything.items():
        inner = value if isinstance(value, Mapping) and value else {"": value}
        found |= {f"{name}.{key}".rstrip("."): _digest(one) for key, one in inner.items()}
    return found


def _digest(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(_plain(value), order="sorted")).hexdigest()[:RUN_ID_LENGTH]


def _decisive_versions() -> dict[str, str]:
    return {name: known for name, known in versions().items() if name in DECISIVE}


def outside_sources(worker: WorkerConfig, used: Iterable[OfferedPart]) -> dict[str, dict[str, str]]:
    """Returns the identity of the plugin code that `worker` uses, by package.

    It is empty if all code is this project's. `used` are the parts of plugins from which it was built. Raises
    `PluginError`.
    """
    played = (
        worker.tasks, worker.policies, worker.team_policies, worker.simulator, worker.controller, worker.dispatcher,
        worker.recorder, worker.controls,
    )  # fmt: skip
    return sources_of(used, set(_modules_of(played)))


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the libraries on which results may depend."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """Returns the git commit of this code, with "+" where files differ from it, or "" outside a git repository."""
    git, root = shutil.which("git"), Path(__file__).parents[2]
    if git is None or not (root / ".git").exists():
        return ""
    head, changes = (
        subprocess.run([git, "-C", str(root), *words], capture_output=True, text=True, check=False)  # noqa: S603
        for words in (("rev-parse", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
    )
    return head.stdout.strip() + ("+" if changes.stdout else "")


def cpu() -> str:
    """Returns the processor's name and the number of cores that this process may use."""
    cores = len(os.sched_getaffinity(0))
    name = platform.processor() or platform.machine()
    described = Path("/proc/cpuinfo")
    if described.exists():
        named = [line for line in described.read_text().splitlines() if line.startswith("model name")]
        name = named[0].partition(":")[2].strip() if named else name
    return f"{name}, {cores} {'core' if cores == 1 else 'cores'}"


@cache
def code_sha256() -> str:
    """Returns the digest of the sources of physics, tasks and policies: an edited one is another run at any version.

    Reports are left out: they may be improved without playing all episodes again. Of the evaluation package, only
    controls change what happens in an episode.
    """
    root, digest = Path(__file__).parents[2], hashlib.sha256()
    sources = [*root.glob("embodied/**/*.py"), *root.glob("policies/**/*.py")]
    for path in sorted(path for path in sources if path.parent.name != "evaluation" or path.name == "controls.py"):
        digest.update(f"{path.relative_to(root)} ".encode() + path.read_bytes())
    return digest.hexdigest()


def _modules_of(value: Any) -> Iterator[str]:
    """Yields the modules of the classes of a value and of all values in it."""
    yield type(value).__module__
    if is_dataclass(value):
        yield from _modules_of({field.name: getattr(value, field.name) for field in fields(value)})
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _modules_of(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _modules_of(item)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        files = getattr(value, "files_sha256", "")  # Files that a task reads besides its fields, such as a model file.
        settings = getattr(value, "decisive", None)  # Where not all fields determine results, such as an address.
        plain = _plain(asdict(value) if settings is None else settings)
        return {"": type(value).__qualname__, **plain, **({"files": files} if files else {})}
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
