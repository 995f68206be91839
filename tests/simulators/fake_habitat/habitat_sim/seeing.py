"""Casts rays at triangles of GLB files."""

import sys
from functools import lru_cache
from pathlib import Path

import numpy as np

ROOT = str(Path(__file__).parents[4])
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

from tests.scenes.glb_reader import read_glb  # noqa: E402


class Model:
    """The triangles of a file: corners (F, 3, 3), and colours (F, 3) in 0 to 255."""

    def __init__(self, corners, colours):
        self.corners, self.colours = corners, colours
        middle = corners.reshape(-1, 3).mean(axis=0) if len(corners) else np.zeros(3)
        self.middle = middle
        self.reach = float(np.linalg.norm(corners.reshape(-1, 3) - middle, axis=1).max(initial=0.0))

    @staticmethod
    @lru_cache(maxsize=512)
    def read(path):
        corners, colours = [np.zeros((0, 3, 3))], [np.zeros((0, 3))]
        for node in read_glb(Path(path).read_bytes()):
            for surface in node.surfaces:
                found = surface.vertices[surface.faces].astype(float)
                corners.append(found @ node.matrix[:3, :3].T + node.matrix[:3, 3])
                colours.append(np.tile(np.array(surface.colour[:3]) * 255, (len(found), 1)))
        return Model(np.concatenate(corners), np.concatenate(colours))


def cast(things, world_from_camera, spec):
    """Returns colours (H, W, 4) uint8, depth (H, W) float32 and ids (H, W) uint32."""
    height, width = spec.resolution
    focal = width / 2 / np.tan(np.radians(spec.hfov) / 2)
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = np.stack([(u - width / 2) / focal, -(v - height / 2) / focal, -np.ones_like(u)], axis=-1).reshape(-1, 3)
    depth = np.full(len(rays), spec.far)
    back = [1.0, 1.0, 1.0] if spec.clear_color is None else spec.clear_color[:3]
    colour, ids = np.tile(np.array(back) * 255, (len(rays), 1)), np.zeros(len(rays), dtype=np.uint32)
    for thing in things:
        camera_from_thing = np.linalg.inv(world_from_camera) @ thing.matrix
        middle = camera_from_thing[:3, :3] @ thing.model.middle + camera_from_thing[:3, 3]
        along = rays / np.linalg.norm(rays, axis=1, keepdims=True)
        at = np.maximum(along @ middle, 0.0)
        near = np.flatnonzero(np.linalg.norm(along * at[:, None] - middle, axis=1) <= thing.model.reach + 1e-6)
        if len(near) and len(thing.model.corners):
            corners = thing.model.corners @ camera_from_thing[:3, :3].T + camera_from_thing[:3, 3]
            found, face = first_hits(rays[near], corners, spec.near)
            closer = found < depth[near]
            depth[near[closer]], ids[near[closer]] = found[closer], thing.semantic_id
            colour[near[closer]] = thing.model.colours[face[closer]]
    depth[depth >= spec.far] = 0.0
    shape = (height, width)
    rgba = np.concatenate([np.rint(colour), np.full((len(colour), 1), 255)], axis=1).astype(np.uint8)
    return rgba.reshape(*shape, 4), depth.astype(np.float32).reshape(shape), ids.reshape(shape)


def first_hits(rays, corners, near_m):
    """Returns the depth along -z at which each ray meets a triangle first, and which (Moeller and Trumbore, 1997)."""
    best, face = np.full(len(rays), np.inf), np.zeros(len(rays), dtype=int)
    first, along, across = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    for start in range(0, len(corners), 256):
        chunk = slice(start, start + 256)
        p = np.cross(rays[:, None], across[None, chunk])
        determinant = np.einsum("fi,rfi->rf", along[chunk], p)
        with np.errstate(divide="ignore", invalid="ignore"):
            u = np.einsum("fi,rfi->rf", -first[chunk], p) / determinant
            q = np.cross(-first[chunk], along[chunk])
            v = rays @ q.T / determinant
            t = np.einsum("fi,fi->f", across[chunk], q)[None] / determinant
        hit = (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9) & (t > near_m)
        t = np.where(hit, t, np.inf)
        nearest = t.argmin(axis=1)
        found = t[np.arange(len(rays)), nearest]
        closer = found < best
        best[closer], face[closer] = found[closer], start + nearest[closer]
    return best, face
