"""What each client of a bank may write: roles, and the file of credentials, which holds digests of tokens alone."""

import fcntl
import hashlib
import json
import logging
import os
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec

from embodied.errors import ConfigError, NotPermittedError, unknown_name
from embodied.memory.schema.event import Event
from embodied.memory.schema.kinds import Forgotten, LeaseGranted, RobotRegistered, SubtaskEnded, Withdrawn
from embodied.memory.schema.limits import LONGEST_NAME
from embodied.memory.schema.reserved import RETENTION, SITE, check_unreserved, is_reserved_writer
from embodied.names import RULE, is_sound, remedy, shown
from embodied.paths import written_atomically

PRIVATE = 0o600
CHECKED_S = 0.5
logger = logging.getLogger(__name__)


class Role(StrEnum):
    """What a client is for.

    A `ROBOT` writes under its own names, and leases subtasks for its own robots. The `SITE` is an operator's tool: it
    also writes under names of the site, closes and reopens the past, leases for every robot, and lets events be
    removed. A `READER` only reads. `ANYONE` is every client of a bank without credentials: it may do all but write what
    is reserved for the site and advance a simulated clock, so that no robot's program does that by accident. A `DRIVER`
    is as `ANYONE` and may advance it: the program that runs simulated time, with the link that `hosted` gives it.
    """

    ROBOT = "robot"
    SITE = "site"
    READER = "reader"
    ANYONE = "anyone"
    DRIVER = "driver"


UNNAMED = (Role.ANYONE, Role.DRIVER)  # Of clients without credentials.


@dataclass(frozen=True)
class ClientRights:
    """A client of a bank.

    Attributes:
        name: its name, which is also that of its first writer
        role: what it is for
        writers: further names under which it may write; each, and `name`, allows the names under it too (`NAME/...`)
        robots: the robots that its events may name and that it may lease for, beside the robot `name`
    """

    name: str
    role: Role = Role.ROBOT
    writers: tuple[str, ...] = ()
    robots: tuple[str, ...] = ()

    def check_events(self, events: Sequence[Event], event_of: Callable[[int], Event | None]) -> None:
        """Raises `NotPermittedError` for the first of the events that this client may not write.

        `event_of` returns the event of the bank with a number, None where it has none.
        """
        for event in events:
            self._check_event(event)
            if isinstance(event.payload, Withdrawn) and self.role is Role.ROBOT:
                self._check_withdrawal(event.payload, event_of)

    def check_lease(self, robot: str) -> None:
        """Raises `NotPermittedError` unless this client may lease for a robot."""
        if self.role is Role.READER or (self.role is Role.ROBOT and robot not in (self.name, *self.robots)):
            raise NotPermittedError(
                "A client may lease subtasks for its own robots alone.", value=robot, remedy=self._may(self.robots)
            )

    def check_clock(self) -> None:
        """Raises `NotPermittedError` unless this client may advance a simulated clock."""
        if self.role not in (Role.SITE, Role.DRIVER):
            raise NotPermittedError(
                "Only the driver of a run may advance the clock.",
                value=f"the client {self.name!r} of the role {self.role.value!r}",
                remedy="Use the link that `hosted` yields, or a credential of the role `site`.",
            )

    def check_retention(self) -> None:
        """Raises `NotPermittedError` unless this client may let events be removed."""
        if self.role not in (Role.SITE, *UNNAMED):
            raise NotPermittedError("Only a client of the role `site` may let events be removed.", value=self.name)

    def _check_event(self, event: Event) -> None:
        if self.role is Role.READER:
            raise NotPermittedError("A client of the role `reader` must not write.", value=self.name)
        if self.role is Role.SITE:
            self._check_site(event)
        else:
            check_unreserved(event)
        if self.role is Role.ROBOT and event.robot not in ("", self.name, *self.robots):
            raise NotPermittedError(
                "A client must not write events of another's robot.", value=event.robot, remedy=self._may(self.robots)
            )
        if self.role is Role.ROBOT:
            self._check_subject(event)
        if self.role not in UNNAMED and not self._is_own(event.writer):
            raise NotPermittedError(
                "A client must write under its own names.", value=event.writer, remedy=self._may(self.writers)
            )

    def _check_subject(self, event: Event) -> None:
        """Raises `NotPermittedError` for the registration of another's robot, and for ends that name no lease.

        Subtasks have names that all share: one that a client ends without a lease could never be leased by another.
        """
        payload = event.payload
        if isinstance(payload, RobotRegistered) and payload.robot not in (self.name, *self.robots):
            raise NotPermittedError(
                "A client must register its own robots alone.", value=payload.robot, remedy=self._may(self.robots)
            )
        if isinstance(payload, SubtaskEnded) and not payload.epoch:
            raise NotPermittedError(
                "A client must end a subtask under a lease.",
                value=payload.subtask,
                remedy="Call `acquire`, and name the epoch of the lease; nothing was written.",
            )

    def _check_withdrawal(self, payload: Withdrawn, event_of: Callable[[int], Event | None]) -> None:
        """Raises `NotPermittedError` where an event was written under another client's name, or is not there yet."""
        for seq in payload.seqs:
            event = event_of(seq)
            if event is None or not self._is_own(event.writer):
                raise NotPermittedError(
                    "A client must withdraw only events that the bank has under its own names.",
                    value=(seq, None if event is None else event.writer),
                    remedy=self._may(self.writers),
                )

    def _check_site(self, event: Event) -> None:
        if isinstance(event.payload, Forgotten | LeaseGranted):
            raise NotPermittedError(
                "Leases and removals must be made by the owner of the bank itself.",
                value=event.kind,
                remedy="Call `acquire`, `renew` or `retain` of the client.",
            )

    def _is_own(self, writer: str) -> bool:
        own = any(writer == name or writer.startswith(f"{name}/") for name in (self.name, *self.writers))
        return own or (self.role is Role.SITE and is_reserved_writer(writer) and not _is_owners(writer))

    def _may(self, further: Iterable[str]) -> str:
        return f"The client {self.name!r} has {', '.join((self.name, *further))}; nothing was written."


