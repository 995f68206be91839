"""What the robots of an episode did, intent by intent, and how each ended: in words, for the readers of a report."""

from collections.abc import Sequence
from dataclasses import dataclass

from embodied.types import (
    ActionChunk,
    ControllerReport,
    DeltaPose,
    Drive,
    GoTo,
    Intent,
    MoveTo,
    Skill,
    Wait,
)

UNFINISHED = "unfinished"
LONGEST_TARGET = 120


@dataclass(frozen=True)
class IntentOutcome:
    """One intent of `robot`: its type name, such as `MoveTo`, its target in words, and how it ended.

    `result` is `done`, `failed` or `cancelled`, or `unfinished` where the episode ended before it; `reason` says why it
    failed.
    """

    robot: str
    intent: str
    target: str
    result: str
    reason: str = ""


def outcome_of(robot: str, intent: Intent, report: ControllerReport | None) -> IntentOutcome:
    """Returns how an `intent` of `robot` ended with `report`, None where the episode ended first."""
    result, reason = (UNFINISHED, "") if report is None else (report.status.value, report.reason)
    return IntentOutcome(robot, type(intent).__name__, target_of(intent)[:LONGEST_TARGET], result, reason)


def target_of(intent: Intent) -> str:
    """Returns in words what an intent aims at: poses in metres of the world frame, times in seconds."""
    match intent:
        case MoveTo() | DeltaPose():
            at = intent.position_m if isinstance(intent, MoveTo) else intent.translation_m
            where = _metres(at) if isinstance(intent, MoveTo) else f"by {_metres(at)}"
            with_one = f", {intent.end_effector}" if intent.end_effector else ""
            return f"{where}, gripper {'open' if intent.gripper_open else 'closed'}{with_one}"
        case Drive():
            return f"{intent.linear_mps:.2f} m/s, {intent.angular_radps:.2f} rad/s for {intent.duration_s:.2f} s"
        case GoTo():
            return _metres(intent.position_m)
        case Skill():
            arguments = ", ".join(f"{name}={value}" for name, value in intent.arguments.items())
            return f"{intent.name} {arguments}".strip()
        case Wait():
            return f"{intent.duration_s:.2f} s"
        case ActionChunk():
            rows = len(intent.values)
            return f"{intent.space.name}, {rows} row{'s' * (rows != 1)}"


def _metres(point: Sequence[float]) -> str:
    return f"({', '.join(f'{round(value, 3) + 0.0:.3f}' for value in point)}) m"
