"""User-defined robots: a model file adds what URDF files do not state.

The model file is JSON, as scenes are: one strict decoder reads both, and its errors name the field. It lies beside its
URDF files, or names an installed Python package (`package`) whose folder holds them. No code is executed or imported.
No value is guessed either: missing entries and entries that do not fit are refused, never replaced by defaults.

    {"version": 1, "name": "my_robot",
     "parts": [{"urdf": "arm/arm.urdf"}, {"urdf": "gripper.urdf", "prefix": "g_", "parent": "flange"}],
     "arms": [{"name": "gripper", "joints": ["j1", "j2"], "home_rad": [0, 1], "tool_link": "g_palm",
               "tool_at": {"position_m": [0, 0, 0.1]},
               "gripper": {"joints": {"g_left": {"closed": 0, "open": 0.04}}, "fingers": ["g_left", "g_right"],
                           "stroke_m": 0.04, "force_n": 20}}]}
"""

import hashlib
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import msgspec

from embodied.errors import RobotModelError
from embodied.robots.from_urdf import build_model
from embodied.robots.model_entries import RobotFile
from embodied.robots.robot import RobotModel, UrdfSource
from embodied.robots.urdf import compose

MAX_MODEL_FILE_BYTES = 1 << 20


def is_model_path(name: str) -> bool:
    """Returns whether `name` is the path of a model file rather than the name of a robot."""
    return name.endswith(".json") or "/" in name


def load_robot(path: str | Path, *, root: str | Path | None = None) -> RobotModel:
    """Returns the robot of the model file at `path`; a process reads each file once.

    URDF files and meshes must lie below `root`; None stands for the folder of the `package` that the file names, or
    else for the file's own folder. Raises `RobotModelError` for a file that cannot be read, lacks the form of
    `RobotFile`, or does not fit its URDF files, and `UnknownNameError` for a missing link or joint.
    """
    return _loaded(Path(path).absolute(), None if root is None else Path(root).resolve())


@lru_cache(maxsize=64)
def _loaded(file: Path, root: Path | None) -> RobotModel:
    try:
        with file.open("rb") as opened:
            text = opened.read(MAX_MODEL_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise RobotModelError(
            "A model file of a robot must be a readable file.",
            value=str(file),
            remedy="Give the path from the present folder, or an absolute one.",
        ) from error
    if len(text) > MAX_MODEL_FILE_BYTES:
        raise RobotModelError(f"A model file must have at most {MAX_MODEL_FILE_BYTES} bytes.", value=str(file))
    try:
        entry = msgspec.json.decode(text, type=RobotFile)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise RobotModelError(
            f"The model file {file.name} must be JSON of the documented fields.",
            value=str(error),
            remedy="Compare with `embodied.robots.model_entries.RobotFile`.",
        ) from error
    model = build_model(entry, str(root or _root(file, entry)))
    return replace(model, files_sha256=_digest(text, model.source))


def _digest(text: bytes, source: UrdfSource | None) -> str:
    """Returns the SHA-256 of a model file with its URDF files and meshes: an edited robot is another one."""
    digest = hashlib.sha256(text)
    if source is not None:
        meshes = [Path(mesh.get("filename", "")) for mesh in compose(source).iter("mesh")]
        for path in dict.fromkeys([*(Path(source.root) / part.file for part in source.parts), *meshes]):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _root(file: Path, entry: RobotFile) -> Path:
    if not entry.package:
        return file.resolve().parent
    # Only a top-level name: finding a package inside another one would import that one.
    spec = find_spec(entry.package) if entry.package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise RobotModelError(
            f"The `package` of {file.name} must be an installed Python package that holds the URDF files.",
            value=entry.package,
            remedy="Install it, or put the URDF files beside the model file and leave `package` out.",
        )
    return Path(next(iter(spec.submodule_search_locations))).resolve()
