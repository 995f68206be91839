"""The settings of probes, with `build()`; they load without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from embodied.errors import MissingDependencyError
from policies.probes.samples import ProbeSettings

if TYPE_CHECKING:
    from policies.probes.training import Probe


@dataclass(kw_only=True)
class ProbeConfig(ProbeSettings):
    """A probe as a configuration chooses it; `ProbeSettings` explains the fields."""

    def build(self, *, seed: int) -> Probe:
        """Returns the probe. Raises `ConfigError` for counts and rates out of range, `MissingDependencyError`."""
        self.check()
        try:
            from policies.probes.training import Probe
        except ImportError as error:
            raise MissingDependencyError(
                "Probes need PyTorch.", remedy="Install it: pip install 'embodied-memory[train]'."
            ) from error
        return Probe(self, seed=seed)
