"""The baselines of the memory benchmark: NumPy over all moments, and LanceDB with scalar indices."""

from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from launch.benchmarks.memory.moments import BenchmarkQuery, Moments, robot_name


def passes(moments: Moments, question: BenchmarkQuery) -> np.ndarray:
    """Returns which moments pass the filters of a query (N,)."""
    if not question.filtered:
        return np.ones(len(moments), bool)
    within = np.ones(len(moments), bool)
    for values, (least, most) in (
        (moments.time_s, question.time_s),
        (moments.x, question.x),
        (moments.y, question.y),
    ):
        within &= (values >= least) & (values <= most)
    return within & (moments.robot == question.robot)


def truth(moments: Moments, question: BenchmarkQuery, top_k: int) -> list[int]:
    """Returns the numbers of the `top_k` most similar of `moments` that pass the filters of `question`.

    Similarity is the dot product in float64; ties are ordered by number.
    """
    rows = np.flatnonzero(passes(moments, question))
    similarity = moments.embedding[rows].astype(np.float64) @ question.embedding.astype(np.float64)
    return rows[np.lexsort((rows, -similarity))[:top_k]].tolist()


def brute_force(moments: Moments, question: BenchmarkQuery, top_k: int) -> list[int]:
    """Returns the numbers of the `top_k` most similar moments by float32 dot products.

    It compares `question` with every one of `moments`, then filters, then selects the best.
    """
    scores = moments.embedding @ question.embedding
    if question.filtered:
        scores[~passes(moments, question)] = -np.inf
    best = np.argpartition(-scores, top_k)[:top_k]
    best = best[np.argsort(-scores[best], kind="stable")]
    return best[scores[best] > -np.inf].tolist()


class Lance:
    """A LanceDB table of the same moments, with scalar indices on time, place and robot; it prefilters exactly.

    It returns numbers only, where the bank returns whole moments. Raises `ImportError` where LanceDB is missing.
    """

    def __init__(self, folder: Path, moments: Moments) -> None:
        lancedb, index, arrow = (import_module(name) for name in ("lancedb", "lancedb.index", "pyarrow"))
        vectors = arrow.FixedSizeListArray.from_arrays(
            arrow.array(moments.embedding.ravel()), moments.embedding.shape[1]
        )
        columns = {
            "number": np.arange(len(moments)),
            "vector": vectors,
            "time_s": moments.time_s,
            "x": moments.x,
            "y": moments.y,
            "robot": [robot_name(number) for number in moments.robot],
        }
        self._table: Any = lancedb.connect(str(folder)).create_table("moments", arrow.table(columns))
        for column in ("time_s", "x", "y"):
            self._table.create_index(column, config=index.BTree())
        self._table.create_index("robot", config=index.Bitmap())
        self._table.optimize()
        self.version = version("lancedb")

    def recall(self, question: BenchmarkQuery, top_k: int) -> list[int]:
        """Returns the numbers of the most similar moments that pass the filters."""
        asked = self._table.search(question.embedding).distance_type("dot").limit(top_k)
        if question.filtered:
            asked = asked.where(_condition(question), prefilter=True)
        return asked.select(["number", "_distance"]).to_arrow()["number"].to_pylist()


def _condition(question: BenchmarkQuery) -> str:
    ranges = (("time_s", question.time_s), ("x", question.x), ("y", question.y))
    parts = [f"{column} >= {least!r} AND {column} <= {most!r}" for column, (least, most) in ranges]
    return " AND ".join([*parts, f"robot = '{robot_name(question.robot or 0)}'"])
