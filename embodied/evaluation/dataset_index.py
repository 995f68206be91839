"""`dataset.json`: the files of a collection of demonstrations, and the features that all of them share."""

from pathlib import Path

import msgspec

from embodied.errors import DataError
from embodied.specs import KEYFRAME
from embodied.trajectories import SCHEMA_VERSION, Feature, Trajectory, describe_difference
from embodied.trajectories.features import FeatureRecord, SpaceRecord
from embodied.types import Outcome

SCHEMA = "embodied-memory/dataset"
INDEX_FILE = "dataset.json"
FIRST_VERSION = 1


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One demonstration of one robot: `file` is relative to the index, `task` reads `<task>/<tier>`."""

    file: str
    sha256: str
    task: str
    variant: int
    seed: int
    robot: str
    observations: int


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One episode that the expert did not solve, and that is therefore not among the files."""

    task: str
    seed: int
    outcome: Outcome
    reason: str


class RobotFeatures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The declarations of every recording of one robot: see `embodied.trajectories`."""

    features: tuple[FeatureRecord, ...]
    spaces: tuple[SpaceRecord, ...]

    @classmethod
    def of(cls, trajectory: Trajectory) -> "RobotFeatures":
        """Returns the declarations of `trajectory`."""
        return cls(
            tuple(FeatureRecord.of(feature) for feature in trajectory.features),
            tuple(SpaceRecord.of(space) for space in trajectory.spaces),
        )

    def difference(self, other: "RobotFeatures") -> str:
        """Returns the first difference as text, "" where there is none."""
        spaces = [[space.name for space in one.spaces] for one in (self, other)]
        if self.spaces != other.spaces:
            return f"action spaces {spaces[0]} and {spaces[1]}"
        return describe_difference(self._features(), other._features())

    def _features(self) -> list[Feature]:
        return [record.feature() for record in self.features]


class Dataset(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`dataset.json`: at least `demos` episodes per task once `complete`; `version` is the format of the trajectories.

    `episode_list` is the SHA-256 of the list that names the episodes, "" without one; of a list the first `demos`
    episodes of each task were played, and those that were not solved are among `failures`. `robots` gives the declared
    features of each robot's files; it is empty for collections of version 1, which hold keyframes.
    """

    schema: str
    version: int
    run: str
    complete: bool
    policy: str
    split: str
    seed: int
    demos: int
    tasks: tuple[str, ...]
    robots: dict[str, RobotFeatures]
    files: tuple[File, ...]
    failures: tuple[Failure, ...]
    episode_list: str = ""

    @property
    def space_names(self) -> tuple[str, ...]:
        """The names of the action spaces that its files declare."""
        names = {space.name for robot in self.robots.values() for space in robot.spaces}
        return tuple(sorted(names)) if self.version > FIRST_VERSION else (KEYFRAME.name,)


class _FirstFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    file: str
    sha256: str
    task: str
    variation: int
    seed: int
    keyframes: int


class _FirstDataset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: str
    version: int
    run: str
    complete: bool
    policy: str
    split: str
    seed: int
    demos: int
    tasks: tuple[str, ...]
    files: tuple[_FirstFile, ...]
    failures: tuple[Failure, ...]

    def renamed(self) -> Dataset:
        files = tuple(
            File(file.file, file.sha256, file.task, file.variation, file.seed, "", file.keyframes)
            for file in self.files
        )
        kept = {name: getattr(self, name) for name in self.__struct_fields__ if name != "files"}
        return Dataset(**kept, robots={}, files=files)


class _Version(msgspec.Struct, frozen=True):
    schema: str
    version: int


def read_dataset(folder: Path) -> Dataset:
    """Reads the index of a collection. Raises `DataError`, naming the file and what is wrong."""
    path = folder / INDEX_FILE
    try:
        text = path.read_bytes()
        found = msgspec.json.decode(text, type=_Version)
        if found.schema != SCHEMA or found.version not in (FIRST_VERSION, SCHEMA_VERSION):
            raise DataError(
                f"{path} must be of {SCHEMA!r} version {SCHEMA_VERSION} or before.", value=(found.schema, found.version)
            )
        if found.version == FIRST_VERSION:
            return msgspec.json.decode(text, type=_FirstDataset).renamed()
        return msgspec.json.decode(text, type=Dataset)
    except (OSError, msgspec.DecodeError) as error:
        missing = isinstance(error, FileNotFoundError)
        raise DataError(
            "A collection must have a readable index.",
            value=str(path),
            remedy="There is none. Give a folder that launch.collect has written."
            if missing
            else f"{error}. Collect again.",
        ) from error
