"""The vocabulary: frozen values that cross packages. Metres, radians, seconds since reset; quaternions xyzw; z up.

Arrays are unbatched numpy and must be treated as read-only: those that come from Ray are.
"""

from embodied.types.columns import CHOICE, Interval, ReportColumn
from embodied.types.decisions import (
    HIDDEN_STEP,
    Assignment,
    Cancel,
    Decision,
    MemoryContext,
    Moment,
    Request,
    RobotStatus,
    TeamSnapshot,
    Truth,
)
from embodied.types.episode import NORMAL, Clock, Episode, EpisodeRecord, Limits, Outcome, Progress, RobotRecord, named
from embodied.types.goals import Answer, Choice, Goal, Mission
from embodied.types.intents import (
    ActionChunk,
    Command,
    ControllerReport,
    ControllerStatus,
    DeltaPose,
    Drive,
    GoTo,
    Intent,
    IntentFeedback,
    MoveTo,
    Skill,
    Wait,
)
from embodied.types.observation import CameraImage, Observation
from embodied.types.world import EndEffectorState, RobotState, WorldState, held_bodies, holder_name, robot_of
from embodied.types.world_codec import world_from_json, world_to_json

__all__ = [
    "CHOICE",
    "HIDDEN_STEP",
    "NORMAL",
    "ActionChunk",
    "Answer",
    "Assignment",
    "CameraImage",
    "Cancel",
    "Choice",
    "Clock",
    "Command",
    "ControllerReport",
    "ControllerStatus",
    "Decision",
    "DeltaPose",
    "Drive",
    "EndEffectorState",
    "Episode",
    "EpisodeRecord",
    "GoTo",
    "Goal",
    "Intent",
    "IntentFeedback",
    "Interval",
    "Limits",
    "MemoryContext",
    "Mission",
    "Moment",
    "MoveTo",
    "Observation",
    "Outcome",
    "Progress",
    "ReportColumn",
    "Request",
    "RobotRecord",
    "RobotState",
    "RobotStatus",
    "Skill",
    "TeamSnapshot",
    "Truth",
    "Wait",
    "WorldState",
    "held_bodies",
    "holder_name",
    "named",
    "robot_of",
    "world_from_json",
    "world_to_json",
]
