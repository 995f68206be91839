"""Entity resolution for one query, cached: which entities are the same."""

from embodied.memory.queries.containment_history import Instant, Member, members_at, root_at
from embodied.memory.storage.log import EventLog


class EntityResolution:
    """Resolves merged entities as known at an instant. It serves one query and caches its reads."""

    def __init__(self, log: EventLog, at: Instant) -> None:
        self._log, self._at = log, at
        self._members: dict[int, list[Member]] = {}
        self._merges: dict[int, Member] = {}

    def root(self, entity: int) -> int:
        """Returns the id of an entity after merges, 0 for none."""
        return root_at(self._log, entity, self._at) if entity else 0

    def members(self, entity: int) -> list[Member]:
        """Returns all entities that are the same as this one, itself first."""
        if entity not in self._members:
            self._members[entity] = members_at(self._log, entity, self._at)
            self._merges |= {seq: member for member in self._members[entity] if (seq := member.merged[1])}
        return self._members[entity]

    def merge(self, seq: int) -> Member | None:
        """Returns the member that was merged by an event, among the members read so far."""
        return self._merges.get(seq)
