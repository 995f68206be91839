"""The websocket server of one policy, with endpoints for health and metrics."""

import asyncio
import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from itertools import count
from typing import Any

from embodied.access import Access
from embodied.codec import CodecLimits, decode, encode
from embodied.errors import CodecError, ConfigError, EmbodiedError, MissingDependencyError
from embodied.rollout.builders import PolicyBuilder
from embodied.rollout.episode_policies import is_stateless
from embodied.serving.batching import Batcher, Decided
from embodied.serving.messages import ClientMessage, Identity, acknowledged, answered, metadata, parsed, session_of
from embodied.serving.metrics import Metrics
from embodied.serving.moments import SessionMoments
from embodied.serving.sessions import Session, Sessions
from embodied.serving.settings import ServingSettings
from embodied.serving.vla_eval import PATH as VLA_EVAL
from embodied.serving.vla_eval import VlaEvalConversation
from embodied.types import Request

try:
    from websockets.asyncio.server import Server, ServerConnection, serve
    from websockets.exceptions import ConnectionClosed
    from websockets.http11 import Request as HttpRequest
    from websockets.http11 import Response
except ModuleNotFoundError as missing:
    raise MissingDependencyError(
        "Serving a policy needs libraries of the extra 'serving'.",
        value=missing.name,
        remedy="pip install '.[serving]'",
    ) from missing

HEALTH, METRICS = ("/healthz", "/health"), "/metrics"
INTERNAL_ERROR, GOING_AWAY = 1011, 1001
SEND_S = 60.0
MOST_VALUES = 20_000  # Of one message: decoding more of them would delay other clients.
QUEUED_MESSAGES = 1
LONGEST_ERROR = 1000
MILLI = 1000.0

_log = logging.getLogger(__name__)
_library_log = logging.Logger("websockets")  # A separate logger: the library's own may print headers.
_library_log.addHandler(logging.NullHandler())


class ServerRefusedError(EmbodiedError):
    """The server cannot start: its address cannot be used, or its policy cannot be served."""

    usual_remedy = "Choose another host or port."


