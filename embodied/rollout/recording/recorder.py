"""Records what the robot of an episode observed at every keyframe, and the action that was then chosen."""

from dataclasses import dataclass
from math import isfinite

from embodied.errors import ConfigError, IntentError
from embodied.protocols import Simulator
from embodied.robots.catalogue import robot_model
from embodied.robots.commands import proprio_layout
from embodied.rollout.recording.dense import DEPTH_PRECISION_M, DenseRecorder
from embodied.rollout.recording.labels import episode_label
from embodied.rollout.requests import SPECTATOR, masked, require_cameras
from embodied.trajectories import Trajectory, keyframe_trajectory
from embodied.types import (
    Decision,
    Episode,
    EpisodeRecord,
    IntentFeedback,
    MoveTo,
    Observation,
    Outcome,
    Progress,
    Request,
    WorldState,
)


@dataclass(kw_only=True)
class RecorderConfig:
    """Records through `cameras` of the scene; none named means all.

    `rate_hz` None records one exact row per decision, of an only robot that decides on one `MoveTo` at a time. A rate,
    which must divide the control rate, records so many rows per second of every robot, and rounds depth to
    `depth_precision_m`, 0 for exact depth.
    """

    cameras: list[str] | None = None
    rate_hz: float | None = None
    depth_precision_m: float = DEPTH_PRECISION_M

    def build(self) -> "TrajectoryRecorder | DenseRecorder":
        """Returns a recorder of one episode. Raises `ConfigError` for no camera and for numbers out of range."""
        if self.cameras is not None and (not self.cameras or len(set(self.cameras)) < len(self.cameras)):
            raise ConfigError(
                "recorder.cameras must name at least one camera, and each once.",
                value=self.cameras,
                remedy="Leave it null to record through all cameras.",
            )
        if not 0.0 <= self.depth_precision_m <= 0.1:
            raise ConfigError("recorder.depth_precision_m must lie in [0, 0.1].", value=self.depth_precision_m)
        if self.rate_hz is None:
            return TrajectoryRecorder(self)
        if not (isfinite(self.rate_hz) and self.rate_hz > 0.0):
            raise ConfigError("rate_hz must be positive.", value=self.rate_hz, remedy="Leave it null for keyframes.")
        return DenseRecorder(self.cameras, self.rate_hz, self.depth_precision_m)


class TrajectoryRecorder:
    """Records what an unprivileged policy with all cameras would see: masked clock, no instance images.

    It takes its own observations, since experts request no images. Intents are recorded as decided, before placement
    noise.
    """

    def __init__(self, config: RecorderConfig) -> None:
        self._cameras = config.cameras
        self._simulator: Simulator | None = None
        self._episode: Episode | None = None
        self._observations: list[Observation] = []
        self._intents: list[MoveTo] = []
        self._trajectory: Trajectory | None = None

    def on_begin(self, episode: Episode, simulator: Simulator) -> None:
        """Finds the robot to record. Raises `ConfigError` for several robots, and for a camera that is missing."""
        if len(episode.scene.robots) != 1:
            raise ConfigError(
                "An episode recorded by keyframes must have one robot.",
                value=[robot.name for robot in episode.scene.robots],
                remedy="Record a team at a rate, such as rate_hz=10.",
            )
        require_cameras(episode.scene, self._cameras, user="the recorder")
        if self._cameras is None:
            self._cameras = [camera.name for camera in episode.scene.cameras if camera.name != SPECTATOR]
        self._simulator, self._episode = simulator, episode

    def on_decision(self, request: Request, decision: Decision) -> None:
        """Takes one keyframe. Raises `IntentError` unless the decision is one `MoveTo`."""
        if len(decision.intents) != 1 or not isinstance(decision.intents[0], MoveTo):
            raise IntentError("A recorded decision must be one MoveTo.", value=decision.intents)
        self._observations.append(self._see(request.step))
        self._intents.append(decision.intents[0])

    def on_feedback(self, robot: str, feedback: IntentFeedback) -> None:
        """Decisions are recorded, not how they ended."""

    def on_step(self, state: WorldState, progress: Progress) -> None:
        """Only keyframes are recorded."""

    def on_end(self, record: EpisodeRecord) -> None:
        """Takes the last keyframe; an invalid episode leaves no trajectory."""
        if self._episode is None or record.outcome is Outcome.INVALID:
            return
        robot = self._episode.scene.robots[0]
        self._trajectory = keyframe_trajectory(
            episode_label(self._episode, record, robot.name),
            robot.name,
            proprio_layout(robot_model(robot.model)),
            (*self._observations, self._see(len(self._intents))),
            self._intents,
        )

    def recordings(self) -> tuple[Trajectory, ...]:
        """Returns what was recorded once the episode has ended; nothing if it was invalid."""
        return () if self._trajectory is None else (self._trajectory,)

    def _see(self, step: int) -> Observation:
        if self._simulator is None or self._episode is None:
            raise ConfigError("A recorder must see the beginning of an episode first.")
        observation = self._simulator.observe(self._episode.scene.robots[0].name, self._cameras)
        return masked(observation, self._episode.clock, step=step, privileged=False)
