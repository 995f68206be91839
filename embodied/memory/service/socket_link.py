"""The link to the owner of a bank over a websocket, for robots' programs: it imports neither Ray nor torch."""

import asyncio
import itertools
import logging
import os
import ssl
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from embodied.access import is_loopback, trusting
from embodied.errors import CodecError, ConfigError, MissingDependencyError
from embodied.memory.queries.read_call import ReadCall
from embodied.memory.retention.retention import RetentionConfig, RetentionResult
from embodied.memory.schema.event import Event
from embodied.memory.schema.query import EventFilter
from embodied.memory.service import messages
from embodied.memory.service.commit_queue import Result
from embodied.memory.service.leases import Lease
from embodied.memory.service.sending_size import SLOW_S
from embodied.memory.service.service import LONGEST_WAIT_S, MOST_EVENT_BYTES, SlowDownError, UnreachableError
from embodied.memory.service.shared_commits import SharedCommits
from embodied.memory.service.socket_settings import PATH
from embodied.memory.storage.clock import ClockReading

try:
    from websockets.asyncio.client import ClientConnection, connect
    from websockets.exceptions import InvalidStatus, WebSocketException
except ModuleNotFoundError as missing:
    raise MissingDependencyError(
        "A link over a socket needs libraries of the extra 'serving'.",
        value=missing.name,
        remedy="pip install '.[serving]'",
    ) from missing

PING_S = 10.0
CLOSING_S = 0.5
RETAINING_S = 600.0
LONGEST_REASON = 300
FIRST_CHANGES_BYTES, LEAST_CHANGES_BYTES = 2**20, 2**14
BROKEN = (WebSocketException, OSError, EOFError, CodecError, asyncio.CancelledError)

_log = logging.Logger("websockets")  # A separate logger: the library's own may print headers, and so the token.
_log.addHandler(logging.NullHandler())


