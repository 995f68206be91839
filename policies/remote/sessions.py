"""The memories of a server, one per session, which are restored after an outage by repeating their requests."""

import logging
import secrets
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from embodied.errors import OutageError
from embodied.types import ControllerReport, Intent, Moment
from policies.remote.connection import Address, BadAnswerError, Connection, ConnectionLostError
from policies.remote.dialects import Dialect

MOST_BAD_ANSWERS = 3
MOST_SESSIONS = 64
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
TOLERANCE = 1e-5  # For repeated answers: the server may use another batch size.

# Servers that were unreachable for `outage_s`: later episodes try once each, instead of waiting as long again.
_AWAY: set[str] = set()

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class DecodedAnswer:
    """A decoded answer. `numbers` (n,) are those of its actions, which show whether a repeated answer is the same.

    `rows` is the number of actions to carry out before the next request.
    """

    intents: tuple[Intent, ...]
    numbers: np.ndarray
    rows: int = 0
    moments: tuple[Moment, ...] = ()
    report: ControllerReport | None = None
    visualisations: Mapping[str, np.ndarray] = field(default_factory=dict)


Read = Callable[[Mapping[str, Any]], DecodedAnswer]


@dataclass(frozen=True)
class OutageLimits:
    """How long an outage may last, and how many requests are kept to restore sessions after it.

    Attributes:
        outage_s: how long an unreachable server is tried again, with growing pauses
        replay_bytes: the most that is kept of the requests of all sessions
    """

    outage_s: float = 120.0
    replay_bytes: int = 256 * 2**20


@dataclass(eq=False)
class _Session:
    """One memory on the server. `wire_id` is its id there, renewed whenever it is restored; "" if it is not alive."""

    episode: str
    wire_id: str = ""
    log: list[tuple[Mapping[str, Any], np.ndarray]] = field(default_factory=list)
    size: int = 0
    complete: bool = True  # Whether the log holds all of its requests.


