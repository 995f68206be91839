"""Where a day ends: poses from which the farthest object or receptacle of each kind is farthest by a margin."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from embodied.geometry import Pose
from embodied.tasks.findingdory.day import PickAndPlace
from embodied.tasks.findingdory.home_map import HomeMap

CANDIDATES, TRIED = 40, 4


def end_points(
    rng: np.random.Generator,
    walked: HomeMap,
    judged: HomeMap,
    interactions: Sequence[PickAndPlace],
    object_poses: Mapping[str, Pose],
) -> list[np.ndarray]:
    """Returns a few points (2,) on the floor of `walked`, drawn with `rng`, the ones with the widest margins first.

    Ways are those of `judged`, the whole home, after the `interactions`, with objects at `object_poses`.
    """
    centres = walked.floor.cells.clearance.centres(np.argwhere(walked.floor.cells.islands == walked.main))
    points = centres[rng.choice(len(centres), size=min(CANDIDATES, len(centres)), replace=False)]
    standing = {one.object: judged.standing_point(object_poses[one.object]) for one in interactions}
    margins = []
    for point in points:
        field = judged.floor.field(point)
        distances = {name: float(field.nearby(views).min(initial=np.inf)) for name, views in judged.viewpoints.items()}
        distances |= {
            name: np.inf if at is None else float(field.nearby(np.array([at]))[0]) for name, at in standing.items()
        }
        margins.append(_least_margin(distances, judged, interactions))
    best = np.argsort(-np.array(margins), kind="stable")[:TRIED]
    return [points[index] for index in best.tolist()]


def least_margin_m(
    judged: HomeMap, at: np.ndarray, interactions: Sequence[PickAndPlace], object_poses: Mapping[str, Pose]
) -> float:
    """Returns by how much the farthest thing from `at` (2,) is farther than the second, the least over all kinds.

    The kinds are touched objects, and receptacles that are touched, picked from, placed on and untouched. Ways are
    those of `judged` after the `interactions`, with objects at `object_poses`.
    """
    distances = judged.receptacle_distances_m(at)
    distances |= {one.object: judged.object_distance_m(at, object_poses[one.object]) for one in interactions}
    return _least_margin(distances, judged, interactions)


def _least_margin(distances: Mapping[str, float], judged: HomeMap, interactions: Sequence[PickAndPlace]) -> float:
    sources, destinations = {one.source for one in interactions}, {one.destination for one in interactions}
    untouched = {one.name for one in judged.house.receptacles} - sources - destinations
    kinds = ({one.object for one in interactions}, sources | destinations, sources, destinations, untouched)
    return min((_margin(distances[name] for name in kind) for kind in kinds), default=np.inf)


def _margin(distances: Iterable[float]) -> float:
    """Returns the difference of the two largest finite distances, infinite where there is only one."""
    ranked = sorted((one for one in distances if np.isfinite(one)), reverse=True)
    return ranked[0] - ranked[1] if len(ranked) > 1 else np.inf