class SocketLink:
    """Reaches the owner of a bank at `url`, such as wss://bank.example:8100, from any machine.

    It connects at the first call, and again whenever the connection is lost. Whatever fails on the way, the owner dead,
    the network down, the token refused, is an `UnreachableError`: a `BankClient` keeps its events and sends them again.
    Calls of several threads share one connection; after a fork the child has its own.

    Args:
        url: ws://HOST:PORT on this machine, wss://HOST:PORT beyond it.
        token: The client's token, "" for none; it is never printed. See `embodied.access.read_token`.
        certificate: PEM text of a certificate to trust beside those of the system, "" for none.
        timeout_s: How long a call may take.
        insecure: Whether token and events may cross a network unencrypted.

    Raises:
        ConfigError: For a malformed URL or certificate, and for an unencrypted link to another machine.
    """

    def __init__(
        self, url: str, *, token: str = "", certificate: str = "", timeout_s: float = 10.0, insecure: bool = False
    ) -> None:
        _check_url(url, insecure=insecure)
        _check_token(token)
        if not (isinstance(timeout_s, float | int) and 0.0 < timeout_s < float("inf")):
            raise ConfigError("The time limit of a call must be a positive number of seconds.", value=timeout_s)
        self._settings = {"token": token, "certificate": certificate, "timeout_s": timeout_s, "insecure": insecure}
        self._url = url
        self._token = token
        self._tls = trusting(certificate) if url.startswith("wss:") else None
        self._timeout_s = timeout_s
        self._begin()

    def __repr__(self) -> str:
        return f"SocketLink({self._url!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(SocketLink, self._url, **self._settings), ()

    def commit(self, groups: Sequence[bytes]) -> list[Result]:
        """As `Link.commit`."""
        self._require_process()
        return self._commits.commit(groups)

    def read(self, call: ReadCall) -> Any:
        """As `Link.read`."""
        return self._call("read", query=str(call.name), call=call)

    def head(self) -> int:
        """As `Link.head`."""
        return self._call("head")

    def clock(self) -> ClockReading:
        """As `Link.clock`."""
        return self._call("clock")

    def advance(self, to_s: float) -> float:
        """As `Link.advance`."""
        return self._call("advance", to_s=to_s)

    def last_of_writer(self, writer: str) -> tuple[int, float]:
        """As `Link.last_of_writer`."""
        return self._call("last_of_writer", writer=writer)

    def changes(self, wanted: EventFilter, *, after_seq: int, wait_s: float) -> tuple[list[Event], int]:
        """As `Link.changes` for `wanted`, `after_seq` and `wait_s`."""
        limit_s, most_bytes = min(wait_s, LONGEST_WAIT_S / 2, self._timeout_s / 2), self._changes_bytes
        began_s = time.monotonic()
        try:
            found = self._call("changes", wanted=wanted, after_seq=after_seq, wait_s=limit_s, most_bytes=most_bytes)
        except SlowDownError:
            raise
        except UnreachableError:  # Perhaps it was too much for the network.
            self._changes_bytes = max(LEAST_CHANGES_BYTES, most_bytes // 2)
            raise
        slow = time.monotonic() - began_s > limit_s + SLOW_S
        self._changes_bytes = (
            max(LEAST_CHANGES_BYTES, most_bytes // 2) if slow else min(2 * most_bytes, MOST_EVENT_BYTES)
        )
        return found

    def lease(self, subtask: str, robot: str, *, duration_s: float, epoch: int) -> Lease:
        """As `Link.lease` for `subtask`, `robot`, `duration_s` and `epoch`."""
        return self._call("lease", subtask=subtask, robot=robot, duration_s=duration_s, epoch=epoch)

    def retain(self, config: RetentionConfig) -> RetentionResult:
        """As `Link.retain`; waits for up to ten minutes, since the owner reads all of its log."""
        return self._call("retain", timeout_s=RETAINING_S, config=config)

    def close(self) -> None:
        """Ends the connection; a later call opens a new one. Safe to call twice."""
        self._require_process()
        with self._starting:
            channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._starting = threading.Lock()
        self._channel: _Channel | None = None
        self._changes_bytes = FIRST_CHANGES_BYTES
        self._commits = SharedCommits(lambda groups: self._call("commit", groups=groups))

    def _require_process(self) -> None:
        """Begins anew in a forked process, to which threads and the connection do not belong."""
        if self._pid != os.getpid():
            self._begin()

    def _call(self, method: str, *, query: str = "", timeout_s: float | None = None, **arguments: Any) -> Any:
        self._require_process()
        body = messages.encode_call(method, arguments)
        with self._starting:
            if self._channel is None:
                self._channel = _Channel(self._url, self._token, self._tls)
            channel = self._channel
        answer = channel.call(body, self._timeout_s if timeout_s is None else timeout_s)
        try:
            return messages.decode_answer(answer, method, query=query, groups=len(arguments.get("groups", ())))
        except CodecError as error:
            raise UnreachableError(
                "The owner of the bank must answer as its protocol says.", value=str(error), remedy="Update both."
            ) from error


class _Channel:
    """One connection at a time, in an event loop of its own thread, where every wait has an end."""

    def __init__(self, url: str, token: str, tls: ssl.SSLContext | None) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else None
        self._tls = tls
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[memoryview]] = {}
        self._connection: ClientConnection | None = None
        self._receiving: asyncio.Task[None] | None = None
        self._loop = asyncio.new_event_loop()
        self._opening = asyncio.Lock()
        self._scheduling = threading.Lock()
        self._open = True
        self._thread = threading.Thread(target=self._loop.run_forever, name="bank link", daemon=True)
        self._thread.start()

    def call(self, body: bytes, timeout_s: float) -> memoryview:
        """Returns the body of the answer to a call within `timeout_s`. Raises `UnreachableError`."""
        with self._scheduling:
            if not self._open:
                raise self._unreachable("the link was closed")
            answer = asyncio.run_coroutine_threadsafe(self._exchange(body, timeout_s), self._loop)
        try:
            return answer.result()
        except CancelledError as error:
            raise self._unreachable("the link was closed") from error

    def close(self) -> None:
        """Ends the connection and the thread; calls that wait raise `UnreachableError`."""
        with self._scheduling:  # No call may be scheduled after the end: nothing would ever answer it.
            self._open = False
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _exchange(self, body: bytes, timeout_s: float) -> memoryview:
        """Returns the body of the answer; whatever fails is an `UnreachableError`."""
        (answer,) = await asyncio.gather(self._asked_and_answered(body, timeout_s), return_exceptions=True)
        if isinstance(answer, memoryview):
            return answer
        if isinstance(answer, InvalidStatus):
            reason = (answer.response.body or b"").decode(errors="replace").strip()
            raise self._unreachable(f"HTTP {answer.response.status_code}: {reason}") from None  # It holds headers.
        if isinstance(answer, TimeoutError):
            raise self._unreachable(f"no answer within {timeout_s:g} s") from None
        raise self._unreachable(str(answer) or type(answer).__name__) from answer

    async def _asked_and_answered(self, body: bytes, timeout_s: float) -> memoryview:
        number = next(self._numbers)
        try:
            async with asyncio.timeout(timeout_s):
                connection = await self._connected()
                answer = self._asked[number] = self._loop.create_future()
                await connection.send(messages.numbered(number, body))
                return await answer
        finally:
            self._asked.pop(number, None)

    async def _connected(self) -> ClientConnection:
        """Returns the open connection, or a new one; calls that come meanwhile wait for the same."""
        async with self._opening:
            if self._connection is None:
                self._connection = await connect(
                    self._url + PATH,
                    additional_headers=self._headers,
                    compression=None,
                    open_timeout=None,  # Each call has its own time limit.
                    close_timeout=CLOSING_S,
                    ping_interval=PING_S,
                    ping_timeout=PING_S,
                    max_size=messages.LARGEST_ANSWER_BYTES + messages.NUMBER.size,
                    max_queue=4,
                    proxy=None,
                    logger=_log,
                    ssl=self._tls,
                )
                self._receiving = self._loop.create_task(self._receive(self._connection))
            return self._connection

    async def _receive(self, connection: ClientConnection) -> None:
        """Gives answers to the calls that wait for them, until the connection ends; then none will come any more."""
        reason = "the connection was closed"
        try:
            async for message in connection:
                number, body = messages.split(message if isinstance(message, bytes) else b"")
                answer = self._asked.get(number)
                if answer is not None and not answer.done():
                    answer.set_result(body)
        except BROKEN as error:
            reason = str(error) or reason
        finally:
            if self._connection is connection:
                self._connection = None
            for answer in self._asked.values():
                if not answer.done():
                    answer.set_exception(ConnectionError(reason))
            connection.transport.abort()

    async def _end(self) -> None:
        if self._connection is not None:
            await self._connection.close()
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:  # A connection in progress may start others.
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _unreachable(self, reason: str) -> UnreachableError:
        shown = "".join(sign if sign.isprintable() else "?" for sign in reason)[:LONGEST_REASON]
        return UnreachableError(
            "The owner of the bank must answer at its address.", value=self._url, remedy=f"{shown}."
        )


def _check_token(token: str) -> None:
    """Raises `ConfigError`, which does not show the token, for one that no header can hold."""
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            "A token must be printable ASCII text without spaces and ends of lines.",
            value="a token that is not shown",
            remedy="Read it with `embodied.access.read_token`, or strip what was read from a file.",
        )


def _check_url(url: str, *, insecure: bool) -> None:
    """Raises `ConfigError` for an invalid URL, one with secrets, or what would cross a network in clear."""
    if not isinstance(url, str):
        raise ConfigError("The owner of a bank must be named by a URL.", value=url)
    parts = urlsplit(url)
    try:
        complete = parts.scheme in ("ws", "wss") and bool(parts.hostname) and bool(parts.port)
    except ValueError:  # The port is not a number.
        complete = False
    if not complete or parts.path or parts.query or parts.fragment or parts.username or parts.password:
        raise ConfigError(
            "The owner of a bank must be named by ws:// or wss://, host and port alone.",
            value=f"{parts.scheme}://{parts.hostname}",
            remedy="Write such as ws://127.0.0.1:8100; a token is given apart from the URL.",
        )
    if parts.scheme == "ws" and not insecure and not is_loopback(parts.hostname or ""):
        raise ConfigError(
            "A link to another machine must be encrypted.",
            value=url,
            remedy="Use wss://, or insecure=True in a network that you trust.",
        )
