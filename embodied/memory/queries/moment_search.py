"""Recall of moments: an index in memory that follows the log, filters first, and then scores exactly.

Per model one matrix in the order of time. A query selects its interval by bisection, then applies masks to the
remaining rows, and compares only those that pass: see `similarity` for why the answer is exact. Embeddings are float32;
in float16 they would take half the memory, but NumPy multiplies those more than ten times slower.
"""

import math
import threading
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from embodied.errors import DataError, MemoryBankError
from embodied.geometry import transform_points
from embodied.memory.queries.episode_search import EpisodeIndex
from embodied.memory.queries.map_frames import MapFrames
from embodied.memory.queries.moment_matrix import MomentMatrix, within
from embodied.memory.queries.similarity import most_similar
from embodied.memory.queries.validation import MOMENT, check_query
from embodied.memory.schema.kinds import Polygon
from embodied.memory.schema.query import Order, Query, Recalled
from embodied.memory.storage.row_codec import decode_payload
from embodied.memory.storage.tables import Tables
from embodied.memory.storage.tombstones import runs
from embodied.types import Moment

LOADED_AT_ONCE = 1024
NO_NAME_ID = -1
SITE_ID = 0  # Of the empty name, which stands for the site frame.
NOWHERE_M = (math.nan, math.nan, math.nan)


