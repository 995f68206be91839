"""The settings of the two parts of the policy benchmark."""

from dataclasses import dataclass, field

from embodied.errors import ConfigError


@dataclass(kw_only=True)
class SplatBenchConfig:
    """Sides of the views and of the four cameras whose points they show, and how often each method is timed.

    `threads` are PyTorch's and llvmpipe's; Open3D uses OMP_NUM_THREADS.
    """

    sizes_px: list[int] = field(default_factory=lambda: [64, 224])
    camera_px: int = 128
    radius_px: int = 1
    rounds: int = 15
    threads: int = 1

    def check(self) -> None:
        """Raises `ConfigError` for counts that are not positive."""
        if not self.sizes_px or min(*self.sizes_px, self.camera_px, self.rounds, self.threads) < 1:
            raise ConfigError("splat.sizes_px, .camera_px, .rounds and .threads must be at least 1.", value=self)
        if self.radius_px < 0:
            raise ConfigError("splat.radius_px must not be negative.", value=self.radius_px)


@dataclass(kw_only=True)
class DecisionBenchConfig:
    """Decisions on four cameras of `camera_px`, with memories of `moments`, timed `rounds` times."""

    camera_px: int = 128
    moments: int = 16
    rounds: int = 40
    threads: int = 2

    def check(self) -> None:
        """Raises `ConfigError` for counts that are not positive."""
        if min(self.camera_px, self.moments, self.rounds, self.threads) < 1:
            raise ConfigError("decision.camera_px, .moments, .rounds and .threads must be at least 1.", value=self)
