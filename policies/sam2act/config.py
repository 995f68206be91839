"""SAM2Act as a configuration chooses it: the settings with `build()`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies.sam2act.settings import Sam2ActSettings

if TYPE_CHECKING:
    from policies.sam2act.learner import Sam2ActLearner


@dataclass(kw_only=True)
class Sam2ActConfig(Sam2ActSettings):
    """A SAM2Act policy; `Sam2ActSettings` explains the fields."""

    def build(self) -> "Sam2ActLearner":
        """Returns the untrained policy as a learner. Raises `ConfigError`."""
        from policies.sam2act.learner import Sam2ActLearner

        self.check()
        return Sam2ActLearner(self)
