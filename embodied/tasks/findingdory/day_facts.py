"""The facts of a lived day, by the truth of its home."""

import math

import numpy as np

from embodied.tasks.findingdory.day import Day
from embodied.tasks.findingdory.facts import ATTRIBUTES, DayFacts, InteractionFact, ObjectFact, ReceptacleFact, RoomFact
from embodied.tasks.findingdory.home_map import HomeMap
from embodied.tasks.findingdory.predicates import LEAST_SHARE
from embodied.tasks.findingdory.steps import minutes_at


def facts_of(day: Day, home_map: HomeMap | None = None) -> DayFacts:
    """Returns the facts of `day`, with things where they are at its end and distances from its last pose.

    `home_map` is the map of its home, made here unless given. Candidates for what was not touched are the things that
    covered 0.1 % of an image at some step, and that can be reached: the others cannot be remembered.
    """
    home_map = home_map or HomeMap(day.house)
    seen = seen_things(day)
    return DayFacts(
        objects=_objects(day, home_map, seen),
        receptacles=_receptacles(day, home_map, seen),
        rooms=_rooms(day),
        interactions=_interactions(day),
    )


def seen_things(day: Day) -> frozenset[str]:
    """Returns the names of objects and receptacles that covered at least 0.1 % of the image at some step."""
    enough = day.seen.things[day.seen.pixels >= LEAST_SHARE * day.seen.size_px]
    return frozenset(day.seen.names[thing] for thing in np.unique(enough).tolist())


def _objects(day: Day, home_map: HomeMap, seen: frozenset[str]) -> tuple[ObjectFact, ...]:
    rooms = {one.name: one.room for one in day.house.receptacles}
    where = {one.name: one.receptacle for one in day.house.objects}
    where |= {one.object: one.destination for one in day.interactions}
    end = day.poses[-1]
    found = []
    for one in day.house.objects:
        pose = day.final_poses[one.name]
        distance_m = home_map.object_distance_m(end, pose)
        found.append(
            ObjectFact(
                one.name,
                one.category,
                **{name: getattr(one, name) for name in ATTRIBUTES},
                room=rooms[where[one.name]],
                receptacle=where[one.name],
                position_m=pose.position_m,
                distance_m=distance_m,
                candidate=one.name in seen and math.isfinite(distance_m),
            )
        )
    return tuple(found)


def _receptacles(day: Day, home_map: HomeMap, seen: frozenset[str]) -> tuple[ReceptacleFact, ...]:
    distances_m = home_map.receptacle_distances_m(day.poses[-1])
    return tuple(
        ReceptacleFact(
            one.name,
            one.category,
            room=one.room,
            group=one.name,
            position_m=one.surfaces[0].pose.position_m,
            distance_m=distances_m[one.name],
            candidate=one.name in seen and math.isfinite(distances_m[one.name]),
        )
        for one in day.house.receptacles
    )


def _rooms(day: Day) -> tuple[RoomFact, ...]:
    steps = np.bincount(day.rooms[day.rooms >= 0], minlength=len(day.house.rooms)).tolist()
    return tuple(RoomFact(room.name, room.category, count) for room, count in zip(day.house.rooms, steps, strict=True))


def _interactions(day: Day) -> tuple[InteractionFact, ...]:
    rooms = {one.name: one.room for one in day.house.receptacles}
    return tuple(
        InteractionFact(
            one.object,
            one.source,
            one.destination,
            rooms[one.source],
            rooms[one.destination],
            minutes_at(one.pick_start),
            minutes_at(one.carry_start),
            minutes_at(one.place_start),
            minutes_at(one.place_end),
        )
        for one in day.interactions
    )
