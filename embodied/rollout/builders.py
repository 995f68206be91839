"""The interfaces of the configurations of a worker's parts: each builds its part in the process that uses it."""

from typing import Any, Protocol

from embodied.protocols import Controller, Dispatcher, Observer, Policy, Simulator
from embodied.scenes.scene import Scene
from embodied.simulators.world import WorldConfig
from embodied.types import Episode


class SimulatorBuilder(Protocol):
    """The configuration of a simulator. `world` holds what its controllers must agree on."""

    @property
    def world(self) -> WorldConfig:
        """Rates, gravity and asset root."""
        ...

    def build(self) -> Simulator:
        """Returns a new simulator that belongs to the calling process."""
        ...


class ControllerBuilder(Protocol):
    """The configuration of the controllers of every robot."""

    def build(self, scene: Scene, robot: str, *, period_s: float, asset_root: str = "") -> Controller:
        """Returns the controller of `robot` in `scene`, for control periods of `period_s` seconds.

        Meshes lie in `asset_root`.
        """
        ...


class DispatcherBuilder(Protocol):
    """The configuration of a dispatcher."""

    def build(self, episode: Episode) -> Dispatcher:
        """Returns the dispatcher of one episode."""
        ...


class PolicyBuilder(Protocol):
    """The configuration of a policy."""

    def build(self) -> Policy:
        """Returns the policy with its weights loaded."""
        ...


class Recorder(Observer, Protocol):
    """An observer that makes recordings, such as one trajectory for each robot."""

    def recordings(self) -> tuple[Any, ...]:
        """Returns the recordings once the episode has ended; none where there is nothing to keep."""
        ...


class RecorderBuilder(Protocol):
    """The configuration of a recorder."""

    def build(self) -> Recorder:
        """Returns a recorder of one episode."""
        ...
