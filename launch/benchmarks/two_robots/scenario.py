"""The task `two_robots` with a memory bank: the mobile robot goes to where it last saw the block, or asks the bank.

The standing robot moves the block while the mobile one is away. Both are scripted; only the place where the mobile
robot looks for the block differs. The bank is the one of `memory.url` in a rollout: it holds what the robots perceive
(masks without names, identity and categories of perception's own), their own states, actions and reports. The mobile
robot asks for the green box that was seen first, under the bank's own name. Everything else that the scripts do comes
from the true state, as with any expert: where to drive, how to move the arm, and when the other robot has finished.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import msgspec
import numpy as np

from embodied.controllers import ControllerConfig
from embodied.errors import ConfigError
from embodied.geometry import Vector3, look_at
from embodied.memory import Bank, EntitySeen, EventFilter
from embodied.protocols import Simulator
from embodied.rollout.bank_feed.belief_feed import BeliefConfig, BeliefFeed
from embodied.rollout.bank_feed.episode_feed import MemoryFeedConfig
from embodied.rollout.episode import EpisodeContext, play
from embodied.rollout.job import EpisodeResult
from embodied.rollout.requests import SPECTATOR
from embodied.scenes.hall import BLOCK, MOBILE
from embodied.scenes.scene import Camera
from embodied.simulators.bullet import BulletConfig
from embodied.specs import KEYFRAME, ObservationSpec
from embodied.tasks.teamwork.two_robots import TwoRobots
from embodied.tasks.teamwork.two_robots_expert import TwoRobotsExpert, TwoRobotsState
from embodied.types import (
    Decision,
    Episode,
    EpisodeRecord,
    IntentFeedback,
    Progress,
    Request,
    WorldState,
)

PICTURE = SPECTATOR  # No robot looks through it.
CAMERA_PX = 256
MOST_READ = 10_000
IMAGE_PX = (480, 360)


@dataclass(eq=False)
class Script:
    """Plays the expert for both robots, but with the mobile robot's own belief about the position of the block.

    That is the true position at the start, or `bank`'s answer when the robot comes back: where the first green box of
    the episode `name` is believed to be, which the bank calls `entity`. `asked_m` is the position (x, y, z) in metres
    to which it then reaches.
    """

    name: str
    bank: Bank | None = None
    entity: str = ""
    asked_m: Vector3 | None = None
    observation_spec = ObservationSpec(cameras=())
    action_spec = KEYFRAME
    privileged: bool = True

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """Returns the next action of each robot."""
        return [self._decide(request) for request in requests]

    def _decide(self, request: Request) -> Decision:
        truth, robot, expert = request.truth, request.observation.robot, TwoRobotsExpert()
        if truth is None:
            raise ConfigError("A script must be shown the truth.", remedy="Use it as a privileged policy.")
        seen_m = truth.state.pose[BLOCK].position_m
        carried = cast(TwoRobotsState, request.carry or TwoRobotsState(aim_m=seen_m[:2], step=0))
        if robot == MOBILE and self.asked_m is None and "moved" in truth.progress.reached:
            self.asked_m = self._believed_m() or (*carried["aim_m"], seen_m[2])
            carried = TwoRobotsState(aim_m=self.asked_m[:2], step=carried["step"])
        intent, carried = expert.next_intent(robot, truth.episode, truth.progress, truth.state, carried)
        return Decision((intent,), carry=carried)

    def _believed_m(self) -> Vector3 | None:
        if self.bank is None:
            return None
        self.entity = green_box(self.bank, self.name)
        found = self.bank.where_is(self.entity) if self.entity else None
        return None if found is None or found.pose is None else found.pose.position_m


def green_box(bank: Bank, name: str) -> str:
    """Returns what `bank` calls the green box that was seen first in the episode `name`, "" for none."""
    wanted = EventFilter(kinds=("entity_seen",), task=name)
    sightings = (event.payload for event in bank.changes_since(0, wanted=wanted, limit=MOST_READ))
    found = (one.entity for one in sightings if isinstance(one, EntitySeen) and {"green", "box"} <= set(one.labels))
    return next(found, "")


@dataclass(eq=False)
class Course:
    """One variant of the episode.

    Its outcome, the believed and true position of the block, and the paths of grippers and base. `paths_m` are (x, y)
    by robot, and of the mobile base as "base"; `spots_m` the middles of the spots. `entity` is the bank's name of the
    block, "" where the robot did not ask.
    """

    ending: EpisodeResult
    entity: str
    spots_m: dict[str, tuple[float, float]]
    asked_m: Vector3
    block_m: Vector3
    paths_m: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    image: np.ndarray | None = None

    @property
    def miss_m(self) -> float:
        """The distance along the table between the block and the point to which the mobile robot reached."""
        return float(np.hypot(self.asked_m[0] - self.block_m[0], self.asked_m[1] - self.block_m[1]))


@dataclass(eq=False)
class _Tracer:
    """Records the paths of grippers and base, and the position of the block when the mobile robot reached for it."""

    paths_m: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    block_m: Vector3 = (0.0, 0.0, 0.0)

    def on_begin(self, episode: Episode, simulator: Simulator) -> None:
        """Recording begins with the first period."""

    def on_decision(self, request: Request, decision: Decision) -> None:
        """Decisions are not recorded."""

    def on_feedback(self, robot: str, feedback: IntentFeedback) -> None:
        """Only positions are recorded."""

    def on_step(self, state: WorldState, progress: Progress) -> None:
        """Records one period."""
        del progress
        for name, robot in state.robots.items():
            if robot.tool is not None:
                self.paths_m.setdefault(name, []).append(robot.tool.position_m[:2])
        self.paths_m.setdefault("base", []).append(state.robots[MOBILE].base.position_m[:2])
        if state.held[MOBILE] is None:
            self.block_m = state.pose[BLOCK].position_m

    def on_end(self, record: EpisodeRecord) -> None:
        """The last period is already recorded."""


def play_variant(bank: Bank, *, asks: bool, seed: int = 0, pictured: bool = False) -> Course:
    """Plays the episode of `seed` in real physics, recorded in `bank`.

    The mobile robot queries the bank only if it `asks`. With `pictured` the final image is rendered.
    """
    task = TwoRobots(camera_px=CAMERA_PX)
    episode = _with_picture(task.sample(seed))
    feed = BeliefFeed(MemoryFeedConfig(), BeliefConfig(), bank, f"hall/{'asking' if asks else 'alone'}/{seed}")
    script = Script(feed.name, bank if asks else None)
    tracer = _Tracer()
    simulator = BulletConfig().build()
    try:
        context = EpisodeContext(
            simulator, task, script,
            lambda one: {
                robot.name: ControllerConfig().build(one.scene, robot.name, period_s=simulator.control_period_s)
                for robot in one.scene.robots
            },
        )  # fmt: skip
        ending = play(episode, context, observers=[feed, tracer])
        feed.on_end(_record(episode, ending))
        image = simulator.observe(MOBILE, (PICTURE,)).images[PICTURE].rgb if pictured else None
    finally:
        simulator.close()
    spots_m = {body.name: body.pose.position_m[:2] for body in episode.scene.bodies if body.category == "spot"}
    return Course(
        ending, script.entity, spots_m, script.asked_m or (0.0, 0.0, 0.0), tracer.block_m, tracer.paths_m, image
    )


def _with_picture(episode: Episode) -> Episode:
    """Returns the episode with one more camera, for the picture."""
    camera = Camera(PICTURE, look_at((0.9, -1.9, 1.45), (0.2, 0.0, 0.45)), *IMAGE_PX, fov_y_rad=0.56)
    scene = msgspec.structs.replace(episode.scene, cameras=(*episode.scene.cameras, camera))
    return replace(episode, scene=scene)


def _record(episode: Episode, ending: EpisodeResult) -> EpisodeRecord:
    done = ending.progress
    return EpisodeRecord(
        run="proof", episode=episode.id, attempt=1, task=episode.task, tier=episode.tier, policy="script",
        variant=episode.variant, seed=episode.seed, outcome=done.outcome, reason=done.reason, phases=done.reached,
        choice=None, steps=ending.steps, sim_time_s=ending.sim_time_s, wall_s=0.0,
    )  # fmt: skip
