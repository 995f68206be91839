"""A private PyBullet world."""

from typing import Any

from embodied.errors import MissingDependencyError
from embodied.simulators.bullet.native_output import without_banners


def connect() -> Any:
    """Returns PyBullet's functions, bound to a new headless world. Raises `MissingDependencyError`.

    PyBullet's own client looks up every function again, which costs more than many of the calls; this one caches them.
    """
    try:
        with without_banners():
            import pybullet
            from pybullet_utils.bullet_client import BulletClient
    except ImportError as error:
        raise MissingDependencyError(
            "The PyBullet simulator needs pybullet.", remedy="Install it: pip install pybullet."
        ) from error

    class KeepingClient(BulletClient):
        def __getattr__(self, name: str) -> Any:
            member = super().__getattr__(name)
            setattr(self, name, member)
            return member

    with without_banners():
        return KeepingClient(pybullet.DIRECT)
