"""Which poses and sampled frames of a day answer a question: the goals that each completes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from embodied.tasks.findingdory.day import Day
from embodied.tasks.findingdory.goals import OBJECT, RECEPTACLE, Goal
from embodied.tasks.findingdory.predicates import Predicates, Tests


@dataclass(frozen=True)
class Completed:
    """The numbers of the targets of a goal that one pose completes.

    `hl` are those of which the predicate is true, `dtg` those without the test of coverage (DTG-SR), and `sc` those
    without the test of distance (SC-SR).
    """

    hl: frozenset[int]
    dtg: frozenset[int]
    sc: frozenset[int]


def entity_tests(predicates: Predicates, kind: str, name: str, pose: np.ndarray, shares: Mapping[str, float]) -> Tests:
    """Returns the tests of `predicates` for the entity `name` of a `kind`, at `pose` where the image has `shares`.

    A room has one test, whether the base is inside: all three have its result. `pose` is (x, y, yaw); `shares` are the
    shares of the image by name. Raises `UnknownNameError`.
    """
    if kind == OBJECT:
        return predicates.at_object(name, pose, shares)
    if kind == RECEPTACLE:
        return predicates.at_receptacle(name, pose, shares)
    inside = predicates.in_room(name, pose)
    return Tests(inside, inside, inside)


def completed(predicates: Predicates, goal: Goal, pose: np.ndarray, shares: Mapping[str, float]) -> Completed:
    """Returns which targets of `goal` a `pose` completes by `predicates`, where the image has `shares`.

    A target is completed at any of its entities. Raises `UnknownNameError`.
    """
    tests = [
        [entity_tests(predicates, goal.kind, name, pose, shares) for name in sorted(target)] for target in goal.targets
    ]
    return Completed(
        hl=frozenset(at for at, own in enumerate(tests) if any(one.holds for one in own)),
        dtg=frozenset(at for at, own in enumerate(tests) if any(one.holds_without_coverage for one in own)),
        sc=frozenset(at for at, own in enumerate(tests) if any(one.holds_without_distance for one in own)),
    )


def valid_frames(predicates: Predicates, day: Day, goals: Sequence[Goal]) -> list[tuple[frozenset[int], ...]]:
    """Returns the frames of `day`, from 0, that are valid for each target of each of `goals`, as in official answers.

    A frame is valid where the predicate is true at the pose from which it was taken, in the home as the day has left
    it; `predicates` are those of that home. Raises `UnknownNameError`.
    """
    images = [(day.poses[step], day.frame_seen.shares_at(at)) for at, step in enumerate(day.frames.tolist())]
    names = sorted({(goal.kind, name) for goal in goals for target in goal.targets for name in target})
    valid = {
        (kind, name): frozenset(
            at for at, (pose, shares) in enumerate(images) if entity_tests(predicates, kind, name, pose, shares).holds
        )
        for kind, name in names
    }
    return [
        tuple(frozenset().union(*(valid[goal.kind, name] for name in target)) for target in goal.targets)
        for goal in goals
    ]
