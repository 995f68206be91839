"""Settings of generated homes."""

from dataclasses import dataclass

from embodied.errors import SceneError

ROOMS_ALLOWED = (4, 9)
RECEPTACLES_ALLOWED = (12, 30)
OBJECTS_ALLOWED = (20, 40)


@dataclass(frozen=True, kw_only=True)
class HouseConfig:
    """How large a home is and how its robot sees; each range is (least, most), and a seed draws within it.

    Attributes:
        rooms: number of rooms, within 4 to 9
        receptacles: number of pieces of furniture that carry objects, within 12 to 30
        objects: number of loose objects, within 20 to 40
        base_radius_m: radius of the base that must reach every room and every receptacle
        viewpoint_m: from a free place at most this far away, in its room, each surface must be within reach
        image_px: width and height of the image of the robot's camera
    """

    rooms: tuple[int, int] = ROOMS_ALLOWED
    receptacles: tuple[int, int] = RECEPTACLES_ALLOWED
    objects: tuple[int, int] = OBJECTS_ALLOWED
    base_radius_m: float = 0.25
    viewpoint_m: float = 0.9
    image_px: tuple[int, int] = (120, 160)

    def __post_init__(self) -> None:
        ranges = {
            "rooms": ROOMS_ALLOWED,
            "receptacles": RECEPTACLES_ALLOWED,
            "objects": OBJECTS_ALLOWED,
        }
        for name, (least, most) in ranges.items():
            given = tuple(getattr(self, name))
            whole = len(given) == 2 and all(type(one) is int for one in given)
            if not (whole and least <= given[0] <= given[1] <= most):
                raise SceneError(
                    f"HouseConfig.{name} must be a rising range of whole numbers within {least} to {most}.",
                    value=given,
                    remedy=f"({least}, {most}) is the widest.",
                )
        if not 0.1 <= self.base_radius_m <= 0.3:
            raise SceneError(
                "HouseConfig.base_radius_m must lie in [0.1, 0.3]: doors and passages are made for that.",
                value=self.base_radius_m,
                remedy="0.25 is the usual one.",
            )
        if not 0.6 <= self.viewpoint_m <= 1.0:
            raise SceneError(
                "HouseConfig.viewpoint_m must lie in [0.6, 1].", value=self.viewpoint_m, remedy="0.9 is the usual one."
            )
        if len(self.image_px) != 2 or not all(type(side) is int and 16 <= side <= 4096 for side in self.image_px):
            raise SceneError(
                "HouseConfig.image_px must be a width and a height of 16 to 4096 pixels.",
                value=self.image_px,
                remedy="(120, 160) is cheap, (480, 640) is full size.",
            )
