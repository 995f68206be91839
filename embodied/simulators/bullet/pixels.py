"""Renders a PyBullet world: by OpenGL where it starts, else by PyBullet's own TinyRenderer."""

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from embodied.errors import MissingDependencyError
from embodied.scenes.changes import part_colours
from embodied.scenes.scene import Scene
from embodied.simulators.bullet.bodies import BodyHandle
from embodied.simulators.bullet.robot import BulletRobot
from embodied.simulators.rendering.choice import RendererChoice
from embodied.simulators.rendering.pixels import ScenePixels, VisibleState, camera_views
from embodied.simulators.rendering.tiny import TinyRenderer
from embodied.types import CameraImage, Rgba, WorldState

_log = logging.getLogger(__name__)


class BulletPixels:
    """Renders the cameras of a scene. A choice of `auto` settles on OpenGL where it starts; `name` says on what.

    With `opengl` the context is made when pixels or the name are first needed.
    """

    def __init__(self, bullet: Any, choice: RendererChoice, assets: Path, *, threads: int = 1) -> None:
        self._bullet = bullet
        self._assets = assets
        self._threads = threads
        self._opengl: ScenePixels | None = None
        self._painted: dict[str, tuple[Rgba, ...]] = {}  # By body, where not as in the scene; of TinyRenderer alone.
        self._tiny = choice is RendererChoice.tiny
        if choice is RendererChoice.auto:
            try:
                self._start_opengl()
            except MissingDependencyError as error:
                self._tiny = True
                _warn_of_tiny(str(error))

    @property
    def name(self) -> str:
        """The renderer, for the record."""
        return TinyRenderer.name if self._tiny else self._start_opengl().name

    @property
    def needs_bullet_visuals(self) -> bool:
        """Whether bodies must carry visual shapes inside PyBullet."""
        return self._tiny

    def forget(self) -> None:
        """Drops the last scene."""
        self._painted = {}
        if self._opengl is not None:
            self._opengl.forget()

    def render(
        self,
        scene: Scene,
        cameras: Sequence[str],
        handles: Mapping[str, BodyHandle],
        robots: Mapping[str, BulletRobot],
        state: WorldState,
    ) -> dict[str, CameraImage]:
        """Returns the images of `cameras` of `scene` in `state`; bodies are `handles`, robots are `robots`.

        Raises `UnknownNameError` for a camera or link that is missing.
        """
        visible = VisibleState(state, {name: robot.link_poses() for name, robot in robots.items()})
        if not self._tiny:
            return self._start_opengl().render(scene, cameras, visible)
        self._paint(scene, handles, state)
        ids = scene.instance_ids()
        instances = {(handle.uid, handle.link): ids[name] for name, handle in handles.items()}
        for name, robot in robots.items():
            instances |= {(robot.uid, link): ids[name] for link in robot.links.values()}
        return TinyRenderer(self._bullet, instances).render(camera_views(scene, cameras, visible))

    def close(self) -> None:
        """Frees the GL context."""
        if self._opengl is not None:
            self._opengl.close()
            self._opengl = None

    def _paint(self, scene: Scene, handles: Mapping[str, BodyHandle], state: WorldState) -> None:
        """Colours the bodies inside PyBullet as properties and events have it."""
        for body in scene.bodies:
            if body.property_colours or body.name in state.colours or body.name in self._painted:
                colours = part_colours(body, state.properties, state.colours)
                colours = tuple(rgba for part, rgba in zip(body.parts, colours, strict=True) if part.visible)
                if colours != self._painted.get(body.name):
                    self._painted[body.name] = colours
                    handle = handles[body.name]
                    for shape, rgba in enumerate(colours):
                        self._bullet.changeVisualShape(handle.uid, handle.link, shape, rgbaColor=rgba)

    def _start_opengl(self) -> ScenePixels:
        if self._opengl is None:
            self._opengl = ScenePixels(self._assets, threads=self._threads)
        return self._opengl


@cache
def _warn_of_tiny(reason: str) -> None:
    """Logs once in a process that images come from TinyRenderer, and why."""
    _log.warning("Images come from TinyRenderer, which is many times slower. %s", reason)
