"""Properties of policies that concern where they decide: in another process, or on a GPU."""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Placeable(Protocol):
    """The method of a policy that can decide on a GPU. Its requests and decisions stay numpy."""

    def to_device(self, device: str) -> None:
        """Moves its network to `device`, such as `cuda`."""
        ...


@runtime_checkable
class OutsidePolicy(Protocol):
    """The properties of a policy that decides in another process, such as a server run by others."""

    @property
    def one_episode_at_a_time(self) -> bool:
        """Whether its memory is shared by all episodes, so that they must not run in parallel."""
        ...

    @property
    def remarks(self) -> tuple[str, ...]:
        """The remarks on it in every report, in sentences."""
        ...
