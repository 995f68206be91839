"""Which libraries encoders need, explained where they are missing."""

from collections.abc import Iterator
from contextlib import contextmanager

from embodied.errors import MissingDependencyError


@contextmanager
def training_extra() -> Iterator[None]:
    """Raises `MissingDependencyError`, which names the extra to install, where an import in its block fails."""
    try:
        yield
    except ImportError as error:
        raise MissingDependencyError(
            f"Encoders need {error.name}.", remedy="Install it: pip install 'embodied-memory[train]'."
        ) from error
