"""The frames of maps at an instant: poses and extents that were given in a map, in the site frame.

The last placing of a map by then counts for everything that was ever given in it. What is in a map that is not placed
has no pose in the site; `MapFrames` with an `origin` gives poses in the frame of such a map instead.
"""

import math

import numpy as np

from embodied.geometry import Pose, Vector3, compose, invert, rotation_matrix, transform_points
from embodied.memory.queries.containment_history import Instant, last_logged
from embodied.memory.schema.event import Event, map_of
from embodied.memory.schema.kinds import EntitySeen, MapPlaced, PlaceDefined, RobotReported
from embodied.memory.schema.places import Place
from embodied.memory.storage.log import EventLog

SITE = ""  # The name of the site frame.
STEEPEST_RAD = 0.1  # A map that is tilted further has no ground on which a place could lie.


class MapFrames:
    """Where maps lie in the frame `origin` (a map, or the site), as known in a `log` `at` an instant; for one query.

    `unplaced` are the maps that were looked for and are not placed.
    """

    def __init__(self, log: EventLog, at: Instant, origin: str = SITE) -> None:
        self.log = log
        self.at = at
        self.origin = origin
        self.unplaced: set[str] = set()
        self._placings: dict[str, Pose | None] = {origin: Pose()}

    def placing(self, map_id: str) -> Pose | None:
        """Returns the pose of the frame of a map, None where the map is not placed."""
        if map_id not in self._placings:
            self._placings[map_id] = self._read(map_id)
            if self._placings[map_id] is None:
                self.unplaced.add(map_id)
        return self._placings[map_id]

    def pose(self, pose: Pose, map_id: str) -> Pose | None:
        """Returns a `pose` that is given in the map `map_id`, None where that is not placed."""
        if map_id == self.origin:
            return pose
        placing = self.placing(map_id)
        return None if placing is None else compose(placing, pose)

    def point(self, point_m: Vector3, map_id: str) -> Vector3 | None:
        """Returns `point_m` of the map `map_id`, metres, None where that is not placed."""
        found = self.pose(Pose(point_m), map_id)
        return found and found.position_m

    def seen(self, event: Event | None) -> Pose | None:
        """Returns the pose of a sighting or of a robot's state, None where it is not known."""
        payload = event.payload if event else None
        return self.pose(payload.pose, payload.map_id) if isinstance(payload, EntitySeen | RobotReported) else None

    def tool(self, event: Event | None) -> Pose | None:
        """Returns the pose of the tool in a robot's state, None where it is not known."""
        payload = event.payload if event else None
        if not isinstance(payload, RobotReported) or payload.tool is None:
            return None
        return self.pose(payload.tool, payload.map_id)

    def level(self, map_id: str) -> Pose | None:
        """Returns the placing of a map whose ground is that of the origin, None where it is not placed, or tilted."""
        placing = self.placing(map_id)
        upright = placing and rotation_matrix(placing.orientation)[2, 2] >= math.cos(STEEPEST_RAD)
        return placing if upright else None

    def into(self, point_m: Vector3, map_id: str) -> Vector3 | None:
        """Returns a point of the origin in the frame of a map that is placed level, None where it is not."""
        placing = self.level(map_id)
        if placing is None or map_id == self.origin:
            return None if placing is None else point_m
        return compose(invert(placing), Pose(point_m)).position_m

    def place(self, event: Event, payload: PlaceDefined) -> Place:
        """Returns the place that `event` defines, without an extent where that is in a map that is not placed level.

        The outline in a level map is turned and shifted with it. Its heights enclose those of all corners.
        """
        polygon, heights_m, map_id = payload.polygon, (payload.bottom_m, payload.top_m), map_of(event)
        if polygon and map_id != self.origin and (placing := self.level(map_id)):
            floor, ceiling = (
                transform_points(placing.matrix, np.array([(x, y, height_m) for x, y in polygon]))
                for height_m in heights_m
            )
            polygon = tuple((x, y) for x, y, _ in floor.tolist())
            heights_m, map_id = (float(floor[:, 2].min()), float(ceiling[:, 2].max())), self.origin
        known = not polygon or map_id == self.origin
        return Place(
            payload.place, payload.level, payload.parent or "", polygon if known else (), *heights_m,
            event.valid_time_s, event.seq, "" if known else map_id,
        )  # fmt: skip

    def _read(self, map_id: str) -> Pose | None:
        if self.origin != SITE:
            return None  # It is asked for a map that is not placed: no other frame is known in it.
        event = last_logged(self.log, self.log.tables.names.find(map_id), "map_placed", self.at)
        return event.payload.pose if event and isinstance(event.payload, MapPlaced) else None
