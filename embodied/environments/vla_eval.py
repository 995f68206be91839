"""Our tasks as a benchmark of vla-eval (PyPI), named there by `embodied.environments.vla_eval:VlaEvalBenchmark`.

It has the methods that vla-eval calls, and needs nothing of that package. Observations hold `images` by camera,
`task_description` and `state`, and under our own flat keys depth, calibration and proprioception, which a server of
ours reads. Actions are rows (9,) of the space `keyframe`, in the world frame.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from embodied.environments.keyframe import ON_FAILURE, KeyframeEnv
from embodied.errors import ConfigError, IntentError
from embodied.geometry import Pose, compose, invert, quaternion, vector3
from embodied.specs import KEYFRAME
from embodied.tasks.judging import OnFailure
from embodied.tasks.registry import TASKS, option_types, suite_named
from embodied.types import CameraImage, Observation, Outcome

IMAGE_PARTS = ("depth_m", "intrinsics", "world_from_camera")  # Beside `images`.
MOST_STEPS = 100
DONE = (Outcome.SUCCESS, Outcome.FAILURE, Outcome.TIMEOUT, Outcome.INVALID)


class _SeenEnv(KeyframeEnv):
    """A `KeyframeEnv` that keeps what it has seen last."""

    seen: Observation

    def _observation(self, seen: Observation) -> dict[str, Any]:
        self.seen = seen
        return super()._observation(seen)


class VlaEvalBenchmark:
    """The tasks of a suite, one keyframe per step. Episode `n` of a task has the seed `seed` + n of `split`.

    `tasks` names some of the suite's tasks, None all. Raises `UnknownNameError`, and `ConfigError` for options.
    """

    render_backends: ClassVar[frozenset[str]] = frozenset({"gpu", "cpu"})

    def __init__(  # noqa: PLR0913 - the settings of one benchmark, all by name
        self,
        *,
        suite: str = "memorybench",
        tier: str = "strict",
        tasks: Sequence[str] | None = None,
        split: str = "test",
        seed: int = 0,
        task_options: Mapping[str, Any] | None = None,
    ) -> None:
        fixed = {"actions", "observations"} & set(task_options or {})
        if fixed:
            raise ConfigError("A benchmark is played by keyframes on all cameras.", value=sorted(fixed))
        self._suite = suite_named(suite)
        self._names = list(tasks or self._suite.tasks)
        self._tier = tier if self._suite.tiers else ""
        self._split = split
        self._seed = seed
        self._options = dict(task_options or {})
        self._envs: dict[str, _SeenEnv] = {}
        self._env: _SeenEnv | None = None
        self._info: dict[str, Any] = {}
        self._steps = 0

    @classmethod
    def configure_render(cls, mode: str) -> dict[str, str]:
        """Returns the environment variables of a renderer: none, since the simulator chooses by itself."""
        del mode
        return {}

    def get_tasks(self) -> list[dict[str, str]]:
        """Returns the tasks by name."""
        return [{"name": name, "suite": f"{self._suite.name}/{self._tier}".rstrip("/")} for name in self._names]

    async def start_episode(self, task: Mapping[str, Any], recorder: object = None) -> None:
        """Begins episode `task["episode_idx"]` of the task `task["name"]`."""
        del recorder
        name = str(task["name"])
        if name not in self._envs:
            self._envs[name] = _SeenEnv(name, self._tier, **{**_ends_on_failure(name), **self._options})
        self._env, self._steps = self._envs[name], 0
        seed = self._seed + int(task.get("episode_idx", 0))
        _, self._info = self._env.reset(seed=seed, options={"split": self._split})

    async def apply_action(self, action: Mapping[str, Any]) -> None:
        """Carries out one keyframe. Raises `IntentError` for an action that is none."""
        _, _, _, _, self._info = self._begun().step(self._in_base(action.get("actions")))
        self._steps += 1

    async def get_observation(self) -> dict[str, Any]:
        """Returns what is seen now."""
        seen = self._begun().seen
        flat = {
            f"observation/{camera}/{part}": getattr(image, part)
            for camera, image in seen.images.items()
            for part in IMAGE_PARTS
        }
        return {
            "images": {camera: _rgb(image) for camera, image in seen.images.items()},
            "task_description": self._info["instruction"],
            "state": seen.proprio,
            **flat,
            "observation/proprio": seen.proprio,
            "observation/gripper": float(seen.gripper),
        }

    async def is_done(self) -> bool:
        """Returns whether the episode is over."""
        return Outcome(self._info["outcome"]) in DONE

    async def get_time(self) -> float:
        """Returns the keyframes since the episode began: they are what time is counted in."""
        return float(self._steps)

    async def get_result(self) -> dict[str, Any]:
        """Returns success, the number of phases reached, and how the episode ended."""
        info = self._info
        return {"success": info["outcome"] == Outcome.SUCCESS.value, "phases": len(info["phases"]), **_ended(info)}

    def get_action_spec(self) -> dict[str, Any]:
        """Returns no specs of components: a keyframe has none that vla-eval knows."""
        return {}

    def get_observation_spec(self) -> dict[str, Any]:
        """Returns no specs, as for actions."""
        return {}

    def get_metric_keys(self) -> dict[str, str]:
        """Returns what is aggregated, and how."""
        return {"success": "mean", "phases": "mean"}

    def get_metadata(self) -> dict[str, Any]:
        """Returns the most keyframes of an episode; the limits of tasks lie below."""
        return {"max_steps": MOST_STEPS}

    def get_hold_action(self, last_action: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """Raises `NotImplementedError`: keyframes have no real time."""
        raise NotImplementedError("Keyframes are played in mode sync.")

    def render(self) -> np.ndarray | None:
        """Returns nothing: videos are made of the images of observations."""
        return None

    def cleanup(self) -> None:
        """Frees the worlds; calling it twice is harmless."""
        for env in self._envs.values():
            env.close()
        self._envs.clear()

    def _begun(self) -> _SeenEnv:
        if self._env is None:
            raise IntentError("An episode must have begun.")
        return self._env

    def _in_base(self, action: object) -> np.ndarray:
        """Returns an action of the world frame as the environment takes it: in the frame of the robot's base."""
        row = np.asarray(action, np.float64).reshape(-1)
        if row.shape != (KEYFRAME.size,) or not np.isfinite(row).all() or not row[3:7].any():
            raise IntentError("An action must be 9 finite numbers, with a quaternion.", value=f"{action!r:.120}")
        base = self._begun()._episode.scene.robots[0].base
        tool = compose(invert(base), Pose(vector3(row[:3]), quaternion(row[3:7])))
        return np.array([*tool.position_m, *tool.orientation, *row[7:]])


def _ends_on_failure(task: str) -> dict[str, str]:
    """Returns the option by which a failed keyframe ends an episode, as in our evaluations, where a task has it."""
    return {ON_FAILURE: OnFailure.END.value} if ON_FAILURE in option_types(TASKS[task]) else {}


def _rgb(image: CameraImage) -> np.ndarray:
    return np.ascontiguousarray(image.rgb)


def _ended(info: Mapping[str, Any]) -> dict[str, str]:
    return {"outcome": str(info["outcome"]), "reason": str(info["reason"])}
