"""Scenes for other programs: GLB files, and scene datasets of Habitat-Sim."""

from embodied.scenes.export.glb import GlbNode, GlbSurface, glb_bytes
from embodied.scenes.export.habitat import HabitatDataset, export_habitat
from embodied.scenes.export.models import GlbOptions, body_glb, body_surfaces, scene_glb
from embodied.scenes.export.y_up import y_up_points, y_up_pose, z_up_points, z_up_pose

__all__ = [
    "GlbNode",
    "GlbOptions",
    "GlbSurface",
    "HabitatDataset",
    "body_glb",
    "body_surfaces",
    "export_habitat",
    "glb_bytes",
    "scene_glb",
    "y_up_points",
    "y_up_pose",
    "z_up_points",
    "z_up_pose",
]
