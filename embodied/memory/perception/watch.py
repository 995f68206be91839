"""Perception over time: fuses what stays, and finds what has moved and what is visibly gone."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from embodied.memory.perception.absence import Absence, absences
from embodied.memory.perception.association import associate
from embodied.memory.perception.boxes import inside
from embodied.memory.perception.clouds import Cloud, fuse
from embodied.memory.perception.objects import Labeller, MaskLabel, PerceptionConfig, SeenObject, perceive, seen_object
from embodied.memory.schema.event import Event
from embodied.memory.schema.kinds import AbsenceSeen, EntitySeen
from embodied.types import CameraImage

STILL_SHARE = 0.95


@dataclass(frozen=True, eq=False)
class PerceptionResult:
    """What one instant showed: all that was `seen`, fused with earlier instants; who has `moved`; what is `gone`."""

    time_s: float
    seen: tuple[SeenObject, ...]
    moved: tuple[str, ...]
    gone: tuple[Absence, ...]


class Watch:
    """Remembers objects from update to update; one for each frame in which poses are given.

    Raises `ConfigError` for a configuration that means nothing.
    """

    def __init__(self, labeller: Labeller, *, config: PerceptionConfig) -> None:
        config.check()
        self._labeller = labeller
        self._config = config
        self._clouds: dict[str, list[Cloud]] = {}  # Per instant, since the thing last moved.
        self._remembered: dict[str, SeenObject] = {}
        self._named = 0

    @property
    def remembered(self) -> Mapping[str, SeenObject]:
        """What is believed to exist, by entity, as last seen."""
        return dict(self._remembered)

    def update(self, images: Mapping[str, CameraImage], *, time_s: float) -> PerceptionResult:
        """Takes in the images of one instant. Raises `SceneError` for an image without instances."""
        found = self._name(perceive(images, self._labeller, config=self._config), images)
        moved: list[str] = []
        for entity, thing in found.items():
            before = self._remembered.get(entity)
            still = before is not None and _still(before, thing, slack_m=self._config.voxel_m)
            if before is not None and not still and _shift_m(before, thing) > self._config.moved_m:
                moved.append(entity)
            self._take_in(thing, images, still=still)
        gone = self._missing(found, images)
        for absence in gone:
            del self._remembered[absence.entity], self._clouds[absence.entity]
        return PerceptionResult(time_s, tuple(self._remembered[entity] for entity in found), tuple(moved), gone)

    def _name(self, seen: tuple[SeenObject, ...], images: Mapping[str, CameraImage]) -> dict[str, SeenObject]:
        found = {thing.entity: thing for thing in seen if thing.entity}
        nameless = [thing for thing in seen if not thing.entity]
        if not nameless:
            return found
        free = {name: known for name, known in self._remembered.items() if name not in found}
        vacant = {absence.entity for absence in self._missing(found, images)}
        known = associate(nameless, free, vacant=vacant)
        for index, thing in enumerate(nameless):
            name = known.get(index) or self._new_name(thing.category)
            found[name] = replace(thing, entity=name)
        return found

    def _new_name(self, category: str) -> str:
        self._named += 1
        return f"{category}_{self._named}"

    def _missing(self, found: Mapping[str, SeenObject], images: Mapping[str, CameraImage]) -> tuple[Absence, ...]:
        boxes = {name: known.box for name, known in self._remembered.items() if name not in found}
        return absences(boxes, images, least=self._config.gone_fraction)

    def _take_in(self, thing: SeenObject, images: Mapping[str, CameraImage], *, still: bool) -> None:
        clouds = [thing.cloud, *(self._clouds[thing.entity] if still else [])]
        best = sorted(clouds, key=lambda cloud: -cloud.pixels)[: self._config.instants]  # Stable: newest first.
        self._clouds[thing.entity] = best
        if still:
            label = MaskLabel(thing.category, thing.entity)
            thing = seen_object(label, fuse(best, voxel_m=self._config.voxel_m), images)
        self._remembered[thing.entity] = thing


def events_of(
    result: PerceptionResult, *, writer: str, first_seq: int, robot: str = "", evidence: str = ""
) -> tuple[Event, ...]:
    """Returns the events of one update, valid at its time; poses must be in the site frame.

    `writer_seq` counts from `first_seq`; `robot` is the robot whose cameras took the images, `evidence` a reference to
    the frames.
    """
    sightings = [_sighting(thing, evidence) for thing in result.seen]
    absences_seen = [AbsenceSeen(absence.entity, absence.visible_fraction) for absence in result.gone]
    return tuple(
        Event(writer, first_seq + index, result.time_s, payload, robot=robot)
        for index, payload in enumerate([*sightings, *absences_seen])
    )


def _sighting(thing: SeenObject, evidence: str) -> EntitySeen:
    return EntitySeen(
        entity=thing.entity,
        category=thing.category,
        pose=thing.box.pose,
        covariance=thing.covariance,
        size_m=thing.box.size_m,
        labels=(thing.colour.name,),
        confidence=thing.confidence,
        evidence=evidence,
    )


def _still(before: SeenObject, now: SeenObject, *, slack_m: float) -> bool:
    """Returns whether one of two sightings fills no more than the place of the other: either may show only a part."""
    return _within(now, before, slack_m) or _within(before, now, slack_m)


def _within(part: SeenObject, whole: SeenObject, slack_m: float) -> bool:
    margin_m = slack_m + max(part.cloud.footprint_m, whole.cloud.footprint_m) / 2
    return float(np.mean(inside(whole.box, part.cloud.points_m, margin_m=margin_m))) >= STILL_SHARE


def _shift_m(before: SeenObject, now: SeenObject) -> float:
    return float(np.linalg.norm(np.subtract(now.box.pose.position_m, before.box.pose.position_m)))
