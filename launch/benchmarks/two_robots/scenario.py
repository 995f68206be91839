"""Two robots and one bank: one moves a block while the other is away; asked for it, the other goes where it is now.

A Panda stands at one side of a table, a mobile Panda at the other. The mobile one sees the block and drives away, the
first one moves the block, and the mobile one comes back to fetch it: where it last saw it, or where the bank says.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from embodied.controllers import ControllerConfig
from embodied.errors import ConfigError
from embodied.geometry import Pose, Vector3, look_at, quaternion_from_euler, quaternion_from_yaw
from embodied.memory import Bank
from embodied.protocols import Simulator
from embodied.rollout.bank_feed.feed import MemoryFeed, MemoryFeedConfig
from embodied.rollout.episode import EpisodeContext, play
from embodied.rollout.job import EpisodeResult
from embodied.scenes.scene import Body, Box, Camera, Part, RobotPlacement, Scene
from embodied.simulators.bullet import BulletConfig
from embodied.specs import KEYFRAME, ObservationSpec
from embodied.tasks.goals import ChoosesOne
from embodied.types import (
    Choice,
    Decision,
    Drive,
    Episode,
    EpisodeRecord,
    Intent,
    IntentFeedback,
    Limits,
    MoveTo,
    Outcome,
    Progress,
    Request,
    Wait,
    WorldState,
)

MOVER, FETCHER, BLOCK, VIEW = "mover", "fetcher", "block", "view"
TOP_M = 0.30
SPOTS_M = {"left": (0.05, 0.20), "right": (0.05, -0.20)}
SIDE_M = 0.05
ABOVE_M, GRASP_M, LIFTED_M = 0.16, 0.025, 0.08
AWAY_M = 1.5
WAY = Drive(0.5, 0.0, 2.4)
SHUT = 0.1
DOWN = {MOVER: quaternion_from_euler(np.pi, 0.0, 0.0), FETCHER: quaternion_from_euler(np.pi, 0.0, np.pi)}
IMAGE_PX = (480, 360)


def hall() -> Scene:
    """Returns floor, table, two spots, the block on the left one, and the robots at both sides."""
    grey, wood, green = (0.55, 0.56, 0.58, 1.0), (0.62, 0.52, 0.40, 1.0), (0.2, 0.6, 0.3, 1.0)
    spots = [
        Body(name, (Part(Box((0.1, 0.1, 0.001)), rgba=(0.75, 0.25, 0.2, 1.0), collides=False),),
             Pose((x, y, TOP_M + 0.0005)), category="spot")
        for name, (x, y) in SPOTS_M.items()
    ]  # fmt: skip
    x, y = SPOTS_M["left"]
    block = Part(Box((SIDE_M, SIDE_M, SIDE_M)), rgba=green)
    bodies = (
        Body("floor", (Part(Box((8.0, 8.0, 0.1)), rgba=(0.85, 0.85, 0.83, 1.0)),), Pose((0.0, 0.0, -0.05))),
        Body("table", (Part(Box((0.6, 0.9, TOP_M)), rgba=wood),), Pose((0.0, 0.0, TOP_M / 2)), category="table"),
        Body("stand", (Part(Box((0.24, 0.24, TOP_M)), rgba=grey),), Pose((-0.48, 0.0, TOP_M / 2))),
        *spots,
        Body(BLOCK, (block,), Pose((x, y, TOP_M + SIDE_M / 2)), 0.3, category="block", graspable=True),
    )
    camera = Camera(VIEW, look_at((0.9, -1.9, 1.45), (0.2, 0.0, 0.45)), *IMAGE_PX, fov_y_rad=0.56)
    robots = (
        RobotPlacement(MOVER, "panda", Pose((-0.48, 0.0, TOP_M))),
        RobotPlacement(FETCHER, "mobile_panda", Pose((0.68, 0.0, 0.0), quaternion_from_yaw(np.pi))),
    )
    return Scene("hall", bodies, cameras=(camera,), robots=robots)


class Fetching(ChoosesOne):
    """The fetcher shall hold the block, after the mover has put it elsewhere; implements `protocols.Task`."""

    name, tier = "fetch", "proof"

    def sample(self, seed: int, *, split: str = "test") -> Episode:
        """Returns the one episode there is, with the seed of its paths."""
        return Episode(
            id=f"fetch/{seed}", task=self.name, tier=self.tier, variant=0, seed=seed, split=split,
            instruction="fetch the block", scene=hall(), goal=Choice(tuple(SPOTS_M), "right"),
            limits=Limits(intents=400, sim_time_s=60.0),
        )  # fmt: skip

    def begin(self, episode: Episode, state: WorldState) -> Progress:
        """Returns that nothing is done yet."""
        del episode, state
        return Progress()

    def after_failure(self, episode: Episode, progress: Progress, feedback: IntentFeedback, robot: str) -> Progress:
        """Returns FAILURE: neither robot may fail."""
        del episode
        return replace(progress, outcome=Outcome.FAILURE, reason=f"{robot}: {feedback.reason}")

    def advance(self, episode: Episode, progress: Progress, state: WorldState) -> Progress:
        """Returns how it stands: away, moved, fetched; a hand that shuts on nothing has failed."""
        del episode
        hand = state.robots[FETCHER]
        if "moved" not in progress.reached:
            if not progress.reached and hand.base.position_m[0] > AWAY_M:
                return replace(progress, reached=("away",))
            put = state.held[MOVER] is None and _flat_m(state.pose[BLOCK], SPOTS_M["right"]) < 0.02
            settled = state.pose[BLOCK].position_m[2] < TOP_M + SIDE_M / 2 + 0.002
            return replace(progress, reached=(*progress.reached, "moved")) if put and settled else progress
        if state.held[FETCHER] == BLOCK and state.pose[BLOCK].position_m[2] > TOP_M + LIFTED_M:
            reached = (*progress.reached, "fetched")
            return replace(progress, outcome=Outcome.SUCCESS, reached=reached, choice="right")
        if hand.gripper < SHUT:
            return replace(progress, outcome=Outcome.FAILURE, reason="the hand shut on nothing", choice="left")
        return progress


@dataclass(frozen=True)
class _Note:
    """What a robot carries from decision to decision: its next step, and where it saw the block."""

    step: int = 0
    seen_m: Vector3 = (0.0, 0.0, 0.0)


@dataclass(eq=False)
class Script:
    """What both robots do; `bank` and `entity` are asked for the block, without them the fetcher's own eyes count.

    `asked_m` is where the fetcher then believed the block to be, metres.
    """

    bank: Bank | None = None
    entity: str = BLOCK
    asked_m: Vector3 | None = None
    observation_spec = ObservationSpec(cameras=())
    action_spec = KEYFRAME
    privileged: bool = True

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """Returns what each robot does next."""
        return [self._decide(request) for request in requests]

    def _decide(self, request: Request) -> Decision:
        truth = request.truth
        if truth is None:
            raise ConfigError("A script must be shown the truth.", remedy="Ask it as a privileged policy.")
        note = request.carry or _Note(seen_m=truth.state.pose[BLOCK].position_m)
        if request.observation.robot == MOVER:
            return self._move(note, truth.progress)
        return self._fetch(note, truth.progress)

    def _move(self, note: _Note, progress: Progress) -> Decision:
        if not progress.reached:
            return Decision((Wait(0.25),), carry=note)
        return _step(note, [*_pick(MOVER, SPOTS_M["left"]), *_place(MOVER, SPOTS_M["right"]), _retreat()])

    def _fetch(self, note: _Note, progress: Progress) -> Decision:
        back = Drive(-WAY.linear_mps, 0.0, WAY.duration_s)
        if note.step == 0:
            return Decision((back,), carry=replace(note, step=1))
        if "moved" not in progress.reached:
            return Decision((Wait(0.25),), carry=note)
        if note.step == 1:
            return Decision((WAY, Wait(0.5)), carry=replace(note, step=2))
        self.asked_m = self.asked_m or self._believed_m(note)
        return _step(replace(note, step=note.step - 2), _pick(FETCHER, self.asked_m[:2]), shift=2)

    def _believed_m(self, note: _Note) -> Vector3:
        there = None if self.bank is None else self.bank.where_is(self.entity)
        return note.seen_m if there is None or there.pose is None else there.pose.position_m


@dataclass(eq=False)
class Course:
    """One telling of the story: what was asked for, how it ended, and the ways of hands and base, (x, y) in metres."""

    ending: EpisodeResult
    asked_m: Vector3
    block_m: Vector3
    ways: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    image: np.ndarray | None = None

    @property
    def miss_m(self) -> float:
        """How far from the block, along the table, the fetcher reached."""
        return float(np.hypot(self.asked_m[0] - self.block_m[0], self.asked_m[1] - self.block_m[1]))


@dataclass(eq=False)
class _Tracer:
    """Notes where hands and base go, and where the block lay when the fetcher reached for it."""

    ways: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    block_m: Vector3 = (0.0, 0.0, 0.0)

    def on_begin(self, episode: Episode, simulator: Simulator) -> None:
        """Nothing is noted before the first period."""

    def on_decision(self, request: Request, decision: Decision) -> None:
        """Nothing is noted of decisions."""

    def on_feedback(self, robot: str, feedback: IntentFeedback) -> None:
        """Only positions are traced."""

    def on_step(self, state: WorldState, progress: Progress) -> None:
        """Notes one period."""
        del progress
        for name, robot in state.robots.items():
            if robot.tool is not None:
                self.ways.setdefault(name, []).append(robot.tool.position_m[:2])
        self.ways.setdefault("base", []).append(state.robots[FETCHER].base.position_m[:2])
        if state.held[FETCHER] is None:
            self.block_m = state.pose[BLOCK].position_m

    def on_end(self, record: EpisodeRecord) -> None:
        """Nothing is left to note."""


def play_variant(bank: Bank, *, asks: bool, seed: int = 0, pictured: bool = False) -> Course:
    """Plays the episode in real physics, recorded in `bank`; the fetcher queries the bank only if it `asks`."""
    task = Fetching()
    episode = task.sample(seed)
    feed: MemoryFeed = MemoryFeedConfig().build(bank, f"hall/{'asking' if asks else 'alone'}/{seed}")
    script = Script(bank if asks else None, feed.entity(BLOCK))
    tracer = _Tracer()
    simulator = BulletConfig().build()
    try:
        stage = EpisodeContext(
            simulator, task, script,
            lambda one: {
                robot.name: ControllerConfig().build(one.scene, robot.name, period_s=simulator.control_period_s)
                for robot in one.scene.robots
            },
        )  # fmt: skip
        ending = play(episode, stage, observers=[feed, tracer])
        feed.on_end(_record(episode, ending))
        image = simulator.observe(FETCHER, (VIEW,)).images[VIEW].rgb if pictured else None
    finally:
        simulator.close()
    return Course(ending, script.asked_m or (0.0, 0.0, 0.0), tracer.block_m, tracer.ways, image)


def _step(note: _Note, steps: Sequence[Intent], *, shift: int = 0) -> Decision:
    intent = steps[note.step] if note.step < len(steps) else Wait(0.25)
    return Decision((intent,), carry=replace(note, step=note.step + shift + 1))


def _pick(robot: str, spot_m: Sequence[float]) -> list[MoveTo]:
    return [
        _move_gripper(robot, spot_m, ABOVE_M, gripper_open=True),
        _move_gripper(robot, spot_m, GRASP_M, gripper_open=True, careful=False),
        _move_gripper(robot, spot_m, GRASP_M, gripper_open=False, careful=False),
        _move_gripper(robot, spot_m, ABOVE_M, gripper_open=False, careful=False),
    ]


def _place(robot: str, spot_m: Sequence[float]) -> list[MoveTo]:
    return [
        _move_gripper(robot, spot_m, ABOVE_M, gripper_open=False),
        _move_gripper(robot, spot_m, GRASP_M + 0.002, gripper_open=False, careful=False),
        _move_gripper(robot, spot_m, GRASP_M + 0.002, gripper_open=True, careful=False),
        _move_gripper(robot, spot_m, ABOVE_M, gripper_open=True, careful=False),
    ]


def _retreat() -> MoveTo:
    return _move_gripper(MOVER, (-0.14, -0.15), 0.45, gripper_open=True)


def _move_gripper(
    robot: str, spot_m: Sequence[float], height_m: float, *, gripper_open: bool, careful: bool = True
) -> MoveTo:
    return MoveTo((spot_m[0], spot_m[1], TOP_M + height_m), DOWN[robot], gripper_open, careful)


def _flat_m(pose: Pose, spot_m: Sequence[float]) -> float:
    return float(np.hypot(pose.position_m[0] - spot_m[0], pose.position_m[1] - spot_m[1]))


def _record(episode: Episode, ending: EpisodeResult) -> EpisodeRecord:
    done = ending.progress
    return EpisodeRecord(
        run="proof", episode=episode.id, attempt=1, task=episode.task, tier=episode.tier, policy="script", variant=0,
        seed=episode.seed, outcome=done.outcome, reason=done.reason, phases=done.reached, choice=None,
        steps=ending.steps, sim_time_s=ending.sim_time_s, wall_s=0.0,
    )  # fmt: skip
