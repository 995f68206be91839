"""The plan of a training: policy, data and output; everything is checked before the first step."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from embodied.archive import file_sha256
from embodied.errors import ConfigError, DataError, unknown_name
from embodied.seeding import derive_seed
from policies.policy import WEIGHTS, Pretrained, from_pretrained, jsonable
from policies.training.config import StageConfig, TrainingConfig
from policies.training.episodes import TOOL_ORIENTATION, TOOL_POSITION, Recordings, find_recordings
from policies.training.learner import DatasetFeatures, Learner
from policies.training.sampler import Sampler, cut
from policies.training.trial import flat, refused_as_settings
from policies.weights import load_weights

DIFFERENCES_LISTED = 5
# Settings that may change between two sessions of one run, since they do not affect the result.
FREE = {"minutes": None, "log": None, "sampling": {"memory_mb": None}}
LENGTH = {"steps": None, "epochs": None}  # Settings that may grow between two sessions of one run.


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """One run: `policy` is the config of a learner of `family`, `command` the command line, `threads` those per worker.

    `folders` hold demonstrations; `output` is the run's folder; `start` is the folder of the weights that `stage.start`
    names, since workers on other machines have another working folder. `sources` identify the code of plugins that is
    used.
    """

    family: str
    policy: Any
    training: TrainingConfig
    folders: tuple[Path, ...]
    output: Path
    start: Path | None = None
    sources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    command: str = ""
    threads: int = 1

    def settings(self, features: DatasetFeatures) -> dict[str, Any]:
        """Returns, JSON-able, all settings that determine the result."""
        training = _without(asdict(self.training), FREE)
        started = {"start_digest": file_sha256(self.start / WEIGHTS)} if self.start else {}
        outside = {"plugins": self.sources} if self.sources else {}
        whole = {"family": self.family, "policy": asdict(self.policy), **training, "digest": features.digest}
        return _without_empty(jsonable({**whole, **started, **outside}))

    def steps(self, recordings: Recordings) -> int:
        """Returns how many steps the run has."""
        return self._steps(recordings, self.training.steps, self.training.epochs)

    def steps_before(self, settings: Mapping[str, Any], recordings: Recordings) -> int:
        """Returns how many steps this run had with `settings`, which an earlier session has written down.

        Raises `ConfigError` where these are the settings of another run, or of one that had more steps than it has now.
        """
        now = self.settings(recordings.features)
        refuse_other_settings(_without(settings, LENGTH), _without(now, LENGTH), self.output)
        before, steps = self._steps(recordings, settings["steps"], settings["epochs"]), self.steps(recordings)
        if steps < before:
            raise ConfigError(
                "The number of steps of a training must not become smaller.",
                value=f"{self.output}: steps was {before}, is {steps}",
                remedy=f"Set steps={before} or more, or choose another output folder.",
            )
        return before

    def _steps(self, recordings: Recordings, steps: int, epochs: float) -> int:
        training, train = self.training, recordings.train
        if not epochs:
            return steps
        items = cut([recording.keyframes for recording in train], training.sampling)
        epoch = Sampler(items, [recording.task for recording in train], seed=training.seed).epoch
        return math.ceil(epochs * epoch / training.batch)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A learner at the beginning of its stage, the recordings for it, and the weights from which it starts."""

    learner: Learner
    recordings: Recordings
    start: Pretrained | None


def prepare(plan: TrainingPlan) -> Prepared:
    """Returns the learner and data of `plan`; a plan always gives the same weights, and torch's random state stays.

    Raises `ConfigError`, `DataError` and `UnknownNameError` for settings out of range, demonstrations that are missing,
    disagree or do not fit the policy, and weights to start from that are not of its architecture.
    """
    plan.training.check()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(plan.training.seed, "weights"))
        with refused_as_settings(plan.policy):
            learner: Learner = plan.policy.build()
    recordings = find_recordings(plan.folders, plan.training.sampling, learner.action_spec)
    check_fit(learner, recordings.features)
    return Prepared(learner, recordings, begin_stage(learner, plan.training.stage, plan.start))


