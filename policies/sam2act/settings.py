"""The settings of a SAM2Act policy: plain values with checks, which load without PyTorch.

Names of fields are those of `config.json` beside shipped weights, so they stay: `glimpse` is the region-of-interest
crop, `hand_hidden` the hidden width of the action head, `body` the proprioceptive channels of a token.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from embodied.errors import ConfigError
from embodied.scenes.tabletop import WORKSPACE_M
from policies.encoders.sizes import CHANNELS
from policies.memory.config import MomentEncoderConfig
from policies.sam2act.choices import EncoderChoice, LanguageChoice, MemoryChoice

if TYPE_CHECKING:
    from policies.sam2act.geometry import Cube

TIME_WAVES = (4.0, 12.0, 36.0)
"""Periods, in keyframes, of the sine waves that encode time."""

LONGEST = 24.0
"""Keyframes by which time is divided."""


@dataclass(kw_only=True)
class TransformerConfig:
    """The multi-view transformer: `alone` layers of attention within each view, then `joint` layers over all views.

    `width` is the width of a token inside it, and `feedforward` times `width` the width of each feed-forward part.
    """

    width: int = 96
    heads: int = 4
    alone: int = 1
    joint: int = 2
    feedforward: int = 2
    dropout: float = 0.0

    def check(self) -> None:
        """Raises `ConfigError` for invalid sizes."""
        if self.width < 1 or self.heads < 1 or self.width % self.heads:
            raise ConfigError("`heads` must divide `width`.", value=(self.heads, self.width))
        if self.alone < 0 or self.joint < 1 or self.feedforward < 1:
            raise ConfigError(
                "A transformer must have a joint layer, and no negative sizes.",
                value=(self.alone, self.joint, self.feedforward),
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ConfigError("`dropout` must lie in [0, 1).", value=self.dropout)


@dataclass(kw_only=True)
class BranchConfig:
    """One branch: `grid` x `grid` tokens per view.

    The channels of a token are `features` of the image encoder, `patch` of the raw pixels and `body` of proprioception;
    `patch` 0 leaves the raw pixels to the encoder. `size` is the side of visualisations and heat maps in pixels;
    `up_hidden` is the width inside each of the three upsamplings.
    """

    size: int = 64
    grid: int = 8
    features: int = 80
    patch: int = 0
    body: int = 16
    up_hidden: list[int] = field(default_factory=lambda: [48, 32, 16])
    transformer: TransformerConfig = field(default_factory=TransformerConfig)

    @property
    def dim(self) -> int:
        """The width of a token."""
        return self.features + self.patch + self.body

    def check(self) -> None:
        """Raises `ConfigError` for sizes that do not fit each other."""
        if self.grid < 1 or self.size % self.grid:
            raise ConfigError("`grid` must divide `size`.", value=(self.grid, self.size))
        if min(self.features, self.body) < 1 or self.patch < 0 or self.dim % 4:
            raise ConfigError("The width of a token must be a multiple of 4.", value=self.dim)
        self.transformer.check()


@dataclass(kw_only=True)
class RegionCropConfig:
    """The region-of-interest crop that the action head also reads: `window` pixels square around the waypoint.

    Convolutions of `widths` encode it into `dim` features. With `window` 0 the action head reads tokens alone, as
    published.
    """

    window: int = 0
    widths: list[int] = field(default_factory=lambda: [24, 48, 64])
    dim: int = 128

    def check(self, size: int) -> None:
        """Raises `ConfigError` for sizes that do not fit visualisations of `size` pixels."""
        halved = 2 ** len(self.widths)
        if not 0 <= self.window <= size or self.window % halved:
            raise ConfigError(
                "A region-of-interest crop must fit into the view, and be halved by each width.",
                value=(self.window, self.widths),
                remedy=f"Use a multiple of {halved} up to {size}, or 0 for none.",
            )
        if self.window and (not self.widths or min(*self.widths, self.dim) < 1):
            raise ConfigError(
                "The widths of a region-of-interest crop must be positive.",
                value=(self.widths, self.dim),
                remedy="Or use window 0.",
            )


@dataclass(kw_only=True)
class Sam2ActSettings:
    """The settings of a SAM2Act policy. Lengths are in metres.

    `cameras` are those whose depth images are fused. The fine branch sees a cube of `1 / zoom` of the workspace's side,
    in training around the waypoint moved by up to `fine_shift_m` along each axis. Points cover `2 * radius_px + 1`
    pixels; `heat_sigma_px` is the width of the target heat maps. `tool_channel` marks the tool in all views and adds
    its pose to proprioception, which otherwise holds only gripper and time, as published; `time_input` False hides the
    time. `glimpse` is the region-of-interest crop. With `memory.kind` `off` the policy is SAM2Act, otherwise SAM2Act+.
    Where memory is trained on cached features, it is trained on all keyframes that need it, and on the share
    `easy_share` of the others.

    Attributes:
        robot: model of the robot, as recorded
        cameras: that are rendered into virtual views
        zoom: of the fine branch
        fine_shift_m: the most by which the fine view is shifted in training
        easy_share: share of the loss of easy examples
        radius_px: of a point when it is splatted
        heat_sigma_px: width of the target heat maps
        tool_channel: whether the tool is drawn into the views
        time_input: whether the policy sees the time in keyframes
        hand_hidden: width inside the action head
        slot_dim: width of the tokens that memory stores
    """

    robot: str = "panda"
    cameras: list[str] = field(default_factory=lambda: ["front", "left_shoulder", "right_shoulder", "wrist"])
    zoom: float = 4.0
    fine_shift_m: float = 0.05
    easy_share: float = 0.1
    radius_px: int = 1
    heat_sigma_px: float = 1.5
    tool_channel: bool = True
    time_input: bool = True
    encoder: EncoderChoice = field(default_factory=EncoderChoice)
    language: LanguageChoice = field(default_factory=LanguageChoice)
    branch: BranchConfig = field(default_factory=BranchConfig)
    glimpse: RegionCropConfig = field(default_factory=RegionCropConfig)
    hand_hidden: int = 256
    memory: MemoryChoice = field(default_factory=MemoryChoice)
    moment: MomentEncoderConfig = field(default_factory=lambda: MomentEncoderConfig(halvings=3, blocks=1))
    slot_dim: int = 32

    @property
    def half_m(self) -> float:
        """Half the side of the workspace."""
        return max(high - low for low, high in WORKSPACE_M) / 2

    @property
    def cube(self) -> "Cube":
        """The workspace, a cube of 1 m."""
        from policies.sam2act.geometry import Cube  # It needs PyTorch.

        x_m, y_m, z_m = ((low + high) / 2 for low, high in WORKSPACE_M)
        return Cube((x_m, y_m, z_m), self.half_m)

    @property
    def fine_half_m(self) -> float:
        """Half the side of the fine branch's cube."""
        return self.half_m / self.zoom

    @property
    def channels(self) -> int:
        """Channels of a view."""
        return len(CHANNELS) + int(self.tool_channel)

    @property
    def proprioception(self) -> int:
        """The number of proprioceptive values: gripper and time, with `tool_channel` also tool pose and time codes."""
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
        if not 0.0 <= self.easy_share <= 1.0:
            raise ConfigError("`easy_share` must lie in [0, 1].", value=self.easy_share)
        if self.radius_px < 0 or not self.heat_sigma_px > 0:
            raise ConfigError(
                "`radius_px` and `heat_sigma_px` must be positive.", value=(self.radius_px, self.heat_sigma_px)
            )
        self.branch.check()
        self.glimpse.check(self.branch.size)
