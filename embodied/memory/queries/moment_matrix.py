"""The moments of one model in memory: a matrix of embeddings in time order, and the columns used by filters."""

from collections.abc import Mapping

import numpy as np

COLUMNS = {
    "seq": "i8",
    "time_s": "f8",
    "x": "f8",
    "y": "f8",
    "z": "f8",
    "map": "i4",
    "robot": "i4",
    "episode": "i4",
    "gone": "?",
    "until": "i8",
}
NEVER_WITHDRAWN = np.iinfo(np.int64).max
SMALLEST_CAPACITY = 1024
CHEAP_MOVE = 4096
MOVES_PER_LATE = 8


class MomentMatrix:
    """Rows of moments; those before `ordered` ascend in (time, seq), and a short tail of late ones follows.

    Storage doubles when it is full, so that the cost of adding a row does not depend on their number. `embeddings` is
    (capacity, D) float32; columns are as in `COLUMNS`: seconds, metres in the frame of the `map`, ids of names. Rows
    that are `gone` from the bank remain here until they are many; others count `until` the event that withdrew them.
    """

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self.ordered = 0
        self.gone = 0
        self.any_withdrawn = False
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
        """Appends rows in any order of time, but in the order of the log; `settle` sorts them."""
        count = self._count + len(embeddings)
        if count > len(self._embeddings):
            self._resize(max(count, 2 * self._count, SMALLEST_CAPACITY))
        self._embeddings[self._count : count] = embeddings
        for name, stored in self._columns.items():
            stored[self._count : count] = columns.get(name, NEVER_WITHDRAWN if name == "until" else False)
        times = self._columns["time_s"][max(0, self._count - 1) : count]
        if self.ordered == self._count and bool(np.all(times[:-1] <= times[1:])):
            self.ordered = count
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

    def drop(self, first: np.ndarray, last: np.ndarray) -> None:
        """Marks the rows of the ascending ranges of sequence numbers `first` to `last` as gone.

        Once they are the majority, they and their storage are removed.
        """
        self["gone"][within(self["seq"], first, last)] = True
        self.gone = int(np.count_nonzero(self["gone"]))
        if 2 * self.gone > self._count:
            kept = ~self["gone"]
            self.ordered = int(np.count_nonzero(kept[: self.ordered]))
            self._embeddings = self["embeddings"][kept]
            self._columns = {name: self[name][kept] for name in COLUMNS}
            self._count, self.gone = len(self._embeddings), 0

    def withdraw(self, seq: int, time_s: float, by_seq: int) -> None:
        """Notes that event `by_seq` withdrew moment `seq` of the valid time `time_s`, seconds."""
        at = self.between(time_s, time_s)
        self["until"][at[self["seq"][at] == seq]] = by_seq
        self.any_withdrawn = True

    def between(self, first_s: float, last_s: float) -> np.ndarray:
        """Returns the numbers of the rows of a closed interval of time, ascending, without those that are gone."""
        times = self["time_s"]
        ordered = times[: self.ordered]
        start = np.searchsorted(ordered, first_s, side="left")
        end = np.searchsorted(ordered, last_s, side="right")
        late = times[self.ordered :]
        found = np.flatnonzero((late >= first_s) & (late <= last_s))
        rows = np.concatenate([np.arange(start, end), self.ordered + found])
        return rows[~self["gone"][rows]] if self.gone else rows

    def _resize(self, capacity: int) -> None:
        for name, kind in COLUMNS.items():
            grown = np.empty(capacity, kind)
            grown[: self._count] = self[name]
            self._columns[name] = grown
        embeddings = np.empty((capacity, self.dimensions), np.float32)
        embeddings[: self._count] = self["embeddings"]
        self._embeddings = embeddings


def within(numbers: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Returns which of `numbers` (N,) lie in any of the ranges `first` to `last` (K,), both of which ascend."""
    if not len(first):
        return np.zeros(len(numbers), bool)
    at = np.searchsorted(first, numbers, side="right") - 1
    return (at >= 0) & (numbers <= last[at])
