"""What the tests of several folders share."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.config_store import restored_config_store

# How long an example takes says something about the machine, not about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

LOGICAL_CPUS = 4  # So many workers may be alive at once; they share the real ones.


@pytest.fixture(autouse=True)
def config_store() -> Iterator[None]:
    """Schemas that a test registers with Hydra do not reach other tests."""
    with restored_config_store():
        yield


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One Ray for all tests that need it, since it takes seconds to start: pools use what runs and leave it running."""
    from embodied.rollout.ray.cluster import local_cluster

    with local_cluster(cpus=LOGICAL_CPUS, object_store_mb=128):
        yield
