"""Where a day ends: poses from which the farthest object or receptacle of each kind is farthest by a margin."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from embodied.geometry import Pose
from embodied.tasks.findingdory.day import PickAndPlace
from embodied.tasks.findingdory.home_map import HomeMap

CANDIDATES, TRIED = 40, 4


@dataclass(frozen=True)
class FarthestThings:
    """What may be farthest, of each kind: touched objects, and receptacles touched, picked from, placed on, untouched.

    Ways are those of `judged`, the whole home, after `interactions`, with objects at `object_poses`; of untouched
    receptacles those in `seen` count.
    """

    judged: HomeMap
    interactions: Sequence[PickAndPlace]
    object_poses: Mapping[str, Pose]
    seen: frozenset[str]

    def end_points(self, rng: np.random.Generator, walked: HomeMap) -> list[np.ndarray]:
        """Returns a few points (2,) on the floor of `walked`, drawn with `rng`, those with the widest margins first."""
        centres = walked.floor.cells.clearance.centres(np.argwhere(walked.floor.cells.islands == walked.main))
        points = centres[rng.choice(len(centres), size=min(CANDIDATES, len(centres)), replace=False)]
        objects = {one.object: self.judged.standing_point(self.object_poses[one.object]) for one in self.interactions}
        places = dict(self.judged.viewpoints)
        places |= {name: np.array([at]).reshape(-1, 2) for name, at in objects.items() if at is not None}
        margins = []
        for point in points:
            field = self.judged.floor.field(point)
            least = {name: float(field.nearby(views).min(initial=np.inf)) for name, views in places.items()}
            margins.append(self._least_margin(least))
        best = np.argsort(-np.array(margins), kind="stable")[:TRIED]
        return [points[index] for index in best.tolist()]

    def margin_m(self, at: np.ndarray) -> float:
        """Returns by how much the farthest thing from `at` (2,) is ahead of the second, the least over all kinds."""
        distances = self.judged.receptacle_distances_m(at)
        for one in self.interactions:
            distances[one.object] = self.judged.object_distance_m(at, self.object_poses[one.object])
        return self._least_margin(distances)

    def _least_margin(self, distances: Mapping[str, float]) -> float:
        sources = {one.source for one in self.interactions}
        destinations = {one.destination for one in self.interactions}
        touched = sources | destinations
        kinds = ({one.object for one in self.interactions}, touched, sources, destinations, self.seen - touched)
        return min((_margin(distances.get(name, np.inf) for name in kind) for kind in kinds), default=np.inf)


def _margin(distances: Iterable[float]) -> float:
    """Returns the difference of the two largest finite distances, infinite where there is only one."""
    ranked = sorted((one for one in distances if np.isfinite(one)), reverse=True)
    return ranked[0] - ranked[1] if len(ranked) > 1 else np.inf
