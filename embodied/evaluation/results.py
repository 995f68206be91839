"""The folder of one evaluation.

Rows are appended as episodes end, other files are written atomically, by one writer.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import msgspec

from embodied.errors import ConfigError, DataError, OutageError
from embodied.evaluation.output_folder import claim
from embodied.paths import write_atomically
from embodied.seeding import drawn_salt
from embodied.types import NORMAL, EpisodeRecord, Outcome

KIND = "evaluation"
EPISODES_FILE = "episodes.jsonl"
RESULTS_FILE = "results.json"
RUN_FILE = "run.json"
TIME_DECIMALS = 3
FIELDS = tuple(field.name for field in fields(EpisodeRecord))
OPTIONAL: Mapping[str, Any] = {  # By field: the default value, which is left out of rows.
    "control": NORMAL,
    "donor": None,
    "metrics": {},
    "robots": {},
    "on_failure": "",
    "chain": "",
}
OLDER_NAMES = {"variation": "variant", "first_choice": "choice"}  # Names of fields in older rows.


def encode_row(record: EpisodeRecord) -> bytes:
    """Returns the line of `record`, newline included: the same record gives the same bytes.

    Its keys stand in the order of `EpisodeRecord`; those of `OPTIONAL` are left out where they have the default value.
    Times are rounded to a thousandth of a second.
    """
    values = {name: getattr(record, name) for name in FIELDS}
    choice = record.choice
    values["choice"] = None if choice is None else {key: choice[key] for key in ("chosen", "target", "correct")}
    values["sim_time_s"] = round(float(record.sim_time_s), TIME_DECIMALS)
    values["wall_s"] = round(float(record.wall_s), TIME_DECIMALS)
    kept = {name: value for name, value in values.items() if name not in OPTIONAL or value != OPTIONAL[name]}
    return msgspec.json.encode(kept) + b"\n"


def decode_row(line: bytes) -> EpisodeRecord:
    """Returns the record of one line, also with older names of fields. Raises `DataError`."""
    try:
        content = msgspec.json.decode(line, type=dict[str, Any])
        values = {OLDER_NAMES.get(name, name): value for name, value in content.items()}
        if unknown := values.keys() - set(FIELDS):
            raise msgspec.ValidationError(f"unknown fields {sorted(unknown)}")
        return msgspec.convert(values, EpisodeRecord)
    except msgspec.DecodeError as error:
        raise DataError("A row of episodes.jsonl must be JSON of the documented fields.", value=str(error)) from error


def is_outage(record: EpisodeRecord) -> bool:
    """Returns whether an episode was lost to an outage: it is not counted, and is played again on resuming."""
    return record.outcome is Outcome.INVALID and record.reason.startswith(f"{OutageError.__name__}:")


class ResultsFolder:
    """The output of one evaluation, locked while it is open. A context manager.

    Raises `PathError` for a path that cannot hold results and `ConfigError` where another run is writing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = claim(path, kind=KIND, mark=EPISODES_FILE)
        self._rows: IO[bytes] = (path / EPISODES_FILE).open("ab")

    def records(self, run: str, parts: Mapping[str, str] | None = None) -> list[EpisodeRecord]:
        """Returns the finished episodes of `run`, each once, after removing an incomplete last line left by a crash.

        `parts` are the digests of the run's identity. An episode that was lost to an outage counts until it has been
        played again. Raises `ConfigError` if the rows belong to another run, `DataError` if a complete line cannot be
        read.
        """
        found: dict[tuple[str, str, str], EpisodeRecord] = {}
        whole = 0
        for number, line in enumerate(self._lines(), start=1):
            if not line.endswith(b"\n"):
                break
            try:
                record = decode_row(line)
            except DataError as error:
                raise DataError(error.rule, value=f"line {number}: {error.value}", remedy=_REPAIR) from error
            if record.run != run:
                raise ConfigError(
                    "A results folder must hold one run: one choice of tasks, policies, controls, episodes, seed and "
                    "salt, and unchanged code and weights.",
                    value=f"{self.path} with run {record.run}, asked for run {run}{self._differences(parts or {})}",
                    remedy="Choose another output folder, or the settings in its config.yaml.",
                )
            key = (record.policy, record.control, record.episode)
            if key not in found or is_outage(found[key]):
                found[key] = record
            whole += len(line)
        os.truncate(self.path / EPISODES_FILE, whole)  # The episode of the incomplete line runs again.
        return list(found.values())

    def salt(self, wanted: str | None) -> str:
        """Returns the salt of the run in this folder: `wanted`, else the recorded one, else a new one.

        A folder with rows but without a recorded salt holds a run from before there were salts, which has none. Raises
        `DataError` for a record that cannot be read.
        """
        if wanted is not None:
            return wanted
        file = self.path / RUN_FILE
        if file.exists():
            try:
                return msgspec.json.decode(file.read_bytes(), type=_RunRecord).salt
            except msgspec.DecodeError as error:
                raise DataError(
                    f"{RUN_FILE} must be unchanged: it holds the salt of the run.",
                    value=f"{file}: {error}",
                    remedy="Restore it, or choose another output folder.",
                ) from error
        return "" if any(self._lines()) else drawn_salt()

    def keep_salt(self, salt: str, parts: Mapping[str, str] | None = None) -> None:
        """Records the salt, so that the run can be continued with it; for "" there is no file.

        `parts` are the digests of the run's identity, which show what has changed if another run is requested.
        """
        if salt:
            self.write_json(RUN_FILE, {"salt": salt, "parts": dict(parts or {})})
        else:
            (self.path / RUN_FILE).unlink(missing_ok=True)

    def _differences(self, parts: Mapping[str, str]) -> str:
        """Returns a description of the `parts` that differ from the run in this folder, "" if they are unknown."""
        file = self.path / RUN_FILE
        known = msgspec.json.decode(file.read_bytes(), type=_RunRecord).parts if file.exists() else {}
        changed = sorted(name for name in {*known, *parts} if known and known.get(name) != parts.get(name))
        sources = [f"the source of {name.partition('.')[2]}" for name in changed if name.startswith(_SOURCES)]
        others = [name for name in changed if not name.startswith(_SOURCES)]
        return f"; what differs: {', '.join([*sources, *others])}" if changed else ""

    @property
    def has_rows(self) -> bool:
        """Whether any episode was written."""
        return (self.path / EPISODES_FILE).stat().st_size > 0

    def append(self, record: EpisodeRecord) -> EpisodeRecord:
        """Adds one row and returns the record as it will be read back, once it is on disk."""
        return self.extend([record])[0]

    def extend(self, records: Iterable[EpisodeRecord]) -> list[EpisodeRecord]:
        """Adds rows and returns the records as they will be read back, once all of them are on disk."""
        lines = [encode_row(record) for record in records]
        self._rows.writelines(lines)
        self._rows.flush()
        os.fsync(self._rows.fileno())
        return [decode_row(line) for line in lines]

    def remove_rows(self) -> None:
        """Removes all rows: their episodes are played again."""
        os.truncate(self.path / EPISODES_FILE, 0)

    def write(self, name: str, content: str) -> Path:
        """Writes a text file atomically and returns its path; after a crash the old one remains."""
        path = self.path / name
        write_atomically(path, content.encode())
        return path

    def write_json(self, name: str, content: Mapping[str, Any]) -> Path:
        """Writes `content` as indented JSON, keys in the order given."""
        return self.write(name, msgspec.json.format(msgspec.json.encode(content), indent=2).decode() + "\n")

    def close(self) -> None:
        """Frees the folder for the next evaluation; calling it twice is harmless."""
        self._rows.close()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _lines(self) -> Iterator[bytes]:
        with (self.path / EPISODES_FILE).open("rb") as file:
            yield from file


class _RunRecord(msgspec.Struct, frozen=True):
    """The content of `run.json`."""

    salt: str
    parts: dict[str, str] = {}


_SOURCES = "plugins."
_REPAIR = "Remove that line to run its episode again, or choose another output folder."