class MomentIndex:
    """Answers `recall` from memory, after taking over what was appended or removed since the last call.

    `episodes` does the same for `similar_episodes`.

    It needs D * 4 + 52 bytes per moment, and 8 per entity or label of one. It is safe to call from several threads, one
    at a time. Moments are loaded in slices, and searched without the lock of the tables, so appends go on meanwhile. A
    caller must not hold that lock, since another thread may hold the index and need it.
    """

    def __init__(self, tables: Tables) -> None:
        self.episodes = EpisodeIndex(tables)
        self._tables = tables
        self._turn = threading.Lock()
        self._models: dict[int, MomentMatrix] = {}
        self._tags = {"entity": _Tags(), "label": _Tags()}
        self._seq = 0
        self._forgotten_seq = 0
        self._withdrawn_seq = 0

    def recall(
        self,
        query: Query,
        *,
        resolve_region: Callable[[str], Polygon],
        maps: MapFrames,
        up_to_seq: int | None = None,
    ) -> list[Recalled]:
        """Returns the moments that pass all filters, at most `top_k` of them.

        With an embedding they are the most similar ones, sorted in the query's order; without one their similarity is
        NaN and they are the oldest or newest (`Order.SIMILARITY` means newest then). Ties are ordered by sequence
        number. `resolve_region` gives the polygon of a place, `maps` where maps are placed; moments after `up_to_seq`
        are ignored. Raises `MemoryBankError` for an invalid `query`, see `check_query`, and for an embedding of another
        size than its model's.
        """
        vector = check_query(query)
        region = resolve_region(query.region) if isinstance(query.region, str) else query.region
        with self._turn:
            while True:
                self._follow()
                models = self._asked_models(query, vector)
                survivors = [(rows, self._filter(rows, query, region, maps, up_to_seq)) for rows in models]
                if vector is None:
                    found = [(seq, float("nan")) for seq in _first_by_time(survivors, query)]
                else:
                    found = [pair for rows, left in survivors for pair in _alike(rows, left, vector, query)]
                with self._tables.lock:
                    if self._newest_removal() == self._forgotten_seq:  # Else found moments may have been removed.
                        return [self._recalled(seq, similarity, maps) for seq, similarity in found]

    def __len__(self) -> int:
        """Returns the number of moments of all models."""
        with self._turn:
            self._follow()
            return sum(len(rows) - rows.gone for rows in self._models.values())

    def _asked_models(self, query: Query, vector: np.ndarray | None) -> list[MomentMatrix]:
        if not query.model_id:
            return list(self._models.values())
        number = self._tables.names.find(query.model_id)
        rows = None if number is None else self._models.get(number)
        if rows is None:
            return []
        if vector is not None and len(vector) != rows.dimensions:
            raise MemoryBankError(
                "An embedding must have the size of its model's.",
                value=len(vector),
                remedy=f"{query.model_id!r} has {rows.dimensions} values.",
            )
        return [rows]

    def _filter(
        self, rows: MomentMatrix, query: Query, region: Polygon | None, maps: MapFrames, up_to_seq: int | None
    ) -> np.ndarray:
        left = rows.between(*(query.time_s or (-np.inf, np.inf)))
        if up_to_seq is not None and up_to_seq < self._seq:
            left = left[rows["seq"][left] <= up_to_seq]
        if rows.any_withdrawn:
            left = left[rows["until"][left] > (self._withdrawn_seq if up_to_seq is None else up_to_seq)]
        for column, name in (("robot", query.robot), ("episode", query.episode)):
            if name is not None:
                number = self._tables.names.find(name)
                left = left[rows[column][left] == (NO_NAME_ID if number is None else number)]
        if region is not None:
            left = left[inside_polygon_many(region, *self._on_ground(rows, left, maps))]
        for tags, names in ((self._tags["entity"], query.entities), (self._tags["label"], query.text_labels)):
            if names:
                left = left[tags.has_any(map(self._tables.names.find, names), rows["seq"][left])]
        return left

    def _on_ground(self, rows: MomentMatrix, left: np.ndarray, maps: MapFrames) -> tuple[np.ndarray, np.ndarray]:
        """Returns x and y, metres, of the rows `left` in the site, NaN for those in a map that is not placed."""
        x, y, numbers = rows["x"][left], rows["y"][left], rows["map"][left]
        for number in np.unique(numbers[numbers != SITE_ID]):
            own = numbers == number
            placing = maps.placing(self._tables.names.text(int(number)))
            points_m = np.stack([x[own], y[own], rows["z"][left][own]], axis=1)
            placed_m = points_m * np.nan if placing is None else transform_points(placing.matrix, points_m)
            x[own], y[own] = placed_m[:, 0], placed_m[:, 1]
        return x, y

    def _follow(self) -> None:
        """Takes over the moments written and withdrawn, and drops those removed, since the last call."""
        tables = self._tables
        if not self._seq:
            self._forgotten_seq = self._newest_removal()
        newest = (tables.select_one("SELECT MAX(seq) FROM moment_key") or (0,))[0] or 0
        while self._seq < newest:
            tables.give_way()
            self._load(newest)
        for seq, model, time_s, by_seq in tables.select(
            "SELECT key.seq, key.model_id, key.valid_time_s, by_seq FROM withdrawn "
            "JOIN moment_key AS key ON key.seq = withdrawn.seq WHERE by_seq > ? ORDER BY by_seq",
            self._withdrawn_seq,
        ):  # fmt: skip
            self._models[model].withdraw(seq, time_s, by_seq)
            self._withdrawn_seq = by_seq
        removals = tables.select(
            # `CROSS JOIN` forbids SQLite to look through all events for those that are removals.
            "SELECT event.seq, event.body FROM removal CROSS JOIN event ON event.seq = removal.seq "
            "WHERE removal.seq > ?",
            self._forgotten_seq,
        )
        if removals:
            gone = sorted(run for _, body in removals for run in runs(decode_payload("forgotten", body, None)))
            self._drop(np.array(gone, np.int64).reshape(-1, 2))
            self._forgotten_seq = removals[-1][0]

    def _newest_removal(self) -> int:
        found = self._tables.select_one("SELECT MAX(seq) FROM removal")
        return (found[0] or 0) if found else 0

    def _load(self, newest: int) -> None:
        tables = self._tables
        found = tables.select(
            "SELECT key.seq, key.model_id, key.valid_time_s, key.x, key.y, key.z, key.map, key.robot, key.episode, "
            "substr(event.bulk, 1, key.bytes) FROM moment_key AS key JOIN event ON event.seq = key.seq "
            "WHERE key.seq > ? AND key.seq <= ? ORDER BY key.seq LIMIT ?",
            self._seq, newest, LOADED_AT_ONCE,
        )  # fmt: skip
        last = found[-1][0] if len(found) == LOADED_AT_ONCE else newest
        for model in sorted({row[1] for row in found}):
            self._add(model, [row for row in found if row[1] == model])
        for kind, tags in self._tags.items():
            tags.add(
                tables.select(
                    f"SELECT seq, {kind} FROM moment_{kind}_key WHERE seq > ? AND seq <= ?",  # noqa: S608
                    self._seq, last,
                )
            )  # fmt: skip
        self._seq = last
        for rows in self._models.values():
            rows.settle()

    def _add(self, model: int, found: Sequence[Sequence[Any]]) -> None:
        seq, _, time_s, *rest, embeddings = zip(*found, strict=True)
        rows = self._models.setdefault(model, MomentMatrix(len(embeddings[0]) // 4))
        columns = {
            "seq": seq,
            "time_s": time_s,
            **dict(zip(("x", "y", "z", "map", "robot", "episode"), rest, strict=True)),
        }
        matrix = np.frombuffer(b"".join(embeddings), "<f4").reshape(len(found), rows.dimensions)
        rows.add({name: np.array(values) for name, values in columns.items()}, matrix)

    def _drop(self, ranges: np.ndarray) -> None:
        """Drops moments that retention has removed from the log: `ranges` (N, 2) of sequence numbers, ascending."""
        first, last = ranges[:, 0], np.maximum.accumulate(ranges[:, 1])  # Several removals may name the same numbers.
        for model, rows in list(self._models.items()):
            rows.drop(first, last)
            if not len(rows):
                del self._models[model]
        for tags in self._tags.values():
            tags.drop(first, last)

    def _recalled(self, seq: int, similarity: float, maps: MapFrames) -> Recalled:
        """Returns a moment from the log, in the site frame; the index only finds it."""
        found = self._tables.select_one("SELECT valid_time_s, robot, body, bulk FROM event WHERE seq = ?", seq)
        if found is None:
            raise DataError("Every moment must have its event.", value=seq, remedy="Verify the file.")
        valid_time_s, robot, body, bulk = found
        payload = decode_payload(MOMENT, body, bulk)
        tokens = np.frombuffer(payload.tokens, "<f4").reshape(payload.token_count, -1) if payload.token_count else None
        position_m = maps.point(payload.position_m, payload.map_id)
        moment = Moment(
            embedding=np.frombuffer(payload.embedding, "<f4"),
            tokens=tokens,
            model_id=payload.model_id,
            time_s=valid_time_s,
            position_m=NOWHERE_M if position_m is None else position_m,
            robot=self._tables.names.text(robot),
            episode=payload.episode,
            entities=payload.entities,
            step=payload.step,
        )
        if position_m is None:
            return Recalled(moment, seq, similarity, payload.map_id, payload.position_m)
        return Recalled(moment, seq, similarity)


class _Tags:
    """The moments with each name: per id of a name the sequence numbers, ascending."""

    def __init__(self) -> None:
        self._seqs: dict[int, array[int]] = {}

    def add(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Adds pairs (seq, id of a name), in the order of seq."""
        for seq, name in pairs:
            self._seqs.setdefault(name, array("q")).append(seq)

    def drop(self, first: np.ndarray, last: np.ndarray) -> None:
        """Drops the ascending ranges of sequence numbers `first` to `last`."""
        if not len(first):
            return
        for seqs in self._seqs.values():
            part = slice(bisect_left(seqs, first[0]), bisect_right(seqs, last[-1]))
            if part.start < part.stop:
                known = np.array(seqs[part])
                seqs[part] = array("q", known[~within(known, first, last)].tolist())

    def has_any(self, names: Iterable[int | None], seqs: np.ndarray) -> np.ndarray:
        """Returns, for each of `seqs`, whether it has any of the names (None: an unknown name)."""
        bears = np.zeros(len(seqs), bool)
        for name in names:
            known = None if name is None else self._seqs.get(name)
            if known:
                among = np.array(known)
                at = np.minimum(np.searchsorted(among, seqs), len(among) - 1)
                bears |= among[at] == seqs
        return bears


def inside_polygon_many(polygon: Polygon, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns, for points `x`, `y` (N,) each, whether they lie in a simple `polygon`, border included.

    This is `inside_polygon` for many points. The bounding box is tested first, so that only near points are compared
    with the edges.
    """
    left, right = min(corner[0] for corner in polygon), max(corner[0] for corner in polygon)
    bottom, top = min(corner[1] for corner in polygon), max(corner[1] for corner in polygon)
    inside = (x >= left) & (x <= right) & (y >= bottom) & (y <= top)
    near = np.flatnonzero(inside)
    inside[near] = _crossings(polygon, x[near], y[near])
    return inside


def _crossings(polygon: Polygon, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    inside, border = np.zeros(len(x), bool), np.zeros(len(x), bool)
    x1, y1 = polygon[-1]
    for x2, y2 in polygon:
        side = (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)
        in_box = (x >= min(x1, x2)) & (x <= max(x1, x2)) & (y >= min(y1, y2)) & (y <= max(y1, y2))
        border |= (side == 0) & in_box
        inside ^= ((y1 > y) != (y2 > y)) & ((side > 0) == (y2 > y1))
        x1, y1 = x2, y2
    return inside | border


def _first_by_time(survivors: Sequence[tuple[MomentMatrix, np.ndarray]], query: Query) -> list[int]:
    """Returns the sequence numbers of the oldest or newest moments, in this order."""
    if not survivors:
        return []
    direction = 1 if query.order == Order.OLDEST else -1
    times = direction * np.concatenate([rows["time_s"][left] for rows, left in survivors])
    seqs = direction * np.concatenate([rows["seq"][left] for rows, left in survivors])
    if len(times) > query.top_k:
        near = times <= np.partition(times, query.top_k - 1)[query.top_k - 1]
        times, seqs = times[near], seqs[near]
    return [int(direction * seqs[i]) for i in np.lexsort((seqs, times))[: query.top_k]]


def _alike(rows: MomentMatrix, left: np.ndarray, vector: np.ndarray, query: Query) -> list[tuple[int, float]]:
    """Returns sequence numbers and similarity of the most similar moments, in the order of the query."""
    best, similarity = most_similar(rows["embeddings"], left, vector, seq=rows["seq"], top_k=query.top_k)
    if query.order != Order.SIMILARITY:
        in_time = np.lexsort((rows["seq"][best], rows["time_s"][best]))
        in_time = in_time if query.order == Order.OLDEST else in_time[::-1]
        best, similarity = best[in_time], similarity[in_time]
    cosines = np.clip(similarity, -1.0, 1.0)  # Lengths are 1 only up to rounding.
    return [(int(seq), float(cosine)) for seq, cosine in zip(rows["seq"][best], cosines, strict=True)]
