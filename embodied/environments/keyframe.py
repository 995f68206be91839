"""A memory task as a Gymnasium environment: one keyframe per step, the same loop and judge as in evaluations."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded

from embodied.controllers import ControllerConfig
from embodied.environments.actions import WORKSPACE_M, Actions, Bounds, InfeasibleError
from embodied.environments.observations import observations_of
from embodied.environments.rewards import Rewards
from embodied.errors import CommandError, ConfigError, unknown_name
from embodied.protocols import Controller, Task
from embodied.rollout.episode import EpisodeContext, EpisodeRunner
from embodied.rollout.policy_calls import DecisionPendingError
from embodied.rollout.recording.video_observer import VideoConfig, with_spectator
from embodied.rollout.requests import SPECTATOR, masked
from embodied.seeding import drawn_salt, opaque_id
from embodied.simulators.bullet import BulletConfig
from embodied.simulators.rendering.choice import RendererChoice
from embodied.specs import KEYFRAME, ObservationSpec
from embodied.tasks.judging import OnFailure
from embodied.tasks.registry import TASKS, make_task, option_types
from embodied.types import (
    ControllerStatus,
    Decision,
    Episode,
    EpisodeRecord,
    Intent,
    IntentFeedback,
    Observation,
    Outcome,
    Progress,
    Request,
    Wait,
    WorldState,
)

RESET_OPTIONS = ("split",)
ON_FAILURE = "on_failure"
_PROCESS_SALT = drawn_salt()


class KeyframeEnv(gymnasium.Env[Any, np.ndarray]):
    """One robot, one `MoveTo` per step.

    `actions`, all in the frame of the robot's base, which `info["world_from_base"]` (4, 4) gives; `action_names` has
    the name of each entry. "keyframe" (9,): tool position x, y, z (m), orientation (quaternion xyzw, scaled to unit
    length here), gripper open and avoid_collisions, flags that mean yes from 0.5 on. The entries of the others lie in
    [-1, 1] and stand for `action_bounds`, in metres and radians: the positions of `workspace_m`, (low, high) along x, y
    and z, and flags that mean yes from 0 on. "pose6d" (8,): x, y, z, a rotation vector from the tool pointing straight
    down at yaw 0, gripper open, avoid_collisions. "tool_down" (5,): x, y, z, yaw, gripper open; the tool points
    straight down, and collisions are not avoided.

    `observations`: "full" has `cameras`, each with `rgb`, `depth_m`, `intrinsics` and `world_from_camera` as in
    `types.CameraImage`; `proprio` as `robots.commands.proprio_layout` names it; `time_s` as the episode's clock shows
    it, absent where it is hidden. "single_camera" has `rgb` of `camera`, with `depth` also `depth_m`, and the same
    `proprio` and `time_s`, all in one flat dictionary. "low_dim" is a vector that `observation_names` explains: it
    holds the true state of the task, so it is privileged, and no result with it may be compared with those of policies
    that see images.

    `reward` "sparse" is 1 for success, else 0; "shaped" adds progress through the phases of the task, and "potential"
    potential-based shaping for a learner that discounts by `discount` (`embodied.environments.rewards`). Success,
    failure and invalid episodes terminate; the limits of keyframes and time truncate.

    A keyframe that cannot be carried out moves nothing, or stops where the arm is blocked, and counts; the episode goes
    on unless `on_failure="end"` is among the options. Information: `instruction`, `world_from_base`, `outcome`
    (`types.Outcome`) and its `reason`, `is_success`, the `phases` reached, the `choice` made, None before one, and
    `keyframe_failure`: why the last keyframe was not carried out, "" where it was. `episode_id` identifies an episode
    and gives no information about it: it depends on `salt`, which is drawn once per process unless it is given.

    `render` shows the scene from its front where `render_mode` is "rgb_array". `reset(seed=n)` starts the very episode
    `n` of the split `options["split"]`, by default "train"; without a seed, one drawn from the seed before. `task` is
    played in `tier`, and `task_options` are its fields, such as `patches=8`. Raises `UnknownNameError` and
    `ConfigError`, and `IntentError` for an action of wrong shape or one that is not finite, which moves nothing.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 2}  # noqa: RUF012 - Gymnasium's own form

    def __init__(  # noqa: PLR0913 - the options of one environment, all by name
        self,
        task: str,
        tier: str,
        *,
        render_mode: str | None = None,
        salt: str = "",
        actions: str = "keyframe",
        workspace_m: Bounds = WORKSPACE_M,
        observations: str = "full",
        camera: str = "front",
        depth: bool = False,
        reward: str = "sparse",
        discount: float = 0.99,
        **task_options: Any,
    ) -> None:
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise unknown_name("render mode", render_mode, self.metadata["render_modes"])
        self.render_mode = render_mode
        self._task = _learners_task(task, tier, task_options)
        self._episode = self._task.sample(0)
        _require_one_robot(self._episode)
        self._actions = Actions(actions, workspace_m)
        self._observations = observations_of(observations, self._task, camera=camera, depth=depth)
        self._rewards = Rewards(reward, self._task, discount=discount)
        self._salt = salt or _PROCESS_SALT
        self._agent = _Outsider(self._observations.cameras)
        self._failure = _LastFailure()
        unseen = render_mode is None and self._observations.cameras == ()
        # Where nothing is rendered, a renderer that starts when it is first used never starts.
        self._config = BulletConfig(renderer=RendererChoice.opengl if unseen else RendererChoice.auto)
        self._simulator = self._config.build()
        self._performance: EpisodeRunner | None = None
        self._open = True
        self.observation_space = self._observations.space
        self.action_space = self._actions.space

    @property
    def action_names(self) -> tuple[str, ...]:
        """The name of each entry of an action, units included."""
        return self._actions.names

    @property
    def action_bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """What the lowest and the highest action (size,) stand for, in metres and radians.

        `RescaleAction(env, *env.unwrapped.action_bounds)` takes actions in these units.
        """
        return self._actions.bounds

    @property
    def observation_names(self) -> tuple[str, ...]:
        """The name of each entry of a low-dimensional observation; () for the others, which are dictionaries."""
        return self._observations.names

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Starts an episode and returns what is seen and known at its beginning."""
        self._require_open()
        super().reset(seed=seed)
        options = options or {}
        for name in options:
            if name not in RESET_OPTIONS:
                raise unknown_name("reset option", name, RESET_OPTIONS)
        number = int(self.np_random.integers(2**31)) if seed is None else seed
        episode = self._task.sample(number, split=options.get("split", "train"))
        self._episode = with_spectator(episode, VideoConfig()) if self.render_mode else episode
        context = EpisodeContext(self._simulator, self._task, self._agent, self._controllers)
        self._failure.reason = ""
        self._agent.answer = None
        self._performance = EpisodeRunner(self._episode, context, observers=(self._failure,))
        self._performance.begin()
        seen = self._run(self._performance)
        self._rewards.begin(self._episode, self._simulator.state(), self._performance.progress)
        return self._observation(seen), self._info()

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Carries out one keyframe, to its end or that of the episode."""
        self._require_open()
        performance = self._performance
        if performance is None or performance.progress.done:
            raise ResetNeeded("The episode is over, or has not begun: call `reset` first.")
        intent, self._failure.reason = self._intent(action)
        self._agent.answer = Decision(intents=(intent,))
        seen = self._run(performance)
        progress = performance.progress
        truncated = progress.outcome is Outcome.TIMEOUT
        reward = self._rewards.step(self._episode, self._simulator.state(), progress)
        return self._observation(seen), reward, progress.done and not truncated, truncated, self._info()

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Returns the scene from its front, uint8 (height, width, 3), in render mode rgb_array."""
        if self.render_mode is None or self._performance is None:
            return None
        self._require_open()
        return self._simulator.observe(self._robot, (SPECTATOR,)).images[SPECTATOR].rgb

    def close(self) -> None:
        """Frees the world; calling it twice is harmless. Then `reset`, `step` and `render` raise `CommandError`."""
        self._open = False
        self._simulator.close()

    def _require_open(self) -> None:
        if not self._open:
            raise CommandError(
                "An environment must be open to be reset, stepped or rendered.",
                value="one that was closed",
                remedy="Make a new one with `gymnasium.make`.",
            )

    @property
    def _robot(self) -> str:
        return self._episode.scene.robots[0].name

    def _intent(self, action: Any) -> tuple[Intent, str]:
        """Returns the intent of an action; for one that no keyframe can have, standing still, and why."""
        try:
            return self._actions.move(action, self._episode.scene.robots[0].base), ""
        except InfeasibleError as error:
            return Wait(self._config.world.control_period_s), str(error)

    def _run(self, performance: EpisodeRunner) -> Observation:
        """Advances until the next keyframe is asked for, or the episode is over; returns what is seen then."""
        try:
            while not performance.progress.done:
                performance.advance()
        except _AskedError as asked:
            return asked.request.observation
        cameras = self._observations.cameras
        if cameras is None:
            cameras = tuple(camera.name for camera in self._episode.scene.cameras if camera.name != SPECTATOR)
        seen = self._simulator.observe(self._robot, cameras)
        return masked(seen, self._episode.clock, step=performance.result().steps, privileged=False)

    def _observation(self, seen: Observation) -> Any:
        progress = Progress() if self._performance is None else self._performance.progress
        return self._observations.read(seen, self._episode, self._simulator.state(), progress)

    def _info(self) -> dict[str, Any]:
        progress = Progress() if self._performance is None else self._performance.progress
        return {
            "instruction": self._episode.instruction_of(self._robot),
            "episode_id": opaque_id(self._salt, self._episode.id),
            "world_from_base": self._episode.scene.robots[0].base.matrix,
            "outcome": progress.outcome.value,
            "reason": progress.reason,
            "is_success": progress.outcome is Outcome.SUCCESS,
            "phases": progress.reached,
            "choice": progress.choice,
            "keyframe_failure": self._failure.reason,
        }

    def _controllers(self, episode: Episode) -> dict[str, Controller]:
        config, period_s = ControllerConfig(), self._config.world.control_period_s
        return {
            robot.name: config.build(episode.scene, robot.name, period_s=period_s) for robot in episode.scene.robots
        }


class RegisteredEnv(KeyframeEnv):
    """A `KeyframeEnv` that Gymnasium makes by name; `world` reads `<task>/<tier>`, which the name has settled.

    Raises `ConfigError` for a `task` or `tier` among the options, since episodes would not be what the name says.
    """

    def __init__(self, world: str, *, render_mode: str | None = None, **options: Any) -> None:
        for option in ("task", "tier"):
            if option in options:
                raise ConfigError(
                    f"The {option} of an environment must be that of its name.",
                    value=options[option],
                    remedy=f"Leave {option!r} out, and make the environment that is named after what you want.",
                )
        task, _, tier = world.partition("/")
        super().__init__(task, tier, render_mode=render_mode, **options)


class _AskedError(DecisionPendingError):
    """The loop asks for a decision that the caller of `step` has yet to give."""

    def __init__(self, request: Request) -> None:
        super().__init__("A decision is wanted.")
        self.request = request


class _Outsider:
    """A policy whose decisions come from the caller of `step`; it sees `cameras`, None for all."""

    privileged = False
    action_spec = KEYFRAME

    def __init__(self, cameras: tuple[str, ...] | None) -> None:
        self.answer: Decision | None = None
        self._cameras = cameras

    @property
    def observation_spec(self) -> ObservationSpec:
        """Its cameras while a decision is awaited; none once it is there, since it was made on what was seen before."""
        return ObservationSpec(cameras=self._cameras if self.answer is None else ())

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """Hands over the decision, or asks for it by raising `_AskedError`."""
        answer, self.answer = self.answer, None
        if answer is None:
            raise _AskedError(requests[0])
        return [answer]


class _LastFailure:
    """Watches an episode for the `reason` of the last failure of an intent."""

    def __init__(self) -> None:
        self.reason = ""

    def on_begin(self, episode: Episode, simulator: object) -> None:
        """Ignores the beginning."""

    def on_decision(self, request: Request, decision: Decision) -> None:
        """Ignores decisions."""

    def on_feedback(self, robot: str, feedback: IntentFeedback) -> None:
        """Notes the reason of a failure."""
        del robot
        if feedback.status is ControllerStatus.FAILED:
            self.reason = feedback.reason

    def on_step(self, state: WorldState, progress: Progress) -> None:
        """Ignores the steps."""

    def on_end(self, record: EpisodeRecord) -> None:
        """Ignores the end."""


def _learners_task(name: str, tier: str, options: dict[str, Any]) -> Task:
    """Returns the task; unless the options say otherwise, its episodes go on after a failed keyframe."""
    lenient = {ON_FAILURE: OnFailure.CONTINUE.value} if ON_FAILURE in option_types(TASKS[name]) else {}
    return make_task(name, tier=tier, options={**lenient, **options})


def _require_one_robot(episode: Episode) -> None:
    robots = [robot.name for robot in episode.scene.robots]
    if len(robots) != 1:
        raise ConfigError(
            f"An environment of keyframes needs a task with one robot; {episode.task!r} has others.",
            value=robots,
            remedy="Play it with launch.evaluate.",
        )
