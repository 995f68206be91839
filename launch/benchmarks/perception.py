"""How well objects on a tabletop are detected and located in depth images, against the simulator's truth."""

import statistics
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import msgspec
import numpy as np

from embodied.errors import ConfigError
from embodied.evaluation.provenance import cpu, versions
from embodied.geometry import Pose, look_at
from embodied.memory.perception import NAMED_RGB, InstanceTable, PerceptionConfig, SeenObject, Watch, perceive
from embodied.scenes.scene import Body, Box, Camera, Cylinder, Part, Scene, Shape, Sphere
from embodied.scenes.tabletop import ROBOT, TABLE_TOP_M, on_table, tabletop_scene
from embodied.seeding import stream
from embodied.simulators.bullet import BulletConfig, BulletSimulator
from embodied.types import CameraImage
from launch.benchmark import Benchmark

CAMERAS = ("front", "left_shoulder", "right_shoulder")
AWAY = "away"
LID = "lid"
AREA_M = ((0.05, 0.50), (-0.30, 0.30))
SIDES_M = (0.03, 0.08)
GAP_M = 0.01
COUNTS = (3, 8)
CENTRE_WANTED_M = 0.01
OBLONG = 1.15  # Boxes of a smaller ratio of sides count as square: neither side is the longer one.
_LID_M = 0.14
_PARKED = Pose((0.2, 0.0, 0.2))


@dataclass(kw_only=True)
class PerceptionBenchConfig:
    """Scenes are those of seeds 0 to `scenes` - 1, at each side of the square cameras.

    A thing is visible where `visible_px` pixels of some view show it. Every size is run twice: as rendered, and with
    Gaussian depth noise of `noise_m`, depths mixed along edges, and masks that bleed by one pixel.
    """

    scenes: int = 20
    sizes_px: list[int] = field(default_factory=lambda: [128, 256])
    visible_px: int = 10
    noise_m: float = 0.002

    def check(self) -> None:
        """Raises `ConfigError` for counts that are not positive and for negative noise."""
        if min(self.scenes, self.visible_px, len(self.sizes_px)) < 1 or min(self.sizes_px) < 16 or self.noise_m < 0:
            raise ConfigError(
                "perception counts must be positive, sizes 16 px or more, noise not negative.", value=self
            )


@dataclass(frozen=True)
class Compared:
    """One visible thing against the truth: metres, radians.

    `yaw_rad` is how far its outline is turned, None but for boxes; `crossed` says that the shorter of two sides was
    taken for the longer. `deviations` is the worst error of the centre along x, y or z in its own standard deviations.
    """

    found: bool
    centre_m: float = 0.0
    deviations: float = 0.0
    yaw_rad: float | None = None
    crossed: bool = False
    size_m: float = 0.0
    colour: bool = False


@dataclass(frozen=True)
class Missed:
    """What was reported of one removed thing: while cameras looked elsewhere, while it was covered, once in sight.

    `wrongly` counts things that were there and were declared gone nonetheless.
    """

    away: bool
    covered: bool
    in_sight: bool
    wrongly: int


def measure(config: PerceptionBenchConfig) -> dict[str, Any]:
    """Returns, per image size and kind of sensor, how many things were found, how well, and how fast."""
    config.check()
    simulator = BulletConfig().build()
    try:
        sizes = {str(size_px): _measure_size(config, simulator, size_px) for size_px in config.sizes_px}
        renderer = simulator.renderer
    finally:
        simulator.close()
    return {
        "what": "perception",
        "cpu": cpu(),
        "versions": versions(),
        "renderer": renderer,
        "cameras": list(CAMERAS),
        "seeds": list(range(config.scenes)),
        "config": asdict(config),
        "sizes_px": sizes,
    }


