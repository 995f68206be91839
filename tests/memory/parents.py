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


def written(events, gone=frozenset()):
    """Merges and, by thing, the changes (predicate, object, since, number) of its parent.

    Events with the numbers `gone` were withdrawn; what ends although it does not hold has no effect.
    """
    merges, rows = [], defaultdict(list)
    for number, event in enumerate(events, 1):
        payload = event.payload
        if number in gone:
            continue
        if isinstance(payload, EntityMerged):
            merge = Merge(payload.entity, root(payload.into, merges), event.valid_time_s, number)
            merges.append(merge)
            write_merge(rows, merge)
        elif isinstance(payload, RelationSet | RelationEnded) and payload.predicate in CONTAINMENT:
            changes, held = rows[root(payload.subject, merges)], (payload.predicate, root(payload.object, merges))
            if isinstance(payload, RelationSet):
                write(changes, *held, event.valid_time_s, number)
            elif changes and changes[-1][:2] == held:
                write(changes, "", "", event.valid_time_s, number)
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
    held = now.get(merge.into, NOBODY)
    if predicate and not inside(holder, merge.into, now) and (not held[0] or logged > list(held[2:])):
        write(rows[merge.into], predicate, holder, max(merge.time_s, logged[0]), merge.number)
    now = {thing: changes[-1] for thing, changes in rows.items() if changes}
    for child, change in now.items():
        if change[1] == merge.entity:
            write(rows[child], change[0], merge.into, merge.time_s, merge.number)


def inside(above, thing, now):
    """Whether a name is a thing's, or that of something inside it by the changes `now`; a circle is gone round once."""
    passed = set()
    while above not in ("", thing) and above not in passed:
        passed.add(above)
        above = now.get(above, NOBODY)[1]
    return above == thing


def circle(rows):
    """Whether anything is inside itself."""
    now = {thing: changes[-1] for thing, changes in rows.items() if changes}
    return any(inside(change[1], thing, now) for thing, change in now.items())