class PolicyServer:
    """Serves the policy that `builder` builds; `start` and `stop` run in one event loop.

    A policy that declares `stateless` decides for all sessions, whose requests share batches; otherwise each session
    gets its own instance. Inference runs in threads outside the event loop, so that a slow policy delays neither pings
    nor health checks. `moments` stores the memory of named sessions in a bank. Raises `ConfigError` for a policy that
    needs the truth: it can only be played in the process of the simulator.
    """

    def __init__(
        self,
        builder: PolicyBuilder,
        identity: Identity,
        settings: ServingSettings,
        access: Access = Access(),  # noqa: B008 - a frozen value
        moments: SessionMoments | None = None,
    ) -> None:
        policy = builder.build()
        if policy.privileged:
            raise ConfigError(
                "A policy that must be shown the truth cannot be served: truth never leaves its process.",
                value=identity.name,
                remedy="Play it where the simulator runs.",
            )
        self.settings = settings
        self._builder = builder
        self._shared = policy if is_stateless(policy) else None
        self._identity = identity
        self._observation_spec = policy.observation_spec
        self._space = policy.action_spec
        self._access = access
        self._moments = moments
        self._limits = CodecLimits(message_bytes=settings.message_bytes, values=MOST_VALUES)
        self._metadata = encode(metadata(policy, identity, instance=secrets.token_hex(8)), self._limits)
        self._sessions = Sessions(settings) if moments is None else Sessions(settings, moments.recall)
        self._connected: set[ServerConnection] = set()
        self._numbers = count(1)
        self._in_progress = 0
        self.metrics = Metrics(
            {
                "connections": lambda: len(self._connected),
                "sessions": lambda: len(self._sessions),
                "session_bytes": lambda: self._sessions.size,
            }
        )
        self._batcher: Batcher | None = None
        self._server: Server | None = None

    @property
    def url(self) -> str:
        """The address of the server; only after `start`."""
        assert self._server is not None
        host, port = next(iter(self._server.sockets)).getsockname()[:2]
        scheme = "ws" if self._access.certificate is None else "wss"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    async def start(self) -> None:
        """Begins to listen. Raises `ServerRefusedError` where the address cannot be used, `ConfigError` for TLS."""
        settings, tls = self.settings, self._access.tls()
        self._batcher = Batcher(
            window_s=settings.window_s,
            most=settings.batch,
            threads=settings.threads,
            clients=lambda: len(self._connected),
            metrics=self.metrics,
        )
        try:
            self._server = await serve(
                self._converse,
                settings.host,
                settings.port,
                ssl=tls,
                process_request=self._on_http,
                origins=[None],  # No page in a browser may use it.
                compression=None,  # As in openpi; and a small message cannot expand to a large one.
                max_size=settings.message_bytes,
                max_queue=QUEUED_MESSAGES,
                server_header=None,
                logger=_library_log,
            )
        except OSError as error:
            await self._batcher.close()
            raise ServerRefusedError(
                "A server must be able to listen at its address.",
                value=f"{settings.host}:{settings.port}",
                remedy=f"{error.strerror or error}. Choose another host or port; port=0 takes any free one.",
            ) from error

    async def stop(self) -> None:
        """Refuses new connections, lets requests in progress end within `drain_s`, and closes all connections."""
        assert self._server is not None
        assert self._batcher is not None
        self._server.close(close_connections=False)
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self.settings.drain_s
        while self._in_progress and loop.time() < until_s:
            await asyncio.sleep(0.01)
        await self._batcher.close()
        closing = [connection.close(GOING_AWAY, "the server stops") for connection in self._connected]
        await asyncio.gather(*closing, return_exceptions=True)
        await self._server.wait_closed()

    def _on_http(self, connection: ServerConnection, request: HttpRequest) -> Response | None:
        """Answers requests for health and metrics and refuses unauthorised clients; None accepts the websocket."""
        path = _path(request)
        if path in HEALTH:
            return connection.respond(HTTPStatus.OK, "OK\n")
        if not self._access.admits(request.headers.get("Authorization", "")):
            self.metrics.refused_connections["token"] += 1
            return connection.respond(HTTPStatus.UNAUTHORIZED, "A valid token must be sent: Authorization: Api-Key.\n")
        if path == METRICS:
            return connection.respond(HTTPStatus.OK, self.metrics.text())
        if len(self._connected) >= self.settings.connections:
            self.metrics.refused_connections["full"] += 1
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections are open.\n")
        return None

    async def _converse(self, connection: ServerConnection) -> None:
        """Serves one client until it disconnects, with exactly one answer per message."""
        own = f"#{next(self._numbers)}"
        self._connected.add(connection)
        try:
            if _path(connection.request) == VLA_EVAL:
                answer_to = self._vla_eval(own).answer
            else:
                answer_to = partial(self._answer, own=own)
                await self._send(connection, self._metadata)
            async for message in connection:
                self._in_progress += 1
                self.metrics.bytes["in"] += len(message)
                try:
                    answer = await answer_to(message)
                    if answer is not None:
                        await self._send(connection, answer)
                finally:
                    self._in_progress -= 1
                if isinstance(answer, str):  # As in openpi, an error is a text message and ends the connection.
                    await connection.close(INTERNAL_ERROR, "the request failed")
        except (ConnectionClosed, TimeoutError):
            _log.debug("A client has disconnected.")
        finally:
            self._connected.discard(connection)
            self._sessions.end(own)

    async def _send(self, connection: ServerConnection, answer: bytes | str) -> None:
        async with asyncio.timeout(SEND_S):  # A client that does not read is disconnected.
            await connection.send(answer)
        self.metrics.bytes["out"] += len(answer)

    async def _answer(self, message: str | bytes, own: str) -> bytes | str:
        """Returns the answer to a message: a text if it failed."""
        (answer,) = await asyncio.gather(self._decided(message, own), return_exceptions=True)
        if isinstance(answer, bytes):
            self.metrics.requests["ok"] += 1
            return answer
        if isinstance(answer, EmbodiedError):
            self.metrics.requests["refused"] += 1
            return f"{type(answer).__name__}: {answer}"[:LONGEST_ERROR]
        self.metrics.requests["failed"] += 1
        if isinstance(answer, asyncio.CancelledError):
            return "The server stops."
        _log.error("The policy has failed.", exc_info=answer)
        return f"The policy has failed: {type(answer).__name__}: {answer}"[:LONGEST_ERROR]

    async def _decided(self, message: str | bytes, own: str) -> bytes:
        if isinstance(message, str):
            raise CodecError("A message to a policy server must be binary msgpack.", value=message[:80])
        plain = decode(message, self._limits)
        key = (session_of(plain)[0] if isinstance(plain, dict) else "") or own
        if isinstance(plain, dict) and "reset" in plain:
            return encode(self._reset(parsed(plain, decisions=0), key, bound=key == own), self._limits)
        session = self._sessions.found(key, bound=key == own)
        asked = parsed(plain, decisions=session.decisions)
        assert asked.request is not None
        decided = await self._decision(session, asked.request)
        timing = {
            "infer_ms": MILLI * decided.infer_s,
            "wait_ms": MILLI * decided.wait_s,
            "batch": decided.batch,
        }
        return encode(answered(asked, decided.decision, self._space, timing), self._limits)

    def _reset(self, asked: ClientMessage, key: str, *, bound: bool) -> dict[str, Any]:
        self._sessions.begin(key, episode=asked.episode, bound=bound)
        if self._moments is not None and not bound:
            self._moments.begin(key)
        return acknowledged(asked)

    async def _decision(self, session: Session, request: Request) -> Decided:
        """Returns the decision in a session, which keeps the carry; a bank stores its moments."""
        assert self._batcher is not None
        with self._sessions.deciding(session):
            policy = session.policy if self._shared is None else self._shared
            if policy is None:
                policy = session.policy = await self._batcher.build(self._builder)
            decided = await self._batcher.decide(session.asked(request), policy)
            step = session.decisions
            session.keep(decided.decision)
            if self._moments is not None and not session.bound:
                await asyncio.to_thread(self._moments.store, session.key, request, decided.decision, step=step)
        return decided

    def _vla_eval(self, own: str) -> VlaEvalConversation:
        """Returns the handler of a client of vla-eval, whose session is its connection."""

        async def decide(read: Callable[[int], Request]) -> Decided:
            session = self._sessions.found(own, bound=True)
            decided = await self._decision(session, read(session.decisions))
            self.metrics.requests["ok"] += 1
            return decided

        def begin() -> None:
            self._sessions.begin(own, episode="", bound=True)

        specs = self._observation_spec, self._space
        return VlaEvalConversation(self._identity, specs, self._limits, begin=begin, decide=decide)


def _path(request: HttpRequest | None) -> str:
    return "" if request is None else request.path.partition("?")[0]


@contextmanager
def serving(
    builder: PolicyBuilder,
    identity: Identity,
    settings: ServingSettings,
    access: Access = Access(),  # noqa: B008 - a frozen value
    moments: SessionMoments | None = None,
) -> Iterator[PolicyServer]:
    """Serves a policy in a thread of this process and yields the server.

    Args:
        builder: Builds the policy.
        identity: What the server states of it.
        settings: The address and the limits.
        access: The token and TLS.
        moments: Stores the memory of named sessions in a bank, None for no bank.

    Raises as `PolicyServer` and its `start`.
    """
    server = PolicyServer(builder, identity, settings, access, moments)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="policy server", daemon=True)
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
