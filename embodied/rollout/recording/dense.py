"""Records what every robot of an episode saw and was commanded, at a rate."""

from collections.abc import Mapping, Sequence

import numpy as np

from embodied.controllers.action_spaces import (
    BASE_VELOCITY,
    EE_POSE,
    JOINT_POSITION,
    action_space,
    rotation_to_6d,
)
from embodied.controllers.settings import ControllerSettings
from embodied.errors import ConfigError
from embodied.geometry import rotation_matrix
from embodied.protocols import Simulator
from embodied.robots.catalogue import robot_model
from embodied.robots.commands import proprio_layout
from embodied.robots.robot import RobotModel
from embodied.rollout.recording.labels import episode_label
from embodied.rollout.requests import SPECTATOR, masked, require_cameras
from embodied.scenes.scene import Scene
from embodied.specs import ActionSpec, periods_per_row
from embodied.trajectories import Feature, RecordedDecision, Trajectory, action_feature
from embodied.trajectories.columns import observation_features, observation_row
from embodied.trajectories.frames import Frames, codec_of, encode_frame, is_image
from embodied.trajectories.trajectory import Column
from embodied.types import (
    Clock,
    Command,
    Decision,
    Episode,
    EpisodeRecord,
    IntentFeedback,
    Observation,
    Outcome,
    Progress,
    Request,
    RobotState,
    WorldState,
)

DEPTH_PRECISION_M = 0.00025  # 16 bits then reach 16.4 m.


class DenseRecorder:
    """Samples every robot from the reset on, `rate_hz` times a second, as an unprivileged policy would see it.

    Row t of the actions is what led from observation t to the next: the joint targets and gripper openings that were
    commanded last, noise included; the tool poses that were reached; and the base velocity that was commanded last.
    Intents are kept beside them, as decided. Unless the episode's clock shows seconds, no time is recorded. Less than a
    row at the end of the episode is left out. Images are coded as they come.
    """

    def __init__(self, cameras: Sequence[str] | None, rate_hz: float, depth_precision_m: float) -> None:
        self._cameras = cameras
        self._rate_hz = rate_hz
        self._depth_precision_m = depth_precision_m
        self._robots: dict[str, _RobotRecorder] = {}
        self._simulator: Simulator | None = None
        self._episode: Episode | None = None
        self._every, self._period = 1, 0
        self._recordings: tuple[Trajectory, ...] = ()

    def on_begin(self, episode: Episode, simulator: Simulator) -> None:
        """Takes the first observations.

        Raises `ConfigError` for a camera that is not there, and `SpecError` for a rate that does not divide the control
        rate.
        """
        require_cameras(episode.scene, self._cameras, user="the recorder")
        self._every = periods_per_row(self._rate_hz, 1.0 / simulator.control_period_s, what="a recording")
        self._simulator, self._episode, self._period = simulator, episode, 0
        state = simulator.state()
        for robot in episode.scene.robots:
            model = robot_model(robot.model)
            self._robots[robot.name] = _RobotRecorder(
                robot.name, model, state.robots[robot.name], rate_hz=self._rate_hz, precision_m=self._depth_precision_m
            )
        self._observe()

    def on_decision(self, request: Request, decision: Decision) -> None:
        """Keeps the intents."""
        self._robots[request.observation.robot].decide(decision)

    def on_feedback(self, robot: str, feedback: IntentFeedback) -> None:
        """Motions are recorded, however they end."""

    def on_commands(self, commands: Mapping[str, Command]) -> None:
        """Keeps what the motors of each robot are sent."""
        for name, command in commands.items():
            self._robots[name].command(command)

    def on_step(self, state: WorldState, progress: Progress) -> None:
        """Ends a row and takes the next observations when they are due."""
        del progress
        self._period += 1
        if self._period % self._every == 0:
            for name, robot in self._robots.items():
                robot.end_row(state.robots[name])
            self._observe()

    def on_end(self, record: EpisodeRecord) -> None:
        """Puts the recordings together; an invalid episode leaves none."""
        if self._episode is None or record.outcome is Outcome.INVALID:
            return
        self._recordings = tuple(
            robot.trajectory(self._episode, record) for robot in self._robots.values() if self._period >= self._every
        )

    def recordings(self) -> tuple[Trajectory, ...]:
        """Returns one trajectory per robot once the episode has ended; none if it was invalid or shorter than a row."""
        return self._recordings

    def _observe(self) -> None:
        if self._simulator is None or self._episode is None:
            raise ConfigError("A recorder must see the beginning of an episode first.")
        clock = Clock.SECONDS if self._episode.clock is Clock.SECONDS else Clock.HIDDEN
        for name, robot in self._robots.items():
            seen = self._simulator.observe(name, _cameras(self._episode.scene, name, self._cameras))
            robot.see(masked(seen, clock, step=0, privileged=False))


