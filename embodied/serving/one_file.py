"""A client and a server of policies in one file, to be copied: Python 3.8 or later, numpy, msgpack and websockets.

It speaks openpi's protocol with sessions and resets, and needs nothing else of this project. A callable
becomes a server like this::

    import numpy as np
    from one_file import serve

    def policy(observation, memory):
        memory["frames"] = memory.get("frames", 0) + 1  # Empty at the beginning of each session.
        image, instruction = observation["observation/image"], observation["prompt"]
        return np.zeros((5, 7))  # Rows of actions.

    serve(policy, port=8000, name="mine", version="1", weights="sha256 of the weights")

and a client calls a server like this::

    with Client("ws://127.0.0.1:8000") as client:
        client.reset()
        actions = client.infer({"observation/image": image, "prompt": "put it back"})["actions"]
"""

from __future__ import annotations

import hmac
import inspect
import secrets
import ssl
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import msgpack
import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync import client as _client
from websockets.sync import server as _server

PROTOCOL = "embodied/1"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
MESSAGE_BYTES = 64 * 2**20
MOST_SESSIONS = 256
INTERNAL_ERROR = 1011
DTYPES = {
    order + kind + str(size)
    for kind, sizes in (("b", (1,)), ("i", (1, 2, 4, 8)), ("u", (1, 2, 4, 8)), ("f", (2, 4, 8)))
    for size in sizes
    for order in ("|", "<", ">")
    if size == 1 or order != "|"
}


class PolicyError(Exception):
    """A message cannot be encoded or decoded, or the other side has reported a failure."""


def pack(value):
    """Returns plain values and numpy arrays as bytes. Raises `PolicyError` for arrays of anything but numbers."""
    return msgpack.packb(value, default=_as_map, use_bin_type=True)


def unpack(content):
    """Returns the value of a message, with arrays that may be written to. Raises `PolicyError` if it is malformed."""
    try:
        return msgpack.unpackb(content, raw=False, object_hook=_from_map, max_ext_len=0)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise PolicyError(f"A message must be well-formed msgpack: {error}") from error


def _as_map(value):
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind not in "biuf" or value.dtype.itemsize > 8:
            raise PolicyError(f"An array must hold bools, integers or floats, not {value.dtype}.")
        little = value.astype(value.dtype.newbyteorder("<"), copy=False)
        if isinstance(value, np.generic):
            return {b"__npgeneric__": True, b"data": value.item(), b"dtype": little.dtype.str}
        return {
            b"__ndarray__": True,
            b"data": little.tobytes(),
            b"dtype": little.dtype.str,
            b"shape": list(value.shape),
        }
    raise PolicyError(f"A message cannot hold a {type(value).__name__}.")


def _from_map(found):
    value = {key.decode() if isinstance(key, bytes) else key: inner for key, inner in found.items()}
    if "__ndarray__" not in value and "__npgeneric__" not in value:
        return value
    dtype, data, shape = value.get("dtype"), value.get("data"), value.get("shape", [])
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise PolicyError(f"The dtype of an array must be that of bools, integers or floats, not {dtype!r}.")
    kind = np.dtype(dtype)
    native = kind.newbyteorder("=")
    if "__npgeneric__" in value:
        if not isinstance(data, (bool, int, float)):
            raise PolicyError("A scalar must be a plain number.")
        return native.type(data)
    lengths = isinstance(shape, list) and all(type(length) is int and 0 <= length < 2**31 for length in shape)
    if not lengths or len(shape) > 16:
        raise PolicyError("The shape of an array must list at most 16 lengths.")
    needed = kind.itemsize
    for length in shape:
        needed *= length
    if not isinstance(data, bytes) or len(data) != needed:
        raise PolicyError(f"An array {shape} of {dtype} must have {needed} bytes.")
    return np.frombuffer(data, kind).reshape(shape).astype(native) if needed else np.zeros(shape, native)


