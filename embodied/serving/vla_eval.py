"""Policies as model servers of vla-eval (PyPI): its envelope, its arrays and images, one action per observation.

Clients connect to the path `/vla-eval` and send the first message. Messages are maps of `type`, `payload`, `seq` and
`timestamp`: a hello and an observation are answered under the same `seq`, the beginning and the end of an episode are
not. Observations have `images` by camera, `task_description` and `states`; values under our own flat keys
(`serving.messages`) are read as well. A chunk of actions is sent row by row.
"""

import asyncio
import io
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgpack
import numpy as np
from PIL import Image

from embodied.codec import CodecLimits, decode
from embodied.codec.arrays import ARRAY, from_map
from embodied.errors import CodecError, EmbodiedError
from embodied.serving.batching import Decided
from embodied.serving.messages import Identity, actions_of, flat_request
from embodied.specs import ActionSpec, ObservationSpec
from embodied.types import Request

PATH = "/vla-eval"
PROTOCOL_VERSION = 1
HELLO, OBSERVATION, ACTION, ERROR = "hello", "observation", "action", "error"
EPISODE_START, EPISODE_END = "episode_start", "episode_end"
IMAGE, FORMATS = "__image__", {"png": "PNG", "jpeg": "JPEG"}
MOST_PIXELS = 2**24
LONGEST_ERROR = 500


class Decide(Protocol):
    """Decides in the session of one connection."""

    def __call__(self, read: Callable[[int], Request]) -> Awaitable[Decided]:
        """Returns the decision on the request that `read` makes from the number of earlier decisions."""
        ...


class VlaEvalConversation:
    """The handler of one client of vla-eval. `begin` empties the memory of its session, `decide` decides in it."""

    def __init__(
        self,
        identity: Identity,
        specs: tuple[ObservationSpec, ActionSpec],
        limits: CodecLimits,
        *,
        begin: Callable[[], None],
        decide: Decide,
    ) -> None:
        self._identity = identity
        self._observation_spec, self._space = specs
        self._limits = limits
        self._begin = begin
        self._decide = decide
        self._rows: deque[np.ndarray] = deque()
        self._episode = ""

    async def answer(self, message: str | bytes) -> bytes | None:
        """Returns the answer to a message, None if it needs none; failures are answered too."""
        seq = 0
        try:
            kind, payload, seq = self._read(message)
            call = self._answered(kind, payload)
        except EmbodiedError as error:
            return _packed(ERROR, {"error": f"{type(error).__name__}: {error}"[:LONGEST_ERROR]}, seq)
        (found,) = await asyncio.gather(call, return_exceptions=True)
        if isinstance(found, BaseException):
            return _packed(ERROR, {"error": f"{type(found).__name__}: {found}"[:LONGEST_ERROR]}, seq)
        return None if found is None else _packed(*found, seq)

    def _read(self, message: str | bytes) -> tuple[str, Mapping[str, Any], int]:
        if isinstance(message, str):
            raise CodecError("A message must be binary msgpack.", value=message[:80])
        plain = decode(message, self._limits)
        if not isinstance(plain, Mapping) or not isinstance(plain.get("payload"), Mapping):
            raise CodecError("A message of vla-eval must be a map with `type`, `payload`, `seq` and `timestamp`.")
        seq = plain.get("seq", 0)
        return str(plain.get("type")), plain["payload"], seq if isinstance(seq, int) else 0

    async def _answered(self, kind: str, payload: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
        if kind == HELLO:
            return HELLO, self._hello()
        if kind == EPISODE_START:
            self._begin()
            self._rows.clear()
            self._episode = repr(payload.get("task"))
            return None
        if kind == OBSERVATION:
            if not self._rows:
                decided = await self._decide(lambda step: self._request(payload, step))
                self._rows.extend(actions_of(decided.decision, self._space))
            return ACTION, {"actions": _array(self._rows.popleft())}
        if kind in (EPISODE_END, ERROR):
            return None
        raise CodecError("The type of a message of vla-eval must be one that clients send.", value=kind[:80])

    def _hello(self) -> dict[str, Any]:
        return {
            "harness_version": self._identity.version,
            "protocol_version": PROTOCOL_VERSION,
            "model_server": self._identity.name,
            "capabilities": {},
            "action_spec": {"actions": {"name": "actions", "dims": self._space.size, "format": self._space.name}},
            "observation_spec": {
                "image": {"name": "image", "dims": 0, "format": "rgb_hwc_uint8"},
                "language": {"name": "language", "dims": 0, "format": "language"},
            },
        }

    def _request(self, payload: Mapping[str, Any], step: int) -> Request:
        shown = payload.get("images", {})
        if not isinstance(shown, Mapping):
            raise CodecError("`images` of an observation must be a map by camera.", value=type(shown).__name__)
        images = {name: _image(image) for name, image in shown.items()}
        wanted = self._observation_spec.cameras
        if wanted is not None and not set(wanted) <= images.keys():  # Unknown names are assigned in their order.
            images = dict(zip(wanted, images.values(), strict=False))
        flat: dict[str, Any] = {"prompt": payload.get("task_description", "")}
        for name, rgb in images.items():
            # NaN stands for unknown, so that a policy that needs these values does not continue with a guess.
            unknown = {"intrinsics": np.full((3, 3), np.nan), "world_from_camera": np.full((4, 4), np.nan)}
            flat |= {f"observation/{name}/{part}": value for part, value in {"rgb": rgb, **unknown}.items()}
        states = payload.get("states", payload.get("state"))
        if states is not None:
            flat["observation/proprio"] = _vector(states)
        own = {
            key: _image(value) for key, value in payload.items() if key.startswith("observation/") or key == "prompt"
        }
        return flat_request({**flat, **own}, self._episode, step)


def _image(value: object) -> object:
    """Returns an image, decoded if it is compressed. Raises `CodecError`, before decoding, for one too large."""
    if not isinstance(value, Mapping) or IMAGE not in value:
        return value
    form, data, shape = value.get("format"), value.get("data"), value.get("shape")
    if form == "raw" and isinstance(data, bytes):
        return from_map({ARRAY: True, "data": data, "dtype": "|u1", "shape": shape}, most_bytes=len(data))
    if not isinstance(form, str) or form not in FORMATS or not isinstance(data, bytes):
        raise CodecError(f"A compressed image must be one of {['raw', *FORMATS]}.", value=f"{form!r:.40}")
    try:
        with Image.open(io.BytesIO(data), formats=[FORMATS[form]]) as image:
            if image.width * image.height > MOST_PIXELS:
                raise CodecError(f"An image must have at most {MOST_PIXELS} pixels.", value=image.size)
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CodecError("A compressed image must be whole.", value=f"{error!s:.80}") from error


def _vector(states: object) -> np.ndarray:
    try:
        return np.asarray(states, np.float32).reshape(-1)
    except (TypeError, ValueError) as error:
        raise CodecError("`states` of an observation must be numbers.", value=f"{states!r:.80}") from error


def _array(row: np.ndarray) -> dict[str, Any]:
    """Returns an array in vla-eval's form, whose keys are text."""
    row = np.ascontiguousarray(row, "<f4")
    return {ARRAY: True, "data": row.tobytes(), "dtype": row.dtype.str, "shape": list(row.shape)}


def _packed(kind: str, payload: Mapping[str, Any], seq: int) -> bytes:
    return msgpack.Packer().pack({"type": kind, "payload": dict(payload), "seq": seq, "timestamp": time.time()})
