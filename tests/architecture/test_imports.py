"""Every configuration loads where no SDK is installed."""

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SDKS = (
    "av",
    "coal",
    "gymnasium",
    "lancedb",
    "matplotlib",
    "moderngl",
    "ompl",
    "open3d",
    "pinocchio",
    "pybullet",
    "ray",
)
SDKS += ("peft", "ray", "safetensors", "torch", "transformers")
LOAD = """
import importlib, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {sdks}:
            raise ModuleNotFoundError(f"blocked: {{name}}", name=name)

sys.meta_path.insert(0, Absent())
for module in {modules}:
    importlib.import_module(module)
"""


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def config_modules():
    """Modules that define a configuration, the schema of the command lines, all benchmarks, and the vocabulary."""
    found = []
    for room in ("embodied", "policies"):
        for path in sorted((ROOT / room).rglob("*.py")):
            classes = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
            if any(name.endswith("Config") for name in classes):
                found.append(module_name(path))
    vocabulary = ["types", "protocols", "geometry", "specs", "seeding", "errors", "trajectories", "scenes.scene"]
    return [*found, "launch.schema", "launch.bench", *(f"embodied.{name}" for name in vocabulary)]


def load_without_sdks(modules):
    script = LOAD.format(sdks=SDKS, modules=modules)
    return subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)


def test_configurations_and_vocabulary_load_without_any_sdk():
    modules = config_modules()
    assert "embodied.simulators.world" in modules
    done = load_without_sdks(modules)
    assert done.returncode == 0, done.stderr


def test_the_blockade_blocks():
    done = load_without_sdks(["pybullet"])
    assert "blocked: pybullet" in done.stderr
