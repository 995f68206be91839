"""How answers, stops and path lengths become the metrics of FindingDory."""

from collections.abc import Sequence
from math import inf

from embodied.errors import GoalError
from embodied.tasks.findingdory.predicates import Tests
from embodied.tasks.findingdory.scoring import goals_reached

LOW_LEVEL_STEPS = 1_000


def high_level_success(completes: Sequence[frozenset[int]], goals: int, *, ordered: bool) -> bool:
    """Returns whether answers complete all `goals`: HL-SR, DTG-SR or SC-SR.

    `completes` are the numbers of the goals that the pose of each answer completes by that measure
    (`frame_answers.Completed`). There must be as many answers as
    goals, and each answer must complete one new goal: in sequence if `ordered`, and otherwise in a perfect matching.
    """
    if len(completes) != goals or not goals:
        return False
    answers = list(range(goals))
    valid = [frozenset(answer for answer in answers if goal in completes[answer]) for goal in range(goals)]
    return goals_reached(valid, answers, ordered=ordered) == goals


def low_level_success(tests: Tests, *, stopped: bool, steps: int) -> bool:
    """Returns whether a navigator has `stopped` within 1,000 `steps` where the predicate of its goal is true: LL-SR.

    `tests` are those of the pose in which it stopped.
    """
    return stopped and steps <= LOW_LEVEL_STEPS and tests.holds


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
