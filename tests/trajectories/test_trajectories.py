"""One recorded episode on disk."""

import pickle
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embodied.errors import DataError, EmbodiedError, UnknownNameError
from embodied.specs import KEYFRAME
from embodied.trajectories import (
    Label,
    goal_to_json,
    keyframe_trajectory,
    open_trajectory,
    read_trajectory,
    write_trajectory,
)
from embodied.trajectories.container import Container, write_container
from embodied.types import CameraImage, Choice, MoveTo, Observation, Outcome

FINITE = st.floats(allow_nan=False, allow_infinity=False)
LABELS = st.builds(
    Label,
    **dict.fromkeys(["episode", "task", "tier", "split", "instruction", "reason"], st.text(max_size=12)),
    variant=st.integers(0, 100),
    seed=st.integers(0, 2**63 - 1),
    goal=st.dictionaries(st.text(max_size=5), st.text(max_size=5) | st.lists(st.text(max_size=5)), max_size=3),
    outcome=st.sampled_from(Outcome),
    reached=st.lists(st.text(max_size=5), max_size=4).map(tuple),
    robots=st.just(("panda",)),
    choice=st.none() | st.text(max_size=5),
)
INTENTS = st.builds(
    MoveTo,
    position_m=st.tuples(FINITE, FINITE, FINITE),
    orientation=st.tuples(FINITE, FINITE, FINITE, FINITE),
    gripper_open=st.booleans(),
    avoid_collisions=st.booleans(),
)


def images(height, width):
    return st.builds(
        CameraImage,
        rgb=hnp.arrays(np.uint8, (height, width, 3)),
        depth_m=hnp.arrays(
            np.float32, (height, width), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)
        ),
        instance=st.none(),
        intrinsics=hnp.arrays(np.float64, (3, 3), elements=FINITE),
        world_from_camera=hnp.arrays(np.float64, (4, 4), elements=FINITE),
    )


@st.composite
def trajectories(draw):
    sizes = draw(
        st.dictionaries(st.sampled_from(["front", "wrist", "left_shoulder"]), st.tuples(*[st.integers(1, 4)] * 2))
    )
    width = draw(st.integers(1, 5))
    intents = draw(st.lists(INTENTS, max_size=4))
    observation = st.builds(
        Observation,
        robot=st.just("panda"),
        images=st.fixed_dictionaries({name: images(*size) for name, size in sizes.items()}),
        proprio=hnp.arrays(np.float32, (width,), elements=st.floats(-8, 8, width=32)),
        gripper=st.floats(0, 1),
        time_s=st.none() | st.floats(0, 100),
    )
    count = len(intents) + 1
    return keyframe_trajectory(
        draw(LABELS),
        "panda",
        [f"q{index}" for index in range(width)],
        draw(st.lists(observation, min_size=count, max_size=count)),
        intents,
    )


def observed(**changes):
    image = CameraImage(
        rgb=np.arange(24, dtype=np.uint8).reshape(2, 4, 3),
        depth_m=np.full((2, 4), 0.1, np.float32),
        instance=None,
        intrinsics=np.eye(3),
        world_from_camera=np.eye(4),
    )
    image = replace(image, **changes)
    return Observation(robot="panda", images={"front": image}, proprio=np.zeros(2, np.float32), gripper=1.0, time_s=0.5)


def example(*, robot="panda", proprio_names=("x", "y"), first=None, intents=1):
    goal = goal_to_json(Choice(("a", "b"), "a"))
    return keyframe_trajectory(
        Label("e", "t", "strict", 1, 2, "train", "do it", goal, Outcome.SUCCESS, "", ("moved",), "a", ("panda",)),
        robot,
        proprio_names,
        (first or observed(), replace(observed(), time_s=None)),
        (MoveTo((0.1, 0.2, 0.3), (0.0, 0.0, 0.0, 1.0), True, False),) * intents,
    )


def assert_equal(left, right):
    assert (left.label, left.robot, left.proprio_names) == (right.label, right.robot, right.proprio_names)
    assert left.intents == right.intents
    assert len(left.observations) == len(right.observations)
    for one, other in zip(left.observations, right.observations, strict=True):
        assert (one.robot, one.gripper, one.time_s) == (other.robot, other.gripper, other.time_s)
        assert one.images.keys() == other.images.keys()
        assert (one.proprio.dtype, one.proprio.tobytes()) == (other.proprio.dtype, other.proprio.tobytes())
        for name in one.images:
            for part in ("rgb", "depth_m", "intrinsics", "world_from_camera"):
                first, second = getattr(one.images[name], part), getattr(other.images[name], part)
                assert (first.dtype, first.shape) == (second.dtype, second.shape)
                assert first.tobytes() == second.tobytes()


@settings(max_examples=40)
@given(trajectory=trajectories())
def test_a_trajectory_survives_the_disk_bit_for_bit(tmp_path_factory, trajectory):
    path = tmp_path_factory.mktemp("trajectory") / "e.npz"
    write_trajectory(path, trajectory)
    assert_equal(read_trajectory(path), trajectory)


