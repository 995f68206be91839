"""The settings with which `launch.memory` queries a bank."""

from dataclasses import dataclass, field, fields
from math import inf
from typing import Any

from embodied.evaluation.memory_pages import shortener
from embodied.memory import Shown


@dataclass(kw_only=True)
class QuerySettings:
    """The settings of a query. Points are in metres, times in seconds: on the site clock, or since `episode` began.

    With `episode` the times of an answer are those since its beginning as well, and its names are shortened.

    A query answers the first that is given of `things` (all, or those with a word in their looks or name), `where`,
    `contents`, `places` (all, or one and what is in it), `skill`, `similar` (an instruction), `why`, `nth` and `since`,
    else it recalls moments. `name` is an entity, robot or place;
    `nth` counts interactions from 1, or from -1 backwards, of an `action` such as `pick_place` or `pick place`. A
    `skill` is requested at `near_m`, or at the position of `near`. Any unambiguous suffix of a name is accepted
    (`block`, `3/block`).

    Attributes:
        things: all, or a word of the looks or the names of things, such as green
        where: the location of this entity
        contents: what is in, on or held by this entity
        places: all, or the name of one place with what is in it
        similar: episodes whose instruction is like this one
        skill: which robot can do this skill best
        near_m: the position for the skill: x, y, z in metres
        near: the entity at whose position the skill is needed, in place of near_m
        why: what led to the event of this number
        nth: the interaction of this number: from 1, or from -1 backwards
        since: what has changed since the event of this number
        as_of_s: the time to which the answer refers; null for now
        name: an entity, robot or place that moments or events are about
        action: of interactions, such as pick_place
        episode: things and events of this episode only; times count from its start
        robot: events of this robot only
        place: the place in which moments were stored
        kinds: of events, such as [interaction]
        from_s: the start of the time range
        to_s: the end of the time range
        limit: the largest number of lines shown
    """

    things: str = ""
    where: str = ""
    contents: str = ""
    places: str = ""
    similar: str = ""
    skill: str = ""
    near_m: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    near: str = ""
    why: int | None = None
    nth: int | None = None
    since: int | None = None
    as_of_s: float | None = None
    name: str = ""
    action: str = ""
    episode: str = ""
    robot: str = ""
    place: str = ""
    kinds: list[str] = field(default_factory=list)
    from_s: float | None = None
    to_s: float | None = None
    limit: int = 200


@dataclass(kw_only=True)
class CompletedQuery(QuerySettings):
    """A query with whole names and with times on the site clock.

    Shown times count from `start_s`, the beginning of `episode`, 0 without one; `end_s` is its end, infinite where it
    has not ended, and without an episode.
    """

    start_s: float = 0.0
    end_s: float = inf

    @classmethod
    def of(cls, query: QuerySettings, **changed: Any) -> "CompletedQuery":
        """Returns `query` with what has `changed`."""
        return cls(**{one.name: getattr(query, one.name) for one in fields(QuerySettings)} | changed)

    @property
    def shown(self) -> Shown:
        """How names are shown: those of `episode` without its name."""
        return shortener(self.episode) if self.episode else str
