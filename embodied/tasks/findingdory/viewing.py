"""Renders what the robot of a home sees at any pose, while objects lie or are carried anywhere; no physics is run."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np

from embodied.geometry import Pose, quaternion_from_yaw
from embodied.protocols import Simulator, Teleportable
from embodied.scenes.house import CAMERA, ROBOT, House, with_image_size
from embodied.tasks.findingdory.sightings import counted
from embodied.types import CameraImage


class PlacingSimulator(Simulator, Teleportable, Protocol):
    """A simulator whose world can be set to any state, such as that of PyBullet."""


class HomeView:
    """The home `house` in `simulator`, which it resets, with images of `image_px` (width, height).

    `things` are the names that are counted in images, the objects and then the receptacles, `ids` their instance ids.
    """

    def __init__(self, house: House, simulator: PlacingSimulator, image_px: tuple[int, int]) -> None:
        self.house = with_image_size(house, image_px)
        self.image_px = image_px
        self.things = tuple(one.name for one in (*house.objects, *house.receptacles))
        numbers = house.scene.instance_ids()
        self.ids = {name: numbers[name] for name in self.things}
        self._simulator = simulator
        simulator.reset(self.house.scene)
        self._state = simulator.state()
        self._height_m = self._state.robots[ROBOT].base.position_m[2]

    @property
    def renderer(self) -> str:
        """The renderer, for the record."""
        return self._simulator.renderer

    def resized(self, image_px: tuple[int, int]) -> "HomeView":
        """Returns a view of the same home with images of `image_px`; this one must not be used any more."""
        return HomeView(self.house, self._simulator, image_px)

    def image(self, pose: np.ndarray, object_poses: Mapping[str, Pose]) -> CameraImage:
        """Returns the image from the base at `pose` (x, y, yaw) with objects at `object_poses`, the others as before.

        Raises `SimulationError` for a state in which the world cannot be at rest.
        """
        x, y, yaw = (float(value) for value in pose)
        robot = replace(self._state.robots[ROBOT], base=Pose((x, y, self._height_m), quaternion_from_yaw(yaw)))
        state = replace(self._state, pose={**self._state.pose, **object_poses}, robots={ROBOT: robot})
        self._simulator.place(state)
        return self._simulator.observe(ROBOT, [CAMERA]).images[CAMERA]

    def pixels(self, pose: np.ndarray, object_poses: Mapping[str, Pose]) -> dict[str, int]:
        """Returns the pixels of every object and receptacle in `image`, by name, without those unseen."""
        return self.counted(self.image(pose, object_poses))

    def shares(self, pose: np.ndarray, object_poses: Mapping[str, Pose]) -> dict[str, float]:
        """Returns the share of `image` that every object and receptacle covers, by name."""
        size = self.image_px[0] * self.image_px[1]
        return {name: count / size for name, count in self.pixels(pose, object_poses).items()}

    def counted(self, image: CameraImage) -> dict[str, int]:
        """Returns the pixels of every object and receptacle in `image`."""
        assert image.instance is not None  # All simulators here give ids.
        return counted(image.instance, self.ids)
