"""No module imports itself through others; imports inside functions and for type checkers count."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("embodied", "policies", "launch")


def modules(root: Path, packages: tuple[str, ...]) -> dict[str, Path]:
    """Returns the file of each module by its dotted name; a package has the name of its folder."""
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for package in packages
        for path in sorted((root / package).rglob("*.py"))
    }


def imported(path: Path, name: str, known: Mapping[str, Path]) -> Iterator[str]:
    """Yields the known modules that a module imports anywhere in its text, relative imports included."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                if inner in known:
                    yield inner
                elif source in known:
                    yield source


def cycles(graph: Mapping[str, set[str]]) -> list[tuple[str, ...]]:
    """Returns the strongly connected components of more than one module, sorted: those that reach each other."""
    reached = {name: _reachable(graph, name) for name in graph}
    found = {
        tuple(sorted(other for other in reached[name] if name in reached[other]))
        for name in graph
        if name in reached[name]
    }
    return sorted(found)


def _reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    pending = list(graph[start])
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += graph[name]
    return found


def import_graph(root: Path, packages: tuple[str, ...]) -> dict[str, set[str]]:
    """Returns the modules that each module imports, itself excepted."""
    known = modules(root, packages)
    return {name: set(imported(path, name, known)) - {name} for name, path in known.items()}


@pytest.fixture(scope="module")
def found() -> list[tuple[str, ...]]:
    return cycles(import_graph(ROOT, PACKAGES))


def test_no_module_imports_itself_through_others(found):
    assert list(found) == []


def test_cycles_inside_functions_type_checking_blocks_and_relative_imports_are_seen(tmp_path: Path):
    files = {
        "a": "def later():\n    from demo.b import something\n",
        "b": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import demo.a\n",
        "c": "from . import d\n",
        "d": "from .c import other\n",
        "e": "import demo.a\nimport torch\n",
        "f": "from demo.sub import value\n",
        "sub/__init__": "from ..f import value\n",
    }
    for name, text in {"__init__": "", **files}.items():
        path = tmp_path / "demo" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert cycles(import_graph(tmp_path, ("demo",))) == [
        ("demo.a", "demo.b"),
        ("demo.c", "demo.d"),
        ("demo.f", "demo.sub"),
    ]
