"""What one observation holds: all cameras, a single one, or the state of the task as one vector."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces

from embodied.errors import ConfigError, unknown_name
from embodied.geometry import compose, invert
from embodied.protocols import Task
from embodied.robots.catalogue import robot_model
from embodied.robots.commands import proprio_layout
from embodied.scenes.scene import Scene
from embodied.types import CameraImage, Clock, Episode, Observation, Progress, WorldState

FARTHEST_M = 1000.0
POSE = ("x_m", "y_m", "z_m", "qx", "qy", "qz", "qw")
VARIANTS = ("full", "single_camera", "low_dim")


class Observations(Protocol):
    """One variant of the observations: its space, the cameras that it shows, and how it is read."""

    @property
    def cameras(self) -> tuple[str, ...] | None:
        """The cameras that are rendered, None for all."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each entry of a vector; () for dictionaries."""
        ...

    @property
    def space(self) -> spaces.Space[Any]:
        """The observation space, the same in every episode."""
        ...

    def read(self, seen: Observation, episode: Episode, state: WorldState, progress: Progress) -> Any:
        """Returns the observation of what is `seen` in an `episode` whose true `state` and `progress` are given."""
        ...


def observations_of(name: str, task: Task, *, camera: str, depth: bool) -> Observations:
    """Returns the variant `name` for a `task`. Raises `UnknownNameError` for the variant and the camera.

    `camera` is the one of `single_camera`, which gives its `depth` too if that is wanted.
    """
    if name == "full":
        return FullObservations(task.sample(0))
    if name == "single_camera":
        return SingleCamera(task.sample(0), camera, depth=depth)
    if name == "low_dim":
        return LowDimensional(task)
    raise unknown_name("variant of observations", name, VARIANTS)


class FullObservations:
    """All cameras with depth and calibration, proprioception, and the episode's clock, as a nested dictionary."""

    cameras = None
    names = ()

    def __init__(self, episode: Episode) -> None:
        scene = episode.scene
        cameras: dict[str, spaces.Space[Any]] = {
            camera.name: spaces.Dict(
                {
                    "rgb": spaces.Box(0, 255, (camera.height_px, camera.width_px, 3), np.uint8),
                    "depth_m": _real(camera.height_px, camera.width_px, low=0.0, dtype=np.float32),
                    "intrinsics": _real(3, 3, high=1e6),
                    "world_from_camera": _real(4, 4),
                }
            )
            for camera in scene.cameras
        }
        self.space = spaces.Dict({"cameras": spaces.Dict(cameras), **_own_senses(episode)})

    def read(self, seen: Observation, episode: Episode, state: WorldState, progress: Progress) -> dict[str, Any]:
        """Returns what is `seen`; the true `state` and the `progress` of the `episode` are not used."""
        del episode, state, progress
        cameras = {
            name: {
                "rgb": image.rgb,
                "depth_m": image.depth_m,
                "intrinsics": image.intrinsics,
                "world_from_camera": image.world_from_camera,
            }
            for name, image in seen.images.items()
        }
        return {"cameras": cameras, **_sensed(seen)}


class SingleCamera:
    """The images of one camera, proprioception, and the episode's clock, as a flat dictionary."""

    names = ()

    def __init__(self, episode: Episode, camera: str, *, depth: bool) -> None:
        shown = episode.scene.camera(camera)
        self.cameras = (camera,)
        self._depth = depth
        images: dict[str, spaces.Space[Any]] = {
            "rgb": spaces.Box(0, 255, (shown.height_px, shown.width_px, 3), np.uint8)
        }
        if depth:
            images["depth_m"] = _real(shown.height_px, shown.width_px, low=0.0, dtype=np.float32)
        self.space = spaces.Dict({**images, **_own_senses(episode)})

    def read(self, seen: Observation, episode: Episode, state: WorldState, progress: Progress) -> dict[str, Any]:
        """Returns what is `seen`; the true `state` and the `progress` of the `episode` are not used."""
        del episode, state, progress
        image: CameraImage = seen.images[self.cameras[0]]
        return {"rgb": image.rgb, **({"depth_m": image.depth_m} if self._depth else {}), **_sensed(seen)}


