"""Messages between clients and a server, as plain values that `embodied.codec` encodes.

At first the server sends its metadata: `protocol`, `name`, `version`, `weights`, `sessions`, `reset`, `memory`,
`observation_spec`, `action_spec`, `observation_keys`, `instance`. Then each message of a client gets one answer:

| client sends | server answers |
|---|---|
| `request` (as `codec.request_to_plain` writes it), ids | `decision`, `session_id`, `server_timing` |
| an observation under the flat `observation_keys`, as openpi's clients send it | `actions`, `server_timing` |
| `reset`: true, ids | `reset`: true, `reset_finished`: true, ids |

The ids are `session_id` and `episode_id`; `actions` is float32 (rows, size of the action space).
Without `session_id` the connection is the session. A reset begins a session with an empty memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from embodied.codec import (
    action_spec_to_plain,
    decision_to_plain,
    observation_spec_to_plain,
    request_from_plain,
    request_to_plain,
)
from embodied.errors import CodecError
from embodied.protocols import Policy, ResettableMemory
from embodied.seeding import derive_seed
from embodied.specs import KEYFRAME, ActionSpec
from embodied.trajectories.trajectory import action_from_move_to
from embodied.types import ActionChunk, Decision, MoveTo, Observation, Request

PROTOCOL = "embodied/1"
SESSION, EPISODE, RESET, REQUEST, DECISION = "session_id", "episode_id", "reset", "request", "decision"
LONGEST_ID = 200
CAMERA_PARTS = ("rgb", "depth_m", "intrinsics", "world_from_camera")
STATE_KEYS = ("observation/proprio", "observation/gripper", "prompt")


@dataclass(frozen=True)
class Identity:
    """The identity of a served policy: results of equal identities are comparable.

    Attributes:
        name: of the policy, such as `sam2act_plus`
        version: of the code
        weights: the digest of its weights, or of its settings where it has none
    """

    name: str
    version: str
    weights: str


@dataclass(frozen=True, eq=False)
class ClientMessage:
    """A message of a client. `request` is None for a reset; `own` is whether it was sent in our encoding."""

    session: str
    episode: str
    request: Request | None
    own: bool = True


def metadata(policy: Policy, identity: Identity, *, instance: str) -> dict[str, Any]:
    """Returns the first message of the server.

    Args:
        policy: The served policy, whose declarations are sent.
        identity: Its name, version and weights.
        instance: A text that differs whenever a server starts, with empty memories.
    """
    cameras = policy.observation_spec.cameras
    named = cameras if cameras is not None else ("CAMERA",)
    return {
        "protocol": PROTOCOL,
        "name": identity.name,
        "version": identity.version,
        "weights": identity.weights,
        "instance": instance,
        "sessions": True,
        "reset": True,
        "memory": isinstance(policy, ResettableMemory),
        "observation_spec": observation_spec_to_plain(policy.observation_spec),
        "action_spec": action_spec_to_plain(policy.action_spec),
        "observation_keys": (*(f"observation/{name}/{part}" for name in named for part in CAMERA_PARTS), *STATE_KEYS),
    }


def parsed(message: object, *, decisions: int) -> ClientMessage:
    """Returns a client's message; `decisions` of its session give the step of an observation in openpi's format.

    Raises `CodecError` for messages that are neither requests nor resets.
    """
    if not isinstance(message, Mapping):
        raise CodecError("A message to a policy server must be a mapping.", value=type(message).__name__)
    session, episode = session_of(message)
    if RESET in message:
        if message[RESET] is not True:
            raise CodecError("A reset must be `reset`: true.", value=message[RESET])
        return ClientMessage(session, episode, None)
    if REQUEST in message:
        return ClientMessage(session, episode, replace(request_from_plain(message[REQUEST]), carry=None))
    return ClientMessage(session, episode, flat_request(message, episode or session, decisions), own=False)


def session_of(message: Mapping[str, Any]) -> tuple[str, str]:
    """Returns the ids of session and episode, "" for missing ones. Raises `CodecError` for ids that are not text."""
    found = []
    for name in (SESSION, EPISODE):
        value = message.get(name, "")
        if not isinstance(value, str) or len(value) > LONGEST_ID:
            raise CodecError(f"{name} must be a text of at most {LONGEST_ID} characters.", value=f"{value!r:.80}")
        found.append(value)
    return found[0], found[1]


def acknowledged(asked: ClientMessage) -> dict[str, Any]:
    """Returns the answer to a reset, with our keys and those of RoboMME's servers."""
    return {RESET: True, "reset_finished": True, SESSION: asked.session, EPISODE: asked.episode}


