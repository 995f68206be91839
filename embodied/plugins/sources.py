"""The source code of parts from outside: its identity and its location."""

import hashlib
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from embodied.errors import PluginError
from embodied.plugins.helpers import helper_files
from embodied.plugins.parts import GROUPS, OfferedPart, named_modules, named_parts, offered

OURS = ("embodied", "policies", "launch")
COMPILED = ("__pycache__", ".pyc", ".so", ".pyd")


def sources_of(used: Iterable[OfferedPart], modules: Iterable[str]) -> dict[str, dict[str, str]]:
    """Returns the identity of the code from outside that a run uses, by package: its version, and its SHA-256.

    `used` are parts that the run has loaded, `modules` the names of modules that define what it plays, of which those
    without a part from outside do not count. Every module that the command line has named counts, and every package
    that offers skills, since any policy may call them. Raises `PluginError` for code that cannot be found.
    """
    parts = [part for group in GROUPS for offers in offered(group).values() for part in offers]
    top_levels = {name.partition(".")[0] for name in modules}
    chosen = {part.package for part in used} | {part.package for part in parts if part.group == "skills"}
    chosen |= {part.package for part in parts if part.module.partition(".")[0] in top_levels}
    found = {name: {"version": "", "sha256": _digest([name, *_defining(name)])} for name in sorted(named_modules())}
    for package in sorted(chosen - found.keys()):
        own = [part for part in parts if part.package == package]
        found[package] = {
            "version": own[0].version,
            "sha256": _digest(sorted({part.module.partition(".")[0] for part in own})),
        }
    return found


def _digest(modules: Sequence[str]) -> str:
    digests = [source_digest(name) for name in modules]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


def _defining(module: str) -> list[str]:
    """Returns the other modules, or their packages, in which the parts lie that a named module offers."""
    values = [value for parts in named_parts(module).values() for value in parts.values()]
    values += [task for value in values for task in getattr(value, "tasks", {}).values()]
    defining = {str(getattr(value, "__module__", "")).partition(".")[0] for value in values}
    return sorted(defining - {"", "builtins", *OURS, module.partition(".")[0]})


@cache
def source_digest(module: str) -> str:
    """Returns the SHA-256 of the source of a module, or of all files of a package but compiled ones, data included.

    The helper modules that it imports count too (see `helper_files`). A process computes it once. Raises `PluginError`
    for a module that cannot be found.
    """
    spec = find_spec(module)
    if spec is None or not (spec.origin or spec.submodule_search_locations):
        raise PluginError("The source of a part from outside must be found.", value=module)
    digest = hashlib.sha256()
    for root in map(Path, spec.submodule_search_locations or [spec.origin or ""]):
        files = [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file())
        for path in files:
            relative = path.relative_to(root if root.is_dir() else root.parent)
            if not set(COMPILED) & {*relative.parts, path.suffix}:
                digest.update(f"{relative.as_posix()} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    for name, path in sorted(helper_files(module).items()):
        if name.partition(".")[0] not in OURS:
            digest.update(f"{name} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def module_folders() -> list[str]:
    """Returns the absolute folders that must be on the search path for the named modules to be imported elsewhere."""
    folders: dict[str, None] = {}
    for name in named_modules():
        spec = sys.modules[name.partition(".")[0]].__spec__
        if spec is not None:
            places = spec.submodule_search_locations or [spec.origin or ""]
            folders |= {str(Path(place).absolute().parent): None for place in places}
    return list(folders)
