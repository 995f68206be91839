"""Whether a pose reaches an entity, and how success and path lengths become the metrics of FindingDory."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, pi

from embodied.errors import GoalError
from embodied.tasks.findingdory.goals import OBJECT, RECEPTACLE, ROOM
from embodied.tasks.findingdory.scoring import goals_reached

LOW_LEVEL_STEPS = 1_000
SLIGHTLY_FAR_M = 2.5


@dataclass(frozen=True)
class Threshold:
    """When an entity counts as reached: at most `distance_m` and `angle_rad`, at least `coverage` of the image."""

    distance_m: float
    angle_rad: float
    coverage: float


THRESHOLDS = {OBJECT: Threshold(2.0, pi / 4, 0.001), RECEPTACLE: Threshold(0.1, pi / 2, 0.001)}
"""Those of FindingDory (findingdory/config/task/pddl_domain_fp.yaml). A room is reached where the base is inside."""


@dataclass(frozen=True)
class Approach:
    """How a pose lies to an entity.

    `distance_m` is the length of the shortest path to an object, and to the nearest viewpoint of a receptacle;
    `angle_rad` the error of the heading in the plane of the base, in either direction; `coverage` the share of the
    image that the entity fills. `inside` says whether the base is in a room; it counts for rooms alone.
    """

    distance_m: float = inf
    angle_rad: float = pi
    coverage: float = 0.0
    inside: bool = False


def reached(kind: str, approach: Approach) -> bool:
    """Returns whether an entity of a kind is reached: the predicate of HL-SR and LL-SR. Raises `GoalError`."""
    return near(kind, approach) and seen(kind, approach)


def near(kind: str, approach: Approach) -> bool:
    """Returns whether an entity is near and ahead, however little of it is seen: for DTG-SR. Raises `GoalError`."""
    if kind == ROOM:
        return approach.inside
    wanted = _threshold(kind)
    return approach.distance_m <= wanted.distance_m and abs(approach.angle_rad) <= wanted.angle_rad


def seen(kind: str, approach: Approach) -> bool:
    """Returns whether an entity is seen and ahead, however far it is: for SC-SR. Raises `GoalError`."""
    if kind == ROOM:
        return approach.inside
    wanted = _threshold(kind)
    return approach.coverage >= wanted.coverage and abs(approach.angle_rad) <= wanted.angle_rad


def _threshold(kind: str) -> Threshold:
    if kind not in THRESHOLDS:
        raise GoalError("An entity must be an object, a receptacle or a room.", value=kind)
    return THRESHOLDS[kind]


def high_level_success(completes: Sequence[frozenset[int]], goals: int, *, ordered: bool) -> bool:
    """Returns whether answers complete all `goals`: HL-SR, or DTG-SR and SC-SR with their predicates.

    `completes` are the numbers of the goals that the pose of each answer satisfies. There must be as many answers as
    goals, and each answer must complete one new goal: in sequence if `ordered`, and otherwise in a perfect matching.
    """
    if len(completes) != goals or not goals:
        return False
    answers = list(range(goals))
    valid = [frozenset(answer for answer in answers if goal in completes[answer]) for goal in range(goals)]
    return goals_reached(valid, answers, ordered=ordered) == goals


def low_level_success(kind: str, approach: Approach, *, stopped: bool, steps: int) -> bool:
    """Returns whether a navigator has `stopped` within 1,000 `steps` where an entity of `kind` is reached: LL-SR.

    `approach` is that of the pose in which it stopped. Raises `GoalError`.
    """
    return stopped and steps <= LOW_LEVEL_STEPS and reached(kind, approach)


def low_level_failure(kind: str, approach: Approach) -> str:
    """Returns how a pose missed an object or receptacle, such as "in view, slightly far". Raises `GoalError`."""
    wanted = _threshold(kind)
    view = "in view" if approach.coverage >= wanted.coverage else "out of view"
    if approach.distance_m <= wanted.distance_m:
        return f"{view}, near"
    return f"{view}, slightly far" if approach.distance_m < SLIGHTLY_FAR_M else f"{view}, far"


def low_level_spl(shortest_m: float, path_m: float, *, success: bool) -> float:
    """Returns success weighted by path length: `shortest_m` over the larger of it and `path_m`; 0 without `success`.

    `shortest_m` is the length of the path to the nearest valid entity, or of the shortest tour (`tours`). Source: P.
    Anderson et al., On evaluation of embodied navigation agents (2018). Raises `GoalError` for lengths that are
    negative or not finite.
    """
    for length_m in (shortest_m, path_m) if success else ():
        if not 0 <= length_m < inf:
            raise GoalError("Lengths of a successful path must be finite and 0 or more.", value=(shortest_m, path_m))
    if not success:
        return 0.0
    longest_m = max(shortest_m, path_m)
    return shortest_m / longest_m if longest_m else 1.0


def high_level_spl(nearest_m: float, chosen_m: float, *, success: bool, goals: int) -> float | None:
    """Returns the distance to the nearest valid entity over that to the chosen one: None for several `goals`.

    `nearest_m` and `chosen_m` are lengths of shortest paths from the start; 0 without `success`. Raises `GoalError`.
    """
    return low_level_spl(nearest_m, chosen_m, success=success) if goals == 1 else None
