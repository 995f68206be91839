"""Recorded episodes as training sees them: found in folders, checked against each other, decoded, kept in memory."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embodied.archive import file_sha256
from embodied.errors import ConfigError, DataError, unknown_name
from embodied.evaluation.demonstrations import read_dataset
from embodied.geometry import vector3
from embodied.paths import confined
from embodied.trajectory import Trajectory, outline_trajectory, read_trajectory
from embodied.types import CameraImage
from policies.training.config import SamplingConfig
from policies.training.learner import ACTION_SPACE, DatasetFeatures

TOOL_POSITION = ("tool_x_m", "tool_y_m", "tool_z_m")
TOOL_ORIENTATION = ("tool_qx", "tool_qy", "tool_qz", "tool_qw")
IMAGE_PARTS = {"rgb": np.uint8, "depth_m": np.float32, "intrinsics": np.float64, "world_from_camera": np.float64}

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Recording:
    """One file that may be learnt from: `intents_m` (T, 3) are the positions of its T intents, world frame."""

    path: Path
    sha256: str
    task: str
    seed: int
    instruction: str
    intents_m: np.ndarray

    @property
    def keyframes(self) -> int:
        """How many keyframes can be learnt from: those on which an intent followed."""
        return len(self.intents_m)


@dataclass(frozen=True, eq=False)
class Recordings:
    """What is trained on and what is held out, and what both have in common."""

    train: tuple[Recording, ...]
    held_out: tuple[Recording, ...]
    features: DatasetFeatures


def find_recordings(folders: Sequence[Path], config: SamplingConfig) -> Recordings:
    """Returns the recordings of complete collections, in an order that does not depend on where they lie.

    Images are not looked at yet: each file is checked against its checksum when it is first read. Raises `ConfigError`,
    `UnknownNameError` and `DataError` for a missing or empty split, for tasks that are not there, and for files that
    differ in robot, cameras, image size or proprioception.
    """
    config.check()
    found = [recording for folder in folders for recording in _listed(folder, config)]
    if not found:
        raise DataError(
            "There must be demonstrations to learn from.",
            value=[str(folder) for folder in folders],
            remedy="Collect some: python -m launch.collect output=DIR.",
        )
    chosen = _chosen(found, config.tasks)
    outlined = [_outlined(*entry) for entry in chosen]
    recordings = [recording for recording, _ in outlined]
    train, held_out = _split(recordings, config.held_out)
    return Recordings(tuple(train), tuple(held_out), _features(outlined))


class EpisodeStore:
    """Decodes recordings and keeps them while they fit into `memory_bytes`; the least recently used one goes first.

    Not for several threads at once. The same recording gives the same arrays, in memory or not.
    """

    def __init__(self, recordings: Sequence[Recording], cameras: Sequence[str], *, memory_bytes: int) -> None:
        self.recordings = recordings
        self._cameras = tuple(cameras)
        self._memory_bytes = memory_bytes
        self._kept: OrderedDict[int, Arrays] = OrderedDict()
        self._kept_bytes = 0
        self._verified: set[int] = set()

    def __getitem__(self, number: int) -> Arrays:
        """Returns the arrays of `learner.Batch` of one recording, without batch axis, float64 where they are geometry.

        Raises `DataError`, naming the file, where it is missing, damaged, or not the one that its index lists.
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
            trajectory = read_trajectory(recording.path)
            # The archive's own checksum is looked at on every read; that of the index, which finds swapped files, once.
            if number not in self._verified and file_sha256(recording.path) != recording.sha256:
                raise DataError("A demonstration must be the file that its index lists, by SHA-256.")
        except DataError as error:
            raise DataError(
                "A demonstration must be whole and as its index lists it.",
                value=str(recording.path),
                remedy=f"{error} The same launch.collect command makes it again.",
            ) from error
        self._verified.add(number)
        return decode(trajectory, self._cameras)


