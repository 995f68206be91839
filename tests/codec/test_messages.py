"""Requests and decisions survive the codec whole, without what only privileged policies may see."""

from dataclasses import replace

import msgpack
import numpy as np
import pytest

from embodied.codec import (
    action_spec_from_plain,
    action_spec_to_plain,
    decision_from_plain,
    decision_to_plain,
    decode,
    encode,
    observation_spec_from_plain,
    observation_spec_to_plain,
    request_from_plain,
    request_to_plain,
)
from embodied.errors import CodecError, SpecError
from embodied.specs import KEYFRAME, ActionSpec, Field, ObservationSpec
from embodied.testing.contract import difference
from embodied.types import (
    ActionChunk,
    CameraImage,
    Clock,
    ControllerReport,
    ControllerStatus,
    Decision,
    DeltaPose,
    Drive,
    GoTo,
    IntentFeedback,
    MemoryContext,
    Moment,
    MoveTo,
    Observation,
    Request,
    Skill,
    Truth,
    Wait,
)

DOWN = (1.0, 0.0, 0.0, 0.0)
RATED = ActionSpec("joints", (Field("arm", (2,), unit="rad", lower=(-1.0, -2.0), upper=1.0),), rate_hz=10.0)


def observation(time_s: float | None = 1.5, *, instance=None) -> Observation:
    draw = np.random.default_rng(0)
    image = CameraImage(
        draw.integers(0, 256, (4, 6, 3), dtype=np.uint8),
        draw.random((4, 6), dtype=np.float32),
        instance,
        np.eye(3),
        draw.random((4, 4)),
    )
    return Observation("arm", {"front": image, "wrist": image}, np.arange(5, dtype=np.float32), 0.25, time_s)


MOMENTS = (
    Moment(
        np.array([1.0, 0.0], np.float32),
        np.ones((3, 2), np.float32),
        "m-1",
        2.0,
        (0.0, 1.0, 2.0),
        "arm",
        "e",
        ("a",),
        3,
    ),
    Moment(np.array([0.0, 1.0]), None, "m-1", 2.0, (0.0, 1.0, 2.0), "arm", "e"),
)
REQUEST = Request(
    observation(),
    "put it back",
    3,
    2**63 - 1,
    memory=MemoryContext(MOMENTS),
    carry={"turn": 2, "state": np.arange(3)},
    feedback=IntentFeedback("MoveTo", ControllerStatus.FAILED, "out of reach"),
    clock=Clock.KEYFRAMES,
    visualisations=True,
)
DECISION = Decision(
    intents=(
        MoveTo((0.1, 0.2, 0.3), DOWN, gripper_open=True, avoid_collisions=False, end_effector="left"),
        DeltaPose((0.0, 0.0, 0.1), (0.0, 0.0, 0.5), gripper_open=False),
        Drive(0.1, 0.2, 1.0, lateral_mps=0.3),
        GoTo((1.0, 2.0)),
        GoTo((1.0, 2.0), 0.5),
        Skill("pick", {"object": "block", "grasps": (1, 2)}),
        Wait(0.5),
        ActionChunk(RATED, np.array([[0.5, -1.5], [0.0, 0.0]])),
        ActionChunk(KEYFRAME, np.zeros((1, 9), np.float32)),
    ),
    moments=MOMENTS,
    carry={"turn": 3},
    report=ControllerReport(ControllerStatus.DONE, "all done"),
    visualisations={"whole table": np.zeros((2, 3, 3), np.uint8)},
)


def sent(request: Request) -> Request:
    return request_from_plain(decode(encode(request_to_plain(request))))


def answered(decision: Decision) -> Decision:
    return decision_from_plain(decode(encode(decision_to_plain(decision))))


@pytest.mark.parametrize(
    "request_",
    [
        REQUEST,
        replace(REQUEST, history=(observation(0.5), REQUEST.observation)),
        replace(REQUEST, history=(REQUEST.observation,)),
        Request(observation(None), "", 0, 0),
    ],
)
def test_a_request_arrives_with_all_its_fields(request_):
    arrived = sent(request_)
    assert not difference(arrived, request_)
    assert type(arrived.clock) is Clock


