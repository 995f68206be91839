"""A bank that is served over a socket by a process of its own, and links to it, for benchmarks with many processes."""

import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from embodied.errors import MemoryBankError
from embodied.memory import ClientRights, Role, add_credential

if TYPE_CHECKING:
    from embodied.memory.service.socket_link import SocketLink

WAIT_S = 60.0
CLIENTS = "clients.json"


class BankAddress(msgspec.Struct, frozen=True):
    """Where a bank is served, and the token of each client by its name."""

    url: str
    tokens: dict[str, str]


def connect(address: BankAddress, name: str) -> "SocketLink":
    """Returns the link of the client with this `name`."""
    from embodied.memory.service.socket_link import SocketLink

    return SocketLink(address.url, token=address.tokens[name])


def prepared(folder: Path, names: Sequence[str], port: int) -> BankAddress:
    """Writes credentials of clients with these `names` into a `folder`; returns the address of a bank at a `port`."""
    tokens = {name: add_credential(folder / CLIENTS, ClientRights(name, Role.ROBOT)) for name in names}
    return BankAddress(f"ws://127.0.0.1:{port}", tokens)


@contextmanager
def served(folder: Path, names: Sequence[str]) -> Iterator[BankAddress]:
    """Serves the bank `bank.db` of a folder to clients with these `names` until the end, from another process."""
    address = prepared(folder, names, free_port())
    where = [
        f"url=sqlite:///{folder}/bank.db",
        f"port={address.url.rpartition(':')[2]}",
        f"credentials={folder}/{CLIENTS}",
    ]
    command = [sys.executable, "-m", "launch.serve_memory", *where]
    with (folder / "server.txt").open("ab") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)  # noqa: S603
    try:
        line = process.stdout.readline() if process.stdout is not None else ""
        if " at " not in line:
            raise MemoryBankError("The server of a bank must start.", value=(folder / "server.txt").read_text()[-2000:])
        yield address
        process.terminate()
        process.wait(WAIT_S)
    finally:
        process.kill()
        process.communicate()


def free_port() -> int:
    """Returns a port of this machine that is free now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
