"""Settings of lived days."""

from dataclasses import dataclass

from embodied.errors import ConfigError

INTERACTIONS_ALLOWED = (2, 11)


@dataclass(frozen=True, kw_only=True)
class DayConfig:
    """How a day is lived and what is stored of it.

    Attributes:
        interactions: least and most pick-and-place interactions, within 2 to 11; the seed draws within them
        steps: least and most steps of a day, within 100 to 4000
        image_px: width and height of the images of all steps
        frame_px: width and height of the images of the 96 frames
        images: whether RGB-D images of all steps are stored
        frame_images: whether RGB images of the 96 frames are stored
        attempts: how many drafts of a day are tried until one is valid
    """

    interactions: tuple[int, int] = INTERACTIONS_ALLOWED
    steps: tuple[int, int] = (400, 3500)
    image_px: tuple[int, int] = (120, 160)
    frame_px: tuple[int, int] = (480, 640)
    images: bool = True
    frame_images: bool = True
    attempts: int = 20

    def __post_init__(self) -> None:
        for name, (least, most) in {"interactions": INTERACTIONS_ALLOWED, "steps": (100, 4000)}.items():
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise ConfigError(
                    f"DayConfig.{name} must be a rising range within {least} to {most}.", value=(low, high)
                )
        for name in ("image_px", "frame_px"):
            if not all(16 <= side <= 4096 for side in getattr(self, name)):
                raise ConfigError(f"DayConfig.{name} must have 16 to 4096 pixels a side.", value=getattr(self, name))
        if self.attempts < 1:
            raise ConfigError("DayConfig.attempts must be at least 1.", value=self.attempts)
