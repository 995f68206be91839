"""Opens the bank of a run: in this process where episodes are played in it, else in one actor on their Ray."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from embodied.errors import ConfigError
from embodied.memory import SCHEME, BankService, Link, SimulatedClock, bank_path, open_bank, require_openable
from embodied.rollout.compute import ComputeConfig, ComputeKind


@contextmanager
def owned_bank(url: str, compute: ComputeConfig) -> Iterator[Link]:
    """Yields a link to the only owner of the bank at `url`, which runs until the end. Its clock is simulated.

    With Ray in `compute` the owner is started or joined here, and the episodes then use the same cluster. Raises
    `MemoryBankError` for a bank that cannot be opened, `PathError` for one in no folder, `ConfigError` for one in
    memory with Ray.
    """
    path = bank_path(url)
    if compute.kind is ComputeKind.inline:
        with BankService(open_bank(url, clock=SimulatedClock())) as service:
            yield service
        return
    if path is None:
        raise ConfigError(
            "A bank that several processes write to must lie in a file.",
            value=url,
            remedy="Write memory.url=sqlite:///run.db, or compute=inline.",
        )
    require_openable(url)  # Before Ray is started, which takes seconds.
    from embodied.memory.service.ray_service import Host, hosted
    from embodied.rollout.ray.cluster import existing_cluster, local_cluster

    if compute.kind is ComputeKind.cluster:
        cluster = existing_cluster(compute.address, ship_mb=compute.ship_mb)
    else:
        cluster = local_cluster(cpus=compute.workers, object_store_mb=compute.object_store_mb)
    name = f"stem-{hashlib.blake2b(str(path).encode(), digest_size=8).hexdigest()}"
    with cluster, hosted(Host(f"{SCHEME}{path}", name=name, simulated=True)) as link:
        yield link
