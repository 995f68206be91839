"""Shared parts of all learned policies: how weights are shipped, found, checked and loaded.

A shipped policy is a folder: `config.json` (family, settings, normalisation), `model.safetensors` (averaged weights),
`training.json` (provenance), `curves.json` (the losses) and `manifest.json` (the SHA-256 of each).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec
import torch
from torch import Tensor

from embodied.errors import ConfigError, DataError, unknown_name
from embodied.evaluation.curves import STAGE, VALIDATION
from policies.folders import damaged, json_bytes, read_folder, write_folder
from policies.registry import FAMILIES
from policies.weights import load_weights, read_tensors, tensor_bytes

if TYPE_CHECKING:
    from policies.training.learner import Learner

SCHEMA = "embodied-memory/policy"
SCHEMA_VERSION = 1
CONFIG, WEIGHTS, TRAINING, CURVES = "config.json", "model.safetensors", "training.json", "curves.json"
PRETRAINED = Path(__file__).parent / "pretrained"
KIND = "pretrained policy"
CURVE_POINTS = 500


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`config.json`."""

    schema: str
    version: int
    family: str
    config: dict[str, Any]
    normalisation: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A shipped policy, read and checked; `config` is its family's dataclass, `training` says what made it."""

    folder: Path
    family: str
    config: Any
    normalisation: dict[str, Any]
    tensors: dict[str, Tensor]
    training: dict[str, Any]

    def build(self) -> "Learner":
        """Returns the network with its weights, for evaluation. Raises `DataError` where they do not fit each other."""
        with torch.random.fork_rng(
            devices=[]
        ):  # The weights that it begins with are replaced; draws elsewhere are not.
            learner: Learner = self.config.build()
        if jsonable(learner.normalisation()) != self.normalisation:
            raise DataError(
                "A policy must scale numbers as it did when it was trained.",
                value=f"{self.folder}: {self.normalisation}, here {learner.normalisation()}",
                remedy="Use the version of the code that training.json names, or train anew.",
            )
        load_weights(learner, self.tensors, self.folder / WEIGHTS)
        return learner.eval()


def from_pretrained(name_or_folder: str | Path) -> Pretrained:
    """Reads the policy of a folder, or the one of `policies/pretrained/<name>`.

    Raises `UnknownNameError` with the nearest name, and `DataError` for files that are altered, no safetensors, or of
    another version.
    """
    folder = find_pretrained(name_or_folder)
    tensors = read_tensors(folder / WEIGHTS)  # First: that a file is no safetensors says more than its checksum.
    files = read_folder(folder, [CONFIG, WEIGHTS, TRAINING, CURVES], kind=KIND)
    try:
        card = msgspec.json.decode(files[CONFIG], type=Card)
        training = msgspec.json.decode(files[TRAINING], type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise damaged(KIND, folder, str(error)) from error
    if (card.schema, card.version) != (SCHEMA, SCHEMA_VERSION):
        raise DataError(
            f"A {KIND} must be of {SCHEMA!r} version {SCHEMA_VERSION}.",
            value=f"{folder}: {card.schema!r} version {card.version}",
            remedy="Use the version of the code that training.json names, or train anew.",
        )
    config = config_from_json(card.family, card.config)
    return Pretrained(folder, card.family, config, card.normalisation, tensors, training)


def save_pretrained(
    folder: Path,
    learner: "Learner",
    *,
    family: str,
    tensors: Mapping[str, Tensor],
    training: Mapping[str, Any],
) -> None:
    """Ships `tensors`, weights of a `learner` of `family`, as `folder`: whole or not at all.

    `training["curves"]`, rows of metrics.jsonl, becomes a file of its own, thinned; see `curve_rows`.
    """
    config = learner.policy_config
    card = Card(SCHEMA, SCHEMA_VERSION, family, jsonable(asdict(config)), jsonable(learner.normalisation()))
    curves = training.get("curves", [])
    story = {name: value for name, value in training.items() if name != "curves"}
    write_folder(
        folder,
        {
            CONFIG: json_bytes(card),
            WEIGHTS: tensor_bytes(tensors),
            TRAINING: json_bytes(story),
            CURVES: json_bytes(_columns(curves)),
        },
    )


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """Returns rows of metrics as columns, null where a row does not have a metric; thinned stage by stage."""
    stages = dict.fromkeys(row.get(STAGE) for row in rows)
    thinned = [row for stage in stages for row in _thinned([row for row in rows if row.get(STAGE) == stage])]
    names = dict.fromkeys(name for row in thinned for name, value in row.items() if isinstance(value, int | float))
    return {name: [row.get(name) for row in thinned] for name in names}


def _thinned(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Returns about `CURVE_POINTS` of one stage's rows, and all those of validation, which are few."""
    stride = max(1, -(-len(rows) // CURVE_POINTS))
    return [row for at, row in enumerate(rows) if at % stride == 0 or any(name.startswith(VALIDATION) for name in row)]


def curve_rows(folder: Path) -> list[dict[str, float]]:
    """Returns the rows of metrics that `save_pretrained` left of a training, each with its `stage`, from 1.

    Raises `DataError` for a folder that is not whole.
    """
    content = read_folder(folder, [CURVES], kind=KIND)[CURVES]
    try:
        columns = msgspec.json.decode(content, type=dict[str, list[float | None]])
        rows = list(zip(*columns.values(), strict=True))
    except (msgspec.DecodeError, ValueError) as error:
        raise damaged(KIND, folder, f"{CURVES}: {error}") from error
    return [
        {STAGE: 1, **{name: value for name, value in zip(columns, row, strict=True) if value is not None}}
        for row in rows
    ]


def config_from_json(family: str, settings: Mapping[str, Any]) -> Any:
    """Returns the config dataclass of `family` with `settings`. Raises `UnknownNameError`, `ConfigError`."""
    kind = FAMILIES[family]
    _require_own_folder(kind, settings, family)
    try:
        return msgspec.convert(settings, type=kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"The settings of {family} must fit its schema.", remedy=str(error)) from error


def jsonable(value: Any) -> Any:
    """Returns `value` as JSON would give it back: tuples as lists, enums by value."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _require_own_folder(kind: type[Any], settings: Mapping[str, Any], path: str) -> None:
    """Raises `UnknownNameError` for settings that the dataclass does not have: they would be passed over in silence."""
    types = get_type_hints(kind)
    for name, value in settings.items():
        if name not in {field.name for field in fields(kind)}:
            raise unknown_name(f"setting of {path}", name, types)
        if isinstance(value, Mapping) and is_dataclass(types[name]) and isinstance(types[name], type):
            _require_own_folder(types[name], value, f"{path}.{name}")


def find_pretrained(name_or_folder: str | Path) -> Path:
    """Returns the folder of a pretrained policy, given that or its name. Raises `UnknownNameError`."""
    given = Path(name_or_folder)
    for folder in (PRETRAINED / given.name if given.name == str(given) else given, given):
        if (folder / WEIGHTS).is_file():
            return folder
    known = [folder.parent.name for folder in PRETRAINED.glob(f"*/{WEIGHTS}")]
    known += [str(path.parent) for path in given.glob(f"*/{WEIGHTS}")]  # A training's folder holds its policy.
    raise unknown_name(f"{KIND}, by name or as a folder with {WEIGHTS},", str(name_or_folder), known)
