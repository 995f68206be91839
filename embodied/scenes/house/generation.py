"""`make_house`: a home from a seed, drawn again until it is valid."""

from collections.abc import Sequence

import msgspec
import numpy as np

from embodied.errors import SceneError
from embodied.geometry import Pose, compose, look_at, quaternion_from_yaw
from embodied.scenes.house.config import HouseConfig
from embodied.scenes.house.floor_plan import FloorPlan, draw_floor_plan
from embodied.scenes.house.furnishing import Placed, furnish
from embodied.scenes.house.reach import Reach
from embodied.scenes.house.records import House, HouseObject, Receptacle, Surface
from embodied.scenes.house.stocking import Stocked, choose_models, stock
from embodied.scenes.house.walls import WALL_HEIGHT_M, floors, walls
from embodied.scenes.objects import SPLITS, Split, object_body
from embodied.scenes.region import Region
from embodied.scenes.scene import Body, Camera, RobotPlacement, Scene
from embodied.seeding import stream

ROBOT, CAMERA = "robot", "head"
ROBOT_MODEL = "round_base"
CAMERA_HEIGHT_M = 1.31
CAMERA_TILT_RAD = float(np.radians(-30.0))
CAMERA_FOV_X_RAD = float(np.radians(43.0))
_ATTEMPTS = 60
_COPIED = ("category", "shape", "colour", "material", "function", "print", "size_m")
_DEFAULT = HouseConfig()


def make_house(seed: int, *, split: Split = "test", config: HouseConfig = _DEFAULT) -> House:
    """Returns the home of `seed`, the same in every process, with object models of `split` only.

    All rooms and the surroundings of all surfaces can be reached by a base of `config.base_radius_m`; nothing overlaps,
    and objects rest on surfaces. The robot starts in the room with most doors. Raises `SceneError` for a seed that is
    negative, another split, and for a `config` whose ranges leave no valid home.
    """
    if not isinstance(seed, int) or seed < 0:
        raise SceneError("The seed of a home must be a whole number, 0 or more.", value=seed, remedy="Give another.")
    if split not in SPLITS:
        raise SceneError("The split of a home must be train, validation or test.", value=split, remedy="Use test.")
    for attempt in range(_ATTEMPTS):
        found = _drawn(seed, split, config, attempt)
        if found is not None:
            return found
    raise SceneError(
        f"A home of these settings must be valid after {_ATTEMPTS} draws.",
        value=(seed, config),
        remedy="Ask for fewer receptacles or objects, or for more rooms.",
    )


def _drawn(seed: int, split: Split, config: HouseConfig, attempt: int) -> House | None:
    """Returns the home of one attempt, None where it has too few things or is not reachable."""
    rng = stream(seed, "house", split, attempt)
    sizes = stream(seed, "house sizes", split)  # The same for all attempts: a size that is hard to draw stays.
    rooms, count = _within(sizes, config.rooms), _within(sizes, config.objects)
    wanted = _within(
        sizes, (min(config.receptacles[1], max(config.receptacles[0], 2 * rooms + 3)), config.receptacles[1])
    )
    try:
        plan = draw_floor_plan(rng, rooms)
    except SceneError:
        return None
    placed = furnish(rng, plan, wanted)
    shell = [*floors(rng, plan), *walls(rng, plan)]
    order = rng.permutation(len(placed)).tolist()
    named = [(f"furniture_{number:02d}", placed[index]) for number, index in enumerate(order)]
    furniture = [Body(name, one.piece.parts, one.pose, category=one.piece.category) for name, one in named]
    receptacles = [_receptacle(name, one, plan) for name, one in named if one.piece.boards]
    reach = Reach([*shell, *furniture], plan.rooms, config.base_radius_m)
    if not config.receptacles[0] <= len(receptacles) or not _reached(reach, receptacles, config):
        return None
    categories = {room.name: room.category for room in plan.rooms}
    models = choose_models(rng, split, count)
    stocked = stock(rng, receptacles, categories, models)
    if len(stocked) < config.objects[0]:
        return None
    objects, bodies = _objects(rng, stocked)
    scene = Scene(
        f"home_{seed}",
        bodies=(*shell, *furniture, *bodies),
        regions=_regions(plan),
        cameras=(head_camera(config.image_px),),
        robots=(_robot(rng, plan, reach),),
    )
    return House(seed, split, scene, plan.rooms, plan.doors, tuple(receptacles), objects)