ANYONE, DRIVER = ClientRights("", Role.ANYONE), ClientRights("", Role.DRIVER)


def _is_owners(writer: str) -> bool:
    """Returns whether the owner of the bank itself counts the numbers of a reserved writer."""
    return writer.partition("/")[0] == RETENTION or writer == f"{SITE}/leases"


class Credential(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of the file: a client, and the SHA-256 of its token."""

    name: str
    token_sha256: str
    role: Role = Role.ROBOT
    writers: tuple[str, ...] = ()
    robots: tuple[str, ...] = ()

    @property
    def client(self) -> ClientRights:
        """The client whose token it is."""
        return ClientRights(self.name, self.role, self.writers, self.robots)


class Credentials:
    """The clients of a bank by their tokens, from a file that is read again whenever it changes.

    A client whose entry is removed or gets a new token is refused from then on, also on an open connection. A change
    that cannot be used is logged and leaves the clients as they were, so that a slip of the operator stops no robot.
    Safe to call from many threads. Raises `ConfigError` for a file that cannot be used, and for one that others can
    read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.Lock()
        self._checked_s = time.monotonic()
        self._stamp = _stamp(path)
        self._known = {entry.token_sha256: entry.client for entry in read_credentials(path)}

    def client_of(self, digest: str) -> ClientRights | None:
        """Returns the client whose token has this digest (`digest_of`), None for none."""
        with self._turn:
            now_s = time.monotonic()
            if now_s - self._checked_s >= CHECKED_S:
                self._checked_s = now_s
                self._read_again()
            return self._known.get(digest)

    def _read_again(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._known = {entry.token_sha256: entry.client for entry in read_credentials(self._path)}
        except ConfigError as error:
            logger.error("The clients of the bank stay as they were: %s", error)


def read_credentials(path: Path) -> list[Credential]:
    """Returns the entries of a file. Raises `ConfigError` where it cannot be used, or others can read it."""
    try:
        status = path.stat()
        entries = msgspec.json.decode(path.read_bytes(), type=list[Credential])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(
            "The credentials of a bank's clients must be a readable JSON file.", value=str(path), remedy=f"{error}."
        ) from error
    if stat.S_IMODE(status.st_mode) & ~PRIVATE:
        raise ConfigError(
            "The credentials of a bank's clients must be readable by their owner alone.",
            value=f"{path}: {stat.filemode(status.st_mode)}",
            remedy=f"Run: chmod 600 {path}.",
        )
    _check(entries)
    return entries


def add_credential(path: Path, client: ClientRights) -> str:
    """Returns a new token of a client, whose digest is written to the file; an older token of its name ends.

    Raises `ConfigError` for a file that cannot be used, and for names that would overlap with those of others.
    """
    token = secrets.token_urlsafe(32)
    entry = Credential(client.name, digest_of(token.encode()), client.role, client.writers, client.robots)
    with _alone(path):
        _write(path, [*(one for one in _read_or_none(path) if one.name != client.name), entry])
    return token


def remove_credential(path: Path, name: str) -> None:
    """Removes a client from the file. Raises `UnknownNameError` for one that it does not have."""
    with _alone(path):
        entries = read_credentials(path)
        if name not in {one.name for one in entries}:
            raise unknown_name("client of the bank", name, [one.name for one in entries])
        _write(path, [one for one in entries if one.name != name])


def digest_of(token: bytes) -> str:
    """Returns the digest of a token. Tokens are random, so it needs no salt."""
    return hashlib.sha256(token).hexdigest()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Lets one process at a time read and write the file; the lock is that of its folder, and leaves no file behind."""
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(
            "The credentials of a bank's clients must lie in a folder that exists.",
            value=str(path),
            remedy=f"{error.strerror}.",
        ) from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _read_or_none(path: Path) -> list[Credential]:
    return read_credentials(path) if path.exists() else []


def _write(path: Path, entries: Sequence[Credential]) -> None:
    _check(entries)
    lines = ",\n ".join(json.dumps(msgspec.to_builtins(one)) for one in entries)
    with written_atomically(path) as file:
        os.fchmod(file.fileno(), PRIVATE)
        file.write(f"[{lines}]\n".encode())


def _check(entries: Sequence[Credential]) -> None:
    """Raises `ConfigError` for entries of which one could write as another."""
    names = [(name, one.name) for one in entries for name in (one.name, *one.writers)]
    for name, client in names:
        if not name or "/" in client or is_reserved_writer(f"{name}/"):
            raise ConfigError(
                "A client must have a name without '/' that is not reserved, and write under such names.", value=name
            )
    for name in [*(name for name, _ in names), *(robot for one in entries for robot in one.robots)]:
        if not is_sound(name) or len(name) > LONGEST_NAME:
            raise ConfigError(
                f"Names of a client and its robots must be at most {LONGEST_NAME} letters, {RULE}.",
                value=shown(name),
                remedy=remedy(name[:LONGEST_NAME]),
            )
    for name, client in names:
        for other, owner in names:
            if client != owner and (name == other or other.startswith(f"{name}/")):
                raise ConfigError("Two clients must not write under the same names.", value=(client, owner, other))
    if len({one.name for one in entries}) < len(entries):
        raise ConfigError("Each client must have one entry.", value=[one.name for one in entries])
    for one in entries:
        if one.role in UNNAMED or len(one.token_sha256) != 64:
            raise ConfigError(
                "An entry must have a role and the SHA-256 of a token as 64 hexadecimal digits.", value=one.name
            )


def _stamp(path: Path) -> tuple[int, int, int]:
    """Returns what changes with a file, zeros where there is none."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0, 0
    return status.st_mtime_ns, status.st_ino, status.st_size
