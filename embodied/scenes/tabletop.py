"""The table of MemoryBench as data: table, Panda, cameras, blocks, patches, a sprung button, a chest of drawers.

Sizes and places are those published with the benchmark where they are known (see `tasks.memorybench`).
"""

from collections.abc import Iterable

import msgspec
import numpy as np

from embodied.geometry import Pose, Vector3, look_at, quaternion_from_yaw
from embodied.scenes.scene import (
    Body,
    Box,
    Camera,
    Cylinder,
    Detent,
    Joint,
    Part,
    Region,
    Rgba,
    RobotPlacement,
    Scene,
    Spring,
)

TABLE_TOP_M = 0.752
WORKSPACE_M = ((-0.3, 0.7), (-0.5, 0.5), (0.6, 1.6))
ROBOT = "panda"
ROBOT_BASE_M: Vector3 = (-0.27, 0.0, TABLE_TOP_M)

BLOCK_M = 0.0563
BLOCK_KG = 0.356
PATCH_M = 0.10
PATCH_THICKNESS_M = 0.001
CENTRE = "centre"

BUTTON = "button"
BUTTON_M = 0.10
BUTTON_BASE_HEIGHT_M = 0.021
BUTTON_CAP_M = 0.056
BUTTON_TOP_M = 0.033
BUTTON_TRAVEL_M = 0.008

DRAWERS = ("drawer_bottom", "drawer_middle", "drawer_top")
DRAWER_TRAVEL_M = 0.215
DRAWER_OPEN_M = 0.21
HANDLE_IN_DRAWER_M: Vector3 = (0.0, -0.137, 0.0)
FRONT_IN_DRAWER_M: Vector3 = (0.0, -0.09, 0.0)

_GREEN: Rgba = (0.15, 0.65, 0.2, 1.0)
_RED: Rgba = (0.8, 0.1, 0.1, 1.0)
_BLUE: Rgba = (0.25, 0.4, 0.75, 1.0)
_WOOD: Rgba = (0.62, 0.45, 0.3, 1.0)
_DARK_WOOD: Rgba = (0.42, 0.3, 0.2, 1.0)
_STEEL: Rgba = (0.75, 0.75, 0.78, 1.0)
_GREY: Rgba = (0.35, 0.35, 0.38, 1.0)
_TABLE: Rgba = (0.8, 0.78, 0.74, 1.0)

_FRONT_LOOKS_AT_M: Vector3 = (0.2, 0.0, 0.95)
_SHOULDERS_LOOK_AT_M: Vector3 = (0.25, 0.0, 0.80)
# The Panda's wrist camera in its tool frame: beside the hand, with the finger tips at the lower edge of the image.
WRIST_CAMERA = Pose((0.07, 0.0, -0.14), quaternion_from_yaw(np.pi / 2))
WRIST_FOV_Y_RAD = float(np.radians(60))
_CABINET_M = 0.26
_CABINET_FRONT_M = -0.095
_WALL_M = 0.01
_SHELF_M = 0.006
_DRAWER_PITCH_M = 0.084
_LOWEST_HANDLE_M = 0.114
_CLEARANCE_M = 0.003


def slide(drawer: str) -> str:
    """Returns the name of the joint on which `drawer` slides; 0 is shut, positive is open, in metres."""
    return f"{drawer}_slide"


def detector(place: str) -> str:
    """Returns the name of the region that watches over the patch or centre `place`."""
    return f"{place}_detector"


def tabletop_scene(
    name: str,
    *,
    bodies: Iterable[Body],
    joints: Iterable[Joint] = (),
    regions: Iterable[Region] = (),
    camera_px: int = 128,
) -> Scene:
    """Returns the scene `name` with `bodies` on the table, the Panda behind it, and four square cameras.

    It also has `joints` and `regions`. Images have `camera_px` pixels a side. The cameras `front`, `left_shoulder` and
    `right_shoulder` (40 degrees) look at the table's middle; `wrist` (60 degrees) is mounted beside the hand, with the
    finger tips at the lower edge of its image.
    """
    return Scene(
        name=name,
        bodies=(_table(), *bodies),
        joints=tuple(joints),
        regions=tuple(regions),
        cameras=_cameras(camera_px),
        robots=(RobotPlacement(name=ROBOT, model="panda", base=Pose(ROBOT_BASE_M)),),
    )


def with_robot(scene: Scene, robot: RobotPlacement, worn: Iterable[Camera]) -> Scene:
    """Returns `scene`, one of `tabletop_scene`, with `robot` in the place of the Panda and the cameras `worn` on it.

    The cameras get the same size as those around the table. Raises `SceneError` where names are used twice.
    """
    around = [camera for camera in scene.cameras if camera.mount is None]
    size_px = around[0].width_px
    placed = msgspec.structs.replace(robot, base=Pose(ROBOT_BASE_M))
    sized = [msgspec.structs.replace(camera, width_px=size_px, height_px=size_px) for camera in worn]
    return msgspec.structs.replace(scene, robots=(placed,), cameras=(*around, *sized))