def head_camera(image_px: tuple[int, int]) -> Camera:
    """Returns the camera of the robot: 1.31 m high, tilted 30 degrees down, 43 degrees wide, of `image_px` pixels."""
    forward = (float(np.cos(CAMERA_TILT_RAD)), 0.0, CAMERA_HEIGHT_M + float(np.sin(CAMERA_TILT_RAD)))
    width, height = image_px
    fov_y = 2.0 * float(np.arctan(np.tan(CAMERA_FOV_X_RAD / 2) * height / width))
    pose = look_at((0.0, 0.0, CAMERA_HEIGHT_M), forward)
    return Camera(CAMERA, pose, width, height, fov_y_rad=fov_y, mount=ROBOT)


def _within(rng: np.random.Generator, limits: tuple[int, int]) -> int:
    return int(rng.integers(limits[0], limits[1] + 1))


def _receptacle(name: str, placed: Placed, plan: FloorPlan) -> Receptacle:
    surfaces = []
    for number, board in enumerate(placed.piece.boards):
        pose = compose(placed.pose, Pose(board.centre_m))
        surfaces.append(Surface(f"{name}_{'abc'[number]}", pose, board.size_m, round(board.clear_height_m, 4)))
    return Receptacle(name, placed.piece.category, plan.rooms[placed.room].name, tuple(surfaces))


def _reached(reach: Reach, receptacles: Sequence[Receptacle], config: HouseConfig) -> bool:
    if reach.unreached_rooms():
        return False
    return all(
        reach.viewpoint(one.room, surface, config.viewpoint_m) is not None
        for one in receptacles
        for surface in one.surfaces
    )


def _objects(rng: np.random.Generator, stocked: Sequence[Stocked]) -> tuple[tuple[HouseObject, ...], list[Body]]:
    """Returns the objects and their bodies in random order, which is also that of their names."""
    objects, bodies = [], []
    for number, index in enumerate(rng.permutation(len(stocked)).tolist()):
        model, receptacle, surface, pose = stocked[index]
        name = f"object_{number:02d}"
        attributes = {key: getattr(model, key) for key in _COPIED}
        objects.append(
            HouseObject(name=name, model=model.name, receptacle=receptacle.name, surface=surface.name, **attributes)
        )
        bodies.append(object_body(name, model, pose))
    return tuple(objects), bodies


def _regions(plan: FloorPlan) -> tuple[Region, ...]:
    return tuple(
        Region.on_ground(room.name, room.outline_m, kind="room", heights_m=(-0.05, WALL_HEIGHT_M))
        for room in plan.rooms
    )


def _robot(rng: np.random.Generator, plan: FloorPlan, reach: Reach) -> RobotPlacement:
    """Returns the robot in the room with most doors."""
    doors = [sum(room.name in door.rooms for door in plan.doors) for room in plan.rooms]
    room = plan.rooms[int(np.argmax(doors))]
    places = reach.places(room.name)
    x, y = places[int(rng.integers(len(places)))].round(4).tolist()
    base = Pose((x, y, 0.0), quaternion_from_yaw(round(float(rng.uniform(-np.pi, np.pi)), 4)))
    return RobotPlacement(ROBOT, ROBOT_MODEL, base)


def with_image_size(house: House, image_px: tuple[int, int]) -> House:
    """Returns `house` with images of `image_px`, width and height, from its robot's camera."""
    scene = msgspec.structs.replace(house.scene, cameras=(head_camera(image_px),))
    return msgspec.structs.replace(house, scene=scene)
