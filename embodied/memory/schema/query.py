"""The values that queries of a bank take and return."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from embodied.geometry import Pose, Vector3
from embodied.types import Moment


class Order(StrEnum):
    """How recalled moments are sorted; time orders break ties by sequence number.

    With an embedding, the most similar moments are chosen and then sorted; without one, the oldest or the newest are
    chosen, and `SIMILARITY` means `NEWEST`.
    """

    SIMILARITY = "similarity"
    OLDEST = "oldest"
    NEWEST = "newest"


@dataclass(frozen=True, eq=False)
class Query:
    """What to recall. All filters must hold, and are applied before the exact scoring.

    `embedding` (D,) of unit length requests similarity and needs `model_id`; `time_s` is a closed interval on the site
    clock; `region` the name of a place or a polygon on the ground; `text_labels` any of; `entities` any of; `kinds` of
    events, empty for moments, which are the only kind that can be recalled.
    """

    embedding: np.ndarray | None = None
    model_id: str = ""
    text_labels: tuple[str, ...] = ()
    time_s: tuple[float, float] | None = None
    region: str | tuple[tuple[float, float], ...] | None = None
    robot: str | None = None
    episode: str | None = None
    kinds: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    top_k: int = 10
    order: Order = Order.SIMILARITY


@dataclass(frozen=True, eq=False)
class Recalled:
    """One recalled moment.

    Its number and its similarity, the cosine in [-1, 1], or NaN for a query without an embedding. Where it was stored
    in the frame of a map that is not placed in the site, `map_id` names the map, `map_position_m` is the position in
    it, and `position_m` of the moment is NaN.
    """

    moment: Moment
    seq: int
    similarity: float
    map_id: str = ""
    map_position_m: Vector3 | None = None


@dataclass(frozen=True)
class LocationBelief:
    """Where an entity is believed to be: `existence` is the probability that it is still there.

    Absences lower it: those of the entity and, later than its last sighting, those of its holder. `pose` follows from
    the last sighting and from its holders since then (see `pose_propagation`), None where that leaves it unknown.
    `parent` and `predicate` give its container, support, whole or holder, `version` how often that has changed; `place`
    is the smallest place known to be around it, `since_s` and `seq` are the valid time and event of the evidence that
    determined the pose, or made it unknown. `candidates` are the similar things with which it may have changed places
    unseen (`may_be`). A thing that is known only in a map (`map_id`) that has not been placed in the site has no `pose`
    but a `map_pose`, in the frame of that map; then the other fields are about it. The fields never contradict each
    other; the newer evidence wins:

    - `pose` lies in `place`, unless the extents of that and of all around it are unknown; a pose outside is None where
      the relation is newer;
    - `parent` is "" where it was logged as a place outside of which a newer sighting lies, or as a holder outside of
      whose box it was seen since (see `extents`): `version` still counts it;
    - with a parent that has a pose, `pose` is known and has moved with it.
    """

    entity: str
    pose: Pose | None
    place: str
    parent: str
    predicate: str
    existence: float
    since_s: float
    seq: int
    version: int
    candidates: tuple[str, ...] = ()
    map_id: str = ""
    map_pose: Pose | None = None


@dataclass(frozen=True)
class SkillCandidate:
    """A robot that can do a skill near a point now. `cost_s` is travel, queue and duration over `estimate`.

    `success` is the mean of Beta(1 + successes, 1 + failures) over all its runs, `estimate` the same of runs that fade,
    or a draw where the query has a seed. `age_s` is the time since the robot reported its state.
    """

    robot: str
    skill: str
    success: float
    cost_s: float
    distance_m: float
    age_s: float = 0.0
    estimate: float = 0.5


@dataclass(frozen=True)
class EventFilter:
    """Which events are wanted. All given conditions must hold; empty ones always hold; `entities` any of."""

    kinds: tuple[str, ...] = ()
    robot: str = ""
    task: str = ""
    entities: tuple[str, ...] = ()