class LowDimensional:
    """Proprioception and the true state of the task as one float32 vector; no camera is rendered. Privileged.

    After `Observation.proprio` come, in the frame of the robot's base, the poses of all bodies that do not stand in the
    same place in every episode (quaternions xyzw with w >= 0), the positions of the scene's joints, whether each body
    that can be grasped is held, and for tasks that have `phases` whether each was reached. What is to be remembered, as
    the target of a choice, is not in it. `names` has the name of each entry. Raises `ConfigError` for a task whose
    scenes differ in more than poses.
    """

    cameras = ()

    def __init__(self, task: Task) -> None:
        scenes = [task.sample(seed).scene for seed in range(2)]
        self._layout = _layout(scenes[0])
        for scene in scenes:
            self._check(scene)
        first, second = scenes
        moved_by_joints = {joint.child for joint in first.joints}
        self._bodies = [
            body.name
            for body in first.bodies
            if body.mass_kg > 0.0 or body.name in moved_by_joints or body.pose != second.body(body.name).pose
        ]
        self._joints = [joint.name for joint in first.joints]
        self._graspable = [body.name for body in first.bodies if body.graspable]
        self._phases: Sequence[str] = tuple(getattr(task, "phases", ()))
        self.names = (
            *proprio_layout(robot_model(first.robots[0].model)),
            *(f"{body}/{part}" for body in self._bodies for part in POSE),
            *(f"{joint}/position" for joint in self._joints),
            *(f"{body}/held" for body in self._graspable),
            *(f"reached/{phase}" for phase in self._phases),
        )
        self.space = _real(len(self.names), dtype=np.float32)

    def read(self, seen: Observation, episode: Episode, state: WorldState, progress: Progress) -> np.ndarray:
        """Returns the vector of the true `state` and the phases of `progress`; of what is `seen` the proprioception.

        Raises `ConfigError` for an `episode` with other bodies or joints than the space has.
        """
        self._check(episode.scene)
        base_from_world = invert(episode.scene.robots[0].base)
        values = [*seen.proprio]
        for name in self._bodies:
            pose = compose(base_from_world, state.pose[name])
            sign = 1.0 if pose.orientation[3] >= 0.0 else -1.0
            values += [*pose.position_m, *(sign * part for part in pose.orientation)]
        values += [state.joint[name] for name in self._joints]
        held = set(state.held.values())
        values += [float(name in held) for name in self._graspable]
        values += [float(phase in progress.reached) for phase in self._phases]
        return np.array(values, dtype=np.float32)

    def _check(self, scene: Scene) -> None:
        if _layout(scene) != self._layout:
            raise ConfigError(
                "A low-dimensional observation needs the same bodies and joints in every episode.",
                value=scene.name,
                remedy="Choose observations='single_camera' or 'full'.",
            )


def _layout(scene: Scene) -> tuple[tuple[str, ...], ...]:
    return tuple(one.name for one in scene.bodies), tuple(one.name for one in scene.joints)


def _own_senses(episode: Episode) -> dict[str, spaces.Space[Any]]:
    width = len(proprio_layout(robot_model(episode.scene.robots[0].model)))
    space: dict[str, spaces.Space[Any]] = {"proprio": _real(width, dtype=np.float32)}
    if episode.clock is not Clock.HIDDEN:
        space["time_s"] = _real(1, low=0.0, high=1e6)
    return space


def _sensed(seen: Observation) -> dict[str, np.ndarray]:
    time_s = {} if seen.time_s is None else {"time_s": np.array([seen.time_s], dtype=np.float64)}
    return {"proprio": seen.proprio, **time_s}


def _real(*shape: int, low: float = -FARTHEST_M, high: float = FARTHEST_M, dtype: Any = np.float64) -> spaces.Box:
    return spaces.Box(low, high, shape, dtype)
