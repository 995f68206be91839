"""From folders of demonstrations to batches: what is refused, what is reached how often, what augmentation moves."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from embodied.errors import ConfigError, DataError, UnknownNameError
from embodied.evaluation.dataset_index import INDEX_FILE
from embodied.geometry import invert, pose_from_matrix, rotation_matrix, transform_points
from embodied.seeding import stream
from embodied.specs import KEYFRAME
from embodied.trajectories import open_trajectory, read_trajectory
from embodied.trajectories.container import Container
from policies.training.augmentation import Augmentation, move_world
from policies.training.config import AugmentationConfig, SamplingConfig
from policies.training.dataset import SequenceDataset
from policies.training.episodes import EpisodeStore, decode, find_recordings
from policies.training.sampler import Sampler, cut
from tests.policies.training.demonstrations import CAMERAS, trajectory, two_tasks, write_demonstrations
from tests.policies.training.learners import WORKSPACE_M

GOLDEN = Path(__file__).parents[2] / "golden/ec2eb94/demonstrations"


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory):
    return two_tasks(tmp_path_factory.mktemp("demonstrations"))


def dataset(folder, sampling=None, augmentation=None, *, memory_bytes=2**24, seed=0):
    sampling = sampling or SamplingConfig(held_out=0.0)
    recordings = find_recordings([folder], sampling, KEYFRAME).train
    return SequenceDataset(
        EpisodeStore(recordings, CAMERAS, memory_bytes=memory_bytes),
        sampling,
        tokenise=lambda text: np.array([len(word) for word in text.split()]),
        augmentation=Augmentation(augmentation, WORKSPACE_M) if augmentation else None,
        seed=seed,
    )


def same(left, right):
    return left.keys() == right.keys() and all(bool((left[name] == right[name]).all()) for name in left)


# --- What is found ----------------------------------------------------------------------------------------------------


def test_what_is_found_is_reported_and_split_by_task(demonstrations):
    found = find_recordings([demonstrations], SamplingConfig(held_out=0.2), KEYFRAME)
    assert Counter(recording.task for recording in found.train) == {"stack/strict": 5, "press/strict": 5}
    assert Counter(recording.task for recording in found.held_out) == {"stack/strict": 1, "press/strict": 1}
    assert found.features.image_px == {"front": (8, 8), "wrist": (8, 8)}
    assert (found.features.longest, found.features.tasks) == (6, ("press/strict", "stack/strict"))
    intents = np.concatenate([recording.intents_m for recording in (*found.train, *found.held_out)])
    assert np.allclose(found.features.intent_low_m, intents.min(axis=0))


def test_the_same_demonstrations_elsewhere_or_listed_twice_are_the_same_data(demonstrations, tmp_path):
    copy = two_tasks(tmp_path)
    ours, theirs, both = (
        find_recordings(folders, SamplingConfig(), KEYFRAME)
        for folders in ([demonstrations], [copy], [copy, demonstrations])
    )
    assert ours.features.digest == theirs.features.digest == both.features.digest
    assert len(both.train) == len(ours.train)
    assert find_recordings([copy], SamplingConfig(tasks=["stack"]), KEYFRAME).features.digest != ours.features.digest


@pytest.mark.parametrize(
    ("made", "settings", "error", "printed"),
    [
        ({}, {"tasks": ["stak"]}, UnknownNameError, "Did you mean 'stack'"),
        ({}, {"split": "test"}, DataError, "must be of the split 'test'"),
        ({"split": "test"}, {}, DataError, "must be of the split 'train'"),
        ({"complete": False}, {}, DataError, "must be complete"),
        ({"episodes": 0}, {}, DataError, "must be demonstrations to learn from"),
        ({"episodes": 1}, {"held_out": 0.5}, ConfigError, "Both splits of stack/strict must hold an episode"),
    ],
)
def test_a_missing_or_empty_split_is_refused(tmp_path, made, settings, error, printed):
    episodes = made.pop("episodes", 2)
    write_demonstrations(tmp_path, [trajectory(seed=seed) for seed in range(episodes)], **made)
    with pytest.raises(error, match=printed):
        find_recordings([tmp_path], SamplingConfig(**settings), KEYFRAME)


@pytest.mark.parametrize(
    ("odd", "printed"),
    [
        ({"px": 16}, "the same cameras"),
        ({"cameras": ("front",)}, "the same cameras"),
        ({"proprio": ("tool_x_m", "tool_y_m")}, "the same proprioception"),
    ],
)
def test_demonstrations_that_differ_are_refused_by_name(tmp_path, odd, printed):
    write_demonstrations(tmp_path, [trajectory(seed=0), trajectory(seed=1, **odd)])
    with pytest.raises(DataError, match=f"must have {printed}.*1.npz"):
        find_recordings([tmp_path], SamplingConfig(), KEYFRAME)


def test_an_index_that_is_missing_is_refused(tmp_path):
    with pytest.raises(DataError, match=f"readable index.*{INDEX_FILE}.*There is none. Give a folder"):
        find_recordings([tmp_path], SamplingConfig(), KEYFRAME)


def test_old_demonstrations_give_the_same_batch_as_their_copies_in_format_2(tmp_path):
    copied = read_trajectory(GOLDEN / "put_block_back/strict/0.npz")
    write_demonstrations(tmp_path, [copied])
    assert Container(tmp_path / "put_block_back/strict/0.npz").columns
    old, new = (dataset(folder) for folder in (GOLDEN, tmp_path))
    left, right = (data.batch([data.whole(0, 0)]) for data in (old, new))
    assert left["rgb"].shape == (1, 12, 2, 32, 32, 3)
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype
        assert left[name].numpy().tobytes() == right[name].numpy().tobytes()


def test_demonstrations_of_another_action_space_are_refused_by_folder_and_by_file(demonstrations):
    joints = replace(KEYFRAME, name="joint_position")
    with pytest.raises(DataError, match=r"space that the policy learns, 'joint_position'.* with keyframe"):
        find_recordings([demonstrations], SamplingConfig(), joints)
    with pytest.raises(DataError, match=r"'keyframe'\..*press/strict/0.npz with keyframe.* fields and rate count"):
        find_recordings([demonstrations], SamplingConfig(), replace(KEYFRAME, rate_hz=10.0))


@pytest.mark.parametrize("harm", ["flip", "truncate", "swap", "remove"])
def test_a_damaged_demonstration_is_named_when_it_is_first_read(tmp_path, harm):
    two_tasks(tmp_path, episodes=2)
    path, other = (tmp_path / f"press/strict/{seed}.npz" for seed in (1, 0))
    data = dataset(tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    match harm:
        case "flip":
            path.write_bytes(content)
        case "truncate":
            path.write_bytes(content[: len(content) // 2])
        case "swap":
            path.write_bytes(other.read_bytes())
        case "remove":
            path.unlink()
    with pytest.raises(DataError, match=r"press/strict/1\.npz"):
        for step in range(4):
            data.batch(data.sampler.batch(step, 2))


# --- What is reached --------------------------------------------------------------------------------------------------


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    window=st.integers(1, 6),
    stride=st.sampled_from([1, 2, 3]),
    seed=st.integers(0, 99),
)
def test_every_keyframe_is_reached_equally_often(lengths, window, stride, seed):
    sampling = SamplingConfig(sequence_length=window * stride, sequence_stride=stride)
    items = cut(lengths, sampling)
    sampler = Sampler(items, ["one"] * len(lengths), seed=seed)
    dealt = [sample.item for step in range(sampler.epoch) for sample in sampler.batch(step, 2)]
    reached = Counter((item.episode, place) for item in dealt for place in range(item.start, item.stop))
    assert reached.keys() == {(episode, place) for episode, length in enumerate(lengths) for place in range(length)}
    assert set(reached.values()) == {2 * window}  # Two epochs; each keyframe lies in `window` windows.


@given(sizes=st.lists(st.integers(1, 7), min_size=1, max_size=4), batch=st.integers(1, 5), seed=st.integers(0, 99))
def test_tasks_come_in_turn_and_whole_episodes_before_any_again(sizes, batch, seed):
    tasks = [f"task {number}" for number, size in enumerate(sizes) for _ in range(size)]
    sampler = Sampler(cut([4] * len(tasks), SamplingConfig()), tasks, seed=seed)
    dealt = [sample.item.episode for step in range(20) for sample in sampler.batch(step, batch)]
    shares = Counter(tasks[episode] for episode in dealt)
    assert max(shares.values()) - min(shares[task] for task in set(tasks)) <= 1
    for task in set(tasks):
        own = Counter(episode for episode in dealt if tasks[episode] == task)
        assert max(own.values()) - min(own[episode] for episode, name in enumerate(tasks) if name == task) <= 1


def test_a_batch_is_a_function_of_seed_and_step_alone(demonstrations):
    moved = AugmentationConfig()
    one, other = (
        dataset(demonstrations, augmentation=moved),
        dataset(demonstrations, augmentation=moved, memory_bytes=0),
    )
    ahead = [one.batch(one.sampler.batch(step, 4)) for step in range(6)]
    for step in (5, 0, 3):  # Asked for in another order, and read anew from the disk.
        assert same(ahead[step], other.batch(other.sampler.batch(step, 4)))
    elsewhere = dataset(demonstrations, augmentation=moved, seed=1)
    assert not same(ahead[0], elsewhere.batch(elsewhere.sampler.batch(0, 4)))


def test_a_batch_shows_what_was_recorded(demonstrations):
    data = dataset(demonstrations)
    samples = data.sampler.batch(0, 4)
    batch = data.batch(samples)
    assert batch["rgb"].shape == (4, 6, 2, 8, 8, 3)
    for row, sample in enumerate(samples):
        recording = data.recordings[sample.item.episode]
        recorded = read_trajectory(recording.path)
        keyframes = recording.keyframes
        assert batch["valid"][row].tolist() == [step < keyframes for step in range(6)]
        assert batch["first"][row].tolist() == [True] + [False] * 5
        assert batch["time"][row, :keyframes].tolist() == list(range(keyframes))
        assert batch["words"][row].tolist() == [len(word) for word in recorded.label.instruction.split()]
        for step, intent in enumerate(recorded.intents):
            seen = recorded.observations[step]
            for place, camera in enumerate(CAMERAS):
                assert (batch["rgb"][row, step, place].numpy() == seen.images[camera].rgb).all()
                assert (batch["depth_m"][row, step, place].numpy() == seen.images[camera].depth_m).all()
            assert batch["tool_position_m"][row, step].numpy() == pytest.approx(seen.proprio[:3])
            assert batch["tool_orientation"][row, step].numpy() == pytest.approx(seen.proprio[3:7])
            assert batch["intent_position_m"][row, step].numpy() == pytest.approx(intent.position_m)
            assert bool(batch["intent_gripper_open"][row, step]) == intent.gripper_open
            assert bool(batch["intent_avoid_collisions"][row, step]) == intent.avoid_collisions


def test_a_window_begins_a_memory_anew_and_keeps_its_place_in_the_episode(demonstrations):
    data = dataset(demonstrations, SamplingConfig(held_out=0.0, sequence_length=3))
    late = [sample for step in range(20) for sample in data.sampler.batch(step, 4) if sample.item.start == 2]
    batch = data.batch(late[:1])
    assert batch["time"][0, 0] == 2
    assert batch["first"][0].tolist()[0] is True
    assert batch["first"][0].sum() == 1


def test_what_is_not_finite_is_refused_with_the_file(demonstrations):
    data = dataset(demonstrations)
    samples = data.sampler.batch(0, 1)
    episode = samples[0].item.episode
    spoilt = {name: array.copy() for name, array in data._store[episode].items()}
    spoilt["depth_m"][1, 0, 2, 3] = np.nan
    data._store._kept[episode] = spoilt
    with pytest.raises(DataError, match=f"must be finite.*depth_m of {data.recordings[episode].path}"):
        data.batch(samples)


# --- What is moved ----------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32), yaw=st.floats(0.0, 3.1), shift=st.lists(st.floats(0.0, 0.3), min_size=3, max_size=3))
def test_augmentation_moves_points_tool_and_intents_alike(demonstrations, seed, yaw, shift):
    """What a camera sees at an intent stays at the intent, and the tool and each intent keep their relation."""
    recorded = decode(open_trajectory(demonstrations / f"stack/strict/{seed % 6}.npz"), CAMERAS)
    draws = Augmentation(AugmentationConfig(yaw_rad=yaw, shift_m=shift), WORKSPACE_M)
    moved, _ = draws.draw(stream(seed, "test"), recorded["intent_position_m"])
    sequence = move_world(recorded, moved)
    for step, place in enumerate(recorded["intent_position_m"]):
        for camera in range(len(CAMERAS)):
            seen = transform_points(np.linalg.inv(recorded["world_from_camera"][step, camera]), place)
            shown = transform_points(sequence["world_from_camera"][step, camera], seen)
            assert shown == pytest.approx(sequence["intent_position_m"][step], abs=1e-9)
        assert relation(sequence, step) == pytest.approx(relation(recorded, step), abs=1e-9)
    assert (sequence["rgb"] == recorded["rgb"]).all()
    assert (sequence["depth_m"] == recorded["depth_m"]).all()
    low, high = np.transpose(WORKSPACE_M)
    assert ((sequence["intent_position_m"] >= low) & (sequence["intent_position_m"] <= high)).all()


def relation(sequence, step):
    """The intent as seen from the tool: (4, 4)."""
    frames = [np.eye(4), np.eye(4)]
    for frame, name in zip(frames, ("tool", "intent"), strict=True):
        frame[:3, :3] = rotation_matrix(sequence[f"{name}_orientation"][step])
        frame[:3, 3] = sequence[f"{name}_position_m"][step]
    return invert(pose_from_matrix(frames[0])).matrix @ frames[1]


def test_augmentation_is_drawn_once_per_sequence_and_anew_for_the_next(demonstrations):
    plain = dataset(demonstrations)
    data = dataset(demonstrations, augmentation=AugmentationConfig())
    seen = []
    for step in range(3):
        samples = data.sampler.batch(step, 2)
        moved, still = data.batch(samples), plain.batch(samples)
        for row in range(2):
            turns = moved["world_from_camera"][row].double() @ still["world_from_camera"][row].double().inverse()
            assert np.allclose(turns, turns[:1, :1].expand_as(turns), atol=1e-5)
            seen.append(tuple(turns[0, 0].flatten().round(decimals=4).tolist()))
    assert len(set(seen)) == len(seen)


def test_a_draw_that_leaves_the_workspace_is_drawn_again_and_counted(tmp_path):
    write_demonstrations(tmp_path, [trajectory(seed=0, reach_m=((0.1, 0.3), (-0.1, 0.1), (1.5, 1.55)))])
    for tries, most in ((1, 1), (200, 199)):
        data = dataset(tmp_path, augmentation=AugmentationConfig(tries=tries))
        batch = data.batch(data.sampler.batch(0, 32))
        assert 0 == batch["redrawn"].min() < batch["redrawn"].max() <= most
        low, high = np.transpose(WORKSPACE_M)
        placed = batch["intent_position_m"].double().numpy()
        assert ((placed >= low - 1e-6) & (placed <= high + 1e-6)).all()
        still = batch["redrawn"] >= tries
        recorded = torch.tensor(data.recordings[0].intents_m, dtype=torch.float32)
        assert all(torch.equal(place, recorded) for place in batch["intent_position_m"][still])


def test_fixed_copies_come_again(demonstrations):
    data = dataset(demonstrations, augmentation=AugmentationConfig(copies=2))
    places = {}
    for step in range(60):
        for sample in data.sampler.batch(step, 2):
            placed = data.batch([sample])["intent_position_m"][0, 0]
            places.setdefault(sample.item.episode, set()).add(tuple(placed.tolist()))
    assert {len(seen) for seen in places.values()} == {2}
