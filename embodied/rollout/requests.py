"""What a policy receives.

Its own cameras, the episode's clock, and privileged information only where it is privileged.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from embodied.errors import ConfigError, SpecError, unknown_name
from embodied.protocols import Policy, PolicyWrapper
from embodied.scenes.scene import Scene
from embodied.specs import ObservationSpec, periods_per_row
from embodied.types import HIDDEN_STEP, Clock, MemoryContext, Observation, Request

SPECTATOR = "spectator"  # The camera that a video adds to the scene; no policy sees through it.


def policy_cameras(scene: Scene, robot: str, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Returns the cameras of `scene` through which the policy of `robot` looks.

    `wanted` None stands for all cameras of the scene that no other robot carries.
    """
    if wanted is not None:
        return tuple(wanted)
    return tuple(camera.name for camera in scene.cameras if camera.name != SPECTATOR and camera.mount in (None, robot))


def require_cameras(scene: Scene, names: Sequence[str] | None, *, user: str) -> None:
    """Raises `ConfigError` unless `scene` has all cameras in `names`, which `user` requires.

    None stands for all there are.
    """
    known = [camera.name for camera in scene.cameras if camera.name != SPECTATOR]
    for name in names or ():
        if name not in known:
            remedy = unknown_name("camera", name, known).remedy
            raise ConfigError(f"A camera of {user} must be one of scene {scene.name!r}.", value=name, remedy=remedy)


def masked(observation: Observation, clock: Clock, *, step: int, privileged: bool) -> Observation:
    """Returns the part of `observation` that a policy may see.

    Its time is as `clock` shows it at decision `step`; instance images are left out unless the policy is `privileged`.
    """
    time_s = {Clock.SECONDS: observation.time_s, Clock.KEYFRAMES: float(step), Clock.HIDDEN: None}[clock]
    shown = observation if privileged else without_instances(observation)
    return replace(shown, time_s=time_s)


def without_instances(observation: Observation) -> Observation:
    """Returns the observation without instance images, which only the privileged may see."""
    images = {name: replace(image, instance=None) for name, image in observation.images.items()}
    return replace(observation, images=images)


def as_seen(request: Request, policy: Policy) -> Request:
    """Returns the request as `policy` may see it.

    Where the clock hides seconds, a policy of a rated action space sees neither the number of its step nor any time:
    both show how long a motion took, which alone can identify it. Its moments are in order, with the position in that
    order as their time. A wrapper sees all, and calls this function for the inner policy.
    """
    rated = policy.action_spec.rate_hz is not None
    if isinstance(policy, PolicyWrapper) or request.clock is Clock.SECONDS or not rated:
        return request
    moments = tuple(
        replace(moment, time_s=float(place), step=None) for place, moment in enumerate(request.memory.moments)
    )
    return replace(
        request,
        step=HIDDEN_STEP,
        observation=replace(request.observation, time_s=None),
        history=tuple(replace(observation, time_s=None) for observation in request.history),
        memory=MemoryContext(moments),
    )


def check_policy_fits(scene: Scene, policy: Policy, *, cameras: Sequence[str] | None, period_s: float) -> None:
    """Raises `ConfigError` unless `scene` has what `policy` reads, and its rates divide the control rate.

    `period_s` is the control period. `cameras` are those that the policy is given: None for all.
    """
    require_cameras(scene, cameras, user="the policy")
    spec = policy.observation_spec
    if spec.image_px is not None:
        for name in policy_cameras(scene, "", cameras):
            camera = scene.camera(name)
            if (camera.height_px, camera.width_px) != spec.image_px:
                raise ConfigError(
                    f"Camera {name!r} must have the size that the policy expects, {spec.image_px} (height, width).",
                    value=(camera.height_px, camera.width_px),
                    remedy="Set camera_px of the task, or choose another policy.",
                )
    rates_hz = {"observations": spec.rate_hz, "actions": policy.action_spec.rate_hz}
    for what, rate_hz in rates_hz.items():
        if rate_hz is not None:
            try:
                periods_per_row(rate_hz, 1.0 / period_s, what=f"the policy's {what}")
            except SpecError as error:
                raise ConfigError(error.rule, value=error.value, remedy=error.remedy) from error


class ObservationHistory:
    """The observations of one robot at its policy's own rate, since the reset; `period_s` is the control period."""

    def __init__(self, spec: ObservationSpec, period_s: float) -> None:
        self._stride = 0
        if spec.history > 1 and spec.rate_hz is not None:
            self._stride = periods_per_row(spec.rate_hz, 1.0 / period_s, what="the policy's observations")
        self._period_s = period_s
        self._kept: deque[tuple[float, Observation]] = deque(maxlen=spec.history)

    def is_due(self, time_s: float) -> bool:
        """Returns whether an observation must be kept at `time_s` since the reset."""
        return self._stride > 0 and round(time_s / self._period_s) % self._stride == 0

    def keep(self, time_s: float, observation: Observation) -> None:
        """Adds the observation of `time_s`."""
        self._kept.append((time_s, observation))

    def at(self, time_s: float) -> Observation | None:
        """Returns the observation that was kept at `time_s`, None where none was."""
        return self._kept[-1][1] if self._kept and self._kept[-1][0] == time_s else None

    def before(self, time_s: float) -> tuple[Observation, ...]:
        """Returns what was kept before `time_s`, oldest first: at most one less than the length of the history."""
        past = [observation for kept_s, observation in self._kept if kept_s < time_s]
        return tuple(past[-(self._kept.maxlen or 1) + 1 :]) if self._stride else ()
