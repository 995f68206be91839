"""Identifies things from look to look by place, colour, size and shape, with masks that carry no names."""

from collections.abc import Callable, Collection, Iterator, Mapping

import numpy as np

from embodied.geometry import Pose, Vector3, compose, invert
from embodied.memory.perception.boxes import UprightBox, contains
from embodied.memory.perception.known import (
    Known,
    Measured,
    alike,
    confuse,
    fused,
    gap_m,
    like_colour,
    moved_to,
    registered,
    seen_in_part,
    standing,
    volume_m3,
)
from embodied.memory.perception.looks import (
    LEAST_PIXELS,
    VACATED_SHARE,
    Change,
    ChangeKind,
    Look,
    Reference,
    Segment,
    Votes,
    fitting,
)
from embodied.memory.perception.segments import SegmentedImage
from embodied.memory.perception.shifts import OUTSIDE_M, OUTSIDE_SHARE, Lighting, has_shifted
from embodied.memory.perception.supports import support_height_m

CONFIRMED_SHARE = 0.97
STAYED_SHARE, STAYED_OWN_SHARE = 0.3, 0.6
VACATED_PX, MARK_VACATED_SHARE = 3, 0.25
GONE_SHARE, IN_SIGHT_SHARE = 0.5, 0.3
INSIDE_M, INSIDE_SHARE, SHARE_SLACK = 0.015, 0.5, 0.1
NEAR_M = 0.05
HELD_M = 0.025
MOST_VIEWS = 6
STANDS_M = 0.03  # A thing whose visible part ends at most this far above another stands on it.