def answered(
    asked: ClientMessage, decision: Decision, space: ActionSpec, timing: Mapping[str, float]
) -> dict[str, Any]:
    """Returns the answer to a request, without the carry, which stays with the session.

    Args:
        asked: The request.
        decision: The decision on it.
        space: The action space of the policy.
        timing: Milliseconds by name, sent as `server_timing`.

    Raises:
        CodecError: For intents that cannot be encoded, and, if the client expects openpi's format, for intents that are
            not actions of `space`.
    """
    if not asked.own:
        return {"actions": actions_of(decision, space), "server_timing": dict(timing)}
    plain = decision_to_plain(replace(decision, carry=None))
    return {DECISION: plain, SESSION: asked.session, "server_timing": dict(timing)}


def flat_request(message: Mapping[str, Any], stream: str, decisions: int) -> Request:
    """Returns the request of an observation under flat keys; other keys are ignored.

    Args:
        message: The message of the client.
        stream: The name of the session, from which the seed of the request is drawn.
        decisions: The number of earlier decisions in the session.
    """
    images: dict[str, dict[str, Any]] = {}
    for key, value in message.items():
        prefix, _, rest = key.partition("/")
        camera, _, part = rest.rpartition("/")
        if prefix == "observation" and camera and part in CAMERA_PARTS:
            images.setdefault(camera, {})[part] = value
    for image in images.values():
        rgb = image.get("rgb")
        if "depth_m" not in image and isinstance(rgb, np.ndarray):
            image["depth_m"] = np.zeros(rgb.shape[:2], np.float32)  # Zero stands for unknown.
    gripper = np.asarray(message.get("observation/gripper", 0.0)).reshape(-1)
    if gripper.dtype.kind not in "fiub" or len(gripper) != 1:
        raise CodecError("observation/gripper must be one number.", value=str(gripper.dtype))
    blank = request_to_plain(Request(Observation("", {}, np.zeros(0, np.float32), float(gripper[0]), None), "", 0, 0))
    proprio = message.get("observation/proprio", np.zeros(0))
    observation = {
        **blank["observation"],
        "robot": message.get("robot", ""),
        "images": {name: _as_ours(image) for name, image in images.items()},
        "proprio": np.asarray(proprio, np.float32) if isinstance(proprio, np.ndarray) else proprio,
    }
    given = {
        "observation": observation,
        "instruction": message.get("prompt", ""),
        "step": message.get("step", decisions),
        "seed": message.get("seed", derive_seed(0, "serving", stream, decisions)),
    }
    return request_from_plain({**blank, **given})


def _as_ours(image: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the parts of an image with our float precision: other clients send float32 or float64."""
    wanted = {"depth_m": np.float32, "intrinsics": np.float64, "world_from_camera": np.float64}
    return {
        part: value.astype(wanted[part])
        if part in wanted and isinstance(value, np.ndarray) and value.dtype.kind == "f"
        else value
        for part, value in image.items()
    }


def actions_of(decision: Decision, space: ActionSpec) -> np.ndarray:
    """Returns the intents of a decision as rows (rows, size) float32 of `space`. Raises `CodecError` for any other."""
    rows = [_action_rows(intent, space) for intent in decision.intents]
    return np.concatenate([np.zeros((0, space.size)), *rows]).astype(np.float32)


def _action_rows(intent: object, space: ActionSpec) -> Sequence[np.ndarray] | np.ndarray:
    if isinstance(intent, ActionChunk) and intent.space == space:
        return intent.values
    if isinstance(intent, MoveTo) and space == KEYFRAME:
        return [action_from_move_to(intent)]
    raise CodecError(
        f"A decision must hold actions of the space {space.name!r} to be sent as rows.",
        value=type(intent).__name__,
        remedy="Send `request` in the encoding of `embodied.codec`; the answer then holds any intent.",
    )
