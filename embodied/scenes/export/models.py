"""Bodies of a scene as GLB: one file per model, or one for several bodies where they stand."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from embodied.geometry import Pose, transform_points
from embodied.scenes.export.glb import GlbNode, GlbSurface, glb_bytes
from embodied.scenes.joints import body_poses
from embodied.scenes.meshing import triangulate
from embodied.scenes.scene import Body, Part, Scene
from embodied.scenes.surfaces import shaded_surface
from embodied.types.events import Rgba


@dataclass(frozen=True, kw_only=True)
class GlbOptions:
    """How bodies become GLB.

    Attributes:
        asset_root: Where mesh files are read from, and nowhere else.
        linear_colours: As in `glb_bytes`; Habitat needs False.
        marked: Whether vertices carry the instance ids of their bodies, as semantic meshes do.
    """

    asset_root: Path | None = None
    linear_colours: bool = True
    marked: bool = False


USUAL = GlbOptions()


def body_surfaces(
    body: Body,
    *,
    colours: Sequence[Rgba] | None = None,
    asset_root: Path | None = None,
    object_id: int | None = None,
) -> tuple[GlbSurface, ...]:
    """Returns the visible surfaces of `body` in its own frame, one per colour, in the order in which colours appear.

    `colours` are those of its parts, one each, their own where it is None; meshes are read from `asset_root`;
    `object_id` marks the vertices. Raises `PathError` and `SceneError` for meshes that cannot be read.
    """
    by_colour: dict[Rgba, list[Part]] = {}
    for part, rgba in zip(body.parts, colours or [part.rgba for part in body.parts], strict=True):
        if part.visible:
            by_colour.setdefault(rgba, []).append(part)
    return tuple(
        GlbSurface(*_joined([_shaded(part, asset_root) for part in parts]), rgba, object_id)
        for rgba, parts in by_colour.items()
    )


def body_glb(body: Body, options: GlbOptions = USUAL, *, colours: Sequence[Rgba] | None = None) -> bytes:
    """Returns the model of `body` as a GLB file, its frame at the origin.

    `colours` as in `body_surfaces`, which also says what is raised; of `options`, `marked` does not apply.
    """
    surfaces = body_surfaces(body, colours=colours, asset_root=options.asset_root)
    return glb_bytes([GlbNode(body.category or "model", surfaces)], linear_colours=options.linear_colours)


def scene_glb(
    scene: Scene,
    options: GlbOptions = USUAL,
    *,
    poses: Mapping[str, Pose] | None = None,
    bodies: Collection[str] | None = None,
) -> bytes:
    """Returns `bodies` of `scene` where they stand, all by default, as a GLB file with one node each.

    `poses` are the world poses by name, those of the scene by default. The extras of a node are the body's
    `instance_id` and `category`; `options` say the rest. Raises as `body_surfaces`.
    """
    poses = body_poses(scene, {}, {}) if poses is None else poses
    ids = scene.instance_ids()
    nodes = [
        GlbNode(
            body.name,
            body_surfaces(body, asset_root=options.asset_root, object_id=ids[body.name] if options.marked else None),
            poses[body.name],
            {"instance_id": ids[body.name], "category": body.category},
        )
        for body in scene.bodies
        if bodies is None or body.name in bodies
    ]
    return glb_bytes(nodes, linear_colours=options.linear_colours)


@lru_cache(maxsize=1024)
def _shaded(part: Part, asset_root: Path | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns vertices and normals float32 (V, 3) of a part in its body's frame, and faces (F, 3)."""
    mesh = triangulate(part.shape, asset_root=asset_root)
    surface = shaded_surface(transform_points(part.pose.matrix, mesh.vertices), mesh.faces)
    normals = surface.normals / np.linalg.norm(surface.normals, axis=1, keepdims=True)
    return surface.vertices, normals.astype(np.float32), surface.faces


def _joined(pieces: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    starts = np.cumsum([0, *(len(vertices) for vertices, _, _ in pieces)])
    faces = [faces + start for (_, _, faces), start in zip(pieces, starts, strict=False)]
    return (
        np.concatenate([vertices for vertices, _, _ in pieces]),
        np.concatenate([normals for _, normals, _ in pieces]),
        np.concatenate(faces),
    )
