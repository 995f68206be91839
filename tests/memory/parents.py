"""Merges and parents of entities in the model of a bank: all changes in their order."""

import math
from collections import defaultdict
from dataclasses import dataclass

from embodied.memory import CONTAINMENT, EntityMerged, RelationEnded, RelationSet

NEVER = (-math.inf, 0)
NOBODY = ("", "", *NEVER)


@dataclass(frozen=True)
class Merge:
    """One entity is merged into another one, which was not merged itself when that was logged."""

    entity: str
    into: str
    time_s: float
    number: int


def written(events):
    """Merges and, by thing, the changes (predicate, object, since, number) of its parent."""
    merges, rows = [], defaultdict(list)
    for number, event in enumerate(events, 1):
        payload = event.payload
        if isinstance(payload, EntityMerged):
            merge = Merge(payload.entity, root(payload.into, merges), event.valid_time_s, number)
            merges.append(merge)
            write_merge(rows, merge)
        elif isinstance(payload, RelationSet | RelationEnded) and payload.predicate in CONTAINMENT:
            held = (payload.predicate, root(payload.object, merges)) if isinstance(payload, RelationSet) else ("", "")
            write(rows[root(payload.subject, merges)], *held, event.valid_time_s, number)
    return merges, rows


def root(name, merges):
    """The name under which a thing lives after those merges."""
    into = {merge.entity: merge.into for merge in merges}
    while name in into:
        name = into[name]
    return name


def write(changes, predicate, holder, time_s, number):
    """Adds a change of parent, which counts from its time, but never from before the last one."""
    changes.append((predicate, holder, max(changes[-1][2] if changes else -math.inf, time_s), number))


def write_merge(rows, merge):
    """What a thing held is held by the other, which takes over its parent if that is newer and not inside it."""
    now = {thing: changes[-1] for thing, changes in rows.items() if changes}
    predicate, holder, *logged = now.get(merge.entity, NOBODY)
    if predicate:
        write(rows[merge.entity], "", "", merge.time_s, merge.number)
    above, held = holder, now.get(merge.into, NOBODY)
    while above not in ("", merge.into):
        above = now.get(above, NOBODY)[1]
    if predicate and not above and (not held[0] or logged > list(held[2:])):
        write(rows[merge.into], predicate, holder, max(merge.time_s, logged[0]), merge.number)
    for child, change in now.items():
        if change[1] == merge.entity:
            write(rows[child], change[0], merge.into, merge.time_s, merge.number)
