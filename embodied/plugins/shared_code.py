"""The code that all nodes of a cluster must have in common: what identifies it, and what is shipped to them."""

import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from embodied.errors import PluginError
from embodied.plugins.parts import GROUPS, named_modules, offered
from embodied.plugins.sources import OURS, source_digest

DECISIVE_LIBRARIES = ("pybullet", "ompl", "pin", "coal", "numpy", "torch")
SHIP_MB = 100
REMEDY = "Install the driver's version on all nodes, or let the run ship its code: compute.ship_mb bounds the size."


def code_modules() -> list[str]:
    """Returns the modules whose source must be the same on all nodes.

    These are our own packages, those of parts from outside that this process has imported, and `plugins=` modules.
    """
    parts = [part.module.partition(".")[0] for group in GROUPS for offers in offered(group).values() for part in offers]
    ours = [name for name in OURS if find_spec(name) is not None]
    return list(dict.fromkeys([*ours, *(name for name in sorted(parts) if name in sys.modules), *named_modules()]))


def code_identity() -> dict[str, str]:
    """Returns what identifies the code of this process: the digest of each module, the version of each library.

    Raises `PluginError` for a module that cannot be found.
    """
    sources = {name: _state(name, library=False) for name in code_modules()}
    return sources | {name: _state(name, library=True) for name in DECISIVE_LIBRARIES}


def require_same_code(expected: Mapping[str, str]) -> None:
    """Raises `PluginError` unless the code of this process matches `expected`, the identity of the driver's."""
    for name, on_driver in expected.items():
        here = _state(name, library=name in DECISIVE_LIBRARIES)
        if here != on_driver:
            raise PluginError(
                "The code of every node must be that of the driver.",
                value=f"{name}: {here} on node {platform.node()}, {on_driver} on the driver",
                remedy=REMEDY,
            )


def shipped_code(limit_mb: float) -> list[str]:
    """Returns the paths of the modules of `code_modules`, to be shipped; none where they are larger than `limit_mb`.

    Raises `PluginError` for a module that cannot be found.
    """
    paths: dict[str, None] = {}
    for name in code_modules():
        spec = find_spec(name.partition(".")[0])
        places = list(spec.submodule_search_locations or [spec.origin]) if spec is not None else []
        paths |= {str(Path(place).absolute()): None for place in places if place}
    files = [file for path in map(Path, paths) for file in ([path] if path.is_file() else path.rglob("*"))]
    size_mb = sum(file.stat().st_size for file in files if file.is_file()) / 2**20
    return list(paths) if size_mb <= limit_mb else []


def not_importable(what: str) -> PluginError:
    """Returns the error for code that a node lacks; `what` says which."""
    return PluginError(
        "Every node must be able to import all code that a run uses.",
        value=what,
        remedy="Install its package on all nodes, or name its module: plugins=[my_module]. Code of at most "
        "compute.ship_mb is shipped to a cluster.",
    )


def import_failure(text: str) -> str:
    """Returns the line of a traceback that says which import has failed, "" where none has."""
    lines = [line.strip() for line in text.splitlines()]
    return next((line for line in reversed(lines) if line.startswith(("ModuleNotFoundError:", "ImportError:"))), "")


def _state(name: str, *, library: bool) -> str:
    if library:
        try:
            return f"version {version(name)}"
        except PackageNotFoundError:
            return "not installed"
    try:
        return f"SHA-256 {source_digest(name)}"
    except PluginError:
        return "not found"
