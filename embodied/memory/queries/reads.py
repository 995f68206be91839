"""All queries of a bank, each written once: a view answers them itself, a client sends them to the bank's owner.

To add a query, write one method of `Reads` with `@query`. Banks, snapshots, the service and clients then have it.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from itertools import islice
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from embodied.errors import MemoryBankError
from embodied.geometry import Pose, Vector3
from embodied.memory.projections import blocks, interactions
from embodied.memory.projections.inverted_index import SITE_TIMELINE
from embodied.memory.projections.withdrawals import withdrawn_by
from embodied.memory.queries import location_belief, skill_matching, validation
from embodied.memory.queries.log_view import LogView
from embodied.memory.queries.map_frames import MapFrames
from embodied.memory.queries.place_tree import PlaceTree
from embodied.memory.queries.read_call import ReadCall
from embodied.memory.queries.skill_matching import SkillQuery
from embodied.memory.schema.event import Event
from embodied.memory.schema.places import Place
from embodied.memory.schema.query import EventFilter, LocationBelief, Query, Recalled, SkillCandidate

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")
QUERIES: dict[str, Callable[..., Any]] = {}


def query(
    answer: Callable[Concatenate["Reads", Parameters], Answer],
) -> Callable[Concatenate["Reads", Parameters], Answer]:
    """Registers a method of `Reads` as a query: a call goes through `Reads._run`, which decides where it is answered.

    The body of the method runs in the owner's process, and may use `_view` only there.
    """
    QUERIES[answer.__name__] = answer

    @wraps(answer)
    def run(reads: "Reads", /, *arguments: Parameters.args, **options: Parameters.kwargs) -> Answer:
        return reads._run(answer, arguments, options)

    return run


class Reads:
    """The queries of a bank. `as_of_s` refers to a valid time, seconds on the site clock; None: the latest.

    The subclass `BankView` answers them from the log, `RemoteReads` sends them to the owner of the bank.
    """

    _view: LogView

    def _run(self, answer: Callable[..., Any], arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
        """Returns the answer to a query: `answer` is the method as it was written, called with `self` first."""
        raise NotImplementedError

    @query
    def recall(self, query: Query) -> list[Recalled]:
        """Returns the moments that pass all filters of the query, at most `top_k`, in its order.

        Positions are in the site frame. No region has moments of a map that is not placed; see `Recalled`.

        An entity is also found under the names of entities merged into it. Raises `MemoryBankError` for an invalid
        query; see `MomentIndex.recall`.
        """
        validation.check_query(query)
        with self._view.log.tables.lock:
            query = replace(query, entities=tuple(self._view.names_of(query.entities)))
            moments = self._view.moments()
            maps = self._view.maps()
        return moments.recall(query, resolve_region=self._view.polygon, maps=maps, up_to_seq=self._view.seq)

    @query
    def where_is(self, entity: str, *, as_of_s: float | None = None) -> LocationBelief | None:
        """Returns the location belief of an entity or robot, None without events by then.

        Poses that were given in a map are those of its last placing by then, whenever they were logged.
        """
        validation.text("entity", entity)
        with self._view.log.tables.lock:
            return location_belief.where_is(self._view.log, entity, self._view.at(as_of_s), self._view.half_life_s)

    @query
    def contents(self, holder: str, *, as_of_s: float | None = None) -> list[str]:
        """Returns the names of the direct contents, parts and held things of a place, entity or robot, sorted."""
        validation.text("holder", holder)
        with self._view.log.tables.lock:
            return location_belief.contents(self._view.log, holder, self._view.at(as_of_s))

    @query
    def related(self, name: str, *, as_of_s: float | None = None) -> list[tuple[str, str, str]]:
        """Returns the relations (subject, predicate, object) of an entity or place that are no containment, sorted."""
        validation.text("name", name)
        with self._view.log.tables.lock:
            return location_belief.related(self._view.log, name, self._view.at(as_of_s))

    @query
    def places(self, *, as_of_s: float | None = None) -> list[Place]:
        """Returns the tree of places, in the order of their first definition, with their extents in the site frame."""
        with self._view.log.tables.lock:
            return list(PlaceTree(MapFrames(self._view.log, self._view.at(as_of_s))).values())

    @query
    def map_placing(self, map_id: str, *, as_of_s: float | None = None) -> Pose | None:
        """Returns the pose of the frame of a map in the site frame, None where the map is not placed; see `MapPlaced`.

        The pose p of a thing in the map is compose(placing, p) in the site.
        """
        validation.text("map_id", map_id)
        with self._view.log.tables.lock:
            return MapFrames(self._view.log, self._view.at(as_of_s)).placing(map_id)

    @query
    def latest_s(self) -> float | None:
        """Returns the newest valid time of all events, seconds on the site clock, None where there are none."""
        with self._view.log.tables.lock:
            return blocks.newest_s(self._view.log.tables, self._view.head)

    @query
    def names(self) -> list[str]:
        """Returns the names of all entities, places and robots that events are about, sorted."""
        found = self._view.log.tables.select(
            "SELECT text FROM name WHERE id > 0 AND EXISTS "
            "(SELECT 1 FROM mention WHERE subject = name.id AND seq <= ?) ORDER BY text",
            self._view.head,
        )  # fmt: skip
        return [text for (text,) in found]

    @query
    def history(
        self,
        name: str = SITE_TIMELINE,
        *,
        from_s: float = -math.inf,
        to_s: float = math.inf,
        kinds: Sequence[str] = (),
        limit: int | None = None,
    ) -> list[Event]:
        """Returns the events of `kinds` about `name`, an entity, place or robot, by valid time from `from_s` to `to_s`.

        Times are in seconds, both ends included. Without a name it is the timeline of the site: all but sightings,
        robot states, observations and moments. With a `limit` it is the first so many of these events, or with a
        negative one the last, in the order of time too.
        """
        validation.text("name", name, empty=True)
        limit = None if limit is None else validation.ordinal("limit", limit)
        between_s = validation.interval((from_s, to_s))
        numbers = self._view.event_numbers(name, between_s, validation.known_kinds(kinds), limit=limit)
        return [event for seq in numbers if (event := self._view.log.event(seq))]

    @query
    def changes_since(self, seq: int, *, wanted: EventFilter | None = None, limit: int = 1000) -> list[Event]:
        """Returns the events after `seq` that match `wanted`, at most `limit`, in the order of the log.

        An entity is also matched under the names that this view knows to be the same.
        """
        seq, limit = validation.whole("seq", seq, least=0), validation.whole("limit", limit, least=1)
        wanted = validation.event_filter(wanted)
        entities = set(self._view.names_of(wanted.entities))
        return list(islice(self._view.wanted_events(seq, wanted, entities), limit))

    @query
    def skill_candidates(  # noqa: PLR0913 - the conditions of one query, all by name
        self, skill: str, near_m: Vector3, *, as_of_s: float | None = None, context: str = "",
        max_age_s: float = math.inf, explore_seed: int | None = None,
    ) -> list[SkillCandidate]:  # fmt: skip
        """Returns the robots that can do `skill` at the point `near_m` (site frame, metres), cheapest first.

        `as_of_s` is the time of the query, `context` selects the statistics. Robots without a reported state, with one
        that is older than `max_age_s` or in a map that is not placed, or with a status of `skill_matching.UNABLE` are
        left out. The weight of a run
        falls by `embodiment.DECAY` with each later one; with an `explore_seed` estimates are drawn (Thompson sampling),
        so that a robot of which little is known is tried again. Another seed gives another draw.
        """
        validation.text("context", context, empty=True)
        if not max_age_s >= 0.0:
            raise MemoryBankError("max_age_s must not be negative.", value=max_age_s, remedy="Give seconds.")
        seed = None if explore_seed is None else validation.whole("explore_seed", explore_seed, least=0)
        point_m = validation.point_m("near_m", near_m)
        query = SkillQuery(validation.text("skill", skill), point_m, context, max_age_s, seed)
        with self._view.log.tables.lock:
            return skill_matching.skill_candidates(self._view.log, query, self._view.at(as_of_s))

    @query
    def why(self, seq: int) -> list[Event]:
        """Returns the events that led to event `seq`, causes of causes included, oldest first, itself last."""
        wanted, found = [validation.whole("seq", seq, least=0)], {}
        while wanted:
            number = wanted.pop()
            event = self._view.log.event(number) if number <= self._view.head and number not in found else None
            if event is not None:
                found[number] = event
                wanted += event.cause
        return [found[number] for number in sorted(found)]

    @query
    def nth_interaction(
        self,
        number: int,
        *,
        entity: str = "",
        robot: str = "",
        action: str = "",
        between_s: tuple[float, float] = (-math.inf, math.inf),
    ) -> Event | None:
        """Returns interaction `number` that matches, by valid time: 1 the first, -1 the last; None where there is none.

        `entity` and `robot` restrict it where they are not empty, `between_s` to an interval of time. `action` is the
        exact text of the event (`pick_place`, not the skill `pick`); see `Interaction`. Interactions with an entity
        under another of its names count too.
        """
        validation.ordinal("number", number)
        for what, name in (("entity", entity), ("robot", robot), ("action", action)):
            validation.text(what, name, empty=True)
        between_s = validation.interval(between_s)
        log, find = self._view.log, self._view.log.tables.names.find
        with log.tables.lock:
            names = {
                "entity": set(self._view.names_of([entity] if entity else [])),
                "robot": {robot},
                "action": {action},
            }
            ids = {column: [find(name) for name in texts] for column, texts in names.items() if texts - {""}}
            wanted = {column: [number for number in found if number is not None] for column, found in ids.items()}
            if wanted != ids:
                return None  # One of the names was never used.
            seq = interactions.nth_interaction(
                log.tables, number, wanted, between_s=between_s, up_to_seq=self._view.head
            )
            return None if seq is None else log.event(seq)

    @query
    def similar_episodes(self, embedding: np.ndarray, model_id: str, *, top_k: int = 5) -> list[tuple[str, float]]:
        """Returns the `top_k` episodes with the most similar tasks and their cosines, best first.

        `embedding` (D,) of unit length must come from `model_id`. Raises `MemoryBankError` for another size.
        """
        wanted = validation.unit_vector(embedding, model_id)
        validation.whole("top_k", top_k, least=1)
        return self._view.moments().episodes.similar(wanted, model_id, top_k=top_k, head=self._view.head)

    @query
    def event(self, seq: int) -> Event | None:
        """Returns one event, None where this view has none of that number or it was removed."""
        number = validation.whole("seq", seq, least=0)
        return self._view.log.event(number) if number <= self._view.head else None

    @query
    def withdrawn_by(self, seq: int) -> Event | None:
        """Returns the event that withdrew event `seq`, None where that counts, or was removed."""
        by_seq = withdrawn_by(self._view.log.tables, validation.whole("seq", seq, least=0))
        return None if by_seq is None or by_seq > self._view.head else self._view.log.event(by_seq)


class RemoteReads(Reads):
    """Sends every query as a `ReadCall`; `send` returns its answer, or raises as the owner of the bank does."""

    def __init__(self, send: Callable[[ReadCall], Any]) -> None:
        self._send = send

    def _run(self, answer: Callable[..., Any], arguments: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
        return self._send(ReadCall(answer.__name__, arguments, options))
