"""What memory tasks have in common: tiers, seeded sampling of layouts and variants, and steps of progress."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

import numpy as np

from embodied.errors import ConfigError, unknown_name
from embodied.robots.catalogue import robot_model
from embodied.scenes.scene import Camera, RobotPlacement, Scene
from embodied.scenes.tabletop import ROBOT, with_robot
from embodied.seeding import stream
from embodied.tasks.expert import RobotExpert
from embodied.tasks.goals import ChoosesOne
from embodied.tasks.judging import OnFailure, judge_failure
from embodied.types import Choice, Clock, Episode, IntentFeedback, Limits, Progress, WorldState

SPLITS = ("train", "validation", "test")
PRESS_KEYFRAMES = 2  # Down and up.
PRESS_TIME_S = 10.0
LIMITS = ("camera_px", "keyframe_limit", "time_limit_s")
BALANCED_SPEC, INDEPENDENT_SPEC = 1, 2


class Tier(StrEnum):
    """`FAITHFUL` repeats the published benchmark; `STRICT` closes the leaks that let it be solved without memory."""

    FAITHFUL = "faithful"
    STRICT = "strict"


@dataclass(kw_only=True)
class MemoryTask(ChoosesOne, ABC):
    """A task whose right ending depends on what was seen earlier.

    It is its own config: plain fields, checked on construction (`ConfigError`). Subclasses give the scene and the
    judgement; sampling is common, so that no layout can depend on the variant. `spec` is the version of the sampling
    (see `sample`).
    """

    tier: Tier = Tier.STRICT
    robot: str = "panda"
    camera_px: int = 128
    time_limit_s: float = 120.0
    keyframe_limit: int = 25
    placement_noise_m: float = 0.01
    placement_noise_rad: float = float(np.pi / 4)
    on_failure: OnFailure = OnFailure.END
    spec: int = INDEPENDENT_SPEC

    published_success: ClassVar[Mapping[str, float]] = {}

    def __post_init__(self) -> None:
        try:
            self.tier = Tier(self.tier)
        except ValueError as error:
            raise unknown_name("tier", self.tier, Tier) from error
        try:
            self.on_failure = OnFailure(self.on_failure)
        except ValueError as error:
            raise unknown_name("reaction to a failed intent (`on_failure`)", self.on_failure, OnFailure) from error
        check_tabletop_robot(self.robot)
        if self.spec not in (BALANCED_SPEC, INDEPENDENT_SPEC):
            raise ConfigError(
                f"`spec` of a memory task must be {BALANCED_SPEC} or {INDEPENDENT_SPEC}.",
                value=self.spec,
                remedy=f"{BALANCED_SPEC} repeats the episodes of old results, {INDEPENDENT_SPEC} is the current one.",
            )
        for field in LIMITS:
            if not getattr(self, field) > 0:
                raise ConfigError(f"`{field}` of a task must be positive.", value=getattr(self, field))
        if not 0.0 <= self.placement_noise_rad <= np.pi:
            raise ConfigError(
                "`placement_noise_rad` must lie in [0, pi].",
                value=self.placement_noise_rad,
                remedy="pi / 4 makes every yaw of a cube as likely as any other.",
            )
        if not 0.0 <= self.placement_noise_m <= 0.02:
            raise ConfigError(
                "`placement_noise_m` must lie in [0, 0.02].",
                value=self.placement_noise_m,
                remedy="A larger error would carry blocks off their patches.",
            )

    @property
    def files_sha256(self) -> str:
        """What identifies the model file of the robot and all that belongs to it; "" for one of the catalogue."""
        return robot_model(self.robot).files_sha256

    @property
    @abstractmethod
    def name(self) -> str:
        """The task's name in results."""

    @property
    def published(self) -> Mapping[str, float]:
        """What others have published of this task and tier: the success rate in [0, 1] by the name of the policy.

        Nothing where limits or cameras are not the usual ones. Source: the project site of SAM2Act
        (sam2act.github.io), of 25 episodes at the published limits.
        """
        usual = all(getattr(self, name) == getattr(MemoryTask, name) for name in (*LIMITS, "on_failure", "robot"))
        return self.published_success if usual and self.tier is Tier.FAITHFUL else {}

    @property
    def expert(self) -> RobotExpert | None:
        """How it is solved; None where nothing is known that solves it."""
        return None

    @property
    def seeds_in_order(self) -> bool:
        """Whether evaluations take consecutive seeds, as they did by spec 1, instead of a balanced list of seeds."""
        return self.spec == BALANCED_SPEC

    @property
    def extra_presses(self) -> int:
        """Presses of the button beyond the first; each lengthens the limits of an episode."""
        return 0

    @property
    @abstractmethod
    def instruction(self) -> str:
        """What the robot is asked to do, the same in every episode: it must not name the target."""

    @property
    @abstractmethod
    def candidates(self) -> tuple[str, ...]:
        """What memory must choose among, by variant: `candidates[variant]` is the target."""

    @property
    @abstractmethod
    def phases(self) -> tuple[str, ...]:
        """All phases, in the order in which the expert completes them."""

    @property
    def cue_phases(self) -> tuple[str, ...]:
        """The phases after all of which memory must choose: all but the last, unless a task says otherwise."""
        return self.phases[:-1]

    def choice_open(self, progress: Progress) -> bool:
        """Returns whether all phases before the choice are done: from now on memory is needed."""
        return set(self.cue_phases) <= set(progress.reached)

    @abstractmethod
    def advance(self, episode: Episode, progress: Progress, state: WorldState) -> Progress:
        """Returns the progress after one more control period has led to `state`."""

    def _next_phase(self, progress: Progress) -> str:
        """Returns the first phase that `progress` lacks, the last one where it lacks none."""
        return next((phase for phase in self.phases if phase not in progress.reached), self.phases[-1])

    @abstractmethod
    def _scene(self, name: str, variant: int, random: np.random.Generator) -> Scene:
        """Returns the scene; draws from `random` must not depend on `variant`."""

    def after_failure(self, episode: Episode, progress: Progress, feedback: IntentFeedback, robot: str) -> Progress:
        """Returns FAILURE, as in the published evaluation; `progress` itself where `on_failure` is to go on."""
        del episode, robot
        return judge_failure(self.on_failure, progress, feedback)

    def begin(self, episode: Episode, state: WorldState) -> Progress:
        """Returns the progress of an episode that starts in `state`."""
        return self.advance(episode, Progress(), state)

    def sample(self, seed: int, *, split: str = "test") -> Episode:
        """Returns the episode of `seed`: the same in any process and any order. Raises `UnknownNameError`.

        Layouts come from separate random streams that do not depend on the variant. By spec 2 each variant is an
        independent draw from task, tier, split and seed, so that no seed gives information about another. By spec 1,
        which repeats the episodes of results up to commit ec2eb94, the k seeds from k * j on hold every variant once in
        the strict tier. Layouts are the same by both.
        """
        if split not in SPLITS:
            raise unknown_name("split", split, SPLITS)
        variant = self._variant(seed, (self.name, self.tier.value, split))
        return self._episode(f"{self.name}-{self.tier.value}-{split}-{seed:06d}", variant, seed, split)

    def counterfactual(self, episode: Episode) -> Episode:
        """Returns the episode of the same layout and the next variant, under its own id.

        It differs from `episode` in what is to be remembered alone, and is no episode that `sample` returns.
        """
        variant = (episode.variant + 1) % len(self.candidates)
        return self._episode(f"{episode.id}-counterfactual", variant, episode.seed, episode.split)

    def _episode(self, identifier: str, variant: int, seed: int, split: str) -> Episode:
        strict = self.tier is Tier.STRICT
        layout = stream(seed, self.name, self.tier.value, split, "layout")
        return Episode(
            id=identifier,
            task=self.name,
            tier=self.tier.value,
            variant=variant,
            seed=seed,
            split=split,
            instruction=self.instruction,
            scene=_behind_table(self.robot, self._scene(identifier, variant, layout)),
            goal=Choice(self.candidates, self.candidates[variant]),
            limits=Limits(
                intents=self.keyframe_limit + PRESS_KEYFRAMES * self.extra_presses,
                sim_time_s=self.time_limit_s + PRESS_TIME_S * self.extra_presses,
            ),
            clock=Clock.KEYFRAMES if strict else Clock.SECONDS,
            placement_noise_m=self.placement_noise_m if strict else 0.0,
            placement_noise_rad=self.placement_noise_rad if strict else 0.0,
        )

    def _variant(self, seed: int, names: tuple[str, ...]) -> int:
        # The names of the streams are older than the word "variant"; other names would draw other episodes.
        count = len(self.candidates)
        if self.spec == BALANCED_SPEC and self.tier is Tier.STRICT:
            order = stream(seed // count, *names, "variations").permutation(count)
            return int(order[seed % count])
        return int(stream(seed, *names, "variation").integers(count))


def check_tabletop_robot(name: str) -> None:
    """Raises `ConfigError` unless the robot `name` is bolted down and has one arm with a gripper, or as `robot_model`.

    `name` may be the path of a model file.
    """
    model = robot_model(name)
    if not model.fixed or len(model.arms) != 1 or model.arms[0].gripper is None:
        raise ConfigError(
            "`robot` must name a robot without wheels that has one arm with a gripper.",
            value=name,
            remedy="Take panda, or give the path of a model file as `embodied.robots.model_file` describes it.",
        )


def _behind_table(name: str, scene: Scene) -> Scene:
    """Returns the scene with the robot `name` behind the table, under the name of its model and with its cameras."""
    if name == ROBOT:
        return scene
    model = robot_model(name)
    worn = [
        Camera(camera.name, camera.pose, fov_y_rad=camera.fov_y_rad, mount=model.name, link=camera.link)
        for camera in model.cameras
    ]
    return with_robot(scene, RobotPlacement(model.name, name), worn)