def random_scene(seed: int, *, camera_px: int) -> Scene:
    """Returns 3 to 8 boxes, cylinders and balls of 3 to 8 cm on the table, apart by 1 cm or more.

    The category of a body is the name of its colour. A lid, parked under the table, can cover any of them; the camera
    `away` looks past the table.
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
    lid = Body(LID, (Part(Box((_LID_M, _LID_M, _LID_M))),), _PARKED, mass_kg=0.1, category="table")
    scene = tabletop_scene(f"perception_{seed}", bodies=[*bodies, lid], camera_px=camera_px)
    away = Camera(AWAY, look_at((0.3, 0.5, 1.3), (0.3, 0.9, TABLE_TOP_M)), camera_px, camera_px)
    return msgspec.structs.replace(scene, cameras=(*scene.cameras, away))


def things(scene: Scene) -> list[Body]:
    """Returns the bodies of a random scene that are to be found."""
    return [body for body in scene.bodies if body.category != "table"]


def most_pixels(scene: Scene, images: Mapping[str, CameraImage]) -> dict[str, int]:
    """Returns, for each thing, the pixels that show it in its best view."""
    ids = scene.instance_ids()
    return {
        body.name: max(int(np.count_nonzero(image.instance == ids[body.name])) for image in images.values())
        for body in things(scene)
    }


def worn(images: Mapping[str, CameraImage], seed: int, *, noise_m: float) -> dict[str, CameraImage]:
    """Returns the images as a poorer sensor would give them.

    Depth has Gaussian noise of `noise_m`; half of the pixels on an edge of a mask have a depth between the two sides;
    masks bleed by one pixel to the right.
    """
    draw = stream(seed, "worn")
    poorer: dict[str, CameraImage] = {}
    for name, image in images.items():
        if image.instance is None:
            raise ConfigError("Images must have instances to be worn.", value=name)
        left = np.roll(image.instance, 1, axis=1)
        edge = left != image.instance
        mixed = edge & (draw.random(edge.shape) < 0.5)
        share = draw.random(edge.shape)
        depth = np.where(mixed, share * image.depth_m + (1 - share) * np.roll(image.depth_m, 1, axis=1), image.depth_m)
        depth = np.where(image.depth_m > 0, depth + draw.normal(0.0, noise_m, edge.shape), 0.0)
        bled = np.where(edge & (left > 0), left, image.instance).astype(np.int32)
        poorer[name] = replace(image, depth_m=depth.astype(np.float32), instance=bled)
    return poorer


def compare(scene: Scene, seen: Iterable[SeenObject], visible: Iterable[str]) -> list[Compared]:
    """Returns how each of the `visible` things of a scene that has not moved was perceived."""
    found = {thing.entity: thing for thing in seen}
    return [_against(scene.body(name), found[name]) if name in found else Compared(found=False) for name in visible]


def remove_one(simulator: BulletSimulator, scene: Scene, seed: int, *, visible_px: int) -> Missed:
    """Returns what is reported when a visible thing of a freshly loaded scene is taken away, look by look."""
    watch = Watch(InstanceTable.of_scene(scene), config=PerceptionConfig())
    first = simulator.observe(ROBOT, CAMERAS).images
    watch.update(first, time_s=0.0)
    visible = sorted(name for name, pixels in most_pixels(scene, first).items() if pixels >= visible_px)
    name = str(stream(seed, "removed").choice(visible))
    x, y, _ = scene.body(name).pose.position_m
    simulator.teleport(name, Pose((5.0, 0.0, 0.1)))
    away = watch.update(simulator.observe(ROBOT, [AWAY]).images, time_s=1.0)
    simulator.teleport(LID, on_table(x, y, height_m=_LID_M / 2))
    covered = watch.update(simulator.observe(ROBOT, CAMERAS).images, time_s=2.0)
    simulator.teleport(LID, _PARKED)
    in_sight = watch.update(simulator.observe(ROBOT, CAMERAS).images, time_s=3.0)
    printed = [{absence.entity for absence in look.gone} for look in (away, covered, in_sight)]
    wrongly = sum(len(names - {name}) for names in printed)
    return Missed(name in printed[0], name in printed[1], name in printed[2], wrongly)


def _measure_size(config: PerceptionBenchConfig, simulator: BulletSimulator, size_px: int) -> dict[str, Any]:
    clean: list[Compared] = []
    noisy: list[Compared] = []
    missed: list[Missed] = []
    times_s: list[float] = []
    for seed in range(config.scenes):
        scene = random_scene(seed, camera_px=size_px)
        simulator.reset(scene)
        images = simulator.observe(ROBOT, CAMERAS).images
        visible = [name for name, pixels in most_pixels(scene, images).items() if pixels >= config.visible_px]
        poorer = worn(images, seed, noise_m=config.noise_m)
        for given, results in ((images, clean), (poorer, noisy)):
            started_s = time.perf_counter()
            seen = perceive(given, InstanceTable.of_scene(scene), config=PerceptionConfig())
            times_s.append(time.perf_counter() - started_s)
            results.extend(compare(scene, seen, visible))
        missed.append(remove_one(simulator, scene, seed, visible_px=config.visible_px))
    return {
        "as_rendered": _summary(clean),
        "worn": _summary(noisy),
        "removed": _removals(missed),
        "frame_s": {"median": round(statistics.median(times_s), 4), "p95": round(float(np.percentile(times_s, 95)), 4)},
    }


def _summary(results: list[Compared]) -> dict[str, Any]:
    found = [result for result in results if result.found]
    centres_m = [result.centre_m for result in found]
    yaws_deg = [float(np.degrees(result.yaw_rad)) for result in found if result.yaw_rad is not None]
    return {
        "visible": len(results),
        "found": len(found),
        "centre_m": _spread(centres_m),
        "centre_in_deviations": _spread([result.deviations for result in found]),
        "box_yaw_deg": _spread(yaws_deg),
        "boxes_crossed": sum(result.crossed for result in found),
        "size_m": _spread([result.size_m for result in found]),
        "colour_right": sum(result.colour for result in found),
        "passes": len(found) == len(results) and statistics.median(centres_m) <= CENTRE_WANTED_M,
    }


def _removals(missed: list[Missed]) -> dict[str, Any]:
    early = sum(one.away or one.covered for one in missed)
    declared = sum(one.in_sight for one in missed)
    wrongly = sum(one.wrongly for one in missed)
    return {
        "removed": len(missed),
        "declared_before_looked_at": early,
        "declared_once_looked_at": declared,
        "declared_though_there": wrongly,
        "passes": early == wrongly == 0 and declared == len(missed),
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(float(np.median(values)), 5),
        "p95": round(float(np.percentile(values, 95)), 5),
        "worst": round(max(values), 5),
    }


def _against(body: Body, seen: SeenObject) -> Compared:
    shape = body.parts[0].shape
    sides_m = _sides(shape)
    yaw_rad, crossed = None, False
    if isinstance(shape, Box):
        off = seen.box.pose.yaw_rad - body.pose.yaw_rad - (0.0 if sides_m[0] >= sides_m[1] else np.pi / 2)
        yaw_rad = abs(_wrapped(off, np.pi / 2))
        oblong = max(sides_m[:2]) >= OBLONG * min(sides_m[:2])
        crossed = oblong and abs(_wrapped(off, np.pi)) > np.pi / 4
    error_m = np.subtract(seen.box.pose.position_m, body.pose.position_m)
    std_m = np.sqrt(np.diag(np.reshape(seen.covariance, (6, 6)))[:3])
    return Compared(
        found=True,
        centre_m=float(np.linalg.norm(error_m)),
        deviations=float(np.max(np.abs(error_m) / std_m)),
        yaw_rad=yaw_rad,
        crossed=crossed,
        size_m=float(np.max(np.abs(np.sort(seen.box.size_m) - np.sort(sides_m)))),
        colour=seen.colour.name == body.category,
    )


def _wrapped(angle_rad: float, period_rad: float) -> float:
    return angle_rad - round(angle_rad / period_rad) * period_rad


def _shape(draw: np.random.Generator) -> tuple[Shape, float, float]:
    """Returns a shape, the radius of the circle around its outline, and its height, in metres."""
    x, y, z = (float(side) for side in draw.uniform(*SIDES_M, 3))
    kind = int(draw.integers(3))
    if kind == 0:
        return Box((x, y, z)), float(np.hypot(x, y)) / 2, z
    if kind == 1:
        return Cylinder(x / 2, z), x / 2, z
    return Sphere(x / 2), x / 2, x


def _sides(shape: Shape) -> tuple[float, float, float]:
    if isinstance(shape, Box):
        return shape.size_m
    if isinstance(shape, Cylinder):
        return (2 * shape.radius_m, 2 * shape.radius_m, shape.height_m)
    if isinstance(shape, Sphere):
        return (2 * shape.radius_m, 2 * shape.radius_m, 2 * shape.radius_m)
    raise ConfigError("The bench knows boxes, cylinders and balls.", value=shape)


BENCHMARK = Benchmark(
    configs={"perception": PerceptionBenchConfig},
    measure=lambda _, config: measure(config),
)
