"""A scene as a scene dataset of Habitat-Sim: a stage of the fixed bodies, a model per movable body, and semantics."""

import hashlib
import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embodied.errors import PathError, SceneError
from embodied.geometry import Pose
from embodied.paths import write_atomically
from embodied.scenes.export.glb import id_colour
from embodied.scenes.export.models import GlbOptions, body_glb, scene_glb
from embodied.scenes.export.y_up import y_up_pose
from embodied.scenes.joints import body_poses, movable_bodies
from embodied.scenes.scene import Body, Scene

MOST_IDS = 65_535  # Habitat keeps the ids of a semantic mesh in 16 bits.
_FRAME = {"up": [0, 1, 0], "front": [0, 0, -1]}


@dataclass(frozen=True)
class HabitatDataset:
    """Where an exported scene is: `config` is the file of the dataset, `scene` the name of its only scene instance.

    `instances` holds the instance id of every body by name; semantic images have these ids, and 0 elsewhere.
    """

    config: Path
    scene: str
    instances: dict[str, int]


def export_habitat(scene: Scene, folder: Path, *, asset_root: Path | None = None) -> HabitatDataset:
    """Writes `scene` in its initial state to `folder`, and returns where it is.

    Fixed bodies become the stage and its semantic mesh; every other visible body is an object of its own config, so
    that it has its own semantic id, while equal bodies share one GLB. Parts of mechanisms, such as drawers, are
    kinematic objects where they stand. Robots, cameras and regions are left out; `scenes/NAME.json` beside the scene
    instance is the whole scene, and `instances.json` lists names and categories by id. Meshes are read from
    `asset_root`.

    Raises `PathError` for a folder that is not empty, `SceneError` for a scene without bodies or with more than 65,535
    of them, and both for meshes that cannot be read.
    """
    if not scene.bodies or len(scene.bodies) > MOST_IDS:
        raise SceneError(f"A scene must have 1 to {MOST_IDS} bodies to be exported.", value=len(scene.bodies))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise PathError("A scene must be exported to an empty or new folder.", value=str(folder))
    export = _Export(scene, folder, asset_root)
    export.write_stage()
    for body in scene.bodies:
        if body.name in export.movable and any(part.visible for part in body.parts):
            export.add_object(body)
    return export.finish()


def file_name(name: str) -> str:
    """Returns `name` as part of a file name: lower-case letters, digits, `-` and `_`."""
    return re.sub(r"[^a-z0-9_-]+", "_", name.lower()).strip("_") or "unnamed"


class _Export:
    def __init__(self, scene: Scene, folder: Path, asset_root: Path | None) -> None:
        self._scene = scene
        self._folder = folder
        self._assets = asset_root
        self._name = file_name(scene.name)
        self._ids = {body.name: scene.instance_ids()[body.name] for body in scene.bodies}
        self._poses = body_poses(scene, {}, {})
        self._jointed = {joint.child for joint in scene.joints}
        self._objects: list[dict[str, Any]] = []
        self._written: set[str] = set()
        self.movable = movable_bodies(scene)

    def write_stage(self) -> None:
        fixed = [body.name for body in self._scene.bodies if body.name not in self.movable]
        path = f"stages/{self._name}"
        self._write(f"{path}.glb", self._glb(fixed, marked=False))
        self._write(f"{path}.semantic.glb", self._glb(fixed, marked=True))
        self._write(f"{path}.semantic.txt", self._descriptor().encode())
        config = {
            "render_asset": f"{self._name}.glb",
            "collision_asset": f"{self._name}.glb",
            "semantic_asset": f"{self._name}.semantic.glb",
            "semantic_descriptor_filename": f"{self._name}.semantic.txt",
            "has_semantic_textures": False,
            "force_flat_shading": True,
            "units_to_meters": 1.0,
            "origin": [0, 0, 0],
            **_FRAME,
            **{f"semantic_{axis}": direction for axis, direction in _FRAME.items()},
        }
        self._write_json(f"{path}.stage_config.json", config)

    def add_object(self, body: Body) -> None:
        content = body_glb(body, GlbOptions(asset_root=self._assets, linear_colours=False))
        model = f"{file_name(body.category or body.name)}-{hashlib.sha256(content).hexdigest()[:12]}.glb"
        if model not in self._written:
            self._write(f"objects/{model}", content)
            self._written.add(model)
        template = f"id{self._ids[body.name]:05d}_{file_name(body.name)}"
        config = {
            "render_asset": model,
            "collision_asset": model,
            "semantic_id": self._ids[body.name],
            "mass": body.mass_kg,
            "friction_coefficient": body.friction,
            # The frame of the object is that of the body, not of its centre of mass.
            "COM": [0, 0, 0],
            "compute_COM_from_shape": False,
            "join_collision_meshes": len(body.parts) == 1,
            "force_flat_shading": True,
            "units_to_meters": 1.0,
            **_FRAME,
            "user_defined": {"name": body.name, "category": body.category, "graspable": body.graspable},
        }
        self._write_json(f"objects/{template}.object_config.json", config)
        motion = "KINEMATIC" if body.name in self._jointed else "DYNAMIC"
        self._objects.append(_instance(template, self._poses[body.name]) | {"motion_type": motion})

    def finish(self) -> HabitatDataset:
        instance = {
            "translation_origin": "asset_local",
            "stage_instance": _instance(self._name, Pose()),
            "object_instances": self._objects,
            "default_lighting": "no_lights",
            "semantic_scene_instance": f"{self._name}_semantics",
            "user_defined": {"scene": f"{self._name}.json"},
        }
        self._write_json(f"scenes/{self._name}.scene_instance.json", instance)
        self._write(f"scenes/{self._name}.json", self._scene.to_json().encode())
        listed = [
            {"id": self._ids[body.name], "name": body.name, "category": body.category} for body in self._scene.bodies
        ]
        self._write_json("instances.json", listed)
        config = f"{self._name}.scene_dataset_config.json"
        folders = {"stages": "stages/*", "objects": "objects/*", "scene_instances": "scenes/*"}
        # The file of the dataset comes last: where it exists, everything else does.
        semantics = {f"{self._name}_semantics": f"stages/{self._name}.semantic.txt"}
        self._write_json(
            config,
            {kind: {"paths": {".json": [pattern]}} for kind, pattern in folders.items()}
            | {"semantic_scene_descriptor_instances": semantics},
        )
        return HabitatDataset(self._folder / config, self._name, dict(self._ids))

    def _glb(self, bodies: Collection[str], *, marked: bool) -> bytes:
        options = GlbOptions(asset_root=self._assets, linear_colours=False, marked=marked)
        return scene_glb(self._scene, options, poses=self._poses, bodies=bodies)

    def _descriptor(self) -> str:
        """Returns the semantics in the text format of HM3D: id, colour, category and region of every body."""
        rows = ["HM3D Semantic Annotations"]
        for body in self._scene.bodies:
            red, green, blue, _ = id_colour(self._ids[body.name])
            category = (body.category or body.name).replace('"', "'")
            rows.append(f'{self._ids[body.name]},{red:02X}{green:02X}{blue:02X},"{category}",0')
        return "\n".join(rows) + "\n"

    def _write_json(self, path: str, content: object) -> None:
        self._write(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())

    def _write(self, path: str, content: bytes) -> None:
        write_atomically(self._folder / path, content)


def _instance(template: str, pose: Pose) -> dict[str, Any]:
    placed = y_up_pose(pose)
    x, y, z, w = placed.orientation
    return {
        "template_name": template,
        "translation_origin": "asset_local",
        "translation": list(placed.position_m),
        "rotation": [w, x, y, z],
    }