def on_table(x_m: float, y_m: float, yaw_rad: float = 0.0, *, height_m: float = 0.0) -> Pose:
    """Returns the world pose at (`x_m`, `y_m`) turned by `yaw_rad`, `height_m` above the table top."""
    return Pose((float(x_m), float(y_m), TABLE_TOP_M + height_m), quaternion_from_yaw(yaw_rad))


def block(name: str, x_m: float, y_m: float, yaw_rad: float) -> Body:
    """Returns a green cube, called `name`, of 5.63 cm and 356 g on the table at (`x_m`, `y_m`), turned by `yaw_rad`."""
    part = Part(Box((BLOCK_M, BLOCK_M, BLOCK_M)), rgba=_GREEN)
    pose = on_table(x_m, y_m, yaw_rad, height_m=BLOCK_M / 2)
    return Body(name, (part,), pose, BLOCK_KG, category="block", graspable=True)


def patch(name: str, place: Pose, size_m: float = PATCH_M) -> Body:
    """Returns a red square, called `name`, on the table at `place`.

    It is visible, `size_m` wide and 1 mm thick, and collides with nothing.
    """
    return _mark(name, place, size_m, _RED)


def centre_mark(place: Pose) -> Body:
    """Returns the blue square that shows where the centre is."""
    return _mark(CENTRE, place, PATCH_M, _BLUE)


def place_detector(place: str, pose: Pose, width_m: float) -> Region:
    """Returns the detector over `place` at `pose`: `width_m` square, from the table top 3 cm up."""
    x, y, _ = pose.position_m
    return Region(detector(place), Pose((x, y, TABLE_TOP_M + 0.015), pose.orientation), size_m=(width_m, width_m, 0.03))


def button(place: Pose) -> tuple[tuple[Body, ...], tuple[Joint, ...]]:
    """Returns the bodies and the joint of a push button at `place` on the table.

    The joint `button` is the travel of the cap, downwards: 0 at rest, at most 8 mm; a spring lifts it again. The cap
    slides in a hollow base, so its parts never touch each other.
    """
    hole = BUTTON_CAP_M + 2 * _CLEARANCE_M
    rim = (BUTTON_M - hole) / 2
    floor = 0.003
    height, offset = BUTTON_BASE_HEIGHT_M, (hole + rim) / 2
    base = Body(
        "button_base",
        (
            _part((BUTTON_M, BUTTON_M, floor), (0, 0, floor / 2), _GREY),
            _part((BUTTON_M, rim, height), (0, offset, height / 2), _GREY),
            _part((BUTTON_M, rim, height), (0, -offset, height / 2), _GREY),
            _part((rim, hole, height), (offset, 0, height / 2), _GREY),
            _part((rim, hole, height), (-offset, 0, height / 2), _GREY),
        ),
        place,
        category="button",
    )
    cap_height = BUTTON_TOP_M - floor - BUTTON_TRAVEL_M - 0.001
    cap = Body(
        "button_cap",
        (Part(Cylinder(BUTTON_CAP_M / 2, cap_height), rgba=_RED),),
        mass_kg=0.05,
        category="button",
    )
    joint = Joint(
        BUTTON,
        "prismatic",
        parent=base.name,
        child=cap.name,
        pose=Pose((0.0, 0.0, BUTTON_TOP_M - cap_height / 2)),
        axis=(0.0, 0.0, -1.0),
        upper=BUTTON_TRAVEL_M,
        spring=Spring(stiffness=1000.0, damping=6.0),
    )
    return (base, cap), (joint,)


def chest(place: Pose, *, opened: str, detent: Detent | None) -> tuple[tuple[Body, ...], tuple[Joint, ...]]:
    """Returns the bodies and joints of a chest of three similar drawers at `place`, `opened` pulled out by 0.21 m.

    `detent` holds closed drawers. The frame of the chest lies on the table, 13.7 cm behind the handles of closed
    drawers; it faces its own -y. Handles are vertical bars 1.2 cm thick with 3.6 cm of space behind them, 0.114, 0.198
    and 0.282 m above the table.
    """
    joints = tuple(
        Joint(
            slide(name),
            "prismatic",
            parent="cabinet",
            child=name,
            pose=Pose((0.0, 0.0, _LOWEST_HANDLE_M + level * _DRAWER_PITCH_M)),
            axis=(0.0, -1.0, 0.0),
            upper=DRAWER_TRAVEL_M,
            position=DRAWER_OPEN_M if name == opened else 0.0,
            friction=2.0,
            detent=detent,
        )
        for level, name in enumerate(DRAWERS)
    )
    return (_cabinet(place), *(_drawer(name) for name in DRAWERS)), joints


