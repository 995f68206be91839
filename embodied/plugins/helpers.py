"""The helper modules that a module imports from its own package or folder, found in its source without running it."""

import ast
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

SHARED_FOLDERS = ("site-packages", "dist-packages")  # Modules side by side there belong to different packages.


def helper_files(module: str) -> dict[str, Path]:
    """Returns the files of helper modules by module name: those that `module` imports, and those that these import.

    A helper is of the same top-level package, or lies in the same folder as the top-level module. Imports inside
    functions and the packages around a module count too. Modules without Python source are left out.
    """
    top_level = module.partition(".")[0]
    folder = _folder(_spec(top_level))
    found: dict[str, Path] = {}
    waiting = _with_packages(module)
    while waiting:
        name = waiting.pop()
        path = _source(_spec(name))
        if path is None or name in found:
            continue
        found[name] = path
        for imported in _imported(name, path):
            first = imported.partition(".")[0]
            if first == top_level or (folder is not None and _folder(_spec(first)) == folder):
                waiting += _with_packages(imported)
    found.pop(module, None)
    return found


def _with_packages(module: str) -> list[str]:
    """Returns the packages around a module, whose code runs when it is imported, and the module."""
    parts = module.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _imported(module: str, path: Path) -> Iterator[str]:
    """Yields the absolute names in the import statements of a file; some of `from a import b` may be no modules."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _spec(module: str) -> ModuleSpec | None:
    try:
        return find_spec(module)
    except (ImportError, ValueError, AttributeError):  # A parent that is no package, or a module without a spec.
        return None


def _source(spec: ModuleSpec | None) -> Path | None:
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def _folder(spec: ModuleSpec | None) -> Path | None:
    """Returns the folder that must be searched for a top-level module, None where many packages share it."""
    place = _source(spec)
    if place is None:
        return None
    folder = place.absolute().parent
    folder = folder.parent if place.name == "__init__.py" else folder
    return None if folder.name in SHARED_FOLDERS else folder
