"""Finds the robots that can do a skill near a point now, cheapest first."""

import math
from bisect import bisect_left
from dataclasses import dataclass

from embodied.geometry import Vector3
from embodied.memory.projections.embodiment import ANY_CONTEXT, Experience
from embodied.memory.queries.containment_history import Instant, having_then, last_logged, now_s
from embodied.memory.queries.map_frames import MapFrames
from embodied.memory.schema.kinds import RobotRegistered, RobotReported
from embodied.memory.schema.places import inside_polygon
from embodied.memory.schema.query import SkillCandidate
from embodied.memory.schema.reported_status import ReportedStatus
from embodied.memory.storage.log import EventLog
from embodied.seeding import stream

LEAST_BATTERY = 0.1
UNABLE = frozenset({ReportedStatus.CHARGING, ReportedStatus.STOPPED, ReportedStatus.ERROR, ReportedStatus.OFFLINE})
NO_RUN = (0, -math.inf, Experience())
LEAST_DRAW = 1e-6
PRIOR = (1, 1)  # Beta(1, 1): the uniform prior before the first trial.


@dataclass(frozen=True)
class SkillQuery:
    """A skill at a point (site frame, metres), in a context such as an object's category ("": any).

    Robots whose last report is older than `max_age_s` are left out. A seed (`explore_seed`) gives drawn estimates.
    """

    skill: str
    near_m: Vector3
    context: str = ""
    max_age_s: float = math.inf
    explore_seed: int | None = None


def skill_candidates(log: EventLog, query: SkillQuery, at: Instant) -> list[SkillCandidate]:
    """Returns the robots in `log` that can do the skill of `query`, cheapest first.

    They have the skill, can reach the point, are in working order and have battery, `at` the instant. Their last report
    is in the site frame or in a map that is placed. Cost, seconds:
    travel, then the subtasks leased to the robot, then the skill, divided by the estimated probability of success.
    """
    found, maps = [], MapFrames(log, at)
    for (robot,) in log.tables.select("SELECT robot FROM robot WHERE seq <= ?", at.seq):
        answer = _robot_candidate(maps, robot, query)
        if answer is not None:
            found.append(answer)
    return sorted(found, key=lambda candidate: (candidate.cost_s, candidate.robot))


def experience(log: EventLog, robot: str, query: SkillQuery, at: Instant) -> Experience:
    """Returns the experience of `robot` with the skill in `log` `at` an instant.

    Runs count in the context of `query`, or in all contexts where it names none. They fade in the order of the log.
    """
    find = log.tables.names.find
    key = find(robot), find(query.skill), find(query.context or ANY_CONTEXT)
    last = _run_by(log, key, at, at.seq)
    seq, newest_s, known = last or NO_RUN
    if last and newest_s > at.time_s:  # Count up to the first run that is later, and those after it that are not.
        first = bisect_left(range(seq + 1), True, key=lambda one: (_run_by(log, key, at, one) or NO_RUN)[1] > at.time_s)
        _, _, known = _run_by(log, key, at, first - 1) or NO_RUN
        for (success,) in log.tables.select(
            f"SELECT success FROM skill_run WHERE {having_then('robot', at)} AND skill = ? AND context = ? "  # noqa: S608
            "AND seq BETWEEN ? AND ? AND valid_time_s <= ? ORDER BY seq",
            key[0], at.seq, *key[1:], first, at.seq, at.time_s,
        ):  # fmt: skip
            known = known.after(success=bool(success))
    return known


def estimate(known: Experience, query: SkillQuery, robot: str) -> float:
    """Returns the probability that the next run succeeds: the mean of Beta(1 + won, 1 + lost) of what is `known`.

    With a seed in `query` it is a draw from that distribution (Thompson sampling), equal for an equal seed, `robot`,
    skill and context.
    """
    won, lost = PRIOR[0] + known.won, PRIOR[1] + max(0.0, known.weight - known.won)
    if query.explore_seed is None:
        return won / (won + lost)
    draw = stream(query.explore_seed, "exploration", robot, query.skill, query.context)
    return max(LEAST_DRAW, float(draw.beta(won, lost)))


