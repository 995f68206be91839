"""What the tests of several rooms share."""

from collections.abc import Iterator

import pytest

LOGICAL_CPUS = 4  # So many workers may be alive at once; they share the real ones.


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One Ray for all tests that need it, since it takes seconds to start: pools use what runs and leave it running."""
    from embodied.rollout.ray_cluster import local_cluster

    with local_cluster(cpus=LOGICAL_CPUS, object_store_mb=128):
        yield