class SceneTracker:
    """Tracks the things of one scene from look to look.

    `new_name` gives each new thing its name. Two similar things that were both hidden at the same time for at least
    `swap_s` may have changed places: they become candidates for one another.
    """

    def __init__(self, new_name: Callable[[str], str], *, swap_s: float = 3.0) -> None:
        self.things: dict[str, Known] = {}
        self._new_name = new_name
        self._swap_s = swap_s
        self._by_index: list[Known | None] = [None]
        self._references: dict[str, Reference] = {}
        self._grips: dict[str, Pose] = {}
        self._lighting = Lighting()
        self._relit = False  # In the present look.

    def look(self, look: Look) -> list[Change]:
        """Updates the things by one image and returns the changes. Raises `SceneError` for an unsound image."""
        seen = SegmentedImage(look.image)
        ours = np.zeros(len(seen.pixels), dtype=bool)
        ours[[0, *seen.of_robots(look.own_m)]] = True
        surfaces = [thing for thing in self.things.values() if thing.measured.surface and not thing.lost]
        self._relit = self._lighting.changed(look.camera, seen, surfaces)
        reference = fitting(self._references, look.camera, seen) if look.still else None
        narrow = np.array([one is not None and not one.measured.surface for one in self._by_index])
        votes = Votes(seen, reference, ours, narrow, relit=self._relit)
        found: dict[int, Known] = {}
        changes: list[Change] = []
        pending, steady = [], np.zeros(len(narrow), dtype=bool)
        for mask in np.flatnonzero((seen.pixels >= LEAST_PIXELS) & ~ours).tolist():
            thing = self._stayed(mask, votes, found, look)
            if thing is None:
                pending.append(mask)
                continue
            found[mask] = thing
            if votes.share(mask, thing.index) < CONFIRMED_SHARE:
                changes.append(self._add_view(thing, Segment(seen, mask), look.time_s))
            else:
                changes.append(self._confirm(thing, look.time_s))
                steady[thing.index] = narrow[thing.index] and not self._relit
        new = {mask: one for mask in pending if (one := Segment(seen, mask)).enough}
        held = self._held_boxes(look)
        ours[[mask for mask, one in new.items() if _among(one, held)]] = True
        new = {mask: one for mask, one in new.items() if not ours[mask]}
        vacated = self._vacated(seen, votes, found, new)
        for mask, one in new.items():
            found[mask], change = self._placed(one, look, mask, found.values(), vacated)
            changes.append(change)
        changes += self._gone(found, vacated)
        self._learn(seen, found, look)
        if look.still:
            self._update_reference(look.camera, seen, found, ours, steady)
        return changes

    def stand(self, thing: Known) -> None:
        """Extends the box of a thing down to its support, since cameras from above miss its lower edge."""
        if thing.measured.surface or thing.flat:
            return
        height_m = support_height_m(thing, self.things.values())
        if height_m is not None and abs(thing.bottom_m - height_m) <= STANDS_M:
            thing.measured = standing(thing.measured, height_m)

    def at(self, point_m: Vector3) -> Known | None:
        """Returns the smallest thing whose box, grown by 1.5 cm, contains a point; no marks and no surfaces."""
        around = [
            thing
            for thing in self.things.values()
            if not (thing.measured.surface or thing.lost or thing.flat)
            and contains(thing.box, point_m, margin_m=INSIDE_M)
        ]
        return min(around, key=lambda thing: volume_m3(thing.box), default=None)

    def hold(self, name: str, tool: Pose) -> None:
        """Notes that a robot, whose tool is at `tool`, has closed its gripper on a thing: it moves with the tool."""
        self._grips[name] = compose(invert(tool), self.things[name].box.pose)
        self.things[name].held = True

    def carry(self, name: str, tool: Pose, time_s: float) -> Pose:
        """Returns the held thing `name` at `time_s`, while the tool is at `tool`; it is located without being seen."""
        self.things[name].seen_s = time_s
        return compose(tool, self._grips[name])

    def release(self, name: str, tool: Pose, time_s: float) -> Known:
        """Notes that a robot has opened its gripper at `time_s`.

        The thing `name` stays where `tool` held it, until it is seen.
        """
        thing = self.things[name]
        pose = self.carry(name, tool, time_s)
        if np.linalg.norm(np.subtract(pose.position_m, thing.box.pose.position_m)) > OUTSIDE_M:
            thing.measured, thing.views = moved_to(thing.measured, pose), 0  # Located by the gripper, not yet seen.
            self._forget_references(thing)
        thing.held = False
        del self._grips[name]
        return thing

    def _held_boxes(self, look: Look) -> list[UprightBox]:
        """Returns the boxes of held things, located by their tools."""
        return [
            moved_to(self.things[name].measured, self.carry(name, tool, look.time_s)).box
            for name, tool in look.tools.items()
        ]

    def _stayed(self, mask: int, votes: Votes, found: Mapping[int, Known], look: Look) -> Known | None:
        """Returns the thing that a mask shows at its earlier place, None where it must be identified otherwise."""
        index = votes.best(mask)
        thing = self._by_index[index] if index else None
        if thing is None or thing.held or thing in found.values():
            return None
        given, _ = look.given.get(mask, ("", ""))
        if given and given != thing.name:
            return None
        moved_px = votes.moved_px(mask, index)
        overlaps = votes.share(mask, index) >= STAYED_SHARE or votes.share_of_own(mask, index) >= STAYED_OWN_SHARE
        least = MARK_VACATED_SHARE if thing.flat else VACATED_SHARE  # The rims of things on a mark have the same depth.
        still = moved_px <= max(VACATED_PX, least * votes.pixels_of(index))
        return thing if overlaps and still else None

    def _add_view(self, thing: Known, new: Segment, time_s: float) -> Change:
        """Adds the newly visible part of a thing at rest."""
        later = time_s > thing.seen_s
        change = self._confirm(thing, time_s)
        if not new.enough:
            return change
        if not thing.views:
            return self._update_moved(thing, new)
        if later and not thing.measured.surface and has_shifted(thing, new):
            self._forget_references(thing)
            return self._update_moved(thing, new)
        if thing.views >= MOST_VIEWS:
            return change
        if new.share_inside(thing.box, margin_m=OUTSIDE_M) > 1.0 - OUTSIDE_SHARE:
            return change
        thing.measured = fused(thing.measured, new.measured)
        thing.views += 1
        return Change(thing.name, ChangeKind.REFINED)

    def _update_moved(self, thing: Known, new: Segment) -> Change:
        """Replaces the surface of a moved thing by a complete view; of a partial view keeps the agreeing part."""
        part = seen_in_part(thing.measured, new.measured)
        if part and new.share_inside(thing.box, margin_m=OUTSIDE_M) > 1.0 - OUTSIDE_SHARE:
            return Change(thing.name, ChangeKind.CONFIRMED)
        thing.measured = registered(thing.measured, new.measured) if part else new.measured
        thing.views = 0 if part else 1
        return Change(thing.name, ChangeKind.MOVED)

    def _confirm(self, thing: Known, time_s: float) -> Change:
        self._reappeared(thing, time_s)
        thing.seen_s, thing.lost = time_s, False
        return Change(thing.name, ChangeKind.CONFIRMED)

    def _placed(
        self, new: Segment, look: Look, mask: int, taken: Collection[Known], vacated: Mapping[str, float]
    ) -> tuple[Known, Change]:
        """Returns the thing of a mask that is at a new place, or seen by this camera for the first time."""
        name, category = look.given.get(mask, ("", ""))
        if name:
            thing = self.things.get(name)
        else:
            thing = self._same_place(new, taken) or self._elsewhere(new.measured, taken, vacated)
        if thing is None:
            thing = self._first_seen(new.measured, look, name, category)
            return thing, Change(thing.name, ChangeKind.NEW)
        away = new.share_inside(thing.box, margin_m=INSIDE_M) < INSIDE_SHARE
        if thing.name in vacated or thing.lost or away:
            self._confirm(thing, look.time_s)
            self._forget_references(thing)
            return thing, self._update_moved(thing, new)
        return thing, self._add_view(thing, new, look.time_s)

    def _same_place(self, new: Segment, taken: Collection[Known]) -> Known | None:
        """Returns the thing whose box contains most of the view: of the best ones the smallest."""
        shares = {
            thing.name: share
            for thing in self.things.values()
            if not thing.held and thing not in taken
            and (share := new.share_inside(thing.box, margin_m=INSIDE_M)) >= INSIDE_SHARE - SHARE_SLACK
            and thing.measured.surface == new.measured.surface
            and (self._relit or like_colour(thing.measured, new.measured))
        }  # fmt: skip
        best = max(shares.values(), default=0.0)
        if best < INSIDE_SHARE:
            return None
        return min(
            (self.things[name] for name, share in shares.items() if share >= best - SHARE_SLACK),
            key=lambda thing: volume_m3(thing.box),
        )

    def _elsewhere(self, new: Measured, taken: Collection[Known], vacated: Mapping[str, float]) -> Known | None:
        """Returns the thing that was near or whose old place is empty; of several the nearest, and all candidates."""
        able = [
            thing
            for thing in self.things.values()
            if not thing.held and thing not in taken and alike(thing.measured, new)
            and (thing.lost or thing.name in vacated or gap_m(thing.measured, new) <= NEAR_M)
        ]  # fmt: skip
        if not able:
            return None
        nearest = min(able, key=lambda thing: gap_m(thing.measured, new))
        if gap_m(nearest.measured, new) > NEAR_M:
            for other in able:
                confuse(nearest, other)
        return nearest

    def _first_seen(self, new: Measured, look: Look, name: str, category: str) -> Known:
        kind = "surface" if new.surface else "object"
        name = name or self._new_name(kind)
        thing = Known(name, category or kind, new, look.time_s, len(self._by_index))
        self.things[name] = thing
        self._by_index.append(thing)
        return thing

    def _reappeared(self, thing: Known, now_s: float) -> None:
        """Marks a thing as possibly another one, where both were hidden at the same time for long enough."""
        if now_s - thing.seen_s < self._swap_s or thing.measured.surface:
            return
        thing.hidden_s = (thing.seen_s, now_s)
        for other in self.things.values():
            if other is thing or other.held or not alike(other.measured, thing.measured):
                continue
            begin_s, end_s = (other.seen_s, now_s) if now_s - other.seen_s >= self._swap_s else other.hidden_s
            if min(now_s, end_s) - max(thing.seen_s, begin_s) >= self._swap_s:
                confuse(thing, other)

    def _vacated(
        self, seen: SegmentedImage, votes: Votes, found: Mapping[int, Known], new: Mapping[int, Segment]
    ) -> dict[str, float]:
        """Returns by name the things that have partly or wholly left their place, and the share of it seen empty.

        A camera that has seen a thing compares pixels. Any other camera checks the former surface of the thing: it is
        empty where the camera sees through it, or sees a thing of another colour.
        """
        shares = {thing.name: share for thing, share in votes.vacated(found, self._by_index)}
        for thing in self.things.values():
            if thing in found.values() or thing.held or thing.lost or votes.knows(thing.index):
                continue
            index, depth = seen.project(thing.measured.points_m)
            shown = index >= 0
            index, depth = index[shown], depth[shown]
            behind_m = seen.depth_m[index] - depth
            in_sight = np.count_nonzero(behind_m > -INSIDE_M)
            if in_sight < max(LEAST_PIXELS, IN_SIGHT_SHARE * len(thing.measured.points_m)):
                continue
            in_place = np.bincount(seen.mask[index[np.abs(behind_m) < INSIDE_M]], minlength=len(seen.pixels))
            other = sum(
                int(in_place[mask]) for mask, one in new.items()
                if in_place[mask] and not (self._relit or like_colour(one.measured, thing.measured))
            )  # fmt: skip
            share = (np.count_nonzero(behind_m > INSIDE_M) + other) / in_sight
            if share >= GONE_SHARE:
                shares[thing.name] = share
        return shares

    def _gone(self, found: Mapping[int, Known], vacated: Mapping[str, float]) -> Iterator[Change]:
        for name, share in vacated.items():
            thing = self.things[name]
            if share >= GONE_SHARE and not (thing.held or thing.lost or thing in found.values()):
                thing.lost = True
                self._forget_references(thing)
                yield Change(name, ChangeKind.GONE, share)

    def _learn(self, seen: SegmentedImage, found: Mapping[int, Known], look: Look) -> None:
        """Counts the categories that a look gives, and takes over its colours where the light has changed."""
        self._lighting.learn(look.camera, seen, [thing for thing in found.values() if thing.measured.surface])
        for mask, thing in found.items():
            if category := look.given.get(mask, ("", ""))[1]:
                thing.vote(category)
            if self._relit and (new := Segment(seen, mask)).enough:
                thing.learn_colours(new.measured)

    def _forget_references(self, thing: Known) -> None:
        for reference in self._references.values():
            reference.label[reference.label == thing.index] = 0

    def _update_reference(
        self, camera: str, seen: SegmentedImage, found: Mapping[int, Known], ours: np.ndarray, steady: np.ndarray
    ) -> None:
        """Keeps the image of the camera as reference, except where robots hide the scene.

        What shows a `steady` thing, by index, stays as it is, so that many small steps add up: its pixels, and those
        that it has left to the surface behind it.
        """
        index_of = np.zeros(len(seen.pixels), dtype=np.intp)
        for mask, thing in found.items():
            index_of[mask] = thing.index
        label, hidden = index_of.take(seen.mask), ours.take(seen.mask)
        reference, rgb = self._references.get(camera), seen.image.rgb.reshape(-1, 3)
        if reference is None:
            self._references[camera] = Reference.first(seen, label, hidden)
            return
        narrow = np.array([one is not None and not one.measured.surface for one in self._by_index])
        keeps = np.concatenate([steady, np.zeros(len(narrow) - len(steady), dtype=bool)])
        shown = ~(hidden | keeps.take(label) | (keeps.take(reference.label) & ~narrow.take(label)))
        np.copyto(reference.label, label, where=shown)
        np.copyto(reference.depth_m, seen.depth_m, where=shown)
        at = np.flatnonzero(shown & narrow.take(label))
        reference.rgb[at] = rgb[at]


def _among(new: Segment, boxes: Collection[UprightBox]) -> bool:
    return any(new.share_inside(box, margin_m=HELD_M) >= INSIDE_SHARE for box in boxes)
