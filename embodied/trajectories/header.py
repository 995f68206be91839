"""The header of format 2."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from embodied.archive import broken
from embodied.errors import DataError, SpecError
from embodied.specs import ActionSpec
from embodied.trajectories.features import Feature, FeatureRecord, SpaceRecord
from embodied.trajectories.frames import Codec
from embodied.trajectories.label import Label
from embodied.trajectories.trajectory import Trajectory, check_declarations

SCHEMA = "embodied-memory/trajectory"
SCHEMA_VERSION = 2
SUFFIX = ".npz"
DECISIONS = "decisions"  # The array that holds the decisions of a recording at a rate, as JSON in UTF-8.


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`header.json`: `rows` by track, and how the columns are coded whose rows can be read one by one."""

    schema: str
    version: int
    label: Label
    robot: str
    rows: dict[str, int]
    features: tuple[FeatureRecord, ...]
    spaces: tuple[SpaceRecord, ...]
    codecs: dict[str, Codec]


class Version(msgspec.Struct, frozen=True):
    """The fields that headers of all versions begin with."""

    schema: str
    version: int


def header_bytes(trajectory: Trajectory, rows: Mapping[str, int], codecs: Mapping[str, Codec]) -> bytes:
    """Returns the header of format 2 as JSON.

    It holds the declarations of `trajectory`, its `rows` by track, and the `codecs` of images.
    """
    header = Header(
        schema=SCHEMA,
        version=SCHEMA_VERSION,
        label=trajectory.label,
        robot=trajectory.robot,
        rows=dict(rows),
        features=tuple(FeatureRecord.of(feature) for feature in trajectory.features),
        spaces=tuple(SpaceRecord.of(space) for space in trajectory.spaces),
        codecs=dict(codecs),
    )
    return msgspec.json.format(msgspec.json.encode(header))


def parsed_header(path: Path, text: bytes) -> tuple[Header, tuple[Feature, ...], tuple[ActionSpec, ...]]:
    """Returns a header of format 2 and what it declares. Raises `DataError`, naming the file and what is wrong."""
    try:
        version = msgspec.json.decode(text, type=Version)
        if (version.schema, version.version) != (SCHEMA, SCHEMA_VERSION):
            raise broken(
                path, f"it is {version.schema!r} version {version.version}, not {SCHEMA!r} version {SCHEMA_VERSION}"
            )
        header = msgspec.json.decode(text, type=Header)
        features = tuple(record.feature() for record in header.features)
        spaces = tuple(record.space() for record in header.spaces)
        check_declarations(features, spaces)
    except (msgspec.DecodeError, SpecError) as error:
        raise broken(path, f"its header says {error}") from error
    except DataError as error:
        raise error if str(path) in str(error) else broken(path, str(error)) from error
    return header, features, spaces
