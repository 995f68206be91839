"""Finds the rows most similar to a query exactly: float32 dot products select candidates, float64 decides.

A dot product in float32 depends on how a library splits its sum, so near ties could change with the number of rows. It
only selects candidates here, with a margin for its worst rounding error; the final similarity is the product in float64
(exact for each pair of float32 values), summed in one order. The same bytes thus have the same similarity among any
other rows, and ties are ordered by sequence number.
"""

import numpy as np

BLOCK_ROWS = 8192
DENSE = 4  # From one row in four on, reading all rows between the first and the last is faster than indexing.


def most_similar(
    embeddings: np.ndarray, rows: np.ndarray, vector: np.ndarray, *, seq: np.ndarray, top_k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the `top_k` of `rows` (ascending) most similar to `vector`, best first, and their similarity (float64).

    `embeddings` (N, D) and `vector` (D,) are float32 of unit length; `seq` (N,) orders ties, the oldest first.
    """
    scores = _scores(embeddings, rows, vector)
    if len(rows) > top_k:
        least = np.partition(scores, len(rows) - top_k)[len(rows) - top_k]
        rows = rows[scores >= float(least) - rounding_slack(len(vector))]
    similarity = _exact(embeddings, rows, vector)
    best = np.lexsort((seq[rows], -similarity))[:top_k]
    return rows[best], similarity[best]


def rounding_slack(dimensions: int) -> float:
    """Returns the largest error in the order of two float32 dot products.

    One product errs by at most D u sum|a b| <= D u for unit vectors, with u = eps / 2 (Higham, Accuracy and Stability
    of Numerical Algorithms, section 3.1), in any order of summation; both may err. The rest covers lengths that are 0.1
    % off.
    """
    return 1.01 * (dimensions + 4) * float(np.finfo(np.float32).eps)


def _scores(embeddings: np.ndarray, rows: np.ndarray, vector: np.ndarray) -> np.ndarray:
    if len(rows) == 0:
        return np.empty(0, np.float32)
    first, last = int(rows[0]), int(rows[-1]) + 1
    if last - first <= DENSE * len(rows):
        scores = embeddings[first:last] @ vector
        return scores if len(rows) == last - first else scores[rows - first]
    blocks = range(0, len(rows), BLOCK_ROWS)
    return np.concatenate([embeddings[rows[start : start + BLOCK_ROWS]] @ vector for start in blocks])


def _exact(embeddings: np.ndarray, rows: np.ndarray, vector: np.ndarray) -> np.ndarray:
    wide = vector.astype(np.float64)
    blocks = range(0, len(rows), BLOCK_ROWS)
    parts = [(embeddings[rows[start : start + BLOCK_ROWS]] * wide).sum(axis=1) for start in blocks]
    return np.concatenate(parts) if parts else np.empty(0)
