"""One websocket to a policy server: its metadata, then strictly one answer per message, each by its deadline."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from socket import SHUT_RDWR
from typing import Any
from urllib.parse import urlsplit

from embodied.access import is_loopback, trusting
from embodied.codec import CodecLimits, decode, encode
from embodied.errors import CodecError, ConfigError, EmbodiedError, MissingDependencyError

try:
    from websockets.exceptions import InvalidStatus, WebSocketException
    from websockets.sync.client import ClientConnection, connect
except ModuleNotFoundError as missing:
    raise MissingDependencyError(
        "A policy behind a socket needs libraries of the extra 'serving'.",
        value=missing.name,
        remedy="pip install '.[serving]'",
    ) from missing

CLOSING_S = 0.5
LONGEST_REASON = 300
REFUSED_TOKEN = (401, 403)
CERTIFICATE = "tls_certificate of a remote policy"

_log = logging.Logger("websockets")  # A separate logger: the library's own may print headers, and so the token.
_log.addHandler(logging.NullHandler())


class ConnectionLostError(EmbodiedError):
    """The server is unreachable, has disconnected, or did not answer in time; another attempt may succeed."""

    usual_remedy = "Check that the server still runs."


class BadAnswerError(EmbodiedError):
    """The server sent an unusable answer."""

    usual_remedy = "Correct the policy server; nothing moved."


@dataclass(frozen=True)
class Address:
    """The address of a server, its timeouts, and the largest message.

    Attributes:
        url: ws://host:port or wss://host:port, perhaps with a path
        token: sent as `Authorization: Api-Key`, "" for none; never printed
        certificate: PEM text of a certificate that is trusted beside those of the system, "" for none
        connect_timeout_s: until the connection is open and the server's metadata has come
        answer_timeout_s: until a message is sent and its answer has come
        message_bytes: the longest answer that is read
    """

    url: str
    token: str = ""
    certificate: str = ""
    connect_timeout_s: float = 10.0
    answer_timeout_s: float = 60.0
    message_bytes: int = 64 * 2**20

    def __repr__(self) -> str:
        return f"Address({self.url!r})"

    def check(self, *, insecure: bool) -> None:
        """Raises `ConfigError` for an invalid URL, one with secrets, or a token that would cross a network in clear."""
        parts = urlsplit(self.url)
        remedy = "Write such as policy_options.remote.url=ws://127.0.0.1:8000."
        try:
            complete = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # The port is not a number.
            complete = False
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ConfigError(
                "The URL of a policy server must hold neither user, password, query nor fragment: it is written to "
                "reports.",
                value=f"{parts.scheme}://{parts.hostname}",
                remedy="Give a token by token_file or token_env.",
            )
        if not complete:
            raise ConfigError("A policy server must be named by ws:// or wss://, host and port.", value=self.url,
                              remedy=remedy)  # fmt: skip
        if self.token and parts.scheme == "ws" and not insecure and not is_loopback(parts.hostname or ""):
            raise ConfigError(
                "A token must not be sent unencrypted to another machine.",
                value=self.url,
                remedy="Use wss://, or set insecure=true in a network that you trust.",
            )


class Connection:
    """An open connection; `metadata` is the first message of the server.

    Raises `ConnectionLostError`, `BadAnswerError`, and `ConfigError` for a token that the server refuses.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._limits = CodecLimits(message_bytes=address.message_bytes)
        begun_s = time.monotonic()
        self._opened = ExitStack()
        self._socket = _open(address, self._opened)
        left_s = max(0.1, begun_s + address.connect_timeout_s - time.monotonic())
        try:
            with self._within(left_s, "its metadata"):
                stated = self._socket.recv(timeout=left_s)
            self.metadata = self._decoded(stated, what="The metadata of a policy server")
            if not isinstance(self.metadata, Mapping):
                raise BadAnswerError("The metadata of a policy server must be a map.", value=type(stated).__name__)
        except EmbodiedError:
            self.close()
            raise

    def exchange(self, message: Mapping[str, Any], *, text: bool = False) -> Mapping[str, Any]:
        """Sends `message` and returns the answer; with `text` a text answer is accepted too, as {"text": ...}.

        Raises `ConnectionLostError`, `BadAnswerError`, and `CodecError` for a message that cannot be sent.
        """
        content = encode(message, self._limits)
        limit_s = self._address.answer_timeout_s
        with self._within(limit_s, "its answer"):
            self._socket.send(content)
            answer = self._socket.recv(timeout=limit_s)
        if text and isinstance(answer, str):
            return {"text": answer}
        value = self._decoded(answer, what="The answer of a policy server")
        return value if isinstance(value, Mapping) else {"": value}  # DreamZero's servers answer with a bare array.

    def send(self, message: Mapping[str, Any]) -> None:
        """Sends `message`, which the server does not answer. Raises as `exchange`."""
        content = encode(message, self._limits)
        with self._within(self._address.answer_timeout_s, "to take a message"):
            self._socket.send(content)

    def close(self) -> None:
        """Closes it within half a second; calling it twice is harmless."""
        cut = threading.Timer(CLOSING_S, self._cut)
        cut.daemon = True
        cut.start()
        try:
            self._opened.close()
        except (WebSocketException, OSError):
            self._cut()
        finally:
            cut.cancel()

    def _decoded(self, answer: str | bytes, *, what: str) -> Any:
        if isinstance(answer, str):
            raise BadAnswerError(f"{what} must be a binary message; text reports an error.", value=last_line(answer))
        try:
            return decode(answer, self._limits)
        except CodecError as error:
            raise BadAnswerError(f"{what} must be msgpack as openpi writes it.", value=f"{error.rule} {error.value!r}"
                                 [:LONGEST_REASON]) from error  # fmt: skip

    @contextmanager
    def _within(self, limit_s: float, what: str) -> Iterator[None]:
        """Bounds the time of the block: a peer that reads slowly, or not at all, cannot block it."""
        cut = threading.Timer(limit_s, self._cut)
        cut.daemon = True
        begun_s = time.monotonic()
        cut.start()
        try:
            yield
        except TimeoutError as error:
            raise ConnectionLostError(f"A policy server must give {what} within {limit_s:g} s.") from error
        except (WebSocketException, OSError, EOFError) as error:
            if time.monotonic() - begun_s >= limit_s:
                raise ConnectionLostError(f"A policy server must give {what} within {limit_s:g} s.") from error
            raise ConnectionLostError(
                "A policy server must keep its connection open.", value=last_line(str(error) or type(error).__name__)
            ) from error
        finally:
            cut.cancel()

    def _cut(self) -> None:
        """Ends the connection at once: everything that waits for it, including senders, gets an error."""
        try:
            self._socket.socket.shutdown(SHUT_RDWR)
        except OSError:
            return  # It has ended already.