def _run_by(log: EventLog, key: tuple[int | None, ...], at: Instant, seq: int) -> tuple[int, float, Experience] | None:
    """Returns the last run of a robot, skill and context up to `seq`: its seq, newest time, and the experience."""
    found = log.tables.select_one(
        f"SELECT seq, newest_s, runs, successes, weight, won FROM skill_run WHERE {having_then('robot', at)} "  # noqa: S608
        "AND skill = ? AND context = ? AND seq <= ? ORDER BY seq DESC LIMIT 1",
        key[0], at.seq, *key[1:], seq,
    )  # fmt: skip
    return (found[0], found[1], Experience(*found[2:])) if found else None


def _robot_candidate(maps: MapFrames, robot: int, query: SkillQuery) -> SkillCandidate | None:
    log, at = maps.log, maps.at
    registered = last_logged(log, robot, "robot_registered", at)
    reported = last_logged(log, robot, "robot_state", at)
    if registered is None or reported is None:
        return None
    card, now = registered.payload, reported.payload
    if not isinstance(card, RobotRegistered) or not isinstance(now, RobotReported):
        return None
    age_s = max(0.0, now_s(log, at) - reported.valid_time_s)
    spec = next((one for one in card.skills if one.name == query.skill), None)
    if spec is None or age_s > query.max_age_s or now.battery < LEAST_BATTERY or now.status in UNABLE:
        return None
    pose = maps.seen(reported)
    distance = math.inf if pose is None else math.dist(pose.position_m, query.near_m)
    travel_s = _travel_s(card, distance, query.near_m)
    if pose is None or travel_s is None:
        return None
    known = experience(log, card.robot, query, at)
    expected = estimate(known, query, card.robot)
    queue_s = _leased(log, robot, at) * spec.cost_s
    cost_s = (travel_s + queue_s + spec.cost_s) / expected
    success = (PRIOR[0] + known.successes) / (sum(PRIOR) + known.runs)
    return SkillCandidate(card.robot, query.skill, success, cost_s, distance, age_s, expected)


def _travel_s(card: RobotRegistered, distance_m: float, near_m: Vector3) -> float | None:
    """Returns how long a robot needs to get within reach, None where it cannot."""
    if card.workspace and not inside_polygon(card.workspace, near_m[0], near_m[1]):
        return None
    beyond = max(0.0, distance_m - card.reach_m)
    if not beyond:
        return 0.0
    return beyond / card.speed_mps if card.speed_mps else None


def _leased(log: EventLog, robot: int, at: Instant) -> int:
    """Returns how many leases of a robot are neither ended, nor expired, nor passed on."""
    time_s = now_s(log, at)
    if at.time_s < math.inf:
        return _leased_then(log, robot, at)
    if at.seq >= log.head:
        found = log.tables.select_one(
            "SELECT COUNT(*) FROM lease_open WHERE robot = ? AND expires_s > ?", robot, time_s
        )
        return found[0] if found else 0
    found = log.tables.select_one(
        "SELECT COUNT(*) FROM lease WHERE robot = ? AND seq <= ? AND expires_s > ? "
        "AND (ended_seq IS NULL OR ended_seq > ?) AND NOT EXISTS (SELECT 1 FROM lease AS newer "
        "WHERE newer.subtask = lease.subtask AND newer.epoch > lease.epoch AND newer.seq <= ?)",
        robot, at.seq, time_s, at.seq, at.seq,
    )  # fmt: skip
    return found[0] if found else 0


def _leased_then(log: EventLog, robot: int, at: Instant) -> int:
    """Returns the same at an earlier valid time: leases that were granted by then, and ended or passed on later."""
    granted_s = "(SELECT valid_time_s FROM event WHERE seq = {}.seq)"
    ended_s = "(SELECT valid_time_s FROM event WHERE seq = lease.ended_seq)"
    found = log.tables.select_one(
        "SELECT COUNT(*) FROM lease WHERE robot = ? AND seq <= ? AND expires_s > ? "  # noqa: S608
        f"AND {granted_s.format('lease')} <= ? AND (ended_seq IS NULL OR ended_seq > ? OR {ended_s} > ?) "
        "AND NOT EXISTS (SELECT 1 FROM lease AS newer WHERE newer.subtask = lease.subtask "
        f"AND newer.epoch > lease.epoch AND newer.seq <= ? AND {granted_s.format('newer')} <= ?)",
        robot, at.seq, at.time_s, at.time_s, at.seq, at.time_s, at.seq, at.time_s,
    )  # fmt: skip
    return found[0] if found else 0