def check_fit(learner: Learner, features: DatasetFeatures) -> None:
    """Raises `ConfigError` or `UnknownNameError` for demonstrations that do not fit a learner."""
    for camera in learner.cameras:
        if camera not in features.image_px:
            raise unknown_name("camera of the policy", camera, features.image_px)
    sizes = {features.image_px[camera] for camera in learner.cameras}
    if len(sizes) > 1:
        raise ConfigError(
            "All cameras of a policy must have the same image size.",
            value={camera: features.image_px[camera] for camera in learner.cameras},
            remedy="Choose cameras of equal size.",
        )
    lacking = [name for name in (*TOOL_POSITION, *TOOL_ORIENTATION) if name not in features.proprio_names]
    if lacking:
        raise ConfigError(
            "Proprioception must contain the pose of the tool.",
            value=f"{lacking[0]} is not among {', '.join(features.proprio_names)}",
            remedy="Collect demonstrations of a robot with an arm.",
        )
    low, high = zip(*learner.workspace_m, strict=True)
    if any(a < b for a, b in zip(features.intent_low_m, low, strict=True)) or any(
        a > b for a, b in zip(features.intent_high_m, high, strict=True)
    ):
        raise ConfigError(
            "All intents must lie in the workspace that the policy is normalised to.",
            value=f"{features.intent_low_m} to {features.intent_high_m} in a workspace of {low} to {high}",
            remedy="Widen the policy's workspace, or train on other demonstrations.",
        )
    learner.check(features)


def begin_stage(learner: Learner, stage: StageConfig, folder: Path | None) -> Pretrained | None:
    """Loads and returns the weights from which `stage` starts, from `folder` if given, and freezes parts of `learner`.

    Raises as `prepare` does.
    """
    groups = learner.parameter_groups()
    for name in (*stage.frozen, *stage.fresh):
        if name not in groups:
            raise unknown_name("parameter group", name, groups)
    start = from_pretrained(folder or stage.start) if stage.start else None
    if start:
        _load_start(learner, stage, start)
    for name in stage.frozen:
        for parameter in groups[name]:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in learner.parameters()):
        raise ConfigError("A stage must leave some parameters to train.", value=list(stage.frozen))
    return start


def _load_start(learner: Learner, stage: StageConfig, start: Pretrained) -> None:
    """Loads all groups but the fresh ones. Raises `DataError` and `ConfigError` for weights of another policy."""
    if start.normalisation != jsonable(learner.normalisation()):
        raise DataError(
            "A stage must start from weights with the same normalisation.",
            value=f"{start.folder}: {start.normalisation}, here {learner.normalisation()}",
            remedy="Choose the policy settings that they were trained with.",
        )
    tensors = dict(start.tensors)
    if stage.fresh and not tensors.keys() <= learner.state_dict().keys():
        with torch.random.fork_rng(devices=[]):
            theirs = _names_in(start.config.build(), stage.fresh)
        tensors = {name: tensor for name, tensor in tensors.items() if name not in theirs}
    load_weights(learner, tensors, start.folder / WEIGHTS, fresh=_names_in(learner, stage.fresh))
    free = {*learner.learning_settings, *(name for group in stage.fresh for name in learner.settings_of(group))}
    then, now = ({n: v for n, v in asdict(c).items() if n not in free} for c in (start.config, learner.policy_config))
    differing = _differences(jsonable(then), jsonable(now))
    if stage.frozen and differing:
        raise ConfigError(
            "Frozen parts must get the inputs that they were trained with: the start's settings.",
            value=f"{start.folder}: {'; '.join(differing)}",
            remedy="Give the settings of the start here, too; or freeze nothing, so that all parts can adapt.",
        )


def _names_in(learner: Learner, wanted: Sequence[str]) -> set[str]:
    """Returns the names of the tensors of some parameter groups, buffers included."""
    groups = learner.parameter_groups()
    own = {id(parameter) for group in wanted for parameter in groups.get(group, ())}
    names = {name for name, parameter in learner.named_parameters() if id(parameter) in own}
    return names | {name for name in learner.state_dict() if name.startswith(tuple(f"{group}." for group in wanted))}


def refuse_other_settings(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Raises `ConfigError` if the settings of the run in `folder` were others `before` than `now`.

    The message has at most five that differ.
    """
    differing = _differences(before, now)
    if differing:
        raise ConfigError(
            "A training folder must hold one run: the same policy, data and settings.",
            value=f"{folder}: {'; '.join(differing)}",
            remedy="Choose another output folder, or the settings in its config.yaml. Of these, steps alone may grow.",
        )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Returns descriptions of the settings that differ, at most `DIFFERENCES_LISTED`."""
    old, new = dict(flat(before)), dict(flat(now))
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return [f"{name} was {old.get(name)!r}, is {new.get(name)!r}" for name in names[:DIFFERENCES_LISTED]]


def _without(settings: Mapping[str, Any], free: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without(value, free[name]) if name in free else value
        for name, value in settings.items()
        if name not in free or free[name] is not None
    }


def _without_empty(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `settings` without empty sections, as in runs from before there were such sections."""
    return {
        name: _without_empty(value) if isinstance(value, Mapping) else value
        for name, value in settings.items()
        if not isinstance(value, Mapping) or value
    }
