"""A public function of more than two parameters explains each of them in its docstring."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGES = ("embodied", "policies", "launch")
MOST_UNEXPLAINED = 2
INTERFACES = {"Protocol", "ABC", "Module", "Function"}
# Packages whose docstrings need not name parameters yet. None may be added.
NOT_YET: set[str] = set()


class Documented(NamedTuple):
    """A function: where it is, its name, its parameters, and those that its docstring does not name."""

    where: str
    name: str
    parameters: tuple[str, ...]
    missing: tuple[str, ...]
    interface: bool


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[str, ...]:
    named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return tuple(one.arg for one in named if one.arg not in ("self", "cls") and not one.arg.startswith("_"))


def names_it(docstring: str, parameter: str) -> bool:
    """Returns whether a docstring names a parameter: in backticks, or as an entry of a section `Args:`."""
    quoted = " ".join(re.findall(r"`([^`]*)`", docstring))
    return re.search(rf"\b{parameter}\b", quoted) is not None or f"\n    {parameter}: " in docstring


def functions(tree: ast.AST, module: str) -> Iterator[Documented]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from methods(node, module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield documented(node, f"{module}.{node.name}", "", interface=False)


def methods(kind: ast.ClassDef, module: str) -> Iterator[Documented]:
    bases = {getattr(getattr(base, "value", base), "id", getattr(base, "attr", "")) for base in kind.bases}
    for node in kind.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            around = ast.get_docstring(kind) or "" if node.name == "__init__" else ""
            yield documented(node, f"{module}.{kind.name}.{node.name}", around, interface=bool(bases & INTERFACES))


def documented(node: ast.FunctionDef | ast.AsyncFunctionDef, where: str, around: str, *, interface: bool) -> Documented:
    text, named = f"{around}\n{ast.get_docstring(node) or ''}", parameters(node)
    missing = tuple(name for name in named if not names_it(text, name))
    return Documented(where, node.name, named, missing, interface)


def all_functions() -> list[Documented]:
    found = []
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found += list(functions(ast.parse(path.read_text()), module))
    return found


def undocumented() -> list[str]:
    """Returns the functions that leave a parameter unexplained, unless an interface with the same parameters explains.

    A method that implements an interface, such as `Task.advance`, is explained there.
    """
    found = all_functions()
    explained = {(one.name, one.parameters) for one in found if one.interface and not one.missing}
    return [
        f"{one.where}: {', '.join(one.missing)}"
        for one in found
        if len(one.parameters) > MOST_UNEXPLAINED
        and one.missing
        and not one.name.startswith("_")
        and (one.name, one.parameters) not in explained
        and not one.where.startswith(tuple(NOT_YET))
    ]


def test_each_parameter_of_a_function_with_more_than_two_is_explained():
    assert undocumented() == []


def test_the_lint_finds_names_in_backticks_sections_and_interfaces():
    source = '''
class Task(Protocol):
    def advance(self, a, b, c):
        """Moves `a`, `b.x` and `c[0]`."""

class Own:
    def advance(self, a, b, c):
        """Moves."""

    def other(self, a, b, c):
        """Moves `ab` and a, b.

        Args:
            c: The third.
        """
'''
    found = {one.where: (one.missing, one.interface) for one in functions(ast.parse(source), "m")}
    assert found == {
        "m.Task.advance": ((), True),
        "m.Own.advance": (("a", "b", "c"), False),
        "m.Own.other": (("a", "b"), False),
    }
