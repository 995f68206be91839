"""How robots look in a rollout: camera order, masks without names, and the robots' own links."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

import numpy as np

from embodied.geometry import Pose
from embodied.memory.perception import Look
from embodied.protocols import Simulator
from embodied.rollout.requests import policy_cameras
from embodied.scenes.scene import Scene
from embodied.seeding import derive_seed
from embodied.types import CameraImage, RobotState


def shuffled_masks(image: CameraImage, seed: int, camera: str, number: int) -> tuple[CameraImage, np.ndarray]:
    """Returns an `image` whose mask ids have no meaning beyond it, and the old id of each new one.

    `seed` is the episode's, `number` counts the looks through `camera`: the same look is shuffled in the same way
    again.
    """
    instance = image.instance
    if instance is None:
        return image, np.zeros(1, dtype=np.int64)
    count = int(instance.max())
    order = list(range(1, count + 1))
    Random(derive_seed(seed, "masks", camera, number)).shuffle(order)
    new_of_old = np.array([0, *order], dtype=np.int32)
    old_of_new = np.argsort(new_of_old)
    return replace(image, instance=new_of_old[instance]), old_of_new


class Looking:
    """Looks through the cameras of one scene in turn, and returns images whose masks carry no names.

    `seed` is the episode's seed, from which the shuffling of masks follows. With `names_under`, things are called
    `<names_under>/<body>` as in the simulator; with `labels`, they have its categories. Without either, a look contains
    none of the simulator's names.
    """

    def __init__(
        self, scene: Scene, simulator: Simulator, *, seed: int, names_under: str = "", labels: bool = False
    ) -> None:
        self._simulator = simulator
        self._seed = seed
        self._models = {robot.name: robot.model for robot in scene.robots}
        self._still = {camera.name for camera in scene.cameras if camera.mount is None}
        self._cameras = {robot.name: self._chosen(policy_cameras(scene, robot.name, None)) for robot in scene.robots}
        self._count = 0
        self._names: dict[int, str] = {}
        self._labels: dict[int, str] = {}
        ids = scene.instance_ids()
        if names_under:
            self._names = {ids[body.name]: f"{names_under}/{body.name}" for body in scene.bodies}
        if labels:
            self._labels = {ids[body.name]: body.category or "thing" for body in scene.bodies}

    def cameras(self, robot: str) -> Sequence[str]:
        """Returns the cameras through which `robot` looks in turn: the fixed ones, else its own."""
        return self._cameras[robot]

    def next_camera(self, robot: str) -> Sequence[str]:
        """Returns the next camera in turn as a tuple, () where the robot has none."""
        own = self._cameras[robot]
        return () if not own else (own[self._count % len(own)],)

    def looks(
        self, robot: str, cameras: Sequence[str], robots: Mapping[str, RobotState], tools: Mapping[str, Pose],
        *, time_s: float,
    ) -> list[Look]:  # fmt: skip
        """Returns what `robot` sees through `cameras` at `time_s`.

        `tools` holds the tools in use, by the name of what they hold. `robots` are the states of all robots, from which
        their own masks are computed.
        """
        if not cameras:
            return []
        self._count += 1
        own = self._own_points_m(robots)
        looks = []
        for camera, image in self._simulator.observe(robot, cameras).images.items():
            if image.instance is None:  # The simulator gives no segmentation: nothing is perceived.
                continue
            shuffled, old = shuffled_masks(image, self._seed, camera, self._count)
            given = {
                new: (self._names.get(number, ""), self._labels.get(number, ""))
                for new, number in enumerate(old.tolist())
                if number in self._names or number in self._labels
            }
            looks.append(Look(camera, shuffled, time_s, own, camera in self._still, tools, given))
        return looks

    def _own_points_m(self, robots: Mapping[str, RobotState]) -> list[np.ndarray]:
        """Returns points (N, 3) on the surface of each robot; robots share their joint angles."""
        from embodied.rollout.bank_feed.own_surface import own_surface

        surfaces = [(own_surface(self._models[name]), state) for name, state in robots.items()]
        return [one.points_m(state) for one, state in surfaces if one is not None]

    def _chosen(self, cameras: Sequence[str]) -> tuple[str, ...]:
        still = tuple(name for name in cameras if name in self._still)
        return still or tuple(cameras)
