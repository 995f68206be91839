"""Draws a kinematic world with Habitat: a model per body and per robot link, put where they are at every image."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from embodied.geometry import CAMERA_FROM_GL, Pose, quaternion_from_matrix
from embodied.robots.assets import stock_urdf_path
from embodied.robots.meshes import visual_meshes
from embodied.robots.robot import RobotModel
from embodied.scenes.changes import part_colours
from embodied.scenes.export import GlbNode, GlbOptions, GlbSurface, body_glb, glb_bytes, y_up_points, y_up_pose
from embodied.scenes.export.y_up import Y_UP_FROM_Z_UP
from embodied.scenes.scene import Camera, Scene
from embodied.scenes.surfaces import shaded_surface
from embodied.simulators.habitat.place import DrawnPlace
from embodied.simulators.rendering.opengl import BACKGROUND, FAR_M, NEAR_M, CameraView
from embodied.simulators.rendering.pixels import VisibleState, camera_views
from embodied.types import CameraImage, Rgba

OURS = 20_000  # Added to our ids while they are drawn in a place of a dataset, whose own ids are smaller.


class HabitatPixels:
    """The images of one scene. `folder` is where models are written; mesh files of the scene are in `assets`."""

    def __init__(
        self, place: DrawnPlace, scene: Scene, models: Mapping[str, RobotModel], *, folder: Path, assets: Path
    ):
        self._place = place
        self._scene = scene
        self._models = models
        self._folder = folder
        self._options = GlbOptions(asset_root=assets, linear_colours=False)
        self._session = -1
        self._colours: dict[str, tuple[Rgba, ...]] = {}
        self._sent: dict[str, Pose] = {}

    def render(self, cameras: Sequence[str], visible: VisibleState) -> dict[str, CameraImage]:
        """Returns the images of `cameras` while bodies and links are as in `visible`.

        Depth is 0 beyond 10 m. Raises `UnknownNameError` for a missing camera or link, and `OutageError`.
        """
        views = camera_views(self._scene, cameras, visible)
        session = self._place.enter()
        if session != self._session:
            self._session, self._colours, self._sent = session, {}, {}
            self._add_links(visible)
        self._paint(visible)
        poses = self._moved(visible)
        offsets, size = _layout(views)
        described = [
            {"name": view.name, "pose": _camera_pose(view), "offsets": places}
            for view, places in zip(views, offsets, strict=True)
        ]
        worker = self._place.worker
        worker.call(
            "draw",
            poses={name: _seven(y_up_pose(pose)) for name, pose in poses.items()},
            cameras=described,
            size=worker.reserve(size),
        )
        self._sent |= poses
        return {view.name: self._image(view, places) for view, places in zip(views, offsets, strict=True)}

    def _image(self, view: CameraView, offsets: Sequence[int]) -> CameraImage:
        shape, worker = (view.height_px, view.width_px), self._place.worker
        ids = worker.array(offsets[2], shape, "<i4")
        if self._place.furnished:  # Ours keep their ids; those of the place follow.
            last = len(self._scene.instance_ids())
            ids = np.where(ids > OURS, ids - OURS, np.where(ids > 0, ids + last, 0)).astype(np.int32)
        return CameraImage(
            rgb=worker.array(offsets[0], (*shape, 3), "u1"),
            depth_m=worker.array(offsets[1], shape, "<f4"),
            instance=ids,
            intrinsics=view.intrinsics.copy(),
            world_from_camera=np.array(view.world_from_camera, dtype=np.float64),
        )

    def _moved(self, visible: VisibleState) -> dict[str, Pose]:
        """Returns the poses that differ from those that were sent last, by the worker's names."""
        poses = {f"body/{name}": visible.state.pose[name] for name in self._colours}
        for robot, links in visible.links.items():
            for link in _link_models(self._models[self._scene.robot(robot).model]):
                poses[f"robot/{robot}/{link}"] = links[link]
        return {name: pose for name, pose in poses.items() if self._sent.get(name) != pose}

    def _paint(self, visible: VisibleState) -> None:
        """Adds the bodies whose colours are not those with which they were added last."""
        ids, added = self._scene.instance_ids(), []
        for body in self._scene.bodies:
            if not any(part.visible for part in body.parts):
                continue
            colours = part_colours(body, visible.state.properties, visible.state.colours)
            if self._colours.get(body.name) != colours:
                content = body_glb(body, self._options, colours=colours)
                added.append(self._described(f"body/{body.name}", content, ids[body.name]))
                self._colours[body.name] = colours
                self._sent.pop(f"body/{body.name}", None)
        if added:
            self._place.worker.call("add", objects=added)

    def _add_links(self, visible: VisibleState) -> None:
        ids = self._scene.instance_ids()
        added = [
            self._described(f"robot/{robot}/{link}", content, ids[robot])
            for robot in visible.links
            for link, content in _link_models(self._models[self._scene.robot(robot).model]).items()
        ]
        if added:
            self._place.worker.call("add", objects=added)

    def _described(self, name: str, content: bytes, instance: int) -> dict[str, Any]:
        path = self._folder / f"{hashlib.sha256(content).hexdigest()[:24]}.glb"
        if not path.exists():
            path.write_bytes(content)
        return {"name": name, "model": str(path), "id": instance + OURS * self._place.furnished}


@lru_cache(maxsize=16)
def _link_models(model: RobotModel) -> dict[str, bytes]:
    """Returns the low-poly visuals of each link of a robot that has any, as GLB files in the link's frame."""
    by_link: dict[str, list[GlbSurface]] = {}
    for mesh in visual_meshes(stock_urdf_path(model)):
        surface = shaded_surface(mesh.vertices, mesh.faces)
        normals = surface.normals / np.linalg.norm(surface.normals, axis=1, keepdims=True).clip(1e-6)
        by_link.setdefault(mesh.link, []).append(
            GlbSurface(surface.vertices, normals.astype(np.float32), surface.faces, mesh.rgba)
        )
    return {link: glb_bytes([GlbNode(link, surfaces)], linear_colours=False) for link, surfaces in by_link.items()}


def described_camera(camera: Camera) -> dict[str, Any]:
    """Returns a camera for the worker, which wants the horizontal field of view."""
    across = math.tan(camera.fov_y_rad / 2) * camera.width_px / camera.height_px
    return {
        "name": camera.name,
        "width": camera.width_px,
        "height": camera.height_px,
        "hfov_deg": math.degrees(2 * math.atan(across)),
        "near_m": NEAR_M,
        "far_m": FAR_M,
        "background": BACKGROUND[:3],
    }


def _layout(views: Sequence[CameraView]) -> tuple[list[tuple[int, int, int]], int]:
    """Returns the offsets of colours, depth and ids of each view in shared memory, and the size of all."""
    offsets, end = [], 0
    for view in views:
        pixels = view.width_px * view.height_px
        colours = end
        depth = colours + -(-3 * pixels // 16) * 16
        ids = depth + 4 * pixels
        end = ids + -(-4 * pixels // 16) * 16
        offsets.append((colours, depth, ids))
    return offsets, max(end, 1)


def _camera_pose(view: CameraView) -> np.ndarray:
    """Returns the pose (7,) of a camera in Habitat's frames: y up, and the camera looks along its -z."""
    turned = Y_UP_FROM_Z_UP @ (view.world_from_camera @ CAMERA_FROM_GL)[:3, :3]
    position = y_up_points(view.world_from_camera[:3, 3])
    return np.array([*position, *quaternion_from_matrix(turned)])


def _seven(pose: Pose) -> np.ndarray:
    return np.array([*pose.position_m, *pose.orientation])