def decode(trajectory: Trajectory, cameras: Sequence[str]) -> Arrays:
    """Returns the T observations on which an intent followed, and the T intents, as arrays with T first."""
    seen, intents = trajectory.observations[:-1], trajectory.intents
    images = [[observation.images[camera] for camera in cameras] for observation in seen]
    proprio = np.array([observation.proprio for observation in seen], dtype=np.float64)
    column = {name: place for place, name in enumerate(trajectory.proprio_names)}
    return {
        **{part: _stacked(images, part, dtype) for part, dtype in IMAGE_PARTS.items()},
        "tool_position_m": proprio[:, [column[name] for name in TOOL_POSITION]],
        "tool_orientation": proprio[:, [column[name] for name in TOOL_ORIENTATION]],
        "gripper": np.array([observation.gripper for observation in seen], dtype=np.float64),
        "time": np.arange(len(seen)),
        "intent_position_m": np.array([intent.position_m for intent in intents], dtype=np.float64),
        "intent_orientation": np.array([intent.orientation for intent in intents], dtype=np.float64),
        "intent_gripper_open": np.array([intent.gripper_open for intent in intents], dtype=np.bool_),
        "intent_avoid_collisions": np.array([intent.avoid_collisions for intent in intents], dtype=np.bool_),
    }


def _stacked(images: Sequence[Sequence[CameraImage]], part: str, dtype: type) -> np.ndarray:
    return np.array([[getattr(image, part) for image in row] for row in images], dtype=dtype)


def _listed(folder: Path, config: SamplingConfig) -> Iterator[tuple[Path, str, str, int]]:
    dataset = read_dataset(folder)
    if dataset.split != config.split:
        raise DataError(
            f"The demonstrations must be of the split {config.split!r}.",
            value=f"{folder} with split {dataset.split!r}",
            remedy="Name a folder of that split, or set sampling.split: testing on what was trained on shows nothing.",
        )
    if not dataset.complete:
        raise DataError(
            "A collection must be complete, or the data would change between two runs.",
            value=str(folder),
            remedy="The same launch.collect command goes on where it stopped.",
        )
    for file in dataset.files:
        yield confined(folder, file.file), file.sha256, file.task, file.seed


def _chosen(found: Sequence[tuple[Path, str, str, int]], tasks: Sequence[str]) -> list[tuple[Path, str, str, int]]:
    known = {entry[2] for entry in found} | {entry[2].partition("/")[0] for entry in found}
    for task in tasks:
        if task not in known:
            raise unknown_name("task with demonstrations", task, known)
    chosen = [entry for entry in found if not tasks or {entry[2], entry[2].partition("/")[0]} & set(tasks)]
    # By content, not by place: a copy of the folder elsewhere is the same data. What lies in two folders counts once.
    return [entry for _, entry in sorted({(entry[2], entry[3], entry[1]): entry for entry in chosen}.items())]


def _outlined(path: Path, sha256: str, task: str, seed: int) -> tuple[Recording, Mapping[str, object]]:
    outline = outline_trajectory(path)
    if not len(outline.intents_m):
        raise DataError("A demonstration must hold an intent.", value=str(path), remedy="Collect it again.")
    common = {"robot": outline.robot, "cameras": outline.image_px, "proprioception": outline.proprio_names}
    return Recording(path, sha256, task, seed, outline.label.instruction, outline.intents_m), common


def _split(recordings: Sequence[Recording], share: float) -> tuple[list[Recording], list[Recording]]:
    """Holds out the last episodes of each task: at least one where any is asked for, and never all."""
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


def _features(outlined: Sequence[tuple[Recording, Mapping[str, object]]]) -> DatasetFeatures:
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
        action_form=ACTION_SPACE,
        tasks=tuple(sorted({recording.task for recording in recordings})),
        instructions=tuple(sorted({recording.instruction for recording in recordings})),
        intent_low_m=vector3(intents_m.min(axis=0)),
        intent_high_m=vector3(intents_m.max(axis=0)),
        longest=max(recording.keyframes for recording in recordings),
        digest=hashlib.sha256(listed.encode()).hexdigest(),
    )
