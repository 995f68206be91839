"""Beliefs about where things are, in the site frame, or in a map that is not placed for what is known only there."""

from embodied.memory.queries.containment_history import Instant, parent_at
from embodied.memory.queries.pose_propagation import DEEPEST, PosePropagation
from embodied.memory.schema.event import map_of
from embodied.memory.storage.log import EventLog


class FramedBeliefs:
    """Pose propagation in all frames that one query needs; `site` is the one in the site frame."""

    def __init__(self, log: EventLog, at: Instant) -> None:
        self._log, self._at = log, at
        self.site = PosePropagation(log, at)
        self._in_maps: dict[str, PosePropagation] = {}

    @property
    def read(self) -> frozenset[int]:
        """The sightings and states on which the beliefs so far rest."""
        return self.site.read.union(*(one.read for one in self._in_maps.values()))

    def about(self, root: int) -> PosePropagation:
        """Returns the propagation in the frame in which the pose of an entity is known.

        It is the site frame unless the pose is known only in a map that is not placed: one in which the entity, or what
        holds it, was seen last, and of several the one with the newest evidence, then the first by name.
        """
        time_s = self._at.time_s
        if self.site.belief(root, time_s).pose is not None or not self.site.maps.unplaced:
            return self.site
        found = [self._in_map(map_id) for map_id in sorted(self._maps_of(root))]
        known = [one for one in found if one.belief(root, time_s).pose is not None]
        return max(known, key=lambda one: one.belief(root, time_s).position, default=self.site)

    def _in_map(self, map_id: str) -> PosePropagation:
        if map_id not in self._in_maps:
            self._in_maps[map_id] = PosePropagation(self._log, self._at, map_id)
        return self._in_maps[map_id]

    def _maps_of(self, root: int) -> set[str]:
        """Returns the maps that are not placed in which an entity and its holders, as logged, were seen last."""
        maps, passed = set(), set[int]()
        while root and root not in passed and len(passed) < DEEPEST:
            passed.add(root)
            seen = self.site.sighting(root, self._at.time_s)
            maps |= {map_of(seen)} if seen and self.site.maps.seen(seen) is None else set()
            root = self.site.resolution.root(parent_at(self._log, root, self._at).object)
        return maps