def test_the_same_trajectory_gives_the_same_file(tmp_path):
    first = write_trajectory(tmp_path / "a", example())
    travelled = pickle.loads(pickle.dumps(example()))  # As Ray sends it from a worker.
    assert first == write_trajectory(tmp_path / "b", example()) == write_trajectory(tmp_path / "c", travelled)


def test_a_hidden_clock_stays_hidden(tmp_path):
    write_trajectory(tmp_path / "e.npz", example())
    assert [seen.time_s for seen in read_trajectory(tmp_path / "e.npz").observations] == [0.5, None]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"intents": 0}, "one observation before each action"),
        ({"robot": "kuka"}, "the same robot through the same cameras"),
        ({"proprio_names": ("x",)}, "name each of its entries"),
        ({"first": observed(instance=np.zeros((2, 4), np.int32))}, "privileged"),
        ({"first": observed(rgb=np.zeros((3, 3, 3), np.uint8))}, "the same shape of 'observation.rgb.front'"),
        (
            {"first": observed(depth_m=np.full((2, 4), np.nan, np.float32))},
            "depth_m.front' must be finite",
        ),
        ({"first": observed(depth_m=np.zeros((2, 4), np.float64))}, r"'observation.depth_m.front' must be float32"),
    ],
)
def test_what_does_not_fit_the_form_is_no_trajectory(made, message):
    with pytest.raises(EmbodiedError, match=message):
        example(**made)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 3}, "version 3, not .* version 2 or before"),
        ({"schema": "other"}, "it is 'other'"),
        ({"rows": {"observation": 3, "action": 2}}, "has 2 rows instead of 3"),
        ({"rows": {"observation": 2, "action": 0}}, "has 1 rows instead of 0"),
        ({"rows": "two"}, "Expected `object`"),
        ({"features": []}, "must declare proprioception"),
        ({"codecs": {}}, "differ from the declared"),
        ({"spaces": []}, "the actions of its spaces"),
        ({"surprise": 1}, "unknown field `surprise`"),
    ],
)
def test_a_header_that_does_not_fit_is_refused_with_the_name_of_the_file(tmp_path, change, message):
    path = tmp_path / "e.npz"
    write_trajectory(path, example())
    container = Container(path)
    arrays = {name: container.array(name) for name in container.arrays}
    frames = {name: container.frames(name, range(container.count(name))) for name in container.columns}
    write_container(path, msgspec.json.encode(msgspec.json.decode(container.header) | change), arrays, frames)
    with pytest.raises(DataError, match=message) as caught:
        read_trajectory(path)
    assert "e.npz" in str(caught.value)


# --- Damage -----------------------------------------------------------------------------------------------------------


def content_of(trajectory):
    return trajectory.label, {
        feature.name: trajectory.column(feature.name).tobytes() for feature in trajectory.features
    }


@given(data=st.data())
@settings(max_examples=60)
def test_a_changed_byte_is_found_or_changes_nothing(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("trajectory") / "e.npz"
    write_trajectory(path, example())
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        read = read_trajectory(path)
    except DataError as error:
        assert "e.npz" in str(error)
    else:
        assert content_of(read) == content_of(example())


@settings(max_examples=20)
@given(kept=st.floats(0, 0.999))
def test_a_truncated_file_is_refused(tmp_path_factory, kept):
    path = tmp_path_factory.mktemp("trajectory") / "e.npz"
    write_trajectory(path, example())
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match=r"e\.npz"):
        open_trajectory(path).check()


def test_a_frame_that_was_altered_is_refused_when_it_is_read_and_not_before(tmp_path):
    path = tmp_path / "e.npz"
    write_trajectory(path, example())
    container = Container(path)
    coded = container.frames("observation.rgb.front", [1])[0]
    content = bytearray(path.read_bytes())
    content[content.rindex(coded) + len(coded) // 2] ^= 1
    path.write_bytes(content)
    reader = open_trajectory(path)
    assert len(reader.read([0], ["observation.rgb.front"])["observation.rgb.front"]) == 1
    with pytest.raises(DataError, match=r"the checksum of row 1 of 'observation\.rgb\.front'"):
        reader.read([1], ["observation.rgb.front"])
    with pytest.raises(DataError, match=r"e\.npz"):
        reader.check()


# --- Parts ------------------------------------------------------------------------------------------------------------


def test_features_that_are_unknown_and_rows_that_are_not_there_are_refused_by_name(tmp_path):
    write_trajectory(tmp_path / "e.npz", example())
    reader = open_trajectory(tmp_path / "e.npz")
    assert (len(reader), reader.spaces) == (2, (KEYFRAME,))
    with pytest.raises(UnknownNameError, match=r"Did you mean 'observation\.rgb\.front'"):
        reader.read([0], ["observation.rgb.frnt"])
    for row in (1, -1):
        with pytest.raises(IndexError, match=r"'action.keyframe' must lie in \[0, 1\)"):
            reader.read([row], ["action.keyframe"])


def test_numpy_alone_can_open_a_recording(tmp_path):
    write_trajectory(tmp_path / "e.npz", example())
    with np.load(tmp_path / "e.npz", allow_pickle=False) as opened:
        np.testing.assert_array_equal(opened["observation.gripper"], [1.0, 1.0])
