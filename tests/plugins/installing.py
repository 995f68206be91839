"""Packages as pip leaves them, without pip: their modules and the metadata in which Python looks for entry points."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = Path(__file__).parent / "package"


def install_outside_lab(site: Path) -> Path:
    """Installs the package beside this file into the folder `site`, from its own pyproject.toml."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    shutil.copytree(PACKAGE / "outside_lab", site / "outside_lab", ignore=shutil.ignore_patterns("__pycache__"))
    points = {group: "\n".join(f"{a} = {b}" for a, b in own.items()) for group, own in project["entry-points"].items()}
    return write_metadata(site, project["name"], project["version"], points)


def install(site: Path, name: str, *, points: dict[str, str], modules: dict[str, str]) -> Path:
    """Installs a package called `name`: `points` are lines of entry points by group, `modules` sources by file name."""
    site.mkdir(exist_ok=True)
    for file, source in modules.items():
        (site / file).write_text(source)
    return write_metadata(site, name, "0.1", points)


def write_metadata(site: Path, name: str, version: str, points: dict[str, str]) -> Path:
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (folder / "entry_points.txt").write_text("".join(f"[{group}]\n{lines}\n\n" for group, lines in points.items()))
    return site


def command(name: str, *settings: str, paths: tuple[Path, ...] = (), folder: Path = ROOT, limit_s: float = 240):
    """Runs `python -m launch.<name>` with `paths` on the search path."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, *paths)))}
    return subprocess.run(
        [sys.executable, "-m", f"launch.{name}", *settings],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=limit_s, check=False,
    )  # fmt: skip
