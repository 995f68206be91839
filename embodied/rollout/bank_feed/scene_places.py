"""The places of a scene as a tree: the episode is a site, tables are carriers, and marks on them are slots."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from embodied.geometry import Pose, Vector3, compose, inside_box, rotation_matrix
from embodied.memory import PlaceDefined, Polygon, RelationSet
from embodied.rollout.bank_feed.event_detection import covers, is_mark
from embodied.scenes.scene import Body, Box, Scene

ABOVE_M = 0.5
BELOW_M = 0.01
LEAST_AREA_M2 = 0.25
FLAT = 0.999  # Cosine between a face's normal and the vertical.
Named = Callable[[str], str]


@dataclass(frozen=True)
class _Face:
    """The upper face of a box: its middle, and the size of the box, metres."""

    body: str
    pose: Pose
    size_m: Vector3

    @property
    def area_m2(self) -> float:
        return self.size_m[0] * self.size_m[1]

    def place(self, level: str, parent: str, name_of: Named) -> PlaceDefined:
        """Returns the space above the face as a place of `level` below `parent`; `name_of` gives its name."""
        z = self.pose.position_m[2]
        return PlaceDefined(
            name_of(self.body), level, parent, _corners(self.pose, self.size_m), z - BELOW_M, z + ABOVE_M
        )


def scene_places(scene: Scene, site: str, name_of: Named) -> Iterator[PlaceDefined | RelationSet]:
    """Yields the places of `scene` and the poses of fixed bodies; `site` is the root, `name_of` names the rest.

    Flat tops of fixed bodies of a quarter of a square metre or more are carriers, marks on them are slots, and so are
    regions of the scene that contain no mark (those are a judge's sensors). A carrier or mark reaches half a metre up,
    a region is as high as it is.
    """
    carriers = [face for body in scene.bodies if (face := _top(body)) is not None]
    marks = [body for body in scene.bodies if is_mark(body)]
    yield PlaceDefined(site, "site")
    for face in carriers:
        yield face.place("carrier", site, name_of)
    for mark in marks:
        face = next(_faces(mark))
        yield face.place("slot", _under(face.pose, carriers, site, name_of), name_of)
    for region in scene.regions:
        if not any(covers(mark, np.array(region.pose.position_m)) for mark in marks):
            z, half = region.pose.position_m[2], region.size_m[2] / 2
            yield PlaceDefined(
                name_of(region.name), "slot", _under(region.pose, carriers, site, name_of),
                _corners(region.pose, region.size_m), z - half, z + half,
            )  # fmt: skip
    for body in scene.bodies:
        if body.mass_kg == 0:
            others = [face for face in carriers if face.body != body.name]
            under = _under(body.pose, others, site, name_of)
            yield RelationSet(name_of(body.name), "in" if under == site else "on", under, expected_version=0)


def without_extent(place: PlaceDefined) -> PlaceDefined:
    """Returns a place of a world that has ended: it keeps its name, and nothing new can be in it."""
    return PlaceDefined(place.place, place.level, place.parent)


def _under(pose: Pose, carriers: Sequence[_Face], site: str, name_of: Named) -> str:
    """Returns the name of the highest carrier under a point, the site where there is none."""
    x, y, z = pose.position_m
    tops = [(face.pose.position_m[2], face) for face in carriers]
    below = [
        (top, name_of(face.body)) for top, face in tops
        if top <= z + BELOW_M and inside_box((x, y, top), face.pose, face.size_m)
    ]  # fmt: skip
    return max(below)[1] if below else site


def _top(body: Body) -> _Face | None:
    """Returns the largest flat upper face of a fixed body that things can stand on, None where it has none."""
    if body.mass_kg > 0 or is_mark(body):
        return None
    flat = [face for face in _faces(body) if rotation_matrix(face.pose.orientation)[2, 2] > FLAT]
    large = [face for face in flat if face.area_m2 >= LEAST_AREA_M2]
    return max(large, key=lambda face: face.area_m2) if large else None


def _faces(body: Body) -> Iterator[_Face]:
    """Yields the upper faces of all boxes of a body."""
    for part in body.parts:
        if isinstance(part.shape, Box):
            up = Pose((0.0, 0.0, part.shape.size_m[2] / 2))
            yield _Face(body.name, compose(compose(body.pose, part.pose), up), part.shape.size_m)


def _corners(pose: Pose, size_m: Vector3) -> Polygon:
    """Returns the corners of a box from above, counter-clockwise, metres."""
    local = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * np.array(size_m) / 2
    world = local @ rotation_matrix(pose.orientation).T + pose.position_m
    return tuple((float(x), float(y)) for x, y, _ in world)
