"""Serves a bank over websockets: to robots on other machines, and to programs that must not depend on Ray."""

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from embodied.access import Access, given_token
from embodied.errors import EmbodiedError, MissingDependencyError
from embodied.memory.service import messages
from embodied.memory.service.allowance import Allowance
from embodied.memory.service.credentials import ANYONE, ClientRights, Credentials, digest_of
from embodied.memory.service.service import BankService
from embodied.memory.service.socket_calls import Caller, Calls
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
OPENING_S = 10.0
CLOSING_S = 1.0

_log = logging.getLogger(__name__)
_library_log = logging.Logger("websockets")  # A separate logger: the library's own may print headers.
_library_log.addHandler(logging.NullHandler())


class AddressError(EmbodiedError):
    """The owner of a bank cannot listen at its address."""

    usual_remedy = "Choose another host or port; port=0 takes any free one."


class SocketServer:
    """Answers the calls of many `SocketLink`s from one `service`; `start` and `stop` run in one event loop.

    Nothing that a client does holds up the others or ends the server: each may have a few calls in progress, of which
    further ones wait in its own connection; a connection whose other end is gone, or does not read, is ended; what
    cannot be read is answered with an error, or closes its connection. With `credentials` each client has a token of
    its own and may do what they say; without, all that `access` admits are the same, and may write as anyone. Raises
    `ConfigError` where other machines could connect without token and TLS, unless the settings are `insecure`.
    """

    def __init__(
        self,
        service: BankService,
        settings: SocketSettings = SocketSettings(),  # noqa: B008 - a frozen value
        access: Access = Access(),  # noqa: B008 - a frozen value
        credentials: Credentials | None = None,
    ) -> None:
        access.require_safe(settings.host, insecure=settings.insecure, known_clients=credentials is not None)
        self.settings = settings
        self._credentials = credentials
        self._access = access
        self._calls = Calls(service, readers=settings.readers)
        self._callers: dict[ServerConnection, Caller] = {}
        self._in_progress = 0
        self._allowances: dict[str, Allowance] = {}
        self._server: Server | None = None

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
        self._calls.begin()

    async def stop(self) -> None:
        """Refuses new connections, lets calls in progress end within `drain_s`, and closes all connections."""
        assert self._server is not None
        self._server.close(close_connections=False)
        self._calls.end_waiting()
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self.settings.drain_s
        while self._in_progress and loop.time() < until_s:
            await asyncio.sleep(0.01)
        closing = [connection.close(GOING_AWAY, "the owner stops") for connection in self._callers]
        await asyncio.gather(*closing, return_exceptions=True)
        await self._server.wait_closed()
        self._calls.close()

    def _on_http(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answers requests for health and refuses clients without a token; None accepts the websocket."""
        path = request.path.partition("?")[0]
        if path == HEALTH:
            return connection.respond(HTTPStatus.OK, "OK\n")
        if self._client_of(request) is None:
            return connection.respond(HTTPStatus.UNAUTHORIZED, "A valid token must be sent: Authorization: Bearer.\n")
        if path != PATH:
            return connection.respond(HTTPStatus.NOT_FOUND, f"This owner of a bank serves {PATH}.\n")
        if len(self._callers) >= self.settings.connections:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections are open.\n")
        return None

    async def _converse(self, connection: ServerConnection) -> None:
        """Answers one client until it disconnects."""
        client = self._client_of(connection.request)
        if client is None:
            return  # Its entry was removed since the handshake began.
        self._end_oldest(client)
        slots, allowance = asyncio.Semaphore(self.settings.calls), self._allowance_of(client)
        caller = self._callers[connection] = Caller(client, slots, allowance)
        try:
            async with asyncio.TaskGroup() as calls:
                async for message in connection:
                    await caller.slots.acquire()
                    calls.create_task(self._answer_one(connection, caller, message))
        except* (ConnectionClosed, TimeoutError):
            _log.debug("A client has disconnected.")
        finally:
            del self._callers[connection]

    async def _answer_one(self, connection: ServerConnection, caller: Caller, message: str | bytes) -> None:
        """Answers one message; one without a number ends the connection. Raises `ConnectionClosed`."""
        self._in_progress += 1
        try:
            if isinstance(message, str) or len(message) < messages.NUMBER.size:
                await connection.close(UNREADABLE, "messages must be binary and have a number")
                return
            client = self._client_of(connection.request)
            if client is None:
                await connection.close(UNREADABLE, "the token is not valid any more")
                return
            caller.client = client
            number, body = messages.split(message)
            answer = await self._calls.answer(caller, body)
            async with asyncio.timeout(self.settings.send_s):
                await connection.send(messages.numbered(number, answer))
        except TimeoutError:
            connection.transport.abort()  # It does not read: a closing handshake would take as long again.
        finally:
            self._in_progress -= 1
            caller.slots.release()

    def _client_of(self, request: Request | None) -> ClientRights | None:
        """Returns the client whose token a request has sent, None for none."""
        authorization = "" if request is None else request.headers.get("Authorization", "")
        if self._credentials is not None:
            return self._credentials.client_of(digest_of(given_token(authorization)))
        return ANYONE if self._access.admits(authorization) else None

    def _allowance_of(self, client: ClientRights) -> Allowance:
        """Returns the allowance that all connections of a client share, a new one for each that has no name."""
        settings, now_s = self.settings, asyncio.get_running_loop().time()
        new = Allowance(per_s=settings.events_per_s, most=settings.burst_events, now_s=now_s)
        return new if self._credentials is None else self._allowances.setdefault(client.name, new)

    def _end_oldest(self, client: ClientRights) -> None:
        """Ends the oldest connection of a client that has too many: perhaps its other end is gone."""
        own = [connection for connection, caller in self._callers.items() if caller.client.name == client.name]
        if self._credentials is not None and len(own) >= self.settings.connections_per_client:
            own[0].transport.abort()


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


@contextmanager
def listening(
    service: BankService,
    settings: SocketSettings = SocketSettings(),  # noqa: B008 - a frozen value
    access: Access = Access(),  # noqa: B008 - a frozen value
    credentials: Credentials | None = None,
) -> Iterator[SocketServer]:
    """Serves a bank in a thread of this process and yields the server. Raises as `SocketServer` and its `start`.

    Args:
        service: The owner of the bank.
        settings: The address and the limits.
        access: The token and TLS.
        credentials: The clients and what each may do, None where all that have the token are the same.
    """
    server = SocketServer(service, settings, access, credentials)
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