@dataclass(eq=False)
class _ConnectionHolder:
    """Holds the connection of `RemoteSessions`, and can close it after these are garbage-collected."""

    connection: Connection | None = None

    def close(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()


class RemoteSessions:
    """Sends requests in sessions, over one connection that is opened when needed and reopened when lost.

    After an outage, or if a server with a single memory has served another session since, a session is restored by
    sending all of its requests again, in order. The answers must equal the earlier ones, which proves that the memory
    is the same; otherwise the episode is given up. `require_same` raises if the metadata of a server after an outage
    differ from those at the beginning.
    """

    def __init__(
        self,
        address: Address,
        dialect: Dialect,
        limits: OutageLimits,
        require_same: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._address = address
        self._dialect = dialect
        self._limits = limits
        self._require_same = require_same
        self._line = _ConnectionHolder()
        weakref.finalize(self, self._line.close)  # Nothing else would close a connection, since it has a thread.
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    def begin(self, episode: str) -> str:
        """Returns the key of a new session with an empty memory; its first request creates it on the server."""
        key = secrets.token_hex(8)
        self._sessions[key] = _Session(episode)
        while len(self._sessions) > MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return key

    def infer(self, key: str, message: Mapping[str, Any], read: Read) -> DecodedAnswer:
        """Returns `read` of the answer to `message` in session `key`.

        A server that was unreachable before is tried once. Raises `OutageError` if the server stays unreachable, keeps
        sending answers that `read` refuses (`BadAnswerError`), or does not repeat its answers.
        """
        session = self._known(key)
        outage_s = 0.0 if self._address.url in _AWAY else self._limits.outage_s
        give_up_s, pause_s, bad = time.monotonic() + outage_s, FIRST_PAUSE_S, 0
        while True:
            try:
                reading = self._asked(session, message, read)
                break
            except (ConnectionLostError, BadAnswerError) as error:
                self.close()
                bad += isinstance(error, BadAnswerError)
                if bad >= MOST_BAD_ANSWERS or time.monotonic() + pause_s > give_up_s:
                    if isinstance(error, ConnectionLostError):
                        _AWAY.add(self._address.url)
                    raise OutageError(error.rule, value=error.value, remedy=error.remedy) from error
                _log.info("The policy server is tried again in %.1f s: %s", pause_s, error)
                time.sleep(pause_s)
                pause_s = min(2.0 * pause_s, LONGEST_PAUSE_S)
        _AWAY.discard(self._address.url)
        self._append(session, message, reading.numbers)
        return reading

    def close(self) -> None:
        """Closes the connection; sessions can go on over another one."""
        for session in self._sessions.values():
            session.wire_id = ""
        self._line.close()

    def _known(self, key: str) -> _Session:
        if key not in self._sessions:
            raise OutageError(
                "A session must continue in the process that began it.",
                value=key,
                remedy="Play the episode from its beginning.",
            )
        self._sessions.move_to_end(key)
        return self._sessions[key]

    def _asked(self, session: _Session, message: Mapping[str, Any], read: Read) -> DecodedAnswer:
        connection = self._ready(session)
        if not session.wire_id:
            self._begin(connection, session)
            self._repeat(connection, session, read)
        return read(connection.exchange(self._tagged(session, message)))

    def _repeat(self, connection: Connection, session: _Session, read: Read) -> None:
        """Sends all requests of a session once more. Raises `OutageError` if an answer differs."""
        for place, (earlier, numbers) in enumerate(session.log, start=1):
            repeated = read(connection.exchange(self._tagged(session, earlier))).numbers
            if repeated.shape != numbers.shape or not np.allclose(repeated, numbers, rtol=0.0, atol=TOLERANCE):
                self.close()
                raise OutageError(
                    "A server must answer the requests of a session as before when it is begun again.",
                    value=f"request {place} of {len(session.log)}",
                    remedy="Serve a policy whose only randomness is the request's seed; the episode is played again.",
                )

    def _ready(self, session: _Session) -> Connection:
        """Returns the connection on which `session` is, or can be begun."""
        if session.wire_id == "" and not session.complete:
            raise OutageError(
                "The requests of a session must fit `replay_mb` to be sent again after an outage.",
                value=f"{self._limits.replay_bytes >> 20} MB",
                remedy="Raise policy_options.remote.replay_mb.",
            )
        if session.wire_id == "" and not self._dialect.resets:
            self.close()  # Only a new connection empties the memory.
        if self._line.connection is None:
            connection = self._line.connection = Connection(self._address)
            self._require_same(connection.metadata)
        return self._line.connection

    def _begin(self, connection: Connection, session: _Session) -> None:
        if not self._dialect.sessions:
            for other in self._sessions.values():
                other.wire_id = ""  # The server has one memory, and it is emptied now.
        wire_id = secrets.token_hex(8)
        self._dialect.begin(connection, wire_id, session.episode)
        session.wire_id = wire_id

    def _tagged(self, session: _Session, message: Mapping[str, Any]) -> dict[str, Any]:
        return self._dialect.tagged(message, session.wire_id, session.episode)

    def _append(self, session: _Session, message: Mapping[str, Any], numbers: np.ndarray) -> None:
        """Keeps an answered request; the least recently used sessions lose their requests first."""
        session.log.append((message, numbers))
        session.size += _size(message)
        excess = sum(one.size for one in self._sessions.values()) - self._limits.replay_bytes
        for oldest in list(self._sessions.values()):
            if excess <= 0:
                return
            excess -= oldest.size
            oldest.log, oldest.size, oldest.complete = [], 0, False


_SHARED: "WeakValueDictionary[tuple[Address, Dialect, OutageLimits], RemoteSessions]" = WeakValueDictionary()


def shared_sessions(
    address: Address, dialect: Dialect, limits: OutageLimits, require_same: Callable[[Mapping[str, Any]], None]
) -> RemoteSessions:
    """Returns the sessions of a server in this process, which live as long as a policy uses them.

    Instances of one policy share them: the donor of the control `swapped` is another instance.

    Args:
        address: The address of the server and its timeouts.
        dialect: How episodes begin.
        limits: How outages are handled.
        require_same: Raises `ConnectionLostError` for metadata of another server.
    """
    key = (address, dialect, limits)
    sessions = _SHARED.get(key)
    if sessions is None:
        sessions = _SHARED[key] = RemoteSessions(address, dialect, limits, require_same)
    return sessions


def _size(value: Any) -> int:
    """Returns the approximate number of bytes that a message keeps alive."""
    if isinstance(value, np.ndarray):
        return value.nbytes + 100
    if isinstance(value, Mapping):
        return sum(_size(inner) + 50 for inner in value.values())
    if isinstance(value, list | tuple):
        return sum(map(_size, value)) + 50
    return len(value) + 50 if isinstance(value, str | bytes) else 50
