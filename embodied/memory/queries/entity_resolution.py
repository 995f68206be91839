"""Entity resolution for one query, cached: which entities are the same."""

from embodied.memory.queries.containment_history import Instant, Member, members_at, members_seen, members_with, root_at
from embodied.memory.schema.event import LogPosition
from embodied.memory.storage.log import EventLog

FEW = 1


class EntityResolution:
    """Resolves merged entities as known at an instant. It serves one query and caches its reads."""

    def __init__(self, log: EventLog, at: Instant) -> None:
        self._log, self._at = log, at
        self._members: dict[int, list[Member]] = {}
        self._roots: dict[int, int] = {}
        self._seen: dict[tuple[int, float], dict[int, LogPosition]] = {}
        self._with: dict[tuple[int, str], set[int]] = {}
        self._merges: dict[int, Member] = {}

    def root(self, entity: int) -> int:
        """Returns the id of an entity after merges, 0 for none."""
        if entity not in self._roots:
            self._roots[entity] = root_at(self._log, entity, self._at) if entity else 0
        return self._roots[entity]

    def members(self, entity: int) -> list[Member]:
        """Returns all entities that are the same as this one, itself first."""
        if entity not in self._members:
            self._members[entity] = members_at(self._log, entity, self._at)
            self._roots |= dict.fromkeys((one.entity for one in self._members[entity]), self.root(entity))
            self._merges |= {seq: member for member in self._members[entity] if (seq := member.merged[1])}
        return self._members[entity]

    def members_with(self, entity: int, table: str) -> set[int]:
        """Returns the members that may have a row in a table of the bank: of few all, of many those that have one."""
        members = self.members(entity)
        if len(members) <= FEW:
            return {member.entity for member in members}
        if (entity, table) not in self._with:
            self._with[entity, table] = members_with(self._log, entity, self._at, table)
        return self._with[entity, table]

    def seen(self, entity: int, time_s: float) -> dict[int, LogPosition]:
        """Returns the last sighting by a time, seconds, of each of the members that was seen by then."""
        if (entity, time_s) not in self._seen:
            self._seen[entity, time_s] = members_seen(self._log, entity, self._at, time_s)
        return self._seen[entity, time_s]

    def merge(self, seq: int) -> Member | None:
        """Returns the member that was merged by an event, among the members read so far."""
        return self._merges.get(seq)
