"""The tree of places at an instant, of which a query reads no more than it needs."""

from collections.abc import Iterator, Mapping

from embodied.geometry import Vector3
from embodied.memory.projections.spatial import cell_at
from embodied.memory.projections.withdrawals import counted
from embodied.memory.queries.containment_history import Instant, having
from embodied.memory.schema.kinds import PlaceDefined
from embodied.memory.schema.places import Place, signed_area
from embodied.memory.storage.log import EventLog

PAGE = 8


class PlaceTree(Mapping[str, Place]):
    """The places by name, as defined last at an instant; iterated in the order of their first definition."""

    def __init__(self, log: EventLog, at: Instant) -> None:
        self._log, self._at = log, at
        self._places: dict[str, Place | None] = {}

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
        for size in self._sizes():
            for area, name in self._in_cell(size, *cell_at(size, *point_m[:2])):
                if best is not None and (area, name) >= best:
                    break
                place = self.get(name)
                # A cell also has earlier extents of a place.
                if place and place.polygon and abs(signed_area(place.polygon)) == area and place.holds(point_m):
                    best = area, name
                    break
        return best[1] if best else ""

    def _sizes(self) -> Iterator[int]:
        ends = "SELECT (SELECT MIN(size) FROM place_cell), (SELECT MAX(size) FROM place_cell)"
        size, largest = self._log.tables.select_one(ends) or (None, None)
        while size is not None:
            yield size
            following = "SELECT MIN(size) FROM place_cell WHERE size > ?"
            (size,) = (self._log.tables.select_one(following, size) if size < largest else None) or (None,)

    def _in_cell(self, size: int, x: float, y: float) -> Iterator[tuple[float, str]]:
        """Yields area and name of the places in a cell, the smallest first."""
        last = (-1.0, "")
        while True:
            found = self._log.tables.select(
                "SELECT area, name FROM place_cell WHERE size = ? AND x = ? AND y = ? AND (area, name) > (?, ?) "
                "ORDER BY area, name LIMIT ?",
                size, x, y, *last, PAGE,
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
        return Place(
            payload.place, payload.level, payload.parent or "", payload.polygon, payload.bottom_m, payload.top_m,
            event.valid_time_s, event.seq,
        )  # fmt: skip
