"""The settings of a server: its address, its batches, and limits on the resources that clients can use."""

from dataclasses import dataclass

from embodied.errors import ConfigError

MOST_PORT = 65535


@dataclass(frozen=True, kw_only=True)
class ServingSettings:
    """The settings of a server. Raises `ConfigError` for values out of range.

    Attributes:
        host: The address to listen on; 127.0.0.1 serves this machine alone.
        port: 0 for any free one.
        window_s: How long a request may wait for others that share its batch.
        batch: The most requests of one batch.
        threads: How many batches are computed at once, by one policy that declares `stateless` or by several.
        connections: The most that are open at once; each may hold about three messages in memory.
        sessions: The most whose memory is kept; the least recently used are evicted.
        session_idle_s: A session that is not used for this time is evicted.
        session_bytes: The most that the memories of all sessions may take together.
        message_bytes: The longest request or answer.
        drain_s: How long requests in progress may take to end when the server stops.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    window_s: float = 0.005
    batch: int = 32
    threads: int = 1
    connections: int = 64
    sessions: int = 256
    session_idle_s: float = 3600.0
    session_bytes: int = 2**30
    message_bytes: int = 16 * 2**20
    drain_s: float = 10.0

    def __post_init__(self) -> None:
        if not 0 <= self.port <= MOST_PORT:
            raise ConfigError(f"port must lie in [0, {MOST_PORT}].", value=self.port)
        for name, lowest in (("window_s", 0.0), ("drain_s", 0.0)):
            if not lowest <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} must be finite and at least {lowest:g}.", value=getattr(self, name))
        for name in ("batch", "threads", "connections", "sessions", "session_idle_s", "session_bytes", "message_bytes"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} must be positive.", value=getattr(self, name))