class _RobotRecorder:
    """The rows of one robot."""

    def __init__(self, name: str, model: RobotModel, state: RobotState, *, rate_hz: float, precision_m: float) -> None:
        self._name, self._model, self._rate_hz, self._precision_m = name, model, rate_hz, precision_m
        self._joints_rad = np.array(state.joint_position_rad, dtype=np.float64)
        self._gripper = {arm.name: state.end_effectors[arm.name].gripper for arm in model.arms}
        self._velocity = np.zeros(0 if model.drive is None else len(model.drive.velocity_limits))
        self._spaces = action_spaces(model, rate_hz)
        self._features: tuple[Feature, ...] = ()
        self._rows: dict[str, list[np.ndarray]] = {action_feature(space).name: [] for space in self._spaces}
        self._frames: dict[str, list[bytes]] = {}
        self._observations = 0
        self._decisions: list[RecordedDecision] = []

    def see(self, seen: Observation) -> None:
        """Appends an observation."""
        if not self._features:
            self._features = observation_features(
                seen,
                proprio_layout(self._model),
                rate_hz=self._rate_hz,
                depth_precision_m=self._precision_m,
            )
        row = observation_row(seen)
        for feature in self._features:
            if is_image(feature):
                self._frames.setdefault(feature.name, []).append(encode_frame(feature, row[feature.name]))
            else:
                self._rows.setdefault(feature.name, []).append(row[feature.name])
        self._observations += 1

    def decide(self, decision: Decision) -> None:
        """Keeps intents with the newest observation."""
        self._decisions.append(RecordedDecision(self._observations - 1, decision.intents))

    def command(self, command: Command) -> None:
        """Follows what the motors are asked for; what a command leaves as it is stays."""
        joints, gripper = command.joint_position_rad, command.gripper
        if isinstance(joints, Mapping):
            for name, targets in joints.items():
                self._joints_rad[self._model.columns(name)] = targets
        elif joints is not None:
            self._joints_rad = np.array(joints, dtype=np.float64)
        if isinstance(gripper, Mapping):
            self._gripper.update(gripper)
        elif gripper is not None:
            self._gripper = dict.fromkeys(self._gripper, gripper)
        if command.base_velocity is not None:
            self._velocity = np.array(command.base_velocity, dtype=np.float64)

    def end_row(self, state: RobotState) -> None:
        """Appends an action, which led to `state`."""
        for space in self._spaces:
            self._rows[action_feature(space).name].append(self._action(space, state))

    def trajectory(self, episode: Episode, record: EpisodeRecord) -> Trajectory:
        """Returns what was recorded."""
        features = (*self._features, *(action_feature(space) for space in self._spaces))
        columns: dict[str, Column] = {
            feature.name: Frames(codec_of(feature), tuple(self._frames[feature.name]))
            if is_image(feature)
            else np.array(self._rows[feature.name], dtype=feature.field.dtype)
            for feature in features
        }
        label = episode_label(episode, record, self._name)
        return Trajectory(label, self._name, features, self._spaces, columns, tuple(self._decisions))

    def _action(self, space: ActionSpec, state: RobotState) -> np.ndarray:
        if space.name == BASE_VELOCITY:
            return self._velocity
        arm = self._model.end_effector(space.end_effector)
        opening = [] if arm.gripper is None else [self._gripper[arm.name]]
        if space.name == JOINT_POSITION:
            return np.array([*self._joints_rad[self._model.columns(arm.name)], *opening])
        tool = state.end_effectors[arm.name].tool
        return np.array([*tool.position_m, *rotation_to_6d(rotation_matrix(tool.orientation)), *opening])


def action_spaces(model: RobotModel, rate_hz: float) -> tuple[ActionSpec, ...]:
    """Returns the spaces in which the motion of a robot is recorded: joints and tool of each arm, and the base."""
    settings = ControllerSettings()
    names = model.end_effectors if len(model.arms) > 1 else ("",) * len(model.arms)
    spaces = [
        action_space(kind, model, settings, rate_hz=rate_hz, end_effector=name)
        for name in names
        for kind in (JOINT_POSITION, EE_POSE)
    ]
    if model.drive is not None:
        spaces.append(action_space(BASE_VELOCITY, model, settings, rate_hz=rate_hz))
    return tuple(spaces)


def _cameras(scene: Scene, robot: str, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Returns the wanted cameras, None for all, through which `robot` may look: none that another robot carries."""
    return tuple(
        camera.name
        for camera in scene.cameras
        if camera.name != SPECTATOR and camera.mount in (None, robot) and (wanted is None or camera.name in wanted)
    )