def last_line(text: str) -> str:
    """Returns the last line of a text from a server that is not empty: printable, and cut to a readable length."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    shown = "".join(sign if sign.isprintable() else "?" for sign in (lines[-1] if lines else ""))
    return shown[:LONGEST_REASON]


def _open(address: Address, opened: ExitStack) -> ClientConnection:
    """Returns a connection that `opened` closes."""
    headers = {"Authorization": f"Api-Key {address.token}"} if address.token else None
    try:
        waiting = connect(
            address.url,
            additional_headers=headers,
            compression=None,  # As in openpi; and a small message cannot expand to a large one.
            open_timeout=address.connect_timeout_s,
            close_timeout=CLOSING_S,
            ping_interval=None,  # openpi's servers answer no pings while they infer; answers have deadlines anyway.
            max_size=address.message_bytes,
            max_queue=2,
            proxy=None,
            logger=_log,
            ssl=trusting(address.certificate, CERTIFICATE) if address.url.startswith("wss:") else None,
        )
        return opened.enter_context(waiting)
    except InvalidStatus as error:
        status = error.response.status_code
        if status in REFUSED_TOKEN:
            raise ConfigError(
                "A policy server must accept the token.",
                value=f"HTTP {status} from {address.url}",
                remedy="Give the right one by token_file or token_env.",
            ) from None  # The cause holds headers.
        raise ConnectionLostError("A policy server must speak websocket.", value=f"HTTP {status} from {address.url}"
                                  ) from None  # fmt: skip
    except (WebSocketException, OSError, TimeoutError, EOFError) as error:
        raise ConnectionLostError(
            "A policy server must answer at its address.",
            value=f"{address.url}: {last_line(str(error) or type(error).__name__)}",
            remedy="Start it, or correct policy_options.remote.url.",
        ) from error
