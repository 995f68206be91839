"""Reads recordings of either format: whole, or only the requested rows and columns."""

import zlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np

from embodied.archive import archive_header, broken
from embodied.errors import DataError, EmbodiedError, unknown_name
from embodied.specs import KEYFRAME, ActionSpec
from embodied.trajectories import format1
from embodied.trajectories.container import Container
from embodied.trajectories.decisions import RecordedDecision, decisions_from_json
from embodied.trajectories.features import ACTION, OBSERVATION, Feature
from embodied.trajectories.frames import Frames, decode
from embodied.trajectories.header import DECISIONS, SCHEMA, SCHEMA_VERSION, Version, parsed_header
from embodied.trajectories.label import Label
from embodied.trajectories.trajectory import Trajectory, check_trajectory


class TrajectoryReader(Protocol):
    """One recording on disk.

    All returned data has been checked against its digest. Every method raises `DataError`, naming the file and what is
    wrong, for the parts that it has read. Readers hold no open file, and may be sent to another process.
    """

    path: Path
    label: Label
    robot: str
    features: tuple[Feature, ...]
    spaces: tuple[ActionSpec, ...]

    def __len__(self) -> int:
        """The number of observations."""
        ...

    def read(self, rows: Sequence[int] | None, features: Sequence[str]) -> dict[str, np.ndarray]:
        """Returns `rows` (None for all), in the order given, of the columns called `features`.

        Raises `UnknownNameError`, and `IndexError` for rows that a column does not have; the last observation has no
        action.
        """
        ...

    def trajectory(self) -> Trajectory:
        """Returns the whole recording, images still coded where they are read one by one."""
        ...

    def check(self) -> None:
        """Reads and checks every byte."""
        ...


def open_trajectory(path: Path) -> TrajectoryReader:
    """Returns a reader of the recording at `path`. Raises `DataError`, naming the file and what is wrong."""
    text = archive_header(path)
    try:
        version = msgspec.json.decode(text, type=Version)
    except msgspec.DecodeError as error:
        raise broken(path, f"its header says {error}") from error
    if version.schema != SCHEMA or version.version not in (format1.VERSION, SCHEMA_VERSION):
        raise broken(
            path,
            f"it is {version.schema!r} version {version.version}, not {SCHEMA!r} version {SCHEMA_VERSION} or before",
        )
    return FirstReader(path) if version.version == format1.VERSION else IndexedReader(path)


def read_trajectory(path: Path) -> Trajectory:
    """Reads and checks a whole recording of either format.

    Raises `DataError`, naming the file and what is wrong, for one that is missing, truncated, altered or of another
    version.
    """
    reader = open_trajectory(path)
    reader.check()
    return reader.trajectory()


class IndexedReader:
    """Reads format 2: only the requested frames of images, and only the parts of the file that hold them.

    `bytes_read` counts the bytes of the file read so far.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._container = Container(path)
        self._header, self.features, self.spaces = parsed_header(path, self._container.header)
        self.label, self.robot = self._header.label, self._header.robot
        self._features = {feature.name: feature for feature in self.features}
        coded, plain = self._container.columns, self._container.arrays - {DECISIONS}
        if coded | plain != self._features.keys() or coded != self._header.codecs.keys():
            raise broken(
                path, f"its columns differ from the declared ones by {sorted((coded | plain) ^ self._features.keys())}"
            )

    def __len__(self) -> int:
        return self._header.rows[OBSERVATION]

    @property
    def bytes_read(self) -> int:
        """How many bytes of the file have been read so far."""
        return self._container.bytes_read

    def read(self, rows: Sequence[int] | None, features: Sequence[str]) -> dict[str, np.ndarray]:
        """Returns `rows` of the columns called `features`: see `TrajectoryReader`."""
        return {name: self._read(_known(name, self._features), rows) for name in features}

    def trajectory(self) -> Trajectory:
        """Returns the whole recording, images still coded."""
        columns = {
            name: Frames(
                self._header.codecs[name], tuple(self._container.frames(name, range(self._row_count(feature))))
            )
            if name in self._header.codecs
            else self._container.array(name)
            for name, feature in self._features.items()
        }
        found = Trajectory(self.label, self.robot, self.features, self.spaces, columns, self.decisions())
        return _checked(self.path, found)

    def decisions(self) -> tuple[RecordedDecision, ...]:
        """Returns the recorded decisions, () for a recording whose actions are the decisions."""
        if DECISIONS not in self._container.arrays:
            return ()
        try:
            return decisions_from_json(self._container.array(DECISIONS).tobytes())
        except DataError as error:
            raise broken(self.path, str(error)) from error

    def check(self) -> None:
        """Reads and checks every byte, and decodes every frame."""
        self._container.check()
        self.read(None, list(self._features))
        self.trajectory()

    def _row_count(self, feature: Feature) -> int:
        """Returns how many rows a column has. Raises `DataError` where the header says otherwise."""
        name = feature.name
        own = self._container.count(name) if name in self._header.codecs else len(self._container.array(name))
        if own != self._header.rows.get(feature.track):
            raise broken(self.path, f"{name!r} has {own} rows instead of {self._header.rows.get(feature.track)}")
        return own

    def _read(self, feature: Feature, rows: Sequence[int] | None) -> np.ndarray:
        wanted = _within(feature, rows, self._row_count(feature))
        if feature.name not in self._header.codecs:
            return self._container.array(feature.name)[wanted]
        coded = self._container.frames(feature.name, wanted)
        try:
            return decode(feature, self._header.codecs[feature.name], coded)
        except (DataError, ValueError, OSError, zlib.error) as error:
            raise broken(self.path, str(error)) from error


class FirstReader:
    """Reads format 1, whose single checksum is checked when anything but the intents is first read."""

    spaces = (KEYFRAME,)

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = format1.FirstFormat(path)
        self.label, self.robot, self.features = self._file.label, self._file.robot, self._file.features
        self._features = {feature.name: feature for feature in self.features}

    def __len__(self) -> int:
        return self._file.rows

    def read(self, rows: Sequence[int] | None, features: Sequence[str]) -> dict[str, np.ndarray]:
        """Returns `rows` of the columns called `features`: see `TrajectoryReader`."""
        found = {}
        for name in features:
            feature = _known(name, self._features)
            column = self._file.actions if feature.track == ACTION else self._whole.column(name)
            found[name] = column[_within(feature, rows, len(column))]
        return found

    def trajectory(self) -> Trajectory:
        """Returns the whole recording."""
        return self._whole

    def check(self) -> None:
        """Reads and checks every byte."""
        self.trajectory()

    @cached_property
    def _whole(self) -> Trajectory:
        return self._file.trajectory()


def _known(name: str, features: dict[str, Feature]) -> Feature:
    if name not in features:
        raise unknown_name("feature", name, features)
    return features[name]


def _within(feature: Feature, rows: Sequence[int] | None, count: int) -> list[int]:
    wanted = list(range(count)) if rows is None else [int(row) for row in rows]
    if any(not 0 <= row < count for row in wanted):
        raise IndexError(f"Rows of {feature.name!r} must lie in [0, {count}). Got {wanted}.")
    return wanted


def _checked(path: Path, trajectory: Trajectory) -> Trajectory:
    try:
        check_trajectory(trajectory)
    except EmbodiedError as error:
        raise broken(path, str(error)) from error
    return trajectory
