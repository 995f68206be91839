"""One recorded episode on disk."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embodied.archive import read_archive, write_archive
from embodied.errors import DataError
from embodied.trajectory import Label, Trajectory, read_trajectory, write_trajectory
from embodied.types import CameraImage, MoveTo, Observation, Outcome

FINITE = st.floats(allow_nan=False, allow_infinity=False)
LABELS = st.builds(
    Label,
    **dict.fromkeys(["episode", "task", "tier", "split", "instruction", "target", "reason"], st.text(max_size=12)),
    variant=st.integers(0, 100),
    seed=st.integers(0, 2**63 - 1),
    candidates=st.lists(st.text(max_size=5), max_size=4).map(tuple),
    outcome=st.sampled_from(Outcome),
    reached=st.lists(st.text(max_size=5), max_size=4).map(tuple),
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
    width = draw(st.integers(0, 5))
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
    return Trajectory(
        label=draw(LABELS),
        robot="panda",
        proprio_names=tuple(f"q{index}" for index in range(width)),
        observations=tuple(draw(st.lists(observation, min_size=count, max_size=count))),
        intents=tuple(intents),
    )


def example():
    image = CameraImage(
        rgb=np.arange(24, dtype=np.uint8).reshape(2, 4, 3),
        depth_m=np.full((2, 4), 0.1, np.float32),
        instance=None,
        intrinsics=np.eye(3),
        world_from_camera=np.eye(4),
    )
    seen = Observation(robot="panda", images={"front": image}, proprio=np.zeros(2, np.float32), gripper=1.0, time_s=0.5)
    return Trajectory(
        label=Label("e", "t", "strict", 1, 2, "train", "do it", "a", ("a", "b"), Outcome.SUCCESS, "", ("moved",), "a"),
        robot="panda",
        proprio_names=("x", "y"),
        observations=(seen, replace(seen, time_s=None)),
        intents=(MoveTo((0.1, 0.2, 0.3), (0.0, 0.0, 0.0, 1.0), True, False),),
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


@settings(max_examples=60)
@given(trajectory=trajectories())
def test_a_trajectory_survives_the_disk_bit_for_bit(tmp_path_factory, trajectory):
    path = tmp_path_factory.mktemp("trajectory") / "e.npz"
    write_trajectory(path, trajectory)
    assert_equal(read_trajectory(path), trajectory)


def test_the_same_trajectory_gives_the_same_file(tmp_path):
    assert write_trajectory(tmp_path / "a", example()) == write_trajectory(tmp_path / "b", example())


def test_a_hidden_clock_stays_hidden(tmp_path):
    write_trajectory(tmp_path / "e.npz", example())
    assert [seen.time_s for seen in read_trajectory(tmp_path / "e.npz").observations] == [0.5, None]


def with_image(**changes):
    trajectory = example()
    seen = trajectory.observations[0]
    changed = replace(seen, images={"front": replace(seen.images["front"], **changes)})
    return replace(trajectory, observations=(changed, trajectory.observations[1]))


@pytest.mark.parametrize(
    ("trajectory", "message"),
    [
        (replace(example(), intents=()), "one observation before each intent"),
        (replace(example(), robot="kuka"), "the same robot through the same cameras"),
        (replace(example(), proprio_names=("x",)), r"'proprio' has shape \(2, 2\) instead of \(2, 1\)"),
        (with_image(instance=np.zeros((2, 4), np.int32)), "privileged"),
        (with_image(rgb=np.zeros((3, 3, 3), np.uint8)), "the same shape of 'rgb.front'"),
        (with_image(depth_m=np.full((2, 4), np.nan, np.float32)), "'depth_m.front' is not finite"),
        (with_image(depth_m=np.zeros((2, 4), np.float64)), "'depth_m.front' is float64"),
    ],
)
def test_what_does_not_fit_the_form_is_not_written(tmp_path, trajectory, message):
    with pytest.raises(DataError, match=message):
        write_trajectory(tmp_path / "e.npz", trajectory)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2, not .* version 1"),
        ({"schema": "other"}, "it is 'other'"),
        ({"keyframes": 3}, "instead of"),
        ({"keyframes": 0}, "instead of"),
        ({"keyframes": "two"}, "Expected `int`"),
        ({"cameras": ["front", "wrist"]}, "differ from the documented ones"),
        ({"surprise": 1}, "unknown field `surprise`"),
    ],
)
def test_a_header_that_does_not_fit_is_refused_with_the_name_of_the_file(tmp_path, change, message):
    write_trajectory(tmp_path / "e.npz", example())
    header, arrays = read_archive(tmp_path / "e.npz")
    write_archive(tmp_path / "e.npz", msgspec.json.encode(msgspec.json.decode(header) | change), arrays)
    with pytest.raises(DataError, match=message) as caught:
        read_trajectory(tmp_path / "e.npz")
    assert "e.npz" in str(caught.value)
