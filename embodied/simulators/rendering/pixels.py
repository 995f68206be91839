"""Joins a scene to a renderer: which triangles hang on which body, and where they and the cameras are now."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embodied.errors import MissingDependencyError
from embodied.geometry import compose, transform_points
from embodied.robots.assets import stock_urdf_path
from embodied.robots.meshes import LinkMesh, visual_meshes
from embodied.scenes.meshing import triangulate
from embodied.scenes.scene import Camera, Scene
from embodied.simulators.bullet.bodies import BodyHandle
from embodied.simulators.bullet.robot import BulletRobot
from embodied.simulators.rendering.choice import RendererChoice
from embodied.simulators.rendering.opengl import CameraView, OpenGLRenderer, Visual
from embodied.simulators.rendering.tiny import TinyRenderer
from embodied.types import CameraImage, WorldState


class Pixels:
    """Renders the cameras of a scene with OpenGL or TinyRenderer; the context is made when pixels are first needed.

    A choice of AUTO settles on OpenGL where it starts; what was settled on is in `name`.
    """

    def __init__(self, bullet: Any, choice: RendererChoice, assets: Path, *, threads: int = 1) -> None:
        self._bullet = bullet
        self._threads = threads
        self._assets = assets
        self._opengl: OpenGLRenderer | None = None
        self._tiny = choice is RendererChoice.tiny
        self._loaded = False
        self._meshes: dict[str, tuple[LinkMesh, ...]] = {}
        if choice is RendererChoice.auto:
            try:
                self._start_opengl()
            except MissingDependencyError:
                self._tiny = True

    @property
    def name(self) -> str:
        """What makes the pixels, for the record."""
        if self._tiny:
            return "tiny"
        return self._start_opengl().name

    @property
    def needs_bullet_visuals(self) -> bool:
        """Whether bodies must carry visual shapes inside PyBullet."""
        return self._tiny

    def forget(self) -> None:
        """Drops the last scene; triangles are sent at the first `render`, since many episodes need none."""
        self._loaded = False

    def render(
        self,
        scene: Scene,
        cameras: Sequence[str],
        handles: Mapping[str, BodyHandle],
        robots: Mapping[str, BulletRobot],
        state: WorldState,
    ) -> dict[str, CameraImage]:
        """Returns the images of `cameras` now. Raises `UnknownNameError` for a camera that the scene lacks."""
        views = [self._view(scene.camera(name), state) for name in cameras]
        if self._tiny:
            return self._render_tiny(scene, views, handles, robots)
        opengl = self._start_opengl()
        if not self._loaded:
            opengl.load(self._visuals(scene, list(handles), robots))
            self._loaded = True
        poses = [state.pose[name] for name in handles]
        for robot in robots.values():
            poses += robot.link_poses()
        return opengl.render(np.stack([pose.matrix for pose in poses]), views)

    def close(self) -> None:
        """Frees the GL context."""
        if self._opengl is not None:
            self._opengl.close()
            self._opengl = None
            self._loaded = False

    def _start_opengl(self) -> OpenGLRenderer:
        if self._opengl is None:
            self._opengl = OpenGLRenderer(threads=self._threads)
        return self._opengl

    def _view(self, camera: Camera, state: WorldState) -> CameraView:
        pose = camera.pose
        if camera.mount is not None:
            robot = state.robots[camera.mount]
            # Of several end effectors the first carries the camera.
            tool = next((one.tool for one in robot.end_effectors.values()), robot.base)
            pose = compose(tool, pose)
        return CameraView(camera.name, camera.width_px, camera.height_px, camera.fov_y_rad, pose.matrix)

    def _visuals(self, scene: Scene, nodes: list[str], robots: Mapping[str, BulletRobot]) -> list[Visual]:
        """Returns the triangles of all bodies, then of all robots; nodes follow the order of the poses."""
        visuals: list[Visual] = []
        instances = scene.instance_ids()
        for node, name in enumerate(nodes):
            for part in scene.body(name).parts:
                if part.visible:
                    mesh = triangulate(part.shape, asset_root=self._assets)
                    vertices = transform_points(part.pose.matrix, mesh.vertices)
                    visuals.append(Visual(node, vertices, mesh.faces, part.rgba, instances[name]))
        first = len(nodes)
        for name, robot in robots.items():
            links = list(robot.links)
            for mesh in self._robot_meshes(robot):
                node = first + links.index(mesh.link)
                visuals.append(Visual(node, mesh.vertices, mesh.faces, mesh.rgba, instances[name]))
            first += len(links)
        return visuals

    def _robot_meshes(self, robot: BulletRobot) -> tuple[LinkMesh, ...]:
        model = robot.model
        if model.name not in self._meshes:
            self._meshes[model.name] = visual_meshes(stock_urdf_path(model))
        return self._meshes[model.name]

    def _render_tiny(
        self,
        scene: Scene,
        views: list[CameraView],
        handles: Mapping[str, BodyHandle],
        robots: Mapping[str, BulletRobot],
    ) -> dict[str, CameraImage]:
        ids = scene.instance_ids()
        instances = {(handle.uid, handle.link): ids[name] for name, handle in handles.items()}
        for name, robot in robots.items():
            instances |= {(robot.uid, link): ids[name] for link in robot.links.values()}
        return TinyRenderer(self._bullet, instances).render(views)
