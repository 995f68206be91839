"""What a SAM2Act policy is made of."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from embodied.errors import ConfigError
from embodied.scenes.tabletop import WORKSPACE_M
from policies.memory.config import MomentEncoderConfig
from policies.sam2act.choices import EncoderChoice, LanguageChoice, MemoryChoice
from policies.sam2act.cube import CHANNELS, Cube
from policies.sam2act.sizes import BranchConfig, GlimpseConfig

if TYPE_CHECKING:
    from policies.sam2act.learner import Sam2ActLearner

TIME_WAVES = (4.0, 12.0, 36.0)  # Keyframes.
LONGEST = 24.0


@dataclass(kw_only=True)
class Sam2ActConfig:
    """`memory` None is SAM2Act, any other SAM2Act+. Lengths in metres.

    `cameras` are those whose depth is fused; the fine branch sees a cube of `1 / zoom` of the workspace's side, in
    training around the waypoint moved by up to `fine_shift_m` along each axis. `tool_channel` draws the tool into all
    images and tells its pose, else the body is gripper and time alone, as published; `time_input` False hides the
    time. `glimpse` shows the hand the pixels around the waypoint. Where memory learns from cached features, it learns
    from all keyframes that need it, and from `easy_share` of the others.
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
    glimpse: GlimpseConfig = field(default_factory=GlimpseConfig)
    hand_hidden: int = 256
    memory: MemoryChoice = field(default_factory=MemoryChoice)
    moment: MomentEncoderConfig = field(default_factory=lambda: MomentEncoderConfig(halvings=3, blocks=1))
    slot_dim: int = 32

    def build(self) -> "Sam2ActLearner":
        """Returns the policy, not yet trained, in the form in which it learns. Raises `ConfigError`."""
        from policies.sam2act.learner import Sam2ActLearner

        self.check()
        return Sam2ActLearner(self)

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
        if not 0.0 <= self.easy_share <= 1.0:
            raise ConfigError("`easy_share` must lie in [0, 1].", value=self.easy_share)
        if self.radius_px < 0 or not self.heat_sigma_px > 0:
            raise ConfigError(
                "`radius_px` and `heat_sigma_px` must be positive.", value=(self.radius_px, self.heat_sigma_px)
            )
        self.branch.check()
        self.glimpse.check(self.branch.size)
