"""Time to make procedural homes, time to render them, how objects lie in physics, and a contact sheet of them."""

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from embodied.errors import ConfigError
from embodied.evaluation.provenance import cpu, versions
from embodied.geometry import look_at, matrices_from_poses, transform_points
from embodied.scenes.house import CAMERA, House, Reach, make_house
from embodied.scenes.meshing import triangulate
from embodied.scenes.objects import CATEGORIES, SPLITS, ObjectModel, object_model
from embodied.scenes.scene import Box, Part
from embodied.simulators.bullet import BulletConfig
from embodied.simulators.rendering.opengl import CameraView, OpenGLRenderer, Visual
from launch.benchmark import Benchmark, BenchmarkRun

SHEET, OBJECTS_SHEET = "homes.png", "objects.png"
_PLAN_WALL_M = 1.3  # Walls are cut at this height in plans.
_PLAN_FROM_M = 40.0
_TILE_PX = 288
_CAPTION_PX = 16
_OBJECT_PX = 72
_COLUMNS = 3
_INTERIOR_FOV_RAD = 1.25
_EYE_M, _LOOKS_DOWN = 1.45, 0.42
_SHOWN_ROOMS = ("living room", "kitchen", "bedroom", "dining room")


@dataclass(kw_only=True)
class HomesBenchConfig:
    """Makes `homes` homes from the seed on; renders `frames` images of each; lets objects rest in `rested` of them."""

    homes: int = 12
    frames: int = 200
    rested: int = 3

    def check(self) -> None:
        """Raises `ConfigError` for counts out of range."""
        if not (1 <= self.homes <= 48 and self.frames >= 1 and 0 <= self.rested <= self.homes):
            raise ConfigError(
                "homes.homes must lie in [1, 48], homes.frames be at least 1, homes.rested at most homes.homes.",
                value=(self.homes, self.frames, self.rested),
            )


