"""Ranks recalled moments by a combination of similarity, time, place and robot.

A query's filters restrict what may be recalled, and `Order` sorts by one criterion; a policy often needs a compromise,
such as similar, recent and near. Each of four parts lies in [0, 1], and a moment's score is their weighted mean:

    similarity  (1 + cosine) / 2, 0 where the query has no embedding
    time        halves with every `half_life_s` between the moment and now, before or after
    place       halves with every `half_distance_m` between the moment and here, 0 in a map that is not placed
    robot       1 for a moment of the same robot, otherwise 0
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from embodied.errors import MemoryBankError
from embodied.geometry import Vector3
from embodied.memory.queries.validation import check_query, number, point_m
from embodied.memory.schema.query import Order, Query, Recalled

WEIGHTS = ("similarity", "time", "place", "robot")


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The weight of each part, of which only the ratios matter, and the time and distance over which two of them halve.

    `candidates` moments are taken from the bank by the query itself and ranked: moments beyond them are ignored, so
    more of them cost time and miss less. Raises `MemoryBankError` for weights that are negative or all zero.
    """

    similarity: float = 1.0
    time: float = 0.25
    place: float = 0.25
    robot: float = 0.0
    half_life_s: float = 600.0
    half_distance_m: float = 1.0
    candidates: int = 100

    def __post_init__(self) -> None:
        weights = [getattr(self, name) for name in WEIGHTS]
        if not all(math.isfinite(weight) and weight >= 0 for weight in weights) or not sum(weights):
            raise MemoryBankError(
                "Weights of a ranking must be finite, not negative, and not all zero.",
                value=dict(zip(WEIGHTS, weights, strict=True)),
            )
        if not (self.half_life_s > 0 and self.half_distance_m > 0 and self.candidates >= 1):
            raise MemoryBankError(
                "Half-life and half-distance must be positive, and candidates at least 1.", value=asdict(self)
            )


@dataclass(frozen=True, kw_only=True)
class Situation:
    """The robot, time and place of a recall: seconds on the site clock, metres in the site frame, both finite."""

    time_s: float
    position_m: Vector3
    robot: str = ""

    def __post_init__(self) -> None:
        point_m("position_m", self.position_m)
        if not math.isfinite(number("time_s", self.time_s)):
            raise MemoryBankError(
                "The time of a situation must be finite.", value=self.time_s, remedy="Use the site clock."
            )


@dataclass(frozen=True, eq=False)
class Ranked:
    """A recalled moment and its score in [0, 1], a weighted mean of its parts (see `WEIGHTS` for their names)."""

    recalled: Recalled
    score: float
    parts: dict[str, float]


def recall_ranked(
    recall: Callable[[Query], Sequence[Recalled]], query: Query, here: Situation, ranking: Ranking
) -> list[Ranked]:
    """Returns the `top_k` moments of best score; `recall` is the method of a bank, a view or a client.

    `query` restricts and orders them, `here` is the present situation, `ranking` gives the weights. `Order.SIMILARITY`
    puts the best first, the other orders sort the chosen ones by time. Raises as `recall` does.
    """
    check_query(query)
    candidates = recall(replace(query, order=Order.SIMILARITY, top_k=max(query.top_k, ranking.candidates)))
    chosen = rank(candidates, here, ranking)[: query.top_k]
    if query.order != Order.SIMILARITY:
        newest = query.order == Order.NEWEST
        chosen.sort(key=lambda one: (one.recalled.moment.time_s, one.recalled.seq), reverse=newest)
    return chosen


def rank(found: Sequence[Recalled], here: Situation, ranking: Ranking) -> list[Ranked]:
    """Returns all of `found` with their scores in the situation `here`, best first; ties by sequence number.

    `ranking` gives the weights.
    """
    ranked = [_scored(recalled, here, ranking) for recalled in found]
    return sorted(ranked, key=lambda one: (-one.score, one.recalled.seq))


def _scored(recalled: Recalled, here: Situation, ranking: Ranking) -> Ranked:
    moment = recalled.moment
    away_m = math.inf if recalled.map_id else math.dist(moment.position_m, here.position_m)
    parts = {
        "similarity": 0.0 if math.isnan(recalled.similarity) else (1.0 + recalled.similarity) / 2.0,
        "time": 0.5 ** (abs(moment.time_s - here.time_s) / ranking.half_life_s),
        "place": 0.5 ** (away_m / ranking.half_distance_m),
        "robot": float(moment.robot == here.robot),
    }
    weights = {name: getattr(ranking, name) for name in WEIGHTS}
    score = sum(weights[name] * parts[name] for name in WEIGHTS) / sum(weights.values())
    return Ranked(recalled, score, parts)
