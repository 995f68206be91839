"""Links over sockets for tests."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from embodied.memory import BankService
from embodied.memory.service.socket_link import SocketLink
from embodied.memory.service.socket_server import listening
from embodied.memory.service.socket_settings import SocketSettings


@contextmanager
def socket_link(service: BankService, **settings: Any) -> Iterator[SocketLink]:
    """Yields a link to a server of the service on a free port of this machine."""
    with listening(service, SocketSettings(port=0)) as server, closing(SocketLink(server.url, **settings)) as link:
        yield link