def _table() -> Body:
    legs = [_part((0.06, 0.06, 0.712), (x, y, -0.396), _GREY) for x in (-0.65, 0.65) for y in (-0.65, 0.65)]
    top = _part((1.4, 1.4, 0.04), (0, 0, -0.02), _TABLE)
    return Body("table", (top, *legs), Pose((0.2, 0.0, TABLE_TOP_M)), category="table")


def _cameras(size_px: int) -> tuple[Camera, ...]:
    fixed = {
        "front": look_at((1.35, 0.0, 1.58), _FRONT_LOOKS_AT_M),
        "left_shoulder": look_at((-0.175, 0.20, 1.98), _SHOULDERS_LOOK_AT_M),
        "right_shoulder": look_at((-0.175, -0.20, 1.98), _SHOULDERS_LOOK_AT_M),
    }
    around = [Camera(name, pose, size_px, size_px, fov_y_rad=float(np.radians(40))) for name, pose in fixed.items()]
    wrist = Camera("wrist", WRIST_CAMERA, size_px, size_px, fov_y_rad=WRIST_FOV_Y_RAD, mount=ROBOT)
    return (*around, wrist)


def _part(size_m: Vector3, centre_m: tuple[float, float, float], rgba: Rgba) -> Part:
    return Part(Box(size_m), Pose((float(centre_m[0]), float(centre_m[1]), float(centre_m[2]))), rgba)


def _mark(name: str, place: Pose, size_m: float, rgba: Rgba) -> Body:
    part = Part(
        Box((size_m, size_m, PATCH_THICKNESS_M)),
        Pose((0.0, 0.0, PATCH_THICKNESS_M / 2)),
        rgba,
        collides=False,
    )
    return Body(name, (part,), place, category="patch")


def _cabinet(place: Pose) -> Body:
    width, depth = _CABINET_M, _CABINET_M
    middle = _CABINET_FRONT_M + depth / 2
    bottom = _LOWEST_HANDLE_M - _DRAWER_PITCH_M / 2
    top = bottom + len(DRAWERS) * _DRAWER_PITCH_M
    side = (width - _WALL_M) / 2
    height = top - bottom
    shelves = [
        _part((width, depth, _SHELF_M), (0, middle, bottom + level * _DRAWER_PITCH_M), _DARK_WOOD)
        for level in range(1, len(DRAWERS) + 1)
    ]
    parts = (
        _part((width, depth, bottom + _SHELF_M / 2), (0, middle, (bottom + _SHELF_M / 2) / 2), _DARK_WOOD),
        _part((_WALL_M, depth, height), (side, middle, bottom + height / 2), _DARK_WOOD),
        _part((_WALL_M, depth, height), (-side, middle, bottom + height / 2), _DARK_WOOD),
        _part((width, _WALL_M, height), (0, _CABINET_FRONT_M + depth - _WALL_M / 2, bottom + height / 2), _DARK_WOOD),
        *shelves,
    )
    return Body("cabinet", parts, place, category="cabinet")


def _drawer(name: str) -> Body:
    width = _CABINET_M - 2 * _WALL_M - 2 * _CLEARANCE_M
    height = _DRAWER_PITCH_M - _SHELF_M - 2 * _CLEARANCE_M
    front, back = _CABINET_FRONT_M, _CABINET_FRONT_M + _CABINET_M - _WALL_M - 0.005
    depth, middle = back - front, (front + back) / 2
    wall, panel, floor = 0.006, 0.01, 0.005
    side, low = (width - wall) / 2, -height / 2
    rail = height - 0.02
    handle = HANDLE_IN_DRAWER_M[1]
    bar, bar_length, stand_off = 0.012, 0.05, 0.008
    reach = front - handle - bar / 2
    at = handle + bar / 2 + reach / 2
    parts = (
        _part((width, panel, height), FRONT_IN_DRAWER_M, _WOOD),
        _part((width, depth, floor), (0, middle, low + floor / 2), _WOOD),
        _part((wall, depth, rail), (side, middle, low + rail / 2), _WOOD),
        _part((wall, depth, rail), (-side, middle, low + rail / 2), _WOOD),
        _part((width, wall, rail), (0, back - wall / 2, low + rail / 2), _WOOD),
        _part((bar, bar, bar_length), HANDLE_IN_DRAWER_M, _STEEL),
        _part((bar, reach, stand_off), (0, at, (bar_length - stand_off) / 2), _STEEL),
        _part((bar, reach, stand_off), (0, at, -(bar_length - stand_off) / 2), _STEEL),
    )
    return Body(name, parts, mass_kg=0.5, friction=0.6, category="drawer", graspable=True)
