"""Connects a scene to the OpenGL renderer: triangles by body or link, and their present poses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from embodied.errors import unknown_name
from embodied.geometry import Pose, compose, matrices_from_poses, transform_points
from embodied.robots.assets import stock_urdf_path
from embodied.robots.catalogue import robot_model
from embodied.robots.meshes import LinkMesh, visual_meshes
from embodied.robots.robot import RobotModel
from embodied.scenes.changes import part_colours
from embodied.scenes.meshing import triangulate
from embodied.scenes.scene import Camera, Part, Scene
from embodied.simulators.rendering.opengl import CameraView, OpenGLRenderer, Visual
from embodied.types import CameraImage, PartColours, Properties, Rgba, WorldState


@dataclass(frozen=True, eq=False)
class VisibleState:
    """The state to render, and the world poses of links by robot and link name.

    The links of a robot always come in the same order; a robot may be left out where only cameras are placed.
    """

    state: WorldState
    links: Mapping[str, Mapping[str, Pose]]


class ScenePixels:
    """Renders the cameras of a scene with OpenGL. The context is made with it; triangles are sent when first needed.

    Raises `MissingDependencyError` where OpenGL does not start.
    """

    def __init__(self, assets: Path, *, threads: int = 1) -> None:
        self._opengl = OpenGLRenderer(threads=threads)
        self._assets = assets
        self._loaded = False
        self._own_colours: list[Rgba] = []  # Of all visuals, as the scene has them.
        self._painted: tuple[Properties, PartColours] = ({}, {})
        self._still: dict[Camera, CameraView] = {}  # Of the cameras that stand still.

    @property
    def name(self) -> str:
        """The renderer, for the record."""
        return self._opengl.name

    def forget(self) -> None:
        """Drops the last scene; triangles are sent at the first `render`, since many episodes need none."""
        self._loaded = False
        self._still = {}

    def render(self, scene: Scene, cameras: Sequence[str], visible: VisibleState) -> dict[str, CameraImage]:
        """Returns the images of `cameras` of `scene`, with its bodies and robots as in `visible`.

        Raises `UnknownNameError` for a camera or link that is missing.
        """
        views = [self._view(scene.camera(name), visible) for name in cameras]
        if not self._loaded:
            visuals = self._visuals(scene, visible.links)
            self._opengl.load(visuals)
            self._own_colours = [visual.rgba for visual in visuals]
            self._painted = ({}, {})
            self._loaded = True
        self._paint(scene, visible.state)
        poses = [visible.state.pose[body.name] for body in scene.bodies]
        for robot in scene.robots:
            poses += visible.links[robot.name].values()
        return self._opengl.render(matrices_from_poses(poses), views)

    def close(self) -> None:
        """Frees the GL context; calling it twice is harmless."""
        self._opengl.close()
        self._loaded = False

    def _view(self, camera: Camera, visible: VisibleState) -> CameraView:
        view = self._still.get(camera)
        if view is None:
            view = _view(camera, visible)
            if camera.mount is None:
                self._still[camera] = view
        return view

    def _paint(self, scene: Scene, state: WorldState) -> None:
        """Colours the bodies as properties and events have it; nothing where these are still the same mappings."""
        wanted = (state.properties, state.colours)
        if all(one is other or one == other for one, other in zip(wanted, self._painted, strict=True)):
            return
        colours = [
            rgba
            for body in scene.bodies
            for part, rgba in zip(body.parts, part_colours(body, *wanted), strict=True)
            if part.visible
        ]
        self._opengl.paint(np.array([*colours, *self._own_colours[len(colours) :]]).reshape(-1, 4))
        self._painted = wanted

    def _visuals(self, scene: Scene, links: Mapping[str, Mapping[str, Pose]]) -> list[Visual]:
        """Returns the triangles of all bodies, then of all robots, on nodes in the order of the poses."""
        visuals: list[Visual] = []
        instances = scene.instance_ids()
        for node, body in enumerate(scene.bodies):
            for part in body.parts:
                if part.visible:
                    vertices, faces = _part_triangles(part, self._assets)
                    visuals.append(Visual(node, vertices, faces, part.rgba, instances[body.name]))
        first = len(scene.bodies)
        for robot in scene.robots:
            nodes = {link: first + index for index, link in enumerate(links[robot.name])}
            for mesh in _robot_triangles(robot_model(robot.model)):
                visuals.append(Visual(nodes[mesh.link], mesh.vertices, mesh.faces, mesh.rgba, instances[robot.name]))
            first += len(nodes)
        return visuals


def camera_views(scene: Scene, cameras: Sequence[str], visible: VisibleState) -> list[CameraView]:
    """Returns the views of `cameras` of `scene`, with its robots as in `visible`.

    Raises `UnknownNameError` for a camera or link that is missing.
    """
    return [_view(scene.camera(name), visible) for name in cameras]


def _view(camera: Camera, visible: VisibleState) -> CameraView:
    pose = camera.pose
    if camera.mount is not None:
        pose = compose(_mount_pose(camera.mount, camera.link, visible), pose)
    return CameraView(camera.name, camera.width_px, camera.height_px, camera.fov_y_rad, pose.matrix)


def _mount_pose(robot: str, link: str, visible: VisibleState) -> Pose:
    if link:
        links = visible.links[robot]
        if link not in links:
            raise unknown_name(f"link of robot {robot!r}", link, links)
        return links[link]
    state = visible.state.robots[robot]
    # Of several end effectors the first carries the camera.
    return next((one.tool for one in state.end_effectors.values()), state.base)


@lru_cache(maxsize=1024)
def _part_triangles(part: Part, assets: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns vertices in the body's frame and faces; the same arrays for equal parts, which the renderer keeps."""
    mesh = triangulate(part.shape, asset_root=assets)
    return transform_points(part.pose.matrix, mesh.vertices), mesh.faces


@lru_cache(maxsize=16)
def _robot_triangles(model: RobotModel) -> tuple[LinkMesh, ...]:
    return visual_meshes(stock_urdf_path(model))
