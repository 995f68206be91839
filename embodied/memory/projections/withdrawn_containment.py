"""Containment and merges again, as they are without withdrawn events.

The things that the withdrawn events affect get a new history from the first of these events on: all later events about
them are applied again in the order of the log, and the rows that differ replace the old ones for views from the
withdrawal on. A relation that ends although it does not hold has no effect then, and expected versions are not compared
again: else the history is that of a log without the withdrawn events. Versions of new rows are higher than any before.

Affected are the subjects of withdrawn relations, and those with which they are merged from then on; of a withdrawn
merge also the contents of either thing, and what was put into it later. The cost is that of their later histories.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush

from embodied.errors import MemoryBankError
from embodied.memory.projections.parents import (
    NO_NAME,
    ORPHAN,
    Parent,
    highest_version,
    is_inside,
    next_parent,
    parent_of,
    root_by,
    taken_over,
    write_change,
    write_current,
)
from embodied.memory.projections.projection import TakenBack
from embodied.memory.projections.stays import SEQ, end_stay, found_in
from embodied.memory.schema.event import Event
from embodied.memory.schema.kinds import CONTAINMENT, EntityMerged, RelationEnded, RelationSet
from embodied.memory.storage.tables import Tables

ROW = "predicate, object, version, since_s, seq, first"
RELATIONS = ("relation_set", "relation_ended")


def withdraw_containment(tables: Tables, back: TakenBack) -> None:
    """Writes new rows for views from a withdrawal on.

    Raises `MemoryBankError` where a thing would now be inside itself.
    """
    merges = [event.seq for event in back.events if isinstance(event.payload, EntityMerged)]
    relations = [event for event in back.events if _relation(event) is not None]
    if merges or relations:
        _Withdrawal(tables, back, merges, relations).run()


def _relation(event: Event | None) -> RelationSet | RelationEnded | None:
    """Returns the relation of an event that sets or ends containment, None for claims and all other events."""
    payload = event.payload if event and not event.claimed else None
    return payload if isinstance(payload, RelationSet | RelationEnded) and payload.predicate in CONTAINMENT else None


class _Withdrawal:
    """One withdrawal: the affected entities, by their ids, and their parents from the first withdrawn event on."""

    def __init__(self, tables: Tables, back: TakenBack, merges: Sequence[int], relations: Sequence[Event]) -> None:
        self._tables, self._by_seq, self._read = tables, back.seq, back.read
        self._merges, self._relations = merges, relations
        self._gone = {*merges, *(event.seq for event in relations)}
        self._from = min(self._gone)
        self._affected: dict[int, None] = {}  # A set in a fixed order, so that a rebuild writes the same.
        self._before: dict[int, Parent] = {}
        self._old: dict[int, list[Parent]] = {}
        self._new: dict[int, list[Parent]] = {}
        self._held: dict[int, set[int]] = {}  # By holder, during a replay.
        self._idle: list[tuple[int, int]] = []
        self._highests: dict[int, int] = {}

    def run(self) -> None:
        """Writes all rows that differ."""
        for event in self._relations:
            relation = _relation(event)
            if relation is not None:
                self._affect(root_by(self._tables, self._find(relation.subject), event.seq - 1))
        self._undo_merges()
        self._replay()
        while more := self._other_merges():
            for entity in more:
                self._affect(entity)
            self._replay()
        for subject in self._affected:
            self._write(subject)
        for subject in self._affected:
            self._refuse_circle(subject)

    # --- Which entities are affected ---

    def _find(self, name: str) -> int:
        return self._tables.names.find(name) or NO_NAME

    def _affect(self, entity: int) -> None:
        """Adds an entity, and all that were merged with it from the first withdrawn event on."""
        left = [entity]
        while left:
            one = left.pop()
            if one in self._affected:
                continue
            self._affected[one] = None
            pairs = self._tables.select(
                "SELECT entity, root FROM merge WHERE (entity = ?1 OR root = ?1) AND seq >= ?2 ORDER BY seq",
                one, self._from,
            )  # fmt: skip
            left += [other for pair in pairs for other in pair]

    def _undo_merges(self) -> None:
        """Drops the withdrawn merges, gives later ones the entities into which they go now, and adds all affected."""
        if not self._merges:
            return
        tables, changed = self._tables, []
        for seq in self._merges:
            (entity,) = tables.select_one("SELECT entity FROM merge WHERE entity > 0 AND seq = ?", seq) or (NO_NAME,)
            self._affect(entity)
            changed.append((entity, seq))
        later = self._later_merges()
        separate = [entity for entity, _ in changed]
        for entity, seq in changed:
            self._drop_merge(entity, seq)
        for seq, entity, named, root, time_s in later:
            now = root_by(tables, named, seq - 1)
            if seq not in self._gone and now != root:
                self._drop_merge(entity, seq)
                tables.write(
                    "INSERT INTO merge VALUES (?, ?, ?, ?, ?, ?, NULL)", entity, self._by_seq, named, now, time_s, seq
                )
                changed.append((entity, seq))
        for entity, seq in changed:
            for child in self._moved(entity, seq):
                self._affect(child)
        for child in self._put_into(separate):
            self._affect(child)

    def _later_merges(self) -> list[tuple[int, int, int, int, float]]:
        """Returns number, entity, name into which it was merged, its root, and valid time, of merges of affected."""
        found = {
            row
            for entity in self._affected
            for row in self._tables.select(
                "SELECT seq, entity, named, root, valid_time_s FROM merge WHERE entity = ? AND seq >= ?",
                entity, self._from,
            )
        }  # fmt: skip
        return sorted(found)  # type: ignore[arg-type]

    def _drop_merge(self, entity: int, seq: int) -> None:
        self._tables.write(
            "UPDATE merge SET entity = -entity, named = -named, root = -root, until_seq = ? "
            "WHERE entity = ? AND seq = ?",
            self._by_seq, entity, seq,
        )  # fmt: skip

    def _moved(self, entity: int, seq: int) -> Iterator[int]:
        """Yields what an entity held when it was merged into another one by event `seq`."""
        for subject in sorted(found_in(self._tables, SEQ, entity, seq - 1)):
            if any(row.seq == seq for row in self._changes(subject, seq)):
                yield subject

    def _put_into(self, entities: Sequence[int]) -> Iterator[int]:
        """Yields what was put into or taken out of any of `entities`, under any of their names, since."""
        for name in self._names_of(entities):
            for kind in RELATIONS:
                for (seq,) in self._tables.select(
                    "SELECT seq FROM mention WHERE subject = ? AND kind = ? AND seq > ? ORDER BY seq",
                    name, self._tables.names.find(kind), self._from,
                ):  # fmt: skip
                    relation = _relation(self._read(seq))
                    if relation is not None and self._find(relation.object) == name:
                        yield root_by(self._tables, self._find(relation.subject), seq - 1)

    def _names_of(self, entities: Iterable[int]) -> list[int]:
        found, left = dict.fromkeys(entities), list(entities)
        while left:
            members = self._tables.select("SELECT entity FROM merge WHERE root = ? ORDER BY entity", left.pop())
            new = [entity for (entity,) in members if entity not in found]
            found |= dict.fromkeys(new)
            left += new
        return list(found)

    # --- Their new history ---

    def _changes(self, subject: int, after: int) -> list[Parent]:
        """Returns the rows of an entity from event `after` on, as they are in the tables, in their order."""
        found = self._tables.select(
            f"SELECT {ROW} FROM parent_change WHERE subject = ? AND version > ? ORDER BY version",  # noqa: S608
            subject, self._known(subject, after).version,
        )  # fmt: skip
        return [Parent(*row) for row in found]

    def _known(self, subject: int, seq: int) -> Parent:
        """Returns the parent of an entity just before event `seq`, as it is in the tables."""
        found = self._tables.select_one(
            f"SELECT {ROW} FROM parent_change WHERE subject = ? AND seq < ? ORDER BY version DESC LIMIT 1",  # noqa: S608
            subject, seq,
        )  # fmt: skip
        return Parent(*found) if found else ORPHAN

    def _parent(self, subject: int, seq: int) -> Parent:
        """Returns the parent of an entity just before event `seq`, without the withdrawn events."""
        if subject not in self._new:
            return self._known(subject, seq)
        return next((row for row in reversed(self._new[subject]) if row.seq < seq), self._before[subject])

    def _replay(self) -> None:
        """Applies the later events about all affected entities again."""
        self._idle = []
        self._held = defaultdict(set)
        for subject in self._affected:
            self._before[subject] = self._known(subject, self._from)
            self._old[subject] = self._changes(subject, self._from)
            self._new[subject] = []
            self._held[self._before[subject].object].add(subject)
        left = sorted(self._events())
        for subject in self._affected:
            self._await_merge(self._before[subject].object, self._from, left)
        last = 0
        while left:
            seq = heappop(left)
            event = None if seq == last else self._read(seq)
            last = seq
            relation = _relation(event)
            if event is not None and relation is not None:
                self._relate(event, relation, left)
            elif event is not None and isinstance(event.payload, EntityMerged):
                self._merge(event, event.payload, left)

    def _events(self) -> set[int]:
        """Returns the numbers of the later events that have changed, or would change, an affected entity."""
        found = {row.seq for rows in self._old.values() for row in rows}
        found |= {seq for seq, *_ in self._later_merges()}
        for subject in self._affected:
            idle = self._tables.select("SELECT seq FROM idle_end WHERE subject = ? AND seq >= ?", subject, self._from)
            found |= {seq for (seq,) in idle}
        return found - self._gone

    def _await_merge(self, holder: int, seq: int, left: list[int]) -> None:
        """Adds the event after `seq` by which a holder, with what it holds, is merged into another entity."""
        for (merged,) in self._tables.select("SELECT seq FROM merge WHERE entity = ? AND seq > ?", holder, seq):
            heappush(left, merged)

    def _relate(self, event: Event, relation: RelationSet | RelationEnded, left: list[int]) -> None:
        names = relation.subject, relation.object
        subject, holder = (root_by(self._tables, self._find(name), event.seq - 1) for name in names)
        held = self._find(relation.predicate), holder
        if isinstance(relation, RelationSet):
            self._change(subject, event, held, left)
        elif self._parent(subject, event.seq)[:2] == held:
            self._change(subject, event, (NO_NAME, NO_NAME), left)
        elif subject in self._affected:
            self._idle.append((subject, event.seq))

    def _merge(self, event: Event, payload: EntityMerged, left: list[int]) -> None:
        """Does what the projection does for a merge, to the affected entities."""
        seq, entity = event.seq, self._find(payload.entity)
        found = self._tables.select_one("SELECT root FROM merge WHERE entity = ? AND seq = ?", entity, seq)
        root = found[0] if found else NO_NAME
        taken, own = self._parent(entity, seq), self._parent(root, seq)
        if taken.predicate:
            self._change(entity, event, (NO_NAME, NO_NAME), left)
            if taken_over(taken, own) and not self._inside(taken.object, root, seq):
                self._change(root, event, taken[:2], left, not_before_s=taken.since_s)
        for child in sorted(self._held[entity]):
            self._change(child, event, (self._parent(child, seq + 1).predicate, root), left)

    def _change(self, subject: int, event: Event, held: tuple[int, int], left: list[int], **limits: float) -> None:
        """Adds a row to the new history of an entity, if that is affected."""
        if subject not in self._affected:
            return
        rows = self._new[subject]
        now = rows[-1] if rows else self._before[subject]
        version = max(now.version, self._highest(subject)) + 1
        rows.append(next_parent(now, event, held, version, **limits))
        self._held[now.object].discard(subject)
        self._held[held[1]].add(subject)
        self._await_merge(held[1], event.seq, left)

    def _highest(self, subject: int) -> int:
        if subject not in self._highests:
            self._highests[subject] = highest_version(self._tables, subject)
        return self._highests[subject]

    def _inside(self, inner: int, outer: int, seq: int) -> bool:
        return is_inside(inner, outer, lambda one: self._parent(one, seq).object)

    def _other_merges(self) -> list[int]:
        """Returns what was merged later and hands its parent on now, or does no more, because of an affected entity."""
        found = []
        for entity, root, seq in self._tables.select(
            "SELECT entity, root, seq FROM merge WHERE entity > 0 AND seq > ? ORDER BY seq", self._from
        ):
            taken = ORPHAN if entity in self._affected else self._known(entity, seq)
            if taken_over(taken, self._known(root, seq)):
                before = is_inside(taken.object, root, lambda one, seq=seq: self._known(one, seq).object)
                found += [entity] if before != self._inside(taken.object, root, seq) else []
        return found

    # --- The tables ---

    def _write(self, subject: int) -> None:
        """Replaces the rows of an entity from the first that differs, and its current parent."""
        tables, old = self._tables, self._old[subject]
        current, highest = parent_of(tables, subject), self._highest(subject)
        kept, rows = self._numbered(subject)
        before = rows[kept - 1] if kept else self._before[subject]
        if kept < len(old):
            tables.write(
                "UPDATE parent_change SET subject = -subject, until_seq = ? WHERE subject = ? AND version >= ?",
                self._by_seq, subject, old[kept].version,
            )  # fmt: skip
        for row in rows[kept:]:
            write_change(tables, subject, row, self._by_seq)
            if before.object:
                end_stay(tables, subject, before.object, (before.since_s, before.seq), (row.since_s, row.seq))
            before = row
        if before != current:
            if current.object:  # Earlier views still find it there.
                since = current.since_s, current.seq
                end_stay(tables, subject, current.object, since, (current.since_s, self._by_seq))
            write_current(tables, subject, before, max(highest, before.version))
        tables.write("DELETE FROM idle_end WHERE subject = ? AND seq >= ?", subject, self._from)
        tables.write_many("INSERT INTO idle_end VALUES (?, ?)", [one for one in self._idle if one[0] == subject])

    def _numbered(self, subject: int) -> tuple[int, list[Parent]]:
        """Returns how many of the rows of an entity stay as they are, and its new rows with their final versions."""
        old, rows = self._old[subject], []
        versions: dict[int, int] = {}
        kept, number = 0, self._highest(subject)
        for index, row in enumerate(self._new[subject]):
            same = kept == index < len(old) and row[:2] == old[index][:2] and row[3:5] == old[index][3:5]
            kept, number = (kept + 1, number) if same else (kept, number + 1)
            versions[row.version] = old[index].version if same else number
            rows.append(row._replace(version=versions[row.version], first=versions.get(row.first, row.first)))
        return kept, rows

    def _refuse_circle(self, subject: int) -> None:
        holder = parent_of(self._tables, subject).object
        if is_inside(holder, subject, lambda one: parent_of(self._tables, one).object):
            text = self._tables.names.text
            raise MemoryBankError(
                "Nothing may be inside itself, at any depth.",
                value=(text(subject), text(holder)),
                remedy=f"Without the withdrawn events it is: take {text(subject)!r} out of {text(holder)!r} first.",
            )
