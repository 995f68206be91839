"""What a policy is asked: its own cameras, the episode's clock, and nothing privileged unless it is privileged."""

from collections.abc import Sequence
from dataclasses import replace

from embodied.errors import ConfigError, unknown_name
from embodied.scenes.scene import Scene
from embodied.types import Clock, Observation

SPECTATOR = "spectator"  # The camera that a video adds to the scene; no policy sees through it.


def policy_cameras(scene: Scene, robot: str, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Returns the cameras through which the policy of `robot` looks.

    `wanted` None stands for all cameras of the scene that no other robot carries.
    """
    if wanted is not None:
        return tuple(wanted)
    return tuple(camera.name for camera in scene.cameras if camera.name != SPECTATOR and camera.mount in (None, robot))


def require_cameras(scene: Scene, names: Sequence[str] | None, *, user: str) -> None:
    """Raises `ConfigError` unless `scene` has every camera that `user` names; None stands for all there are."""
    known = [camera.name for camera in scene.cameras if camera.name != SPECTATOR]
    for name in names or ():
        if name not in known:
            remedy = unknown_name("camera", name, known).remedy
            raise ConfigError(f"A camera of {user} must be one of scene {scene.name!r}.", value=name, remedy=remedy)


def masked(observation: Observation, clock: Clock, *, step: int, privileged: bool) -> Observation:
    """Returns what a policy may see: time as `clock` shows it, instance images only for the privileged."""
    time_s = {Clock.SECONDS: observation.time_s, Clock.KEYFRAMES: float(step), Clock.HIDDEN: None}[clock]
    shown = observation if privileged else without_instances(observation)
    return replace(shown, time_s=time_s)


def without_instances(observation: Observation) -> Observation:
    """Returns the observation without instance images, which only the privileged may see."""
    images = {name: replace(image, instance=None) for name, image in observation.images.items()}
    return replace(observation, images=images)
