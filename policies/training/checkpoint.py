"""Checkpoints: folders that appear whole or not at all, checked before they are used, without pickle.

The checkpoint of step N is the folder `<N, eight digits>`: `weights`, `average` and `optimiser` as safetensors,
`state.json`, and `manifest.json` with the SHA-256 of each.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from torch import Tensor

from embodied.errors import DataError
from policies.folders import damaged, discard, json_bytes, read_folder, sweep, write_folder
from policies.weights import tensor_bytes, tensors_from_bytes

SCHEMA = "embodied-memory/checkpoint"
SCHEMA_VERSION = 1
STATE = "state.json"
PARTS = ("weights", "average", "optimiser")
KIND = "checkpoint"

_log = logging.getLogger(__name__)


class Growth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An extension of a training to `steps` steps, made once `step` of them were done."""

    step: int
    steps: int


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`state.json`: `step` steps are done; `sums` are metrics since the last row of metrics.jsonl, over `summed` steps.

    `settings` are those of the run, with the data's digest; the other fields describe its provenance. `wall_s` is the
    time of all sessions. `grown` lists the extensions of the training.
    """

    schema: str
    version: int
    step: int
    family: str
    policy: dict[str, Any]
    normalisation: dict[str, Any]
    settings: dict[str, Any]
    commit: str
    versions: dict[str, str]
    sums: dict[str, float]
    summed: int
    wall_s: float
    grown: tuple[Growth, ...] = ()


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A complete checkpoint in memory."""

    folder: Path
    state: State
    weights: dict[str, Tensor]
    average: dict[str, Tensor]
    optimiser: dict[str, Tensor]


def save_checkpoint(shelf: Path, state: State, parts: Mapping[str, Mapping[str, Tensor]]) -> Path:
    """Writes the checkpoint of `state.step` into the folder `shelf` and returns its folder.

    `parts` holds the tensors of `PARTS`. A kill at any time leaves the other checkpoints unchanged.
    """
    folder = shelf / f"{state.step:08d}"
    tensors = {f"{name}.safetensors": tensor_bytes(parts[name]) for name in PARTS}
    write_folder(folder, {**tensors, STATE: json_bytes(state)})
    return folder


def read_checkpoint(folder: Path) -> Checkpoint:
    """Reads a checkpoint. Raises `DataError`, naming it and what is wrong, for one that is damaged."""
    files = read_folder(folder, [*(f"{part}.safetensors" for part in PARTS), STATE], kind=KIND)
    try:
        state = msgspec.json.decode(files[STATE], type=State)
    except msgspec.DecodeError as error:
        raise damaged(KIND, folder, f"{STATE} says {error}") from error
    if (state.schema, state.version) != (SCHEMA, SCHEMA_VERSION):
        raise damaged(KIND, folder, f"it is {state.schema!r} version {state.version}, not {SCHEMA!r} {SCHEMA_VERSION}")
    return Checkpoint(
        folder, state, **{part: tensors_from_bytes(files[f"{part}.safetensors"], folder) for part in PARTS}
    )


def newest_checkpoint(shelf: Path) -> Checkpoint | None:
    """Returns the newest undamaged checkpoint, None in an empty folder; damaged ones are logged by name.

    Raises `DataError` if there are checkpoints and all are damaged.
    """
    folders = _folders(shelf)
    for folder in reversed(folders):
        try:
            return read_checkpoint(folder)
        except DataError as error:
            _log.warning("%s The last undamaged one before it is used.", error)
    if folders:
        raise DataError(
            "One checkpoint of a run must be whole, for the run to go on.",
            value=str(shelf),
            remedy="Take one from a copy, or begin anew in another folder.",
        )
    return None


def tidy(shelf: Path, *, step: int, keep: int, keep_every: int) -> None:
    """Deletes the checkpoints in the folder `shelf` that are not needed once that of `step` is written.

    Deleted are incomplete ones left by kills, those beyond `step` (they are damaged, or they would have been used), and
    of the others all but the last `keep` and every `keep_every`-th step.
    """
    sweep(shelf)
    folders = _folders(shelf)
    for folder in folders:
        if int(folder.name) > step:
            discard(folder)
    reached = [folder for folder in folders if int(folder.name) <= step]
    for folder in reached[: len(reached) - keep]:
        if not keep_every or int(folder.name) % keep_every:
            discard(folder)


def _folders(shelf: Path) -> list[Path]:
    return sorted(folder for folder in shelf.glob("[0-9]*") if folder.name.isdecimal()) if shelf.exists() else []
