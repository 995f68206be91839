"""A policy that remembers, and what clients of a server are made of."""

import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.sync.client import ClientConnection, connect

from embodied.codec import decision_from_plain, decode, encode, request_to_plain
from embodied.serving import Access, Identity, PolicyServer, ServingSettings, serving
from embodied.specs import KEYFRAME, ObservationSpec
from embodied.types import CameraImage, Decision, Moment, MoveTo, Observation, Request

IDENTITY = Identity("counting", "1", "sha")
NOBODY_REFUSED = Access()
DOWN = (1.0, 0.0, 0.0, 0.0)
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")


@dataclass
class Counting:
    """Moves to x = 0.1 times the number of requests that its memory holds, this one included.

    It goes on from moments where it has no carry. An instruction `fail` raises, `bad carry` returns one that cannot
    cross, `slow` takes a while.
    """

    pause_s: float = 0.0
    seen: list[Request] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    privileged = False
    stateless = True
    action_spec = KEYFRAME
    observation_spec = ObservationSpec(cameras=("front",))

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        self.batches.append(len(requests))
        self.seen += requests
        time.sleep(self.pause_s)
        return [self._decide(request) for request in requests]

    def _decide(self, request: Request) -> Decision:
        if request.instruction == "fail":
            raise RuntimeError("no such thing")
        if request.instruction == "slow":
            time.sleep(0.3)
        count = len(request.memory.moments) if request.carry is None else request.carry["count"]
        moment = Moment(
            np.array([1.0, 0.0], np.float32),
            np.full((1, 2), count, np.float32),
            "counting-1",
            0.0,
            (0.0, 0.0, 0.0),
            "arm",
            "",
            step=count,
        )
        carry: Any = {"count": count + 1} if request.instruction != "bad carry" else {"count": object()}
        return Decision((MoveTo((0.1 * (count + 1), 0.0, 0.5), DOWN, gripper_open=True),), (moment,), carry)

    def wiped(self, carry: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**carry, "count": 0}

    def swapped(self, carry: Mapping[str, Any], donor: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**carry, "count": donor["count"]}


@dataclass(frozen=True)
class Built:
    """Builds one policy, always the same."""

    policy: Any

    def build(self) -> Any:
        return self.policy


@contextmanager
def served(
    policy: Any = None, access: Access = NOBODY_REFUSED, moments: Any = None, **settings: Any
) -> Iterator[PolicyServer]:
    chosen = ServingSettings(**{"port": 0, "window_s": 0.002, "drain_s": 2.0, **settings})
    with serving(Built(policy or Counting()), IDENTITY, chosen, access, moments) as server:
        yield server


@contextmanager
def client(server: PolicyServer, **options: Any) -> Iterator[ClientConnection]:
    """A connection that has read the metadata."""
    with connect(server.url, compression=None, open_timeout=5, close_timeout=1, **options) as connection:
        decode(received(connection))
        yield connection


def received(connection: ClientConnection) -> bytes:
    message = connection.recv(timeout=20)
    assert isinstance(message, bytes), message
    return message


def asked(connection: ClientConnection, message: Mapping[str, Any]) -> Mapping[str, Any]:
    connection.send(encode(message))
    return decode(received(connection))


def request(instruction: str = "go", *, step: int = 0, px: int = 4) -> Request:
    image = CameraImage(np.zeros((px, px, 3), np.uint8), np.ones((px, px), np.float32), None, np.eye(3), np.eye(4))
    return Request(Observation("arm", {"front": image}, np.zeros(3, np.float32), 1.0, 0.0), instruction, step, seed=7)


def counted(connection: ClientConnection, session: str = "", instruction: str = "go") -> int:
    """Asks once, and returns how many requests the memory of the session holds."""
    ids = {"session_id": session} if session else {}
    answer = asked(connection, {"request": request_to_plain(request(instruction)), **ids})
    (intent,) = decision_from_plain(answer["decision"]).intents
    assert isinstance(intent, MoveTo)
    return round(intent.position_m[0] / 0.1)


def refusal(connection: ClientConnection, message: bytes | str) -> str:
    """Sends a message that the server must refuse, and returns its words, after which the connection is closed."""
    connection.send(message)
    words = connection.recv(timeout=20)
    assert isinstance(words, str), words
    return words


def made_certificate(folder: Path) -> tuple[Path, Path]:
    """Writes a certificate for 127.0.0.1 that no authority has signed, and its key, and returns their files."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-out", certificate, "-keyout", key),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key
