"""Logs the ground truth of an episode from the simulator: for judges and reports, never for policies."""

from collections.abc import Iterator

from embodied.geometry import Pose, Vector3
from embodied.memory import (
    EntitySeen,
    EpisodeEnded,
    PlaceDefined,
    RelationSet,
    ReportedStatus,
    RobotReported,
    SubtaskEnded,
)
from embodied.protocols import Simulator
from embodied.rollout.bank_feed.episode_feed import EpisodeFeed, EventBank, MemoryFeedConfig, far
from embodied.rollout.bank_feed.event_detection import DetectedEvent, EventDetector, category_of
from embodied.rollout.bank_feed.scene_places import scene_places
from embodied.scenes.scene import Body, Box
from embodied.types import Episode, EpisodeRecord, Progress, WorldState, holder_name, robot_of

LARGEST_SHIFT_M = 0.001
LARGEST_TURN = 1e-5  # 1 - |q . q'|, which is 0.5 degrees


class TruthFeed(EpisodeFeed):
    """Logs ground truth: bodies under the names of the scene, containment, and the phases that the judge saw.

    Bodies are called `<name>/<body>`. No object that an agent can reach may lead to its bank.
    """

    def __init__(self, config: MemoryFeedConfig, bank: EventBank, name: str) -> None:
        config.check()
        super().__init__(config, bank, name)
        self._logged: dict[str, Pose] = {}
        self._phases = 0

    def entity(self, body: str) -> str:
        """Returns the name of a body in the bank."""
        return f"{self.name}/{body}"

    def _begin(self, episode: Episode, simulator: Simulator) -> None:
        del simulator
        self._detector = EventDetector(episode.scene, self.entity)
        for payload in scene_places(episode.scene, self.name, self.entity):
            self._log("", payload)
            if isinstance(payload, PlaceDefined):
                self._places.append(payload)
        self._log_all(self._detector.begin())
        self._look("")

    def _take(self, state: WorldState) -> None:
        super()._take(state)
        self._state = state

    def _follow(self, state: WorldState, progress: Progress) -> None:
        self._log_all(self._detector.see(state, self.now_s))
        if self._poses_due(state):
            self._log_robots(state)
        for phase in progress.reached[self._phases :]:
            self._log("", SubtaskEnded(f"{self.name}/{phase}", "success"))
        self._phases = len(progress.reached)

    def _look(self, robot: str) -> None:
        """Logs the poses of robots, and of all bodies that have moved since their last logged pose."""
        del robot
        self._log_robots(self._state)
        for body in self._episode.scene.bodies:
            pose = self._state.pose[body.name]
            if far(pose, self._logged.get(body.name), shift_m=LARGEST_SHIFT_M, turn=LARGEST_TURN):
                self._log_body(body, pose)

    def _decided(self, robot: str) -> None:
        self._detector.decided(robot, self.now_s)

    def _finish(self) -> None:
        self._log_all(self._detector.finish(self.now_s))

    def _ended(self, record: EpisodeRecord) -> EpisodeEnded:
        return EpisodeEnded(self.name, str(record.outcome), record.reason, record.phases, self._first_seq)

    def _log_robots(self, state: WorldState) -> None:
        """Logs robot states, then their tools, then what they hold, since a held thing is located by its tool."""
        for name, robot in state.robots.items():
            tool = robot.tool if len(robot.end_effectors) == 1 else None
            held = [body for holder, body in state.held.items() if body is not None and robot_of(holder) == name]
            status = ReportedStatus.HOLDING if held else ReportedStatus.IDLE
            self._log(name, RobotReported(robot.base, status=status, tool=tool))
            for end_effector, one in robot.end_effectors.items():
                holder = holder_name(name, end_effector, only=tool is not None)
                self._log(name, EntitySeen(self.entity(f"{holder}/tool"), "tool", one.tool))
            for body in dict.fromkeys(held):
                self._log_body(self._episode.scene.body(body), state.pose[body])

    def _log_body(self, body: Body, pose: Pose) -> None:
        self._logged[body.name] = pose
        self._log("", EntitySeen(self.entity(body.name), category_of(body), pose, size_m=_size_m(body)))

    def _log_all(self, detected: Iterator[DetectedEvent]) -> None:
        """Logs detected events, and the pose of a thing that has come to rest on another."""
        for one in detected:
            payload = one.payload
            self._log(one.robot, payload)
            if isinstance(payload, RelationSet) and payload.predicate == "on":
                body = self._episode.scene.body(payload.subject.removeprefix(self.entity("")))
                self._log_body(body, self._state.pose[body.name])


def _size_m(body: Body) -> Vector3 | None:
    shape = body.parts[0].shape
    return shape.size_m if len(body.parts) == 1 and isinstance(shape, Box) else None
