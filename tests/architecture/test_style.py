"""Rules of style that linters do not know."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(path for room in ("embodied", "policies", "launch") for path in (ROOT / room).rglob("*.py"))
LONGEST_MODULE_LINES = 350
LONGEST_FUNCTION_LINES = 40
# Nothing narrower: a library raises bare exceptions, or one robot's error must not reach the others.
BARE_EXCEPTIONS_COME_FROM_OUTSIDE = {
    "embodied/simulators/remote/worker.py",
    "embodied/simulators/rendering/gl_context.py",
    "embodied/memory/storage/log.py",
    "embodied/memory/service/service.py",
    "embodied/memory/service/sender.py",
}


def named(path):
    return str(path.relative_to(ROOT))


def functions(path):
    tree = ast.parse(path.read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_the_rules_look_at_every_room():
    assert {path.parent.name for path in MODULES} >= {"embodied", "simulators", "controllers", "tasks", "launch"}


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_module_is_short_and_says_what_it_is(path):
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_MODULE_LINES
    assert ast.get_docstring(ast.parse(text)), "a module begins with a docstring"


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_function_fits_a_screen(path):
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions(path)}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FUNCTION_LINES} == {}


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_a_boolean_is_never_passed_by_position(path):
    offenders = []
    for node in functions(path):
        positional = [*node.args.posonlyargs, *node.args.args]
        offenders += [
            f"{node.name}({argument.arg})"
            for argument in positional
            if isinstance(argument.annotation, ast.Name) and argument.annotation.id == "bool"
        ]
    assert offenders == []


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_nothing_is_pickled_or_caught_blindly(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            imported = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not {name.partition(".")[0] for name in imported} & {"pickle", "dill", "cloudpickle", "shelve"}
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            assert isinstance(node.value, ast.Constant), node.lineno
            assert node.value.value is False, node.lineno
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}: a bare except"
            blind = isinstance(node.type, ast.Name) and node.type.id == "Exception"
            assert not blind or named(path) in BARE_EXCEPTIONS_COME_FROM_OUTSIDE, f"line {node.lineno}"


def test_yaml_chooses_and_never_names_a_class():
    files = sorted((ROOT / "sim_configs").rglob("*.yaml"))
    assert files
    assert [named(path) for path in files if "_target_" in path.read_text()] == []
