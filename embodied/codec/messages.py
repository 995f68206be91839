"""Requests and decisions as plain values, with all of their fields but those that only privileged policies see."""

from typing import Any

import numpy as np

from embodied.codec.fields import built, field_of, mapping, require_array, sequence, shallow
from embodied.codec.intents import intent_from_plain, intent_to_plain
from embodied.codec.values import require_carry
from embodied.errors import CodecError
from embodied.types import (
    CameraImage,
    Clock,
    ControllerReport,
    Decision,
    IntentFeedback,
    MemoryContext,
    Moment,
    Observation,
    Request,
)

CAMERA_MATRIX, CAMERA_POSE = (3, 3), (4, 4)


def request_to_plain(request: Request) -> dict[str, Any]:
    """Returns a request as plain values. The last observation of its history, which is its own, is written once.

    Raises `CodecError` for a request that holds truth, a hint or instance images: they never leave the process.
    """
    if request.truth is not None or request.hint is not None:
        raise CodecError(
            "A request between processes must hold neither truth nor hints.",
            value="truth" if request.hint is None else "hint",
            remedy="Play privileged policies and the oracle control in the process of the simulator.",
        )
    return {
        "observation": _observation_to_plain(request.observation),
        "history": tuple(_observation_to_plain(past) for past in request.history[:-1]),
        "has_history": bool(request.history),
        "instruction": request.instruction,
        "step": request.step,
        "seed": request.seed,
        "clock": request.clock.value,
        "memory": tuple(moment_to_plain(moment) for moment in request.memory.moments),
        "carry": request.carry,
        "feedback": None if request.feedback is None else shallow(request.feedback),
        "visualisations": request.visualisations,
    }


def request_from_plain(plain: object) -> Request:
    """Returns a request. Raises `CodecError` for missing fields and for values of the wrong type or shape."""
    found = mapping(plain, "request")
    observation = _observation_from_plain(field_of(found, "observation", "request"), "request.observation")
    past = [
        _observation_from_plain(one, "request.history") for one in sequence(found.get("history", ()), "request.history")
    ]
    has_history = built(bool, found.get("has_history", False), "request.has_history")
    carry = found.get("carry")
    require_carry(carry)
    return Request(
        observation=observation,
        history=(*past, observation) if has_history else (),
        instruction=built(str, field_of(found, "instruction", "request"), "request.instruction"),
        step=built(int, field_of(found, "step", "request"), "request.step"),
        seed=built(int, field_of(found, "seed", "request"), "request.seed"),
        clock=built(Clock, found.get("clock", Clock.SECONDS.value), "request.clock"),
        memory=MemoryContext(
            tuple(moment_from_plain(one) for one in sequence(found.get("memory", ()), "request.memory"))
        ),
        carry=carry,
        feedback=_optional(IntentFeedback, found.get("feedback"), "request.feedback"),
        visualisations=built(bool, found.get("visualisations", False), "request.visualisations"),
    )


def decision_to_plain(decision: Decision) -> dict[str, Any]:
    """Returns a decision as plain values. Raises `CodecError` for intents and carries that cannot cross."""
    require_carry(decision.carry)
    return {
        "intents": tuple(intent_to_plain(intent) for intent in decision.intents),
        "moments": tuple(moment_to_plain(moment) for moment in decision.moments),
        "carry": decision.carry,
        "report": None if decision.report is None else shallow(decision.report),
        "visualisations": decision.visualisations,
    }


def decision_from_plain(plain: object) -> Decision:
    """Returns a decision. Raises `CodecError` for missing fields and for values of the wrong type or shape."""
    found = mapping(plain, "decision")
    carry = found.get("carry")
    require_carry(carry)
    images = mapping(found.get("visualisations", {}), "decision.visualisations")
    return Decision(
        intents=tuple(
            intent_from_plain(one) for one in sequence(field_of(found, "intents", "decision"), "decision.intents")
        ),
        moments=tuple(moment_from_plain(one) for one in sequence(found.get("moments", ()), "decision.moments")),
        carry=carry,
        report=_optional(ControllerReport, found.get("report"), "decision.report"),
        visualisations={
            name: require_array(image, f"decision.visualisations.{name}", dtype="uint8", shape=(None, None, 3))
            for name, image in images.items()
        },
    )


def moment_to_plain(moment: Moment) -> dict[str, Any]:
    """Returns a moment as plain values."""
    return shallow(moment)


def moment_from_plain(plain: object) -> Moment:
    """Returns a moment. Raises `CodecError` for malformed fields."""
    moment = built(Moment, plain, "moment")
    floats = moment.embedding.dtype.kind == "f" and (moment.tokens is None or moment.tokens.dtype.kind == "f")
    if not floats or moment.embedding.ndim != 1 or (moment.tokens is not None and moment.tokens.ndim != 2):
        raise CodecError(
            "A moment must have an embedding (D,), and tokens (N, D) or None, of floats.",
            value=(moment.embedding.shape, getattr(moment.tokens, "shape", None)),
        )
    return moment


def _observation_to_plain(observation: Observation) -> dict[str, Any]:
    return {
        **shallow(observation),
        "images": {name: _image_to_plain(name, image) for name, image in observation.images.items()},
    }


def _image_to_plain(name: str, image: CameraImage) -> dict[str, np.ndarray]:
    if image.instance is not None:
        raise CodecError(
            "An observation between processes must hold no instance images.",
            value=name,
            remedy="Remove them with `rollout.requests.without_instances`.",
        )
    plain = shallow(image)
    del plain["instance"]
    return plain


def _observation_from_plain(plain: object, path: str) -> Observation:
    found = mapping(plain, path)
    images = mapping(field_of(found, "images", path), f"{path}.images")
    seen = {name: _image_from_plain(image, f"{path}.images.{name}") for name, image in images.items()}
    observation = built(Observation, {**found, "images": seen}, path)
    require_array(observation.proprio, f"{path}.proprio", dtype="float32", shape=(None,))
    return observation


def _image_from_plain(plain: object, path: str) -> CameraImage:
    found = mapping(plain, path)
    rgb = require_array(found.get("rgb"), f"{path}.rgb", dtype="uint8", shape=(None, None, 3))
    return CameraImage(
        rgb=rgb,
        depth_m=require_array(found.get("depth_m"), f"{path}.depth_m", dtype="float32", shape=rgb.shape[:2]),
        instance=None,
        intrinsics=require_array(found.get("intrinsics"), f"{path}.intrinsics", dtype="float64", shape=CAMERA_MATRIX),
        world_from_camera=require_array(
            found.get("world_from_camera"), f"{path}.world_from_camera", dtype="float64", shape=CAMERA_POSE
        ),
    )


def _optional(kind: type[Any], plain: object, path: str) -> Any:
    return None if plain is None else built(kind, plain, path)