class Client:
    """A client of a policy server. `metadata` is the server's description of itself.

    It holds one session at a time: `reset` begins a new one, with an empty memory. `token` is sent as `Authorization:
    Api-Key`, to other machines only over `wss://`, unless `insecure`. `certificate` is a PEM file to trust, for a
    server whose certificate no authority has signed. `timeout_s` bounds each answer. Raises what `websockets` raises
    for an unreachable server, and `PolicyError` for an answer that reports a failure.
    """

    def __init__(  # noqa: PLR0913 - settings of one connection, all by name
        self, url, token="", *, timeout_s=60.0, connect_timeout_s=10.0, certificate="", insecure=False
    ):
        address = urlsplit(url)
        if token and address.scheme == "ws" and address.hostname not in LOOPBACK and not insecure:
            raise PolicyError("A token must not travel in the clear beyond this machine: use wss://, or insecure=True.")
        self._url = url
        self._certificate = certificate
        self._headers = {"Authorization": "Api-Key " + token} if token else None
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._open = ExitStack()
        self.session_id = ""
        self._connect()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def infer(self, observation):
        """Returns the answer to an observation, a dict of names to arrays and plain values: `actions` and others."""
        session = {"session_id": self.session_id} if self.session_id else {}
        return self._request({**observation, **session})

    def reset(self, episode_id=""):
        """Begins a session with an empty memory: by a reset if the server supports it, otherwise by a reconnection."""
        if not self.metadata.get("reset"):
            self._connect()
            return
        if self.metadata.get("sessions"):
            self.session_id = secrets.token_hex(8)
        answer = self._request({"reset": True, "session_id": self.session_id, "episode_id": episode_id})
        if answer.get("reset") is not True:
            raise PolicyError("A reset must be acknowledged.")

    def close(self):
        """Closes the connection; calling it twice is harmless."""
        self._open.close()

    def _connect(self):
        self.close()
        options = {
            "additional_headers": self._headers,
            "open_timeout": self._connect_timeout_s,
            "compression": None,
            "max_size": MESSAGE_BYTES,
        }
        if self._url.startswith("wss:"):
            trusted = ssl.create_default_context(cafile=self._certificate or None)
            options.update(_with_tls(_client.connect, trusted))
        if "proxy" in inspect.signature(_client.connect).parameters:  # Since websockets 15.
            options["proxy"] = None
        self._socket = self._open.enter_context(_client.connect(self._url, **options))
        self.metadata = self._received()

    def _request(self, message):
        self._socket.send(pack(message))
        return self._received()

    def _received(self):
        answer = self._socket.recv(timeout=self._timeout_s)
        if isinstance(answer, str):
            raise PolicyError(f"The server has failed: {answer.strip()}")
        return unpack(answer)


class _Sessions:
    """The memories of a server: one dict per session; the least recently used are dropped, and then refused."""

    def __init__(self):
        self._lock = threading.Lock()
        self._memories = OrderedDict()
        self._dropped = OrderedDict()

    def begin(self, key):
        with self._lock:
            self._dropped.pop(key, None)
            self._memories[key] = {}
            self._memories.move_to_end(key)
            while len(self._memories) > MOST_SESSIONS:
                self._dropped[self._memories.popitem(last=False)[0]] = None
            while len(self._dropped) > 100 * MOST_SESSIONS:
                self._dropped.popitem(last=False)

    def memory(self, key):
        with self._lock:
            if key in self._dropped:
                raise PolicyError(f"Session {key!r} was dropped: reset it.")
            known = key in self._memories
        if not known:
            self.begin(key)
        with self._lock:
            self._memories.move_to_end(key)
            return self._memories[key]

    def end(self, key):
        with self._lock:
            self._memories.pop(key, None)


