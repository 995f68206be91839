"""What one can ask the bank: at its newest state, or as of one sequence number."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from embodied.errors import MemoryBankError
from embodied.geometry import Vector3
from embodied.memory.projections.inverted_index import EVERYBODY, RARE, mentioned, rare_events
from embodied.memory.queries import containment_history, location_belief, skill_matching, validation
from embodied.memory.queries.containment_history import Instant
from embodied.memory.queries.skill_matching import SkillQuery
from embodied.memory.schema.event import Event
from embodied.memory.schema.kinds import KINDS, EpisodeBegun, Interaction, PlaceDefined, Polygon
from embodied.memory.schema.places import Place
from embodied.memory.schema.query import EventFilter, LocationBelief, Query, Recalled, SkillCandidate
from embodied.memory.storage.log import EventLog

if TYPE_CHECKING:
    from embodied.memory.queries.moment_search import MomentIndex

READ_THROUGH = 20_000


class BankView:
    """Questions to the bank. `as_of_s` asks what was so at a valid time, seconds on the site clock; None: the latest.

    A view with a sequence number sees only events up to it, and answers the same for ever (but for what retention
    has forgotten since).
    """

    def __init__(
        self,
        log: EventLog,
        moments: Callable[[], "MomentIndex"],
        *,
        seq: int | None = None,
        half_life_s: Mapping[str, float] | None = None,
    ) -> None:
        self._log = log
        self._moments = moments
        self._seq = seq
        self._half_life_s = dict(half_life_s or {})

    @property
    def head(self) -> int:
        """The newest sequence number that this view sees, 0 where there is none."""
        newest = self._log.head  # Asked in any case: a closed bank answers nothing.
        return newest if self._seq is None else self._seq

    def recall(self, query: Query) -> list[Recalled]:
        """Returns the moments that pass all filters of the query, at most `top_k`, in its order.

        An entity is also found under the names of those that turned out to be it. Raises `MemoryBankError` for a query
        that makes no sense; see `MomentIndex.recall`.
        """
        validation.check_query(query)
        with self._log.tables.lock:
            query = replace(query, entities=tuple(self._names_of(query.entities)))
            return self._moments().recall(query, resolve_region=self._polygon, up_to_seq=self._seq)

    def where_is(self, entity: str, *, as_of_s: float | None = None) -> LocationBelief | None:
        """Returns where an entity or robot is believed to be, None for one that nobody has spoken of by then."""
        validation.text("entity", entity)
        with self._log.tables.lock:
            return location_belief.where_is(self._log, entity, self._at(as_of_s), self._half_life_s)

    def evidence(self, entity: str) -> frozenset[int]:
        """Returns the sightings and robot states that `where_is` rests on, as sequence numbers."""
        validation.text("entity", entity)
        with self._log.tables.lock:
            return location_belief.evidence(self._log, entity, self._at(None))

    def contents(self, holder: str, *, as_of_s: float | None = None) -> list[str]:
        """Returns the names of what is directly in, on, part of or held by a place, entity or robot, sorted."""
        validation.text("holder", holder)
        with self._log.tables.lock:
            return location_belief.contents(self._log, holder, self._at(as_of_s))

    def related(self, name: str, *, as_of_s: float | None = None) -> list[tuple[str, str, str]]:
        """Returns the relations (subject, predicate, object) of an entity or place that are no containment, sorted."""
        validation.text("name", name)
        with self._log.tables.lock:
            return location_belief.related(self._log, name, self._at(as_of_s))

    def places(self, *, as_of_s: float | None = None) -> list[Place]:
        """Returns the tree of places, in the order of their first definition."""
        with self._log.tables.lock:
            return containment_history.places_at(self._log, self._at(as_of_s))

    def latest_s(self) -> float | None:
        """Returns the newest valid time of all events, seconds on the site clock, None where there are none."""
        found = self._log.tables.row("SELECT MAX(valid_time_s) FROM event WHERE seq <= ?", self.head)
        return found[0] if found else None

    def names(self) -> list[str]:
        """Returns the names of all entities, places and robots that somebody has spoken of, sorted."""
        found = self._log.tables.rows(
            "SELECT text FROM name WHERE id > 0 AND EXISTS "
            "(SELECT 1 FROM mention WHERE subject = name.id AND seq <= ?) ORDER BY text",
            self.head,
        )  # fmt: skip
        return [text for (text,) in found]

    def history(
        self, name: str = EVERYBODY, *, from_s: float = -math.inf, to_s: float = math.inf, kinds: Sequence[str] = ()
    ) -> list[Event]:
        """Returns the events about an entity, place or robot by valid time, both ends (seconds) included.

        Without a name it is the timeline of the site: all but sightings, robot states, observations and moments.
        """
        validation.text("name", name, empty=True)
        numbers = self._mentions(name, *validation.interval((from_s, to_s)), validation.known_kinds(kinds))
        return [event for seq in numbers if (event := self._log.event(seq))]

    def changes_since(self, seq: int, *, wanted: EventFilter | None = None, limit: int = 1000) -> list[Event]:
        """Returns the events after `seq` in the order of the log, at most `limit`, that `wanted` lets through.

        An entity is also wanted under the names of those that this view knows to be it.
        """
        seq, limit = validation.whole("seq", seq, least=0), validation.whole("limit", limit, least=1)
        wanted = validation.event_filter(wanted)
        find = self._log.tables.names.find
        kinds = [find(kind) for kind in wanted.kinds]
        where, values = ["TRUE"], []
        if kinds:
            where.append(f"kind IN ({', '.join('?' * len(kinds))})")
            values += kinds
        for column in ("robot", "task"):
            if text := getattr(wanted, column):
                where.append(f"{column} = ?")
                values.append(find(text))
        asked = set(self._names_of(wanted.entities))
        events = self._wanted_events(seq, wanted, where=" AND ".join(where), values=values)
        # `islice` asks for no event beyond the last: the log reads a thousand at a time.
        return list(islice((event for event in events if not asked or asked.intersection(mentioned(event))), limit))

    def skill_candidates(
        self, skill: str, near_m: Vector3, *, as_of_s: float | None = None, context: str = ""
    ) -> list[SkillCandidate]:
        """Returns the robots that can do a skill at a point (site frame, metres) now, cheapest first.

        Without a state that it told of itself, or with one as in `skill_matching.UNABLE`, a robot cannot.
        """
        validation.text("context", context, empty=True)
        query = SkillQuery(validation.text("skill", skill), validation.point_m("near_m", near_m), context)
        with self._log.tables.lock:
            return skill_matching.skill_candidates(self._log, query, self._at(as_of_s))

    def why(self, seq: int) -> list[Event]:
        """Returns the events that led to event `seq`, causes of causes included, oldest first, itself last."""
        wanted, found = [validation.whole("seq", seq, least=0)], {}
        while wanted:
            number = wanted.pop()
            event = self._log.event(number) if number <= self.head and number not in found else None
            if event is not None:
                found[number] = event
                wanted += event.cause
        return [found[number] for number in sorted(found)]

    def nth_interaction(
        self,
        number: int,
        *,
        entity: str = "",
        robot: str = "",
        action: str = "",
        between_s: tuple[float, float] = (-math.inf, math.inf),
    ) -> Event | None:
        """Returns the n-th interaction that fits, by valid time: 1 the first, -1 the last; None where there is none.

        `action` is what was told, to the letter (`pick_place`, not the skill `pick`); see `Interaction`.
        What was done to an entity under the name of another that this view knows to be it counts too.
        """
        validation.ordinal("number", number)
        for what, name in (("entity", entity), ("robot", robot), ("action", action)):
            validation.text(what, name, empty=True)
        numbers = self._mentions(entity or robot or EVERYBODY, *validation.interval(between_s), ("interaction",))
        entities = frozenset(self._names_of([entity] if entity else []))
        left = abs(number)
        for seq in numbers if number > 0 else reversed(numbers):
            event = self._log.event(seq)
            if event is None or not _fits(event, entities, robot, action):
                continue
            left -= 1
            if not left:
                return event
        return None

    def similar_episodes(self, embedding: np.ndarray, model_id: str, *, top_k: int = 5) -> list[tuple[str, float]]:
        """Returns the episodes whose tasks are most alike and their cosines, best first.

        `embedding` (D,) of unit length must come from `model_id`. Raises `MemoryBankError` for another size.
        """
        wanted = validation.unit_vector(embedding, model_id)
        validation.whole("top_k", top_k, least=1)
        found = self._log.tables.rows(
            "SELECT begun_seq FROM episode WHERE model_id = ? AND bytes > 0 AND begun_seq <= ?",
            self._log.tables.names.find(model_id), self.head,
        )  # fmt: skip
        likeness: dict[str, float] = {}
        for (seq,) in found:
            event = self._log.event(seq)
            if event is None or not isinstance(event.payload, EpisodeBegun):
                continue
            known = np.frombuffer(event.payload.embedding, "<f4")
            if known.shape != wanted.shape:
                raise MemoryBankError(
                    "An embedding must have the size of its model's.",
                    value=wanted.shape,
                    remedy=f"{model_id!r} has {len(known)} values.",
                )
            likeness[event.payload.episode] = float(known @ wanted)
        return sorted(likeness.items(), key=lambda pair: (-pair[1], pair[0]))[:top_k]

    def event(self, seq: int) -> Event | None:
        """Returns one event, None where this view sees none of that number or it was forgotten."""
        number = validation.whole("seq", seq, least=0)
        return self._log.event(number) if number <= self.head else None

    def _wanted_events(self, seq: int, wanted: EventFilter, *, where: str, values: Sequence[Any]) -> Iterator[Event]:
        """Yields events after `seq`; rare kinds are looked up once a stretch of the log has been read through."""
        head = self.head
        to = min(head, seq + READ_THROUGH) if wanted.kinds and RARE.issuperset(wanted.kinds) else head
        yield from self._log.events(seq, to=to, where=where, values=values)
        if to < head:
            numbers = rare_events(self._log.tables, wanted.kinds, to, head)
            yield from self._log.events_of(numbers, where=where, values=values)

    def _at(self, as_of_s: float | None) -> Instant:
        return Instant(self.head, validation.instant_s(as_of_s))

    def _mentions(self, name: str, from_s: float, to_s: float, kinds: Sequence[str]) -> list[int]:
        tables, at = self._log.tables, Instant(self.head, math.inf)
        with tables.lock:
            members = self._members(name)
            found: set[tuple[float, int]] = set()
            for member in members:
                for kind in kinds or KINDS:
                    found.update(
                        tables.rows(
                            "SELECT valid_time_s, seq FROM mention WHERE subject = ? AND kind = ? "
                            "AND valid_time_s BETWEEN ? AND ? AND seq <= ?",
                            member, tables.names.find(kind), from_s, to_s, at.seq,
                        )  # type: ignore[arg-type]
                    )  # fmt: skip
        return [seq for _, seq in sorted(found)]

    def _members(self, name: str) -> list[int]:
        """Returns the ids of all entities that are one with this one, none for a name never heard of."""
        at = Instant(self.head, math.inf)
        subject = self._log.tables.names.find(name)
        if subject is None:
            return []
        return [
            one.entity
            for one in containment_history.members_at(
                self._log, containment_history.root_at(self._log, subject, at), at
            )
        ]

    def _names_of(self, entities: Sequence[str]) -> Iterator[str]:
        """Yields each name and, after it, those of all that are one with it."""
        text = self._log.tables.names.text
        for name in entities:
            yield name
            yield from map(text, self._members(name))

    def _polygon(self, place: str) -> Polygon:
        """Returns the last extent that a place had, also of one that has none any more."""
        definitions = [event.payload for event in self.history(place, kinds=("place_defined",))]
        for said in reversed(definitions):
            if isinstance(said, PlaceDefined) and said.place == place and said.polygon:
                return said.polygon
        raise MemoryBankError("A region must be a place with an extent.", value=place, remedy="Define it first.")


def _fits(event: Event, entities: Collection[str], robot: str, action: str) -> bool:
    said: Any = event.payload
    pairs = ((robot, event.robot), (action, said.action if isinstance(said, Interaction) else ""))
    return all(not wanted or wanted == is_so for wanted, is_so in pairs) and (not entities or said.entity in entities)
