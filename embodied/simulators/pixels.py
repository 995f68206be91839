"""Joins a scene to a renderer: which triangles hang on which body, and where they and the cameras are now."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embodied.errors import MissingDependencyError
from embodied.geometry import Pose, compose
from embodied.robots.assets import stock_urdf_path
from embodied.robots.meshes import visual_meshes
from embodied.scenes.meshing import triangulate
from embodied.scenes.scene import Camera, Scene
from embodied.simulators.bullet_bodies import BodyHandle
from embodied.simulators.bullet_robot import BulletRobot
from embodied.simulators.simulator import RendererChoice, SimulatorConfig
from embodied.types import CameraImage, WorldState


class Pixels:
    """Renders the cameras of a scene with OpenGL or TinyRenderer; the context is made when pixels are first needed.

    A choice of AUTO settles on OpenGL where it starts; what was settled on is in `name`.
    """

    def __init__(self, bullet: Any, config: SimulatorConfig, assets: Path) -> None:
        self._bullet = bullet
        self._config = config
        self._assets = assets
        self._opengl: Any = None
        self._tiny = config.renderer is RendererChoice.TINY
        self._loaded = False
        if config.renderer is RendererChoice.AUTO:
            try:
                self._start_opengl()
            except MissingDependencyError:
                self._tiny = True

    @property
    def name(self) -> str:
        """What makes the pixels, for the record."""
        if self._tiny:
            return "tiny"
        self._start_opengl()
        return self._opengl.name

    @property
    def needs_bullet_visuals(self) -> bool:
        """Whether bodies must carry visual shapes inside PyBullet."""
        return self._tiny

    def load(self, scene: Scene, handles: Mapping[str, BodyHandle], robots: Mapping[str, BulletRobot]) -> None:
        """Forgets the last scene; triangles are sent at the first `render`, since many episodes need none."""
        self._loaded = False
        self._instances = scene.instance_ids()
        self._nodes = list(handles)
        self._robots = list(robots)

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
            return self._render_tiny(views, handles, robots)
        self._start_opengl()
        if not self._loaded:
            self._opengl.load(self._visuals(scene, robots))
            self._loaded = True
        poses = [state.pose[name] for name in handles]
        for robot in robots.values():
            poses += robot.link_poses()
        return self._opengl.render(np.stack([pose.matrix for pose in poses]), views)

    def close(self) -> None:
        """Frees the GL context."""
        if self._opengl is not None:
            self._opengl.close()
            self._opengl = None
            self._loaded = False

    def _start_opengl(self) -> None:
        if self._opengl is None:
            from embodied.simulators.renderer import OpenGLRenderer

            self._opengl = OpenGLRenderer(threads=self._config.render_threads)

    def _view(self, camera: Camera, state: WorldState) -> "View":
        pose = camera.pose
        if camera.mount is not None:
            tool = state.robots[camera.mount].tool
            pose = compose(tool if tool is not None else state.robots[camera.mount].base, pose)
        return View(camera.name, camera.width_px, camera.height_px, camera.fov_y_rad, pose.matrix)

    def _visuals(self, scene: Scene, robots: Mapping[str, BulletRobot]) -> list["Visual"]:
        """Returns the triangles of all bodies, then of all robots; nodes follow the order of the poses."""
        visuals: list[Visual] = []
        for node, name in enumerate(self._nodes):
            for part in scene.body(name).parts:
                if part.visible:
                    mesh = triangulate(part.shape, asset_root=self._assets)
                    vertices = transform_points(part.pose.matrix, mesh.vertices)
                    visuals.append(Visual(node, vertices, mesh.faces, part.rgba, self._instances[name]))
        first = len(self._nodes)
        for name, robot in robots.items():
            links = list(robot.links)
            for mesh in visual_meshes(stock_urdf_path(robot.model)):
                node = first + links.index(mesh.link)
                visuals.append(Visual(node, mesh.vertices, mesh.faces, mesh.rgba, self._instances[name]))
            first += len(links)
        return visuals

    def _render_tiny(
        self, views: list["View"], handles: Mapping[str, BodyHandle], robots: Mapping[str, BulletRobot]
    ) -> dict[str, CameraImage]:
        from embodied.simulators.tiny import TinyRenderer

        instances = {(handle.uid, handle.link): self._instances[name] for name, handle in handles.items()}
        for name, robot in robots.items():
            instances |= {(robot.uid, link): self._instances[name] for link in robot.links.values()}
        return TinyRenderer(self._bullet, instances).render(views)