def measure(run: BenchmarkRun, config: HomesBenchConfig) -> dict[str, Any]:
    """Returns times and sizes of the homes of the seed of `run` and those after it, as many as `config` says.

    Writes the contact sheets `homes.png` and `objects.png` in the folder of the result. Frames have 120 x 160 pixels,
    with instance ids, from random free places; `moved_m` is the farthest that any body moves in one second of physics.
    """
    config.check()
    seeds = range(run.seed, run.seed + config.homes)
    make_house(run.seed)  # Object models are made once per process.
    homes, make_s = [], []
    for seed in seeds:
        start = time.perf_counter()
        homes.append(make_house(seed))
        make_s.append(time.perf_counter() - start)
    renderer = OpenGLRenderer()
    try:
        frame_s = [_frame_s(renderer, home, config.frames) for home in homes]
        name = renderer.name
    finally:
        renderer.close()
    run.folder.mkdir(parents=True, exist_ok=True)
    _write_sheet(run.folder / SHEET, homes)
    _write_objects(run.folder / OBJECTS_SHEET)
    return {
        "what": "homes",
        "cpu": cpu(),
        "versions": versions(),
        "renderer": name,
        "seeds": list(seeds),
        "make_s": _spread(make_s),
        "frame_ms": _spread([1000 * one for one in frame_s]),
        "parts": _spread([sum(len(body.parts) for body in home.scene.bodies) for home in homes]),
        "triangles": _spread([sum(len(one.faces) for one in _visuals(home)) for home in homes]),
        "json_bytes": _spread([len(home.to_json()) for home in homes]),
        "moved_m": [_moved_m(run.simulator, home) for home in homes[: config.rested]],
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def _visuals(home: House, *, cut_walls: bool = False) -> list[Visual]:
    """Returns the triangles of a home without its robot; for plans, walls end below the lintels."""
    ids = home.scene.instance_ids()
    visuals = []
    for node, body in enumerate(home.scene.bodies):
        cut = cut_walls and body.category == "wall"
        for part in filter(None, map(_cut, body.parts)) if cut else body.parts:
            if part.visible:
                mesh = triangulate(part.shape)
                vertices = transform_points(part.pose.matrix, mesh.vertices)
                visuals.append(Visual(node, vertices, mesh.faces, part.rgba, ids[body.name]))
    return visuals


def _cut(part: Part) -> Part | None:
    """Returns the piece of a wall below the height of plans, None for one above."""
    x, y, z = part.pose.position_m
    if not isinstance(part.shape, Box) or z - part.shape.size_m[2] / 2 > _PLAN_WALL_M:
        return None
    length, width, _ = part.shape.size_m
    pose = msgspec.structs.replace(part.pose, position_m=(x, y, _PLAN_WALL_M / 2))
    return msgspec.structs.replace(part, shape=Box((length, width, _PLAN_WALL_M)), pose=pose)


def _load(renderer: OpenGLRenderer, home: House, *, cut_walls: bool = False) -> np.ndarray:
    """Sends a home to the renderer; returns the poses of its bodies (N, 4, 4)."""
    renderer.load(_visuals(home, cut_walls=cut_walls))
    return matrices_from_poses([body.pose for body in home.scene.bodies])


def _frame_s(renderer: OpenGLRenderer, home: House, frames: int) -> float:
    """Returns the mean time of an image of the robot's camera, from random free places and headings."""
    poses, camera = _load(renderer, home), home.scene.camera(CAMERA)
    rng = np.random.default_rng(home.seed)
    reach = _reach(home)
    places = np.concatenate([reach.places(room.name) for room in home.rooms])
    views = []
    for x, y in places[rng.integers(len(places), size=frames)]:
        turn = rng.uniform(-np.pi, np.pi)
        eye = (x, y, camera.pose.position_m[2])
        ahead = (x + np.cos(turn), y + np.sin(turn), eye[2] - np.tan(np.pi / 6))
        matrix = look_at(eye, ahead).matrix
        views.append(CameraView(CAMERA, camera.width_px, camera.height_px, camera.fov_y_rad, matrix))
    renderer.render(poses, views[:1])
    start = time.perf_counter()
    for view in views:
        renderer.render(poses, [view])
    return (time.perf_counter() - start) / frames


def _reach(home: House) -> Reach:
    return Reach([body for body in home.scene.bodies if body.mass_kg == 0.0], home.rooms, 0.25)


def _moved_m(simulator: BulletConfig, home: House) -> float:
    """Returns how far the body that moves most is after one second."""
    world = simulator.build()
    try:
        world.reset(home.scene)
        start = world.state().pose
        for _ in range(round(1.0 / world.control_period_s)):
            world.advance({})
        end = world.state().pose
        return max(float(np.linalg.norm(np.subtract(end[name].position_m, start[name].position_m))) for name in start)
    finally:
        world.close()


def _write_sheet(path: Path, homes: Sequence[House]) -> None:
    """Writes a plan and an interior of each home, with a caption, as a PNG of few colours."""
    from PIL import Image, ImageDraw

    height = _TILE_PX + _CAPTION_PX
    rows = -(-len(homes) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * (2 * _TILE_PX + 8), rows * height), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    above = OpenGLRenderer(near_m=_PLAN_FROM_M - 5.0, far_m=_PLAN_FROM_M + 1.0)
    inside = OpenGLRenderer(near_m=0.05, far_m=30.0)
    try:
        for number, home in enumerate(homes):
            left, top = (number % _COLUMNS) * (2 * _TILE_PX + 8), (number // _COLUMNS) * height
            counts = f"{len(home.rooms)} rooms, {len(home.receptacles)} receptacles, {len(home.objects)} objects"
            draw.text((left + 2, top + 2), f"seed {home.seed}: {counts}", fill=(0, 0, 0))
            sheet.paste(Image.fromarray(_plan(above, home)), (left, top + _CAPTION_PX))
            sheet.paste(Image.fromarray(_interior(inside, home)), (left + _TILE_PX, top + _CAPTION_PX))
    finally:
        above.close()
        inside.close()
    sheet.quantize(160, dither=Image.Dither.NONE).save(path, optimize=True)


def _write_objects(path: Path) -> None:
    """Writes a picture of all categories of objects: one model of each split."""
    from PIL import Image, ImageDraw

    width, height = len(SPLITS) * _OBJECT_PX + 6, _OBJECT_PX + _CAPTION_PX
    sheet = Image.new("RGB", (5 * width, -(-len(CATEGORIES) // 5) * height), (255, 255, 255))
    draw, renderer = ImageDraw.Draw(sheet), OpenGLRenderer(near_m=0.05)
    try:
        for number, category in enumerate(CATEGORIES):
            left, top = (number % 5) * width, (number // 5) * height
            draw.text((left + 2, top + 2), category, fill=(0, 0, 0))
            for column, split in enumerate(SPLITS):
                seen = _object_picture(renderer, object_model(category, split, 1), 1.0 + 0.5 * column)
                sheet.paste(Image.fromarray(seen), (left + column * _OBJECT_PX, top + _CAPTION_PX))
    finally:
        renderer.close()
    sheet.quantize(200, dither=Image.Dither.NONE).save(path, optimize=True)


def _object_picture(renderer: OpenGLRenderer, model: ObjectModel, yaw_rad: float) -> np.ndarray:
    """Returns a picture (H, W, 3) of a model from 30 degrees above, from the side `yaw_rad`; small ones look small."""
    meshes = [(part, triangulate(part.shape)) for part in model.parts if part.visible]
    renderer.load(
        [Visual(0, transform_points(part.pose.matrix, one.vertices), one.faces, part.rgba, 1) for part, one in meshes]
    )
    away = 1.9 * max(0.2, *model.size_m)
    eye = (away * np.cos(yaw_rad), away * np.sin(yaw_rad), 0.58 * away)
    return _picture(renderer, np.eye(4)[None], look_at(eye, (0.0, 0.0, 0.0)).matrix, 0.6, _OBJECT_PX)


def _plan(renderer: OpenGLRenderer, home: House) -> np.ndarray:
    """Returns a picture (H, W, 3) of a home from above."""
    corners = np.array([corner for room in home.rooms for corner in room.outline_m])
    (x, y), extent = (corners.min(axis=0) + corners.max(axis=0)) / 2, float(np.ptp(corners, axis=0).max()) + 0.5
    fov = 2 * float(np.arctan(extent / 2 / (_PLAN_FROM_M - _PLAN_WALL_M)))
    pose = look_at((x, y - 1e-4, _PLAN_FROM_M), (x, y, 0.0))
    return _picture(renderer, _load(renderer, home, cut_walls=True), pose.matrix, fov)


def _interior(renderer: OpenGLRenderer, home: House) -> np.ndarray:
    """Returns a picture (H, W, 3) from the room corner that shows most furniture and objects of its room."""
    poses, ids = _load(renderer, home), home.scene.instance_ids()
    rooms = {one.name: one.room for one in home.receptacles}
    rooms |= {one.name: rooms[one.receptacle] for one in home.objects}
    best, chosen = -1, np.eye(4)
    for room, matrix in _corner_views(home):
        small = renderer.render(poses, [CameraView("view", 64, 64, _INTERIOR_FOV_RAD, matrix)])["view"]
        seen = set(np.unique(np.asarray(small.instance)).tolist())
        count = sum(ids[name] in seen for name, where in rooms.items() if where == room)
        if count > best:
            best, chosen = count, matrix
    return _picture(renderer, poses, chosen, _INTERIOR_FOV_RAD)


def _corner_views(home: House) -> Iterator[tuple[str, np.ndarray]]:
    """Yields rooms and camera poses (4, 4): from free places nearest to the corners of a room, towards its middle."""
    reach = _reach(home)
    for room in home.rooms:
        places, middle = reach.places(room.name), np.mean(room.outline_m, axis=0)
        if room.category in _SHOWN_ROOMS:
            for corner in room.outline_m:
                x, y = places[int(np.argmin(np.linalg.norm(places - corner, axis=1)))]
                ahead = (middle - (x, y)) / max(0.5, float(np.linalg.norm(middle - (x, y))))
                target = (x + ahead[0], y + ahead[1], _EYE_M - _LOOKS_DOWN)
                yield room.name, look_at((x, y, _EYE_M), target).matrix


def _picture(
    renderer: OpenGLRenderer, poses: np.ndarray, matrix: np.ndarray, fov_rad: float, side_px: int = _TILE_PX
) -> np.ndarray:
    """Returns a square picture (H, W, 3), rendered twice as fine and then averaged."""
    fine = 2 * side_px
    rgb = renderer.render(poses, [CameraView("view", fine, fine, fov_rad, matrix)])["view"].rgb
    return rgb.reshape(side_px, 2, side_px, 2, 3).mean(axis=(1, 3)).astype(np.uint8)


BENCHMARK = Benchmark(configs={"homes": HomesBenchConfig}, measure=measure)
