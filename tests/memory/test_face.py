"""What other packages use of the bank they import from its face; the modules inside never import the face."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FACES = ("embodied.memory", "embodied.memory.perception")
SDKS = ("ray_service", "socket_link", "socket_server", "socket_settings")  # These need Ray or websockets.
OPEN = (*FACES, *(f"embodied.memory.service.{name}" for name in SDKS))
INSIDE = sorted((ROOT / "embodied" / "memory").rglob("*.py"))
OUTSIDE = sorted(
    path
    for package in ("embodied", "policies", "launch")
    for path in (ROOT / package).rglob("*.py")
    if path not in INSIDE
)


def imported(path):
    """Returns the modules of the bank that a file imports from, those inside of functions included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {node.module} | {name for name in names if (ROOT / f"{name.replace('.', '/')}.py").exists()}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {module for module in found if module.startswith("embodied.memory")}


def test_other_packages_import_from_the_faces():
    found = {str(path.relative_to(ROOT)): imported(path) - set(OPEN) for path in OUTSIDE}
    assert {path: sorted(modules) for path, modules in found.items() if modules} == {}
    assert any(imported(path) for path in OUTSIDE)


def test_modules_inside_do_not_import_a_face():
    found = {str(path.relative_to(ROOT)): imported(path) & set(FACES) for path in INSIDE}
    assert {path: modules for path, modules in found.items() if modules} == {}


@pytest.mark.parametrize("face", FACES)
def test_a_face_names_all_that_it_gives_and_nothing_else(face):
    module = importlib.import_module(face)
    tree = ast.parse(Path(module.__file__).read_text())
    given = {alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert set(module.__all__) == given
    assert len(module.__all__) == len(given)
    assert all(hasattr(module, name) for name in module.__all__)
