"""Recorded episodes for training: found in folders, checked against each other, decoded, kept in memory."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embodied.archive import file_sha256
from embodied.errors import ConfigError, DataError, unknown_name
from embodied.evaluation.dataset_index import read_dataset
from embodied.geometry import vector3
from embodied.paths import confined
from embodied.specs import KEYFRAME, ActionSpec
from embodied.trajectories import TrajectoryReader, action_feature, image_sizes, open_trajectory
from policies.training.config import SamplingConfig
from policies.training.learner import DatasetFeatures

TOOL_POSITION = ("tool_x_m", "tool_y_m", "tool_z_m")
TOOL_ORIENTATION = ("tool_qx", "tool_qy", "tool_qz", "tool_qw")
IMAGE_PARTS = ("rgb", "depth_m", "intrinsics", "world_from_camera")

OBSERVATION, PROPRIO, GRIPPER = "observation", "observation.proprio", "observation.gripper"
ACTIONS = action_feature(KEYFRAME).name

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Recording:
    """One file to train on: `intents_m` (T, 3) are the positions of its T intents, world frame."""

    path: Path
    sha256: str
    task: str
    seed: int
    instruction: str
    intents_m: np.ndarray

    @property
    def keyframes(self) -> int:
        """The number of keyframes to train on: those that an intent followed."""
        return len(self.intents_m)


@dataclass(frozen=True, eq=False)
class Recordings:
    """The recordings to train on, the held-out ones, and the features of both."""

    train: tuple[Recording, ...]
    held_out: tuple[Recording, ...]
    features: DatasetFeatures


def find_recordings(folders: Sequence[Path], config: SamplingConfig, space: ActionSpec) -> Recordings:
    """Returns the recordings of complete collections, in an order that does not depend on where they lie.

    Images are not read yet: each file is checked against its checksum when it is first read.

    Args:
        folders: The outputs of `launch.collect`.
        config: The selection of recordings.
        space: The action space that the learner declares.

    Raises:
        ConfigError: For settings out of range, and a split that is empty.
        UnknownNameError: For missing tasks.
        DataError: For collections that are missing, broken, incomplete, of another split, or of actions that are not of
            `space`, and for files that differ in robot, cameras, image size or proprioception.
    """
    config.check()
    found = [recording for folder in folders for recording in _listed(folder, config, space)]
    if not found:
        raise DataError(
            "There must be demonstrations to learn from.",
            value=[str(folder) for folder in folders],
            remedy="Collect some: python -m launch.collect output=DIR.",
        )
    chosen = _chosen(found, config.tasks)
    outlined = [_outlined(*entry, space) for entry in chosen]
    recordings = [recording for recording, _ in outlined]
    train, held_out = _split(recordings, config.held_out)
    return Recordings(tuple(train), tuple(held_out), _features(outlined, space))


class EpisodeStore:
    """Decodes recordings and keeps them while they fit into `memory_bytes`; the least recently used goes first.

    It must not be used by several threads at once. A recording always gives the same arrays, in memory or not.
    """

    def __init__(self, recordings: Sequence[Recording], cameras: Sequence[str], *, memory_bytes: int) -> None:
        self.recordings = recordings
        self._cameras = tuple(cameras)
        self._memory_bytes = memory_bytes
        self._kept: OrderedDict[int, Arrays] = OrderedDict()
        self._kept_bytes = 0
        self._verified: set[int] = set()

    def __getitem__(self, number: int) -> Arrays:
        """Returns the arrays of `learner.Batch` of one recording, without batch axis, geometry in float64.

        Raises `DataError`, naming the file, if it is missing, damaged, or differs from its index.
        """
        if number in self._kept:
            self._kept.move_to_end(number)
            return self._kept[number]
        decoded = self._decode(number)
        size = sum(array.nbytes for array in decoded.values())
        while self._kept and self._kept_bytes + size > self._memory_bytes:
            _, dropped = self._kept.popitem(last=False)
            self._kept_bytes -= sum(array.nbytes for array in dropped.values())
        if size <= self._memory_bytes:
            self._kept[number] = decoded
            self._kept_bytes += size
        return decoded

    def _decode(self, number: int) -> Arrays:
        recording = self.recordings[number]
        try:
            decoded = decode(open_trajectory(recording.path), self._cameras)
            # Digests within the file are checked at every read; that of the index, which finds swapped files, once.
            if number not in self._verified and file_sha256(recording.path) != recording.sha256:
                raise DataError("A demonstration must be the file that its index lists, by SHA-256.")
        except DataError as error:
            raise DataError(
                "A demonstration must be whole and as its index lists it.",
                value=str(recording.path),
                remedy=f"{error} The same launch.collect command makes it again.",
            ) from error
        self._verified.add(number)
        return decoded


def decode(reader: TrajectoryReader, cameras: Sequence[str]) -> Arrays:
    """Returns the T observations that an intent followed, and the T intents, as arrays with T first.

    Only these are read from the file. Raises `DataError` where they are damaged.
    """
    shown = {f"{part}.{camera}": f"{OBSERVATION}.{part}.{camera}" for part in IMAGE_PARTS for camera in cameras}
    rows = range(len(reader) - 1)
    columns = reader.read(rows, [*shown.values(), PROPRIO, GRIPPER, ACTIONS])
    proprio, actions = columns[PROPRIO].astype(np.float64), columns[ACTIONS]
    names = next(feature.entries for feature in reader.features if feature.name == PROPRIO)
    return {
        **{part: np.stack([columns[shown[f"{part}.{camera}"]] for camera in cameras], axis=1) for part in IMAGE_PARTS},
        "tool_position_m": proprio[:, [names.index(name) for name in TOOL_POSITION]],
        "tool_orientation": proprio[:, [names.index(name) for name in TOOL_ORIENTATION]],
        "gripper": columns[GRIPPER],
        "time": np.arange(len(rows)),
        "intent_position_m": actions[:, KEYFRAME.columns("position")],
        "intent_orientation": actions[:, KEYFRAME.columns("orientation")],
        "intent_gripper_open": actions[:, KEYFRAME.columns("gripper")][:, 0] > 0.5,
        "intent_avoid_collisions": actions[:, KEYFRAME.columns("avoid_collisions")][:, 0] > 0.5,
    }


def _listed(folder: Path, config: SamplingConfig, space: ActionSpec) -> Iterator[tuple[Path, str, str, int]]:
    dataset = read_dataset(folder)
    if dataset.split != config.split:
        raise DataError(
            f"The demonstrations must be of the split {config.split!r}.",
            value=f"{folder} with split {dataset.split!r}",
            remedy="Name a folder of that split, or set sampling.split: results on training episodes prove nothing.",
        )
    if not dataset.complete:
        raise DataError(
            "A collection must be complete, or the data would change between two runs.",
            value=str(folder),
            remedy="The same launch.collect command goes on where it stopped.",
        )
    if dataset.files and space.name not in dataset.space_names:
        raise DataError(
            f"The demonstrations must hold actions of the space that the policy learns, {space.name!r}.",
            value=f"{folder} with {', '.join(dataset.space_names)}",
            remedy="Collect with the settings of launch.collect that record it.",
        )
    for file in dataset.files:
        yield confined(folder, file.file), file.sha256, file.task, file.seed


def _chosen(found: Sequence[tuple[Path, str, str, int]], tasks: Sequence[str]) -> list[tuple[Path, str, str, int]]:
    known = {entry[2] for entry in found} | {entry[2].partition("/")[0] for entry in found}
    for task in tasks:
        if task not in known:
            raise unknown_name("task with demonstrations", task, known)
    chosen = [entry for entry in found if not tasks or {entry[2], entry[2].partition("/")[0]} & set(tasks)]
    # By content, not by path: a copy of the folder is the same data, and a file in two folders counts once.
    return [entry for _, entry in sorted({(entry[2], entry[3], entry[1]): entry for entry in chosen}.items())]


def _outlined(
    path: Path, sha256: str, task: str, seed: int, space: ActionSpec
) -> tuple[Recording, Mapping[str, object]]:
    reader = open_trajectory(path)
    if space not in reader.spaces:
        raise DataError(
            f"A demonstration must hold actions of the space that the policy learns, {space.name!r}.",
            value=f"{path} with {', '.join(own.name for own in reader.spaces)}",
            remedy="Its fields and rate count, too: collect again with the settings of the policy.",
        )
    actions = reader.read(None, [action_feature(space).name])[action_feature(space).name]
    if not len(actions):
        raise DataError("A demonstration must hold an intent.", value=str(path), remedy="Collect it again.")
    proprio = next(feature.entries for feature in reader.features if feature.name == PROPRIO)
    common = {"robot": reader.robot, "cameras": image_sizes(reader.features), "proprioception": proprio}
    intents_m = actions[:, space.columns("position")]
    return Recording(path, sha256, task, seed, reader.label.instruction, intents_m), common


def _split(recordings: Sequence[Recording], share: float) -> tuple[list[Recording], list[Recording]]:
    """Holds out the last episodes of each task: at least one if `share` is positive, and never all."""
    train: list[Recording] = []
    held_out: list[Recording] = []
    for task in sorted({recording.task for recording in recordings}):
        own = [recording for recording in recordings if recording.task == task]
        kept = max(1, round(share * len(own))) if share else 0
        if kept >= len(own):
            raise ConfigError(
                f"Both splits of {task} must hold an episode: one to train on, one held out.",
                value=f"{len(own)} in all, {kept} held out",
                remedy="Collect more demonstrations, or set sampling.held_out=0.",
            )
        train += own[: len(own) - kept]
        held_out += own[len(own) - kept :]
    return train, held_out


def _features(outlined: Sequence[tuple[Recording, Mapping[str, object]]], space: ActionSpec) -> DatasetFeatures:
    first, common = outlined[0]
    for recording, own in outlined:
        for name, value in own.items():
            if value != common[name]:
                raise DataError(
                    f"All demonstrations must have the same {name}.",
                    value=f"{value} in {recording.path}, {common[name]} in {first.path}",
                    remedy="Train on folders that were collected with the same settings.",
                )
    recordings = [recording for recording, _ in outlined]
    intents_m = np.concatenate([recording.intents_m for recording in recordings])
    listed = "".join(f"{recording.task} {recording.seed} {recording.sha256}\n" for recording in recordings)
    return DatasetFeatures(
        robot=str(common["robot"]),
        image_px=dict(common["cameras"]),  # type: ignore[call-overload]
        proprio_names=tuple(common["proprioception"]),  # type: ignore[arg-type]
        action_spec=space,
        tasks=tuple(sorted({recording.task for recording in recordings})),
        instructions=tuple(sorted({recording.instruction for recording in recordings})),
        intent_low_m=vector3(intents_m.min(axis=0)),
        intent_high_m=vector3(intents_m.max(axis=0)),
        longest=max(recording.keyframes for recording in recordings),
        digest=hashlib.sha256(listed.encode()).hexdigest(),
    )
