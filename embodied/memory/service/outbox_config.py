"""The settings of an outbox."""

from dataclasses import dataclass
from pathlib import Path

from embodied.errors import ConfigError
from embodied.memory.service.outbox import Outbox


@dataclass(kw_only=True)
class OutboxConfig:
    """The file of an outbox (empty: in memory), and how many events and mebibytes may wait in it.

    `durable` waits for the disk at every append, so that a power cut loses nothing; without it, events survive the end
    of the process but not a crash of the machine.
    """

    path: str = ""
    limit: int = 100_000
    limit_mib: float = 256.0
    durable: bool = True

    def build(self) -> Outbox:
        """Returns the outbox. Raises `ConfigError`; `MemoryBankError` where another process has it open."""
        if self.limit < 1:
            raise ConfigError("outbox.limit must be at least 1 event.", value=self.limit)
        if not self.limit_mib > 0:
            raise ConfigError("outbox.limit_mib must be above 0 MiB.", value=self.limit_mib)
        path = Path(self.path) if self.path else None
        return Outbox(path, limit=self.limit, limit_mib=self.limit_mib, durable=self.durable)