@pytest.mark.parametrize("decision", [DECISION, Decision((Wait(1.0),)), Decision((), report=DECISION.report)])
def test_a_decision_arrives_with_all_its_fields_and_types(decision):
    arrived = answered(decision)
    assert not difference(arrived, decision)
    assert [type(intent) for intent in arrived.intents] == [type(intent) for intent in decision.intents]


@pytest.mark.parametrize(
    "request_",
    [
        replace(REQUEST, truth=Truth(None, None, None)),  # type: ignore[arg-type]
        replace(REQUEST, hint=MoveTo((0, 0, 0), DOWN, gripper_open=True)),
        replace(REQUEST, observation=observation(instance=np.zeros((4, 6), np.int32))),
        replace(REQUEST, history=(observation(instance=np.zeros((4, 6), np.int32)), REQUEST.observation)),
    ],
)
def test_truth_hints_and_instance_images_are_never_written(request_):
    with pytest.raises(CodecError, match="must hold n"):
        request_to_plain(request_)


def test_instance_images_in_a_message_are_not_read():
    plain = request_to_plain(REQUEST)
    plain["observation"]["images"]["front"]["instance"] = np.zeros((4, 6), np.int32)
    assert all(image.instance is None for image in request_from_plain(plain).observation.images.values())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("observation",), None),
        (("observation", "proprio"), np.zeros((2, 2), np.float32)),
        (("observation", "gripper"), "half"),
        (("observation", "robot"), 3),
        (("observation", "images", "front", "rgb"), np.zeros((4, 6), np.uint8)),
        (("observation", "images", "front", "rgb"), np.zeros((4, 6, 3), np.float32)),
        (("observation", "images", "front", "depth_m"), np.zeros((4, 5), np.float32)),
        (("observation", "images", "front", "intrinsics"), np.eye(4)),
        (("step",), 1.5),
        (("seed",), "7"),
        (("clock",), "sundial"),
        (("instruction",), b"bytes"),
        (("carry",), 3),
        (("carry",), {"a": [1]}),
        (("feedback",), {"intent": "MoveTo", "status": "lost"}),
        (("memory",), ({"embedding": 1},)),
        (("memory",), 5),
        (("visualisations",), 1),
    ],
)
def test_requests_of_wrong_types_and_shapes_are_refused(path, value):
    plain = request_to_plain(REQUEST)
    inner = plain
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    with pytest.raises(CodecError):
        request_from_plain(plain)


@pytest.mark.parametrize(
    "change",
    [
        {"intents": ({"type": "fly"},)},
        {"intents": ({"type": ["wait"]},)},
        {"intents": ({"type": "wait"},)},
        {"intents": ({"type": "wait", "duration_s": "long"},)},
        {"intents": ({"type": "move_to", "position_m": (0, 0), "orientation": DOWN, "gripper_open": True},)},
        {"intents": ({"type": "action_chunk", "space": {}, "values": np.zeros((1, 2))},)},
        {"intents": 3},
        {"moments": ({},)},
        {"carry": 3},
        {"report": {"status": "lost"}},
        {"visualisations": {"x": np.zeros((2, 2), np.uint8)}},
    ],
)
def test_malformed_decisions_are_refused(change):
    with pytest.raises(CodecError):
        decision_from_plain({**decision_to_plain(DECISION), **change})


def test_a_decision_whose_carry_cannot_cross_is_not_written():
    with pytest.raises(CodecError, match="mapping of names"):
        decision_to_plain(replace(DECISION, carry=7))  # type: ignore[arg-type]


def test_specs_arrive_equal_and_those_that_cannot_be_are_refused():
    for space in (KEYFRAME, RATED):
        assert action_spec_from_plain(decode(encode(action_spec_to_plain(space)))) == space
    for spec in (ObservationSpec(), ObservationSpec(("front",), (4, 6), history=3, rate_hz=5.0)):
        assert observation_spec_from_plain(decode(encode(observation_spec_to_plain(spec)))) == spec
    with pytest.raises(SpecError):
        action_spec_from_plain({**action_spec_to_plain(RATED), "rate_hz": -1.0})
    with pytest.raises(CodecError):
        action_spec_from_plain({"name": "joints"})


def test_messages_need_no_python_on_the_other_side():
    plain = msgpack.unpackb(encode(decision_to_plain(DECISION)), strict_map_key=False)
    assert plain["intents"][0]["type"] == "move_to"
    assert plain["intents"][6] == {"type": "wait", "duration_s": 0.5}
