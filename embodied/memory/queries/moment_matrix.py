"""The moments of one model in memory: a matrix of embeddings in time order, and the columns used by filters."""

from collections.abc import Mapping

import numpy as np

COLUMNS = {"seq": "i8", "time_s": "f8", "x": "f8", "y": "f8", "robot": "i4", "episode": "i4"}
SMALLEST_CAPACITY = 1024
CHEAP_MOVE = 4096
MOVES_PER_LATE = 8


class MomentMatrix:
    """Rows of moments; those before `ordered` ascend in (time, seq), and a short tail of late ones follows.

    Storage doubles when it is full, so that the cost of adding a row does not depend on their number. `embeddings` is
    (capacity, D) float32; columns are as in `COLUMNS`: seconds, metres in the site frame, ids of names.
    """

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self.ordered = 0
        self._count = 0
        self._embeddings = np.empty((0, dimensions), np.float32)
        self._columns = {name: np.empty(0, kind) for name, kind in COLUMNS.items()}

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, column: str) -> np.ndarray:
        """Returns a column, or "embeddings", without unused capacity; a view, valid until rows are added or dropped."""
        stored = self._embeddings if column == "embeddings" else self._columns[column]
        return stored[: self._count]

    def add(self, columns: Mapping[str, np.ndarray], embeddings: np.ndarray) -> None:
        """Appends rows in any order of time; `settle` sorts them."""
        count = self._count + len(embeddings)
        if count > len(self._embeddings):
            self._resize(max(count, 2 * self._count, SMALLEST_CAPACITY))
        self._embeddings[self._count : count] = embeddings
        for name, stored in self._columns.items():
            stored[self._count : count] = columns[name]
        self._count = count

    def settle(self) -> None:
        """Sorts late rows into place, unless more than a few rows per late one would have to move.

        A single moment from long ago is thus sorted only with later ones, and adding stays cheap on average.
        """
        late = self._count - self.ordered
        if not late:
            return
        times = self["time_s"]
        first = int(np.searchsorted(times[: self.ordered], times[self.ordered :].min(), side="left"))
        if self._count - first > max(CHEAP_MOVE, MOVES_PER_LATE * late):
            return
        moved = first + np.lexsort((self["seq"][first:], times[first:]))
        for stored in (self._embeddings, *self._columns.values()):
            stored[first : self._count] = stored[moved]
        self.ordered = self._count

    def keep(self, kept: np.ndarray) -> None:
        """Drops all rows but those of a mask (len,), and their storage."""
        self.ordered = int(np.count_nonzero(kept[: self.ordered]))
        self._embeddings = self["embeddings"][kept]
        self._columns = {name: self[name][kept] for name in COLUMNS}
        self._count = len(self._embeddings)

    def between(self, first_s: float, last_s: float) -> np.ndarray:
        """Returns the numbers of the rows of a closed interval of time, ascending."""
        times = self["time_s"]
        ordered = times[: self.ordered]
        start = np.searchsorted(ordered, first_s, side="left")
        end = np.searchsorted(ordered, last_s, side="right")
        late = times[self.ordered :]
        found = np.flatnonzero((late >= first_s) & (late <= last_s))
        return np.concatenate([np.arange(start, end), self.ordered + found])

    def _resize(self, capacity: int) -> None:
        for name, kind in COLUMNS.items():
            grown = np.empty(capacity, kind)
            grown[: self._count] = self[name]
            self._columns[name] = grown
        embeddings = np.empty((capacity, self.dimensions), np.float32)
        embeddings[: self._count] = self["embeddings"]
        self._embeddings = embeddings
