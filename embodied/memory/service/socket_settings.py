"""The address at which the owner of a bank listens, and what its clients may use of it."""

from dataclasses import dataclass

from embodied.errors import ConfigError

MOST_PORT = 65535
PATH = "/bank/1"  # The number is that of the protocol: it changes where old clients could not be served.


@dataclass(frozen=True, kw_only=True)
class SocketSettings:
    """Where a bank is served, and limits. Raises `ConfigError` for values out of range.

    Attributes:
        host: The address to listen on; 127.0.0.1 serves this machine alone.
        port: 0 for any free one; a fixed one, so that clients find the owner again after a restart.
        connections: The most that are open at once.
        connections_per_client: The most of one client with a credential; a new one ends the oldest.
        calls: How many calls of one client are in progress at once; later ones wait in its own connection.
        events_per_s: How many events of one client are taken steadily; further commits wait, so that a flood does not
            delay the others. A call counts as ten events, 4 KiB as one, a refused append as 50, and an append of more
            than 100 events as many times more as it is larger. A robot that appends 20 events a second one by one uses
            220 of it.
        burst_events: How many are taken at once, such as after an outage.
        readers: How many queries, of all clients, are answered at once.
        ping_s: A connection whose other end does not answer for twice this time is ended.
        send_s: A client that does not take an answer for this time is disconnected.
        drain_s: How long calls in progress may take to end when the server stops.
        insecure: Whether other machines may connect without a token and TLS, in a network that is trusted.
    """

    host: str = "127.0.0.1"
    port: int = 8100
    connections: int = 512
    connections_per_client: int = 4
    calls: int = 4
    events_per_s: float = 500.0
    burst_events: float = 10_000.0
    readers: int = 16
    ping_s: float = 10.0
    send_s: float = 30.0
    drain_s: float = 5.0
    insecure: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.port <= MOST_PORT:
            raise ConfigError(f"port must lie in [0, {MOST_PORT}].", value=self.port)
        for name in (
            "connections",
            "connections_per_client",
            "calls",
            "events_per_s",
            "burst_events",
            "readers",
            "ping_s",
            "send_s",
            "drain_s",
        ):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} must be positive.", value=getattr(self, name))
