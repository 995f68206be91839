"""Random tables with things on them, and images with the errors of a real sensor."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from embodied.errors import ConfigError
from embodied.geometry import Pose, look_at
from embodied.memory.perception import NAMED_RGB, Look
from embodied.scenes.scene import Body, Box, Camera, Cylinder, Part, Scene, Shape, Sphere
from embodied.scenes.tabletop import TABLE_TOP_M, on_table, tabletop_scene
from embodied.seeding import stream
from embodied.types import CameraImage

AWAY = "away"
LID = "lid"
LID_M = 0.14
PARKED = Pose((0.2, 0.0, 0.2))
AREA_M = ((0.05, 0.50), (-0.30, 0.30))
SIDES_M = (0.03, 0.08)
GAP_M = 0.01
COUNTS = (3, 8)


def random_scene(seed: int, *, camera_px: int) -> Scene:
    """Returns a scene of `seed` with 3 to 8 boxes, cylinders and balls of 3 to 8 cm on a table.

    They are 1 cm or more apart. The category of a body is the name of its colour. A lid, parked under the table, can
    cover any of them; the camera `away` looks past the table. Cameras are squares of `camera_px`.
    """
    draw = stream(seed, "perception")
    wanted = int(draw.integers(COUNTS[0], COUNTS[1] + 1))
    bodies: list[Body] = []
    taken: list[tuple[np.ndarray, float]] = []
    while len(bodies) < wanted:
        shape, radius_m, height_m = _shape(draw)
        place = draw.uniform([low for low, _ in AREA_M], [high for _, high in AREA_M])
        if all(np.linalg.norm(place - other) > radius_m + radius + GAP_M for other, radius in taken):
            taken.append((place, radius_m))
            colour = str(draw.choice(list(NAMED_RGB)))
            pose = on_table(place[0], place[1], draw.uniform(-np.pi, np.pi), height_m=height_m / 2)
            part = Part(shape, rgba=(*NAMED_RGB[colour], 1.0))
            bodies.append(Body(f"thing_{len(bodies)}", (part,), pose, mass_kg=0.1, category=colour))
    lid = Body(LID, (Part(Box((LID_M, LID_M, LID_M))),), PARKED, mass_kg=0.1, category="table")
    scene = tabletop_scene(f"perception_{seed}", bodies=[*bodies, lid], camera_px=camera_px)
    away = Camera(AWAY, look_at((0.3, 0.5, 1.3), (0.3, 0.9, TABLE_TOP_M)), camera_px, camera_px)
    return msgspec.structs.replace(scene, cameras=(*scene.cameras, away))


def things(scene: Scene) -> list[Body]:
    """Returns the bodies of a random scene that perception should find."""
    return [body for body in scene.bodies if body.category != "table"]


def most_pixels(scene: Scene, images: Mapping[str, CameraImage]) -> dict[str, int]:
    """Returns, for each thing, the pixels that show it in its best view."""
    ids = scene.instance_ids()
    return {
        body.name: max(int(np.count_nonzero(image.instance == ids[body.name])) for image in images.values())
        for body in things(scene)
    }


def degraded(images: Mapping[str, CameraImage], seed: int, *, noise_m: float) -> dict[str, CameraImage]:
    """Returns the `images` with the errors of a poorer sensor, drawn from `seed`.

    Depth has Gaussian noise of `noise_m`; half of the pixels on an edge of a mask have a depth between the two sides;
    masks bleed by one pixel to the right.
    """
    draw = stream(seed, "degraded")
    poorer: dict[str, CameraImage] = {}
    for name, image in images.items():
        if image.instance is None:
            raise ConfigError("Images must have instances for the sensor model.", value=name)
        left = np.roll(image.instance, 1, axis=1)
        edge = left != image.instance
        mixed = edge & (draw.random(edge.shape) < 0.5)
        share = draw.random(edge.shape)
        depth = np.where(mixed, share * image.depth_m + (1 - share) * np.roll(image.depth_m, 1, axis=1), image.depth_m)
        depth = np.where(image.depth_m > 0, depth + draw.normal(0.0, noise_m, edge.shape), 0.0)
        bled = np.where(edge & (left > 0), left, image.instance).astype(np.int32)
        poorer[name] = replace(image, depth_m=depth.astype(np.float32), instance=bled)
    return poorer


def degraded_looks(looks: Sequence[Look], seed: int, *, noise_m: float) -> list[Look]:
    """Returns the `looks` with images of a poorer sensor, see `degraded` for `seed` and `noise_m`."""
    images = degraded({look.camera: look.image for look in looks}, seed, noise_m=noise_m)
    return [replace(look, image=images[look.camera]) for look in looks]


def _shape(draw: np.random.Generator) -> tuple[Shape, float, float]:
    """Returns a shape, the radius of the circle around its outline, and its height, in metres."""
    x, y, z = (float(side) for side in draw.uniform(*SIDES_M, 3))
    kind = int(draw.integers(3))
    if kind == 0:
        return Box((x, y, z)), float(np.hypot(x, y)) / 2, z
    if kind == 1:
        return Cylinder(x / 2, z), x / 2, z
    return Sphere(x / 2), x / 2, x


def sides_m(shape: Shape) -> tuple[float, float, float]:
    """Returns the edge lengths of the box around a shape.

    Raises `ConfigError` for shapes other than box, cylinder and ball.
    """
    if isinstance(shape, Box):
        return shape.size_m
    if isinstance(shape, Cylinder):
        return (2 * shape.radius_m, 2 * shape.radius_m, shape.height_m)
    if isinstance(shape, Sphere):
        return (2 * shape.radius_m, 2 * shape.radius_m, 2 * shape.radius_m)
    raise ConfigError("The bench knows boxes, cylinders and balls.", value=shape)
