"""Policy servers of the tests: one that speaks every dialect over a small policy with a memory, and one that lies.

The policy adds up what it has seen in a session, so that each answer depends on all requests before it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import msgpack
import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from embodied.codec import (
    action_spec_to_plain,
    decision_to_plain,
    decode,
    encode,
    observation_spec_to_plain,
    request_from_plain,
)
from embodied.protocols import Policy
from embodied.specs import KEYFRAME, ObservationSpec
from embodied.types import Decision, MoveTo

OURS = {
    "protocol": "embodied/1", "sessions": True, "reset": True, "name": "adder", "version": "1", "weights": "ab12",
    "observation_spec": observation_spec_to_plain(ObservationSpec(cameras=("front",))),
    "action_spec": action_spec_to_plain(KEYFRAME),
}  # fmt: skip


def pack(value: object) -> bytes:
    """Returns openpi's encoding, written here once more so that client and test share no code."""

    def default(one):
        if isinstance(one, np.ndarray):
            return {b"__ndarray__": True, b"data": one.tobytes(), b"dtype": one.dtype.str, b"shape": one.shape}
        raise TypeError(type(one))

    return msgpack.packb(value, default=default)


def unpack(content: bytes) -> dict:
    def hook(found):
        if b"__ndarray__" in found:
            return np.ndarray(buffer=found[b"data"], dtype=np.dtype(found[b"dtype"]), shape=found[b"shape"])
        return found

    return msgpack.unpackb(content, object_hook=hook)


def summed(message: object, seen: float) -> float:
    """Returns the memory of the policy after a request: all arrays in it, added up and mixed."""
    return (0.5 * seen + sum(float(np.asarray(one, np.float64).mean()) for one in arrays(message))) % 1.0


def arrays(value: object) -> Iterator[np.ndarray]:
    """Yields the arrays of a message, in the order of their keys."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            yield from arrays(value[key])
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from arrays(inner)


@dataclass
class Log:
    """What a server was asked, and how often it was connected to and reset."""

    messages: list = field(default_factory=list)
    connections: int = 0
    resets: int = 0
    headers: list = field(default_factory=list)


@dataclass(eq=False)
class PolicyServer:
    """A server of `dialect`; `metadata` is sent first, and `before` may interfere with each answer."""

    dialect: str = "openpi"
    metadata: dict = field(default_factory=dict)
    width: int = 7
    rows: int = 8
    before: Callable[["PolicyServer", ServerConnection, dict], bool] | None = None
    log: Log = field(default_factory=Log)
    seen: float = 0.0  # One memory for all connections, as most servers have it.
    by_session: dict = field(default_factory=dict)

    def handle(self, socket: ServerConnection) -> None:
        self.log.connections += 1
        self.log.headers.append(socket.request.headers)
        seen_here = 0.0
        try:
            socket.send(encode(self.metadata))
            for content in socket:
                message = unpack(content)
                if self.before is not None and self.before(self, socket, message):
                    continue
                if "reset" in message or message.get("endpoint") == "reset":
                    self._reset(socket, message)
                    continue
                self.log.messages.append(message)
                if self.dialect == "openpi":
                    seen = seen_here = summed(message, seen_here)
                elif self.dialect == "embodied":
                    seen = summed(message, self.by_session.get(message["session_id"], 0.0))
                    self.by_session[message["session_id"]] = seen
                else:
                    seen = self.seen = summed(message, self.seen)
                socket.send(self._answer_to(message, seen))
        except ConnectionClosed:
            return

    def _answer_to(self, message: dict, seen: float) -> bytes:
        if self.dialect != "embodied":
            return pack({"actions": self.actions(seen), "server_timing": {"infer_ms": 0.1}})
        keyframe = MoveTo((0.3 + 0.1 * seen, 0.0, 1.0), (1.0, 0.0, 0.0, 0.0), gripper_open=True)
        return encode({"decision": decision_to_plain(Decision((keyframe,)))})

    def actions(self, seen: float) -> np.ndarray:
        return np.full((self.rows, self.width), 0.2 * seen, np.float32)

    def _reset(self, socket: ServerConnection, message: dict) -> None:
        self.log.resets += 1
        self.seen = 0.0
        if self.dialect == "robomme":
            socket.send(pack({"reset_finished": True}))
        elif self.dialect == "roboarena":
            socket.send("reset successful")
        elif self.dialect == "embodied":
            self.by_session[message["session_id"]] = 0.0
            socket.send(pack({"reset": True, "session_id": message["session_id"]}))


class ServingPolicy(PolicyServer):
    """Serves a policy of ours in sessions, its carries kept by session, as `embodied.codec` writes requests."""

    def __init__(self, policy: Policy, **stated: object) -> None:
        specs = {
            "observation_spec": observation_spec_to_plain(policy.observation_spec),
            "action_spec": action_spec_to_plain(policy.action_spec),
        }
        super().__init__("embodied", {**OURS, **specs, **stated})
        self._policy = policy
        self._carries: dict = {}

    def _answer_to(self, message: dict, seen: float) -> bytes:
        session = message["session_id"]
        request = replace(request_from_plain(decode(encode(message["request"]))), carry=self._carries.get(session))
        (decision,) = self._policy.act([request])
        self._carries[session] = decision.carry
        return encode({"decision": decision_to_plain(replace(decision, carry=None))})


@contextmanager
def running(handler: Callable[[ServerConnection], None], port: int = 0) -> Iterator[str]:
    """Serves `handler` on loopback while the context is open, and yields its URL."""
    open_sockets = []

    def handled(socket: ServerConnection) -> None:
        open_sockets.append(socket)
        handler(socket)

    server: Server = serve(handled, "127.0.0.1", port, compression=None, max_size=None)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
    finally:
        server.shutdown()
        thread.join()
        for socket in open_sockets:
            socket.close_socket()
