"""What a SAM2Act policy is made of."""

from dataclasses import dataclass, field
from typing import Any

from embodied.errors import ConfigError
from embodied.scenes.tabletop import WORKSPACE_M
from policies.encoders.config import ConvolutionalConfig
from policies.encoders.language import HashedWordsConfig
from policies.memory.config import MomentEncoderConfig
from policies.sam2act.branch import BranchConfig
from policies.sam2act.splatting import CHANNELS
from policies.sam2act.views import Cube

TIME_WAVES = (4.0, 12.0, 36.0)  # Keyframes.
LONGEST = 24.0


@dataclass(kw_only=True)
class Sam2ActConfig:
    """`memory` None is SAM2Act, any other SAM2Act+. Lengths in metres.

    `cameras` are those whose depth is fused; the fine branch sees a cube of `1 / zoom` of the workspace's side, in
    training around the waypoint moved by up to `fine_shift_m` along each axis. `tool_channel` draws the tool into all
    pictures and tells its pose, else the body is gripper and time alone, as published; `time_input` False hides the
    time.
    """

    cameras: tuple[str, ...] = ("front", "left_shoulder", "right_shoulder", "wrist")
    zoom: float = 4.0
    fine_shift_m: float = 0.05
    radius_px: int = 1
    tool_channel: bool = True
    time_input: bool = True
    encoder: Any = field(default_factory=ConvolutionalConfig)
    language: Any = field(default_factory=HashedWordsConfig)
    branch: BranchConfig = field(default_factory=BranchConfig)
    memory: Any = None
    moment: MomentEncoderConfig = field(default_factory=lambda: MomentEncoderConfig(halvings=3))
    slot_dim: int = 32
    hand_hidden: int = 256
    heat_sigma_px: float = 1.5

    @property
    def cube(self) -> Cube:
        """The workspace, a cube of 1 m."""
        centre = tuple((low + high) / 2 for low, high in WORKSPACE_M)
        return Cube(centre, max(high - low for low, high in WORKSPACE_M) / 2)  # type: ignore[arg-type]

    @property
    def fine_half_m(self) -> float:
        """Half the side of the fine branch's cube."""
        return self.cube.half_m / self.zoom

    @property
    def channels(self) -> int:
        """Channels of a picture."""
        return CHANNELS + int(self.tool_channel)

    @property
    def body_numbers(self) -> int:
        """How many numbers tell the body: gripper and time, with `tool_channel` the tool's pose and waves of time."""
        return 1 + 1 + (9 + 2 * len(TIME_WAVES)) * int(self.tool_channel)

    def check(self) -> None:
        """Raises `ConfigError` for values out of range."""
        if not self.cameras or len(set(self.cameras)) < len(self.cameras):
            raise ConfigError("`cameras` must name at least one camera, and each once.", value=self.cameras)
        if not self.zoom >= 1.0:
            raise ConfigError("`zoom` must be at least 1.", value=self.zoom)
        if not 0.0 <= self.fine_shift_m < self.fine_half_m:
            raise ConfigError(
                "`fine_shift_m` must leave the waypoint inside the fine cube.",
                value=self.fine_shift_m,
                remedy=f"Use less than {self.fine_half_m:g} m.",
            )
        if self.radius_px < 0 or not self.heat_sigma_px > 0:
            raise ConfigError("`radius_px` and `heat_sigma_px` must be positive.", value=(self.radius_px, self.heat_sigma_px))
        self.branch.check()
