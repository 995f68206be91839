"""The tree of places at an instant, of which a query reads no more than it needs."""

from collections.abc import Iterator, Mapping

from embodied.geometry import Vector3
from embodied.memory.projections.spatial import cell_at
from embodied.memory.projections.withdrawals import counted
from embodied.memory.queries.containment_history import having
from embodied.memory.queries.map_frames import MapFrames
from embodied.memory.schema.event import map_of
from embodied.memory.schema.kinds import PlaceDefined
from embodied.memory.schema.places import Place, signed_area

PAGE = 8


class PlaceTree(Mapping[str, Place]):
    """The places by name, as defined last at the instant of `maps`, which gives their extents in its own frame.

    Iterated in the order of their first definition.
    """

    def __init__(self, maps: MapFrames) -> None:
        self._maps, self._log, self._at = maps, maps.log, maps.at
        self._places: dict[str, Place | None] = {}
        self._given: dict[str, tuple[str, float]] = {}  # By place the map and the area of its extent there.

    def __getitem__(self, name: str) -> Place:
        """Returns a place; raises `KeyError` for a name that no place has at that instant."""
        if name not in self._places:
            self._places[name] = self._read(name)
        place = self._places[name]
        if place is None:
            raise KeyError(name)
        return place

    def __iter__(self) -> Iterator[str]:
        """Yields the names of all places; reads an index of all definitions."""
        which = f" AND {counted(self._at.seq, 'place_time.seq')}" if self._at.late else " AND place > 0"
        found = self._log.tables.select(
            f"SELECT abs(place), MIN(seq) FROM place_time WHERE valid_time_s <= ? AND seq <= ?{which} "  # noqa: S608
            "GROUP BY abs(place) ORDER BY 2",
            self._at.time_s, self._at.seq,
        )  # fmt: skip
        return (self._log.tables.names.text(place) for place, _ in found)

    def __len__(self) -> int:
        """Returns the number of places."""
        return sum(1 for _ in self)

    def smallest(self, point_m: Vector3) -> str:
        """Returns the name of the place of least area around a point, the first by name among equals, "" for none."""
        best: tuple[float, str] | None = None
        for number, map_id in self._with_places():
            local_m = self._maps.into(point_m, map_id)
            for size in self._sizes(number) if local_m else ():
                for area, name in self._in_cell(number, size, *cell_at(size, *local_m[:2])):  # type: ignore[index]
                    if best is not None and (area, name) >= best:
                        break
                    place = self.get(name)
                    # A cell also has earlier extents of a place.
                    if place and self._given[name] == (map_id, area) and place.holds(point_m):
                        best = area, name
                        break
        return best[1] if best else ""

    def _with_places(self) -> Iterator[tuple[int, str]]:
        """Yields the maps in which places were ever given an extent, the site among them, with the ids of their names.

        In most banks it is the site alone, whose id is 0.
        """
        ends = "SELECT (SELECT MIN(map) FROM place_cell), (SELECT MAX(map) FROM place_cell)"
        number, last = self._log.tables.select_one(ends) or (None, None)
        while number is not None:
            yield number, self._log.tables.names.text(number)
            following = "SELECT MIN(map) FROM place_cell WHERE map > ?"
            (number,) = (self._log.tables.select_one(following, number) if number < last else None) or (None,)

    def _sizes(self, number: int) -> Iterator[int]:
        of_map = "FROM place_cell WHERE map = ?1"
        ends = f"SELECT (SELECT MIN(size) {of_map}), (SELECT MAX(size) {of_map})"
        size, largest = self._log.tables.select_one(ends, number) or (None, None)
        while size is not None:
            yield size
            following = "SELECT MIN(size) FROM place_cell WHERE map = ? AND size > ?"
            (size,) = (self._log.tables.select_one(following, number, size) if size < largest else None) or (None,)

    def _in_cell(self, number: int, size: int, x: float, y: float) -> Iterator[tuple[float, str]]:
        """Yields area and name of the places in a cell of a map, the smallest first."""
        last = (-1.0, "")
        while True:
            found = self._log.tables.select(
                "SELECT area, name FROM place_cell WHERE map = ? AND size = ? AND x = ? AND y = ? "
                "AND (area, name) > (?, ?) ORDER BY area, name LIMIT ?",
                number, size, x, y, *last, PAGE,
            )  # fmt: skip
            yield from found  # type: ignore[misc]
            if len(found) < PAGE:
                return
            last = found[-1]  # type: ignore[assignment]

    def _read(self, name: str) -> Place | None:
        found = self._log.tables.select_one(
            f"SELECT seq FROM place_time WHERE {having('place', self._at, 'place_time.seq')} "  # noqa: S608
            "AND valid_time_s <= ? AND seq <= ? "
            "ORDER BY valid_time_s DESC, seq DESC LIMIT 1",
            self._log.tables.names.find(name), self._at.time_s, self._at.seq,
        )  # fmt: skip
        event = self._log.event(found[0]) if found else None
        if event is None or not isinstance(event.payload, PlaceDefined):
            return None
        payload = event.payload
        area = abs(signed_area(payload.polygon)) if payload.polygon else 0.0
        self._given[name] = map_of(event), area
        return self._maps.place(event, payload)
