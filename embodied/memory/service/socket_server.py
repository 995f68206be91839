"""Serves a bank over websockets: to robots on other machines, and to programs that must not depend on Ray."""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any

from embodied.access import Access
from embodied.errors import CodecError, EmbodiedError, MissingDependencyError, unknown_name
from embodied.memory.queries import validation
from embodied.memory.queries.read_call import ReadCall
from embodied.memory.retention.retention import RetentionConfig
from embodied.memory.schema.query import EventFilter
from embodied.memory.service import messages
from embodied.memory.service.service import LONGEST_WAIT_S, BankService
from embodied.memory.service.socket_settings import PATH, SocketSettings

try:
    from websockets.asyncio.server import Server, ServerConnection, serve
    from websockets.exceptions import ConnectionClosed
    from websockets.http11 import Request, Response
except ModuleNotFoundError as missing:
    raise MissingDependencyError(
        "Serving a bank over a socket needs libraries of the extra 'serving'.",
        value=missing.name,
        remedy="pip install '.[serving]'",
    ) from missing

HEALTH = "/healthz"
UNREADABLE, GOING_AWAY = 1008, 1001
SMALL_BYTES = 2**16  # Larger commits are decoded outside of the event loop.
OPENING_S = 10.0
CLOSING_S = 1.0
PLAIN = ("head", "clock", "advance", "last_of_writer", "lease")  # Methods whose answers are plain values.
MOST_WAITING = 64  # Calls of one connection that wait for changes; further ones are answered at once.

_log = logging.getLogger(__name__)
_library_log = logging.Logger("websockets")  # A separate logger: the library's own may print headers.
_library_log.addHandler(logging.NullHandler())


class AddressError(EmbodiedError):
    """The owner of a bank cannot listen at its address."""

    usual_remedy = "Choose another host or port; port=0 takes any free one."


@dataclass(eq=False)
class _Client:
    """One connection: free slots for calls, and how many of its calls wait for changes."""

    slots: asyncio.Semaphore
    waiting: int = 0