class _Handler:
    """Answers the messages of all connections, one call of the policy at a time."""

    def __init__(self, policy, metadata, token):
        self._policy = policy
        self._metadata = metadata
        self._token = token.encode()
        self._sessions = _Sessions()
        self._thread = ThreadPoolExecutor(1)

    def __call__(self, connection):
        own = "#" + secrets.token_hex(8)
        try:
            connection.send(pack(self._metadata))
            for message in connection:
                future = self._thread.submit(self._answer, message, own)
                error = future.exception()
                if error is not None:  # As in openpi, a text message reports a failure and ends the connection.
                    connection.send(f"{type(error).__name__}: {error}")
                    connection.close(INTERNAL_ERROR, "the request failed")
                    return
                connection.send(future.result())
        except ConnectionClosed:
            return
        finally:
            self._sessions.end(own)

    def on_http(self, connection, request):
        """Answers health, and those without the token; None lets a websocket be opened."""
        if request.path == "/healthz":
            return connection.respond(200, "OK\n")
        given = request.headers.get("Authorization", "").rpartition(" ")[2]
        if self._token and not hmac.compare_digest(given.encode(), self._token):
            return connection.respond(401, "A valid token must be sent.\n")
        return None

    def close(self):
        self._thread.shutdown(wait=False)

    def _answer(self, message, own):
        if isinstance(message, str):
            raise PolicyError("A message must be binary.")
        observation = unpack(message)
        if not isinstance(observation, dict):
            raise PolicyError("A message must be a mapping.")
        session, episode = observation.pop("session_id", ""), observation.pop("episode_id", "")
        if not isinstance(session, str) or not isinstance(episode, str):
            raise PolicyError("session_id and episode_id must be texts.")
        if observation.pop("reset", False):
            self._sessions.begin(session or own)
            return pack({"reset": True, "reset_finished": True, "session_id": session, "episode_id": episode})
        answer = self._policy(observation, self._sessions.memory(session or own))
        return pack(dict(answer) if isinstance(answer, dict) else {"actions": np.asarray(answer)})


def _with_tls(function, context) -> dict[str, Any]:
    """Returns the argument for TLS, which has another name in websockets before 13."""
    return {"ssl" if "ssl" in inspect.signature(function).parameters else "ssl_context": context}


def _tls(certificate, key):
    if not certificate and not key:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key or None)
    except OSError as error:
        raise PolicyError(f"certificate and key must be PEM files that belong together: {error}") from error
    return context


@contextmanager
def serving(  # noqa: PLR0913 - settings of one server, all by name
    policy, *, host="127.0.0.1", port=0, token="", certificate="", key="", insecure=False, **stated
):
    """Serves in a thread; yields the URL. See `serve` for `policy, host, port, token, certificate, key, insecure`."""
    if host not in LOOPBACK and not (token and certificate) and not insecure:
        raise PolicyError(
            "A server that other machines can reach must have a token and a certificate; "
            "insecure=True serves without, in a network that you trust."
        )
    tls = _tls(certificate, key)
    known = {"protocol": PROTOCOL, "sessions": True, "reset": True, "memory": True, "name": "policy"}
    handler = _Handler(policy, {**known, **stated}, token)
    with _server.serve(
        handler,
        host,
        port,
        process_request=handler.on_http,
        compression=None,
        max_size=MESSAGE_BYTES,
        origins=[None],
        **_with_tls(_server.serve, tls),
    ) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            name, number = server.socket.getsockname()[:2]
            scheme = "ws" if tls is None else "wss"
            yield f"{scheme}://[{name}]:{number}" if ":" in name else f"{scheme}://{name}:{number}"
        finally:
            server.shutdown()
            thread.join()
            handler.close()


def serve(  # noqa: PLR0913 - settings of one server, all by name
    policy, *, host="127.0.0.1", port=8000, token="", certificate="", key="", insecure=False, **stated
):
    """Serves a callable until it is interrupted.

    `policy(observation, memory)` returns rows of actions, or a dict that holds them as `actions`. `memory` is a dict of
    its session, empty at first. `host` and `port` are the address. With `certificate` and `key`, PEM files, clients use
    `wss://`. Other machines are served only with a `token` and a certificate, or with `insecure` in a network that you
    trust; take the token from a file or an environment variable. `stated` are `name`, `version` and `weights` (a
    digest) of the policy: runs are resumed only if these are equal.
    """
    with serving(
        policy, host=host, port=port, token=token, certificate=certificate, key=key, insecure=insecure, **stated
    ) as url:
        print(f"Serving {stated.get('name', 'policy')} at {url}", flush=True)  # noqa: T201 - it is a program of its own
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return
