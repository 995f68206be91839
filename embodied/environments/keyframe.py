"""A memory task as a Gymnasium environment: one keyframe per step, the same loop and judge as in evaluations."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded

from embodied.controllers import ControllerConfig
from embodied.errors import ConfigError, IntentError, unknown_name
from embodied.geometry import Pose, compose, quaternion, vector3
from embodied.protocols import Controller
from embodied.robots.catalogue import robot_model
from embodied.robots.commands import proprio_layout
from embodied.rollout.episode import EpisodeContext, EpisodeRunner
from embodied.rollout.policy_calls import DecisionPendingError
from embodied.rollout.recording.video_observer import VideoConfig, with_spectator
from embodied.rollout.requests import SPECTATOR, masked
from embodied.seeding import drawn_salt, opaque_id
from embodied.simulators.bullet import BulletConfig
from embodied.specs import KEYFRAME, ObservationSpec
from embodied.tasks.registry import make_task
from embodied.types import Clock, Decision, Episode, MoveTo, Observation, Outcome, Request

FARTHEST_M = 1000.0
SHORTEST_QUATERNION = 1e-3
RESET_OPTIONS = ("split",)
_SIMULATOR = BulletConfig()
_PROCESS_SALT = drawn_salt()


class KeyframeEnv(gymnasium.Env[dict[str, Any], np.ndarray]):
    """One robot, one `MoveTo` per step.

    Action (9,): tool position x, y, z (m) and orientation (quaternion xyzw, scaled to unit length here), both in the
    frame of the robot's base, which `info["world_from_base"]` (4, 4) gives; then gripper open and avoid_collisions,
    each meaning yes from 0.5 on. Observation: `cameras`, each with `rgb`, `depth_m`, `intrinsics` and
    `world_from_camera` as in `types.CameraImage`; `proprio` as `specs.proprio_layout` names it; `time_s` as the
    episode's clock shows it, absent where it is hidden. Reward: 1 for success, else 0. Success, failure and invalid
    episodes terminate; the limits of keyframes and time truncate.

    Information: `instruction`, `world_from_base`, `outcome` (`types.Outcome`) and its `reason`, the `phases` reached,
    and the `choice` made, None before one. `episode_id` identifies an episode and gives no information about it: it
    depends on `salt`, which is drawn once per process unless it is given.

    `reset(seed=n)` starts the very episode `n` of the split `options["split"]`, by default "train"; without a seed, one
    drawn from the seed before. `task_options` are fields of the task, such as `patches=8`. Raises `UnknownNameError`
    and `ConfigError`, and `IntentError` for an action of wrong shape, one that is not finite, or without orientation.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 1}  # noqa: RUF012 - Gymnasium's own form

    def __init__(
        self, task: str, tier: str, *, render_mode: str | None = None, salt: str = "", **task_options: Any
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise unknown_name("render mode", render_mode, self.metadata["render_modes"])
        self.render_mode = render_mode
        self._task = make_task(task, tier=tier, options=task_options)
        self._salt = salt or _PROCESS_SALT
        self._agent = _Outsider()
        self._simulator = _SIMULATOR.build()
        self._performance: EpisodeRunner | None = None
        self._episode = self._task.sample(0)
        self.observation_space = _observation_space(self._episode)
        self.action_space = spaces.Box(np.array([-1.0] * 7 + [0.0] * 2), np.ones(9), dtype=np.float64)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Starts an episode and returns what is seen and known at its beginning."""
        super().reset(seed=seed)
        options = options or {}
        for name in options:
            if name not in RESET_OPTIONS:
                raise unknown_name("reset option", name, RESET_OPTIONS)
        number = int(self.np_random.integers(2**31)) if seed is None else seed
        episode = self._task.sample(number, split=options.get("split", "train"))
        self._episode = with_spectator(episode, VideoConfig()) if self.render_mode else episode
        stage = EpisodeContext(self._simulator, self._task, self._agent, _controllers)
        self._performance = EpisodeRunner(self._episode, stage)
        self._performance.begin()
        return self._observation(self._run(self._performance)), self._info()

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Carries out one keyframe, to its end or that of the episode."""
        performance = self._performance
        if performance is None or performance.progress.done:
            raise ResetNeeded("The episode is over, or has not begun: call `reset` first.")
        self._agent.answer = Decision(intents=(_move(action, self._episode.scene.robots[0].base),))
        observation = self._run(performance)
        outcome = performance.progress.outcome
        truncated = outcome is Outcome.TIMEOUT
        reward = 1.0 if outcome is Outcome.SUCCESS else 0.0
        return (
            self._observation(observation),
            reward,
            performance.progress.done and not truncated,
            truncated,
            self._info(),
        )

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Returns the scene from its front, uint8 (height, width, 3), in render mode rgb_array."""
        if self.render_mode is None or self._performance is None:
            return None
        return self._simulator.observe(self._robot, (SPECTATOR,)).images[SPECTATOR].rgb

    def close(self) -> None:
        """Frees the world; calling it twice is harmless."""
        self._simulator.close()

    @property
    def _robot(self) -> str:
        return self._episode.scene.robots[0].name

    def _run(self, performance: EpisodeRunner) -> Observation:
        """Advances until the next keyframe is asked for, or the episode is over; returns what is seen then."""
        try:
            while not performance.progress.done:
                performance.advance()
        except _AskedError as asked:
            return asked.request.observation
        cameras = [camera.name for camera in self._episode.scene.cameras if camera.name != SPECTATOR]
        seen = self._simulator.observe(self._robot, cameras)
        return masked(seen, self._episode.clock, step=performance.result().steps, privileged=False)

    def _observation(self, seen: Observation) -> dict[str, Any]:
        cameras = {
            name: {
                "rgb": image.rgb,
                "depth_m": image.depth_m,
                "intrinsics": image.intrinsics,
                "world_from_camera": image.world_from_camera,
            }
            for name, image in seen.images.items()
        }
        observation: dict[str, Any] = {"cameras": cameras, "proprio": seen.proprio}
        if seen.time_s is not None:
            observation["time_s"] = np.array([seen.time_s], dtype=np.float64)
        return observation

    def _info(self) -> dict[str, Any]:
        progress = self._performance.progress if self._performance else None
        return {
            "instruction": self._episode.instruction_of(self._robot),
            "episode_id": opaque_id(self._salt, self._episode.id),
            "world_from_base": self._episode.scene.robots[0].base.matrix,
            "outcome": progress.outcome.value if progress else Outcome.RUNNING.value,
            "reason": progress.reason if progress else "",
            "phases": progress.reached if progress else (),
            "choice": progress.choice if progress else None,
        }


class RegisteredEnv(KeyframeEnv):
    """A `KeyframeEnv` that Gymnasium makes by name; `world` reads `<task>/<tier>`, which the name has settled.

    Raises `ConfigError` for a `task` or `tier` among the options, since episodes would not be what the name says.
    """

    def __init__(self, world: str, *, render_mode: str | None = None, **task_options: Any) -> None:
        for option in ("task", "tier"):
            if option in task_options:
                raise ConfigError(
                    f"The {option} of an environment must be that of its name.",
                    value=task_options[option],
                    remedy=f"Leave {option!r} out, and make the environment that is named after what you want.",
                )
        task, _, tier = world.partition("/")
        super().__init__(task, tier, render_mode=render_mode, **task_options)


class _AskedError(DecisionPendingError):
    """The loop asks for a decision that the caller of `step` has yet to give."""

    def __init__(self, request: Request) -> None:
        super().__init__("A decision is wanted.")
        self.request = request


class _Outsider:
    """A policy whose decisions come from the caller of `step`."""

    privileged = False
    action_spec = KEYFRAME

    def __init__(self) -> None:
        self.answer: Decision | None = None

    @property
    def observation_spec(self) -> ObservationSpec:
        """All cameras while a decision is awaited; none once it is there, since it was made on what was seen before."""
        return ObservationSpec(cameras=None if self.answer is None else ())

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """Hands over the decision, or asks for it by raising `_AskedError`."""
        answer, self.answer = self.answer, None
        if answer is None:
            raise _AskedError(requests[0])
        return [answer]


def _controllers(episode: Episode) -> dict[str, Controller]:
    config, period_s = ControllerConfig(), _SIMULATOR.world.control_period_s
    return {robot.name: config.build(episode.scene, robot.name, period_s=period_s) for robot in episode.scene.robots}


def _move(action: np.ndarray, base: Pose) -> MoveTo:
    values = _numbers(action)
    if values is None or values.shape != (9,) or not np.isfinite(values).all():
        raise IntentError("An action must be 9 finite numbers.", value=action, remedy="See `KeyframeEnv`.")
    if np.linalg.norm(values[3:7]) < SHORTEST_QUATERNION:
        raise IntentError("An action's quaternion must not be zero.", value=values[3:7].tolist())
    tool = compose(base, Pose(vector3(values[:3]), quaternion(values[3:7])))
    return MoveTo(tool.position_m, tool.orientation, bool(values[7] >= 0.5), bool(values[8] >= 0.5))


def _numbers(action: Any) -> np.ndarray | None:
    try:
        values = np.asarray(action)
    except (TypeError, ValueError):  # Of ragged lists, for one.
        return None
    return values.astype(np.float64) if values.dtype.kind in "biuf" else None


def _observation_space(episode: Episode) -> spaces.Dict:
    def real(*shape: int, low: float = -FARTHEST_M, high: float = FARTHEST_M, dtype: Any = np.float64) -> spaces.Box:
        return spaces.Box(low, high, shape, dtype)

    scene = episode.scene
    cameras: dict[str, spaces.Space[Any]] = {
        camera.name: spaces.Dict(
            {
                "rgb": spaces.Box(0, 255, (camera.height_px, camera.width_px, 3), np.uint8),
                "depth_m": real(camera.height_px, camera.width_px, low=0.0, dtype=np.float32),
                "intrinsics": real(3, 3, high=1e6),
                "world_from_camera": real(4, 4),
            }
        )
        for camera in scene.cameras
    }
    width = len(proprio_layout(robot_model(scene.robots[0].model)))
    space: dict[str, spaces.Space[Any]] = {"cameras": spaces.Dict(cameras), "proprio": real(width, dtype=np.float32)}
    if episode.clock is not Clock.HIDDEN:
        space["time_s"] = real(1, low=0.0, high=1e6)
    return spaces.Dict(space)