class SocketServer:
    """Answers the calls of many `SocketLink`s from one `service`; `start` and `stop` run in one event loop.

    Nothing that a client does holds up the others or ends the server: each may have a few calls in progress, of which
    further ones wait in its own connection; a connection whose other end is gone, or does not read, is ended; what
    cannot be read is answered with an error, or closes its connection.
    """

    def __init__(
        self,
        service: BankService,
        settings: SocketSettings = SocketSettings(),  # noqa: B008 - a frozen value
        access: Access = Access(),  # noqa: B008 - a frozen value
    ) -> None:
        self.settings = settings
        self._service = service
        self._access = access
        self._readers = ThreadPoolExecutor(max_workers=settings.readers, thread_name_prefix="bank reader")
        self._retaining = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bank retention")
        self._clients: dict[ServerConnection, _Client] = {}
        self._in_progress = 0
        self._grown = asyncio.Event()
        self._server: Server | None = None
        self._answers: Mapping[str, Callable[..., Any]] = {
            "commit": self._commit,
            "read": self._read,
            "changes": self._changes,
            "retain": self._retain,
            **{name: partial(self._plain, method=name) for name in PLAIN},
        }

    @property
    def url(self) -> str:
        """The address of the server; only after `start`."""
        assert self._server is not None
        host, port = next(iter(self._server.sockets)).getsockname()[:2]
        scheme = "ws" if self._access.certificate is None else "wss"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    async def start(self) -> None:
        """Begins to listen. Raises `AddressError` where the address cannot be used, `ConfigError` for TLS."""
        settings, tls = self.settings, self._access.tls()
        try:
            self._server = await serve(
                self._converse,
                settings.host,
                settings.port,
                ssl=tls,
                process_request=self._on_http,
                origins=[None],  # No page in a browser may use it.
                compression=None,  # A small message cannot expand to a large one.
                max_size=messages.LARGEST_REQUEST_BYTES + messages.NUMBER.size,
                max_queue=1,
                open_timeout=OPENING_S,
                close_timeout=CLOSING_S,
                ping_interval=settings.ping_s,
                ping_timeout=settings.ping_s,
                server_header=None,
                logger=_library_log,
            )
        except OSError as error:
            raise _unusable(settings, error) from error
        self._service.watch(partial(_call_in, asyncio.get_running_loop(), self._note_growth))

    async def stop(self) -> None:
        """Refuses new connections, lets calls in progress end within `drain_s`, and closes all connections."""
        assert self._server is not None
        self._service.watch(None)
        self._server.close(close_connections=False)
        self._note_growth()
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self.settings.drain_s
        while self._in_progress and loop.time() < until_s:
            await asyncio.sleep(0.01)
        closing = [connection.close(GOING_AWAY, "the owner stops") for connection in self._clients]
        await asyncio.gather(*closing, return_exceptions=True)
        await self._server.wait_closed()
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._retaining.shutdown(wait=False, cancel_futures=True)

    def _on_http(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answers requests for health and refuses clients without a token; None accepts the websocket."""
        path = request.path.partition("?")[0]
        if path == HEALTH:
            return connection.respond(HTTPStatus.OK, "OK\n")
        if not self._access.admits(request.headers.get("Authorization", "")):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "A valid token must be sent: Authorization: Bearer.\n")
        if path != PATH:
            return connection.respond(HTTPStatus.NOT_FOUND, f"This owner of a bank serves {PATH}.\n")
        if len(self._clients) >= self.settings.connections:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections are open.\n")
        return None

    async def _converse(self, connection: ServerConnection) -> None:
        """Answers one client until it disconnects."""
        client = self._clients[connection] = _Client(asyncio.Semaphore(self.settings.calls))
        try:
            async with asyncio.TaskGroup() as calls:
                async for message in connection:
                    await client.slots.acquire()
                    calls.create_task(self._answer_one(connection, client, message))
        except* (ConnectionClosed, TimeoutError):
            _log.debug("A client has disconnected.")
        finally:
            del self._clients[connection]

    async def _answer_one(self, connection: ServerConnection, client: _Client, message: str | bytes) -> None:
        """Answers one message; one without a number ends the connection. Raises `ConnectionClosed`."""
        self._in_progress += 1
        try:
            if isinstance(message, str) or len(message) < messages.NUMBER.size:
                await connection.close(UNREADABLE, "messages must be binary and have a number")
                return
            number, body = messages.split(message)
            answer = await self._answer_to(client, body)
            async with asyncio.timeout(self.settings.send_s):
                await connection.send(messages.numbered(number, answer))
        except TimeoutError:
            connection.transport.abort()  # It does not read: a closing handshake would take as long again.
        finally:
            self._in_progress -= 1
            client.slots.release()

    async def _answer_to(self, client: _Client, body: memoryview) -> bytes:
        """Returns the answer to a call, which may be an error."""
        (answer,) = await asyncio.gather(self._called(client, body), return_exceptions=True)
        if isinstance(answer, bytes):
            return answer
        if not isinstance(answer, Exception):
            raise answer  # The call was cancelled.
        if not isinstance(answer, EmbodiedError):
            _log.error("A call to the bank has failed.", exc_info=answer)
        return messages.encode_error(answer)

    async def _called(self, client: _Client, body: memoryview) -> bytes:
        method, arguments = await self._light(len(body), partial(messages.decode_call, body))
        if method not in self._answers:
            raise unknown_name("call to the owner of a bank", method, self._answers)
        try:
            return await self._answers[method](client, **arguments)
        except TypeError as error:
            raise CodecError("A call must have the documented arguments.", value=f"{error!s:.200}") from error

    async def _light(self, size: int, call: Callable[[], Any]) -> Any:
        """Returns what `call` returns; it runs outside of the event loop where it has many bytes (`size`) to read."""
        return call() if size < SMALL_BYTES else await asyncio.wrap_future(self._readers.submit(call))

    async def _read(self, client: _Client, call: ReadCall) -> bytes:
        del client
        return await self._encoded("read", partial(self._service.read, call), query=str(call.name))

    async def _plain(self, client: _Client, method: str, **arguments: Any) -> bytes:
        del client
        return await self._encoded(method, partial(getattr(self._service, method), **arguments))

    async def _encoded(self, method: str, call: Callable[[], Any], *, query: str = "") -> bytes:
        job = self._readers.submit(lambda: messages.encode_answer(method, call(), query))
        return await asyncio.wrap_future(job)

    async def _commit(self, client: _Client, groups: tuple[bytes, ...]) -> bytes:
        del client
        size = sum(map(len, groups))
        submitted: Future[Any] = await self._light(size, partial(self._service.submit, groups))
        return messages.encode_answer("commit", await asyncio.wrap_future(submitted))

    async def _retain(self, client: _Client, config: RetentionConfig) -> bytes:
        del client
        result = await asyncio.wrap_future(self._retaining.submit(self._service.retain, config))
        return messages.encode_answer("retain", result)

    async def _changes(self, client: _Client, wanted: EventFilter, after_seq: int, wait_s: float) -> bytes:
        """Waits in the event loop, since a thread for each of many waiting clients would be too many."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + min(validation.number("wait_s", wait_s), LONGEST_WAIT_S)
        poll = partial(self._service.changes, wanted, after_seq=after_seq, wait_s=0.0)
        found = await asyncio.wrap_future(self._readers.submit(poll))
        if found[1] == after_seq and client.waiting < MOST_WAITING:
            client.waiting += 1
            client.slots.release()  # While it waits, other calls of the client are answered.
            try:
                await self._growth(after_seq, until_s)
            finally:
                client.waiting -= 1
                await client.slots.acquire()
        return await self._encoded("changes", poll)

    async def _growth(self, after_seq: int, until_s: float) -> None:
        """Waits until the bank has newer events than `after_seq`, or the loop's time is `until_s`, or it stops."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until_s):
                while self._serving and self._service.head() <= after_seq:
                    await self._grown.wait()

    @property
    def _serving(self) -> bool:
        return self._server is not None and self._server.is_serving()

    def _note_growth(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()


def require_usable(settings: SocketSettings) -> None:
    """Raises `AddressError` where nothing can listen at the address, such as beside another server."""
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        raise _unusable(settings, error) from error


def _unusable(settings: SocketSettings, error: OSError) -> AddressError:
    return AddressError(
        "The owner of a bank must be able to listen at its address.",
        value=f"{settings.host}:{settings.port}",
        remedy=f"{error.strerror or error}. {AddressError.usual_remedy}",
    )


def _call_in(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # The loop was closed meanwhile.
        loop.call_soon_threadsafe(call)


@contextmanager
def listening(
    service: BankService,
    settings: SocketSettings = SocketSettings(),  # noqa: B008 - a frozen value
    access: Access = Access(),  # noqa: B008 - a frozen value
) -> Iterator[SocketServer]:
    """Serves a bank in a thread of this process and yields the server. Raises as `SocketServer.start`.

    Args:
        service: The owner of the bank.
        settings: The address and the limits.
        access: The token and TLS.
    """
    server = SocketServer(service, settings, access)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="bank socket", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result()
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
