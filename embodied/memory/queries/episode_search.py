"""Finds the episodes with the most similar tasks: their embeddings in memory, which follow the log."""

import threading

import numpy as np

from embodied.errors import MemoryBankError
from embodied.memory.queries.similarity import rounding_slack
from embodied.memory.storage.tables import Tables

NEVER_REPEATED = np.iinfo(np.int64).max
LOADED_AT_ONCE = 1024
SMALLEST_CAPACITY = 64


class EpisodeIndex:
    """The embeddings of tasks by model; safe to call from several threads, none of which may hold the bank's lock."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._turn = threading.Lock()
        self._models: dict[int, _Embeddings] = {}
        self._seq = 0

    def similar(self, wanted: np.ndarray, model_id: str, *, top_k: int, head: int) -> list[tuple[str, float]]:
        """Returns names and cosines of the `top_k` episodes most similar to `wanted` (D,), best first.

        Of an episode that began several times up to event `head` the last task counts. `model_id` names the model of
        all embeddings. Raises `MemoryBankError` for another size than that of its embeddings.
        """
        with self._turn:
            self._follow()
            number = self._tables.names.find(model_id)
            rows = None if number is None else self._models.get(number)
            if rows is None:
                return []
            if wanted.shape != (rows.dimensions,):
                raise MemoryBankError(
                    "An embedding must have the size of its model's.",
                    value=wanted.shape,
                    remedy=f"{model_id!r} has {rows.dimensions} values.",
                )
            text = self._tables.names.text
            found = [(text(episode), cosine) for episode, cosine in rows.best(wanted, top_k, head)]
        return sorted(found, key=lambda pair: (-pair[1], pair[0]))[:top_k]

    def _follow(self) -> None:
        while True:
            found = self._tables.select(
                "SELECT begun_seq, episode, model_id, substr(event.bulk, 1, bytes) FROM episode "
                "CROSS JOIN event ON event.seq = begun_seq WHERE begun_seq > ? AND bytes > 0 "
                "ORDER BY begun_seq LIMIT ?",
                self._seq, LOADED_AT_ONCE,
            )  # fmt: skip
            for seq, episode, model, embedding in found:
                vector = np.frombuffer(embedding, "<f4")
                self._models.setdefault(model, _Embeddings(len(vector))).add(seq, episode, vector)
                self._seq = seq
            if len(found) < LOADED_AT_ONCE:
                return
            self._tables.give_way()


class _Embeddings:
    """The episodes of one model in the order of the log, and when each began again."""

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self._count = 0
        self._vectors = np.empty((SMALLEST_CAPACITY, dimensions), np.float32)
        self._seqs, self._episodes, self._until = (np.empty(SMALLEST_CAPACITY, np.int64) for _ in range(3))
        self._last: dict[int, int] = {}

    def add(self, seq: int, episode: int, vector: np.ndarray) -> None:
        row = self._count
        if row == len(self._seqs):
            self._vectors = np.concatenate([self._vectors, np.empty_like(self._vectors)])
            self._seqs, self._episodes, self._until = (
                np.concatenate([column, np.empty_like(column)]) for column in (self._seqs, self._episodes, self._until)
            )
        self._vectors[row], self._seqs[row], self._episodes[row], self._until[row] = (
            vector,
            seq,
            episode,
            NEVER_REPEATED,
        )
        if episode in self._last:
            self._until[self._last[episode]] = seq
        self._last[episode] = row
        self._count += 1

    def best(self, wanted: np.ndarray, top_k: int, head: int) -> list[tuple[int, float]]:
        """Returns episodes and exact cosines: the `top_k` most similar up to `head`, and those almost as similar."""
        seqs, until = self._seqs[: self._count], self._until[: self._count]
        rows = np.flatnonzero((seqs <= head) & (until > head))
        scores = (self._vectors[: self._count] @ wanted)[rows]
        if len(rows) > top_k:
            least = np.partition(scores, len(rows) - top_k)[len(rows) - top_k]
            rows = rows[scores >= float(least) - rounding_slack(self.dimensions)]
        return [(int(self._episodes[row]), float(self._vectors[row] @ wanted)) for row in rows]
