"""How long a decision takes while the world goes on, in simulated seconds."""

from dataclasses import dataclass

import numpy as np

from embodied.errors import ConfigError
from embodied.seeding import stream


@dataclass(frozen=True)
class Latency:
    """A decision takes `mean_s` seconds, or is drawn from a log-normal law of that mean and `deviation_s`.

    Draws depend on the episode's seed, on who decides and on how many decisions came before, and on nothing else.
    """

    mean_s: float
    deviation_s: float = 0.0

    def seconds(self, seed: int, decider: str, count: int) -> float:
        """Returns how long decision number `count` of `decider`, a robot or the dispatcher, takes under `seed`."""
        if self.deviation_s == 0.0:
            return self.mean_s
        variance = float(np.log1p((self.deviation_s / self.mean_s) ** 2))
        normal = float(stream(seed, "latency", decider, count).standard_normal())
        return self.mean_s * float(np.exp(np.sqrt(variance) * normal - variance / 2))


@dataclass(kw_only=True)
class LatencyConfig:
    """How long decisions take.

    With `mean_s` 0 the world stands still during a decision; with `deviation_s` 0 the time is constant.
    """

    mean_s: float = 0.0
    deviation_s: float = 0.0

    def build(self) -> Latency | None:
        """Returns the model, or None where decisions take no time. Raises `ConfigError`."""
        for name, value in vars(self).items():
            if not (np.isfinite(value) and value >= 0.0):
                raise ConfigError(f"latency.{name} must be finite and not negative.", value=value)
        if self.mean_s == 0.0:
            if self.deviation_s > 0.0:
                raise ConfigError("latency.mean_s must be positive where latency.deviation_s is.", value=self.mean_s)
            return None
        return Latency(self.mean_s, self.deviation_s)
