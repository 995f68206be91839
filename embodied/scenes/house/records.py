"""A home as data: its rooms, doors, receptacles and objects beside the scene that simulators realise."""

from typing import Literal

import msgspec

from embodied.errors import SceneError
from embodied.geometry import Pose, Vector3
from embodied.scenes.polygons import Corner
from embodied.scenes.scene import Scene


class Room(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A room: `outline_m` are its corners (x, y) in the world, up to the middles of its walls.

    `name` is unique and also that of its region; `category` is the kind of room, such as "bedroom".
    """

    name: str
    category: str
    outline_m: tuple[Corner, ...]


class Door(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An opening, `width_m` wide and always open, in the wall between two `rooms`.

    `centre_m` (x, y) lies in the middle of the wall, which runs along the world's `axis`.
    """

    name: str
    rooms: tuple[str, str]
    centre_m: Corner
    width_m: float
    axis: Literal["x", "y"]


class Surface(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A horizontal rectangle on which objects stand: `pose` is its centre in the world, `size_m` its edges along x, y.

    Nothing is in the way up to `clear_height_m` above it.
    """

    name: str
    pose: Pose
    size_m: tuple[float, float]
    clear_height_m: float


class Receptacle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A piece of furniture that carries objects; `name` is that of its body, and it stands in `room`."""

    name: str
    category: str
    room: str
    surfaces: tuple[Surface, ...]


class HouseObject(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A loose object of the model `model`; `name` is that of its body and is independent of all else.

    It starts on the `surface` of `receptacle`. `print` is "" for a plain one. `size_m` is the box around it, in its own
    frame, which lies in the middle of that box.
    """

    name: str
    model: str
    category: str
    shape: str
    colour: str
    material: str
    function: str
    print: str
    size_m: Vector3
    receptacle: str
    surface: str


class House(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A home of `make_house`, made from `seed` and the object models of `split`."""

    seed: int
    split: str
    scene: Scene
    rooms: tuple[Room, ...]
    doors: tuple[Door, ...]
    receptacles: tuple[Receptacle, ...]
    objects: tuple[HouseObject, ...]

    def to_json(self) -> str:
        """Returns the home as JSON; `from_json` gives back an equal home."""
        return msgspec.json.encode(self).decode()

    @staticmethod
    def from_json(text: str | bytes) -> "House":
        """Reads a home. Raises `SceneError` naming the path of whatever is malformed, unknown or inconsistent."""
        try:
            return msgspec.json.decode(text, type=House)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise SceneError(
                "A home must be well-formed JSON of the documented fields.",
                value=str(error),
                remedy="Compare with `House.to_json()` of a valid home.",
            ) from error
