"""Tries a learner out before a training starts: settings that do not fit each other are refused in one message."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch

from embodied.errors import ConfigError, DataError, EmbodiedError
from policies.policy import jsonable
from policies.training.config import SamplingConfig
from policies.training.dataset import SequenceDataset
from policies.training.episodes import EpisodeStore, Recordings
from policies.training.learner import Learner, set_modes
from policies.training.sampler import Item, Sample

KEYFRAMES = 2  # Of the first demonstration: at the second one a memory is read as well.


@contextmanager
def refused_as_settings(policy: Any) -> Iterator[None]:
    """Converts any error inside that is not one of this project to a `ConfigError` about the settings `policy`."""
    try:
        yield
    except (EmbodiedError, ModuleNotFoundError):
        raise
    except (Exception, SystemExit) as error:  # PyTorch and plugins may raise anything.
        raise ConfigError(
            "The settings of a policy must fit each other and the demonstrations.",
            value=f"{type(error).__name__}: {' '.join(str(error).split()) or 'no reason given'}",
            remedy=_remedy(policy),
        ) from error


def try_out(learner: Learner, recordings: Recordings, sampling: SamplingConfig) -> None:
    """Computes the loss of two keyframes of the first of the `recordings`, as a step of training does.

    `sampling` is the training's. Raises `ConfigError` if the `learner` cannot process them. Damaged files are
    left for the training to report. No weight changes, and torch's random state stays as it is.
    """
    first = recordings.train[:1]
    store = EpisodeStore(first, learner.cameras, memory_bytes=0)
    with refused_as_settings(learner.policy_config), torch.random.fork_rng(devices=[]), torch.no_grad():
        dataset = SequenceDataset(store, sampling, tokenise=learner.tokenise, augmentation=None, seed=0)
        try:
            batch = dataset.batch([Sample(0, Item(0, 0, min(KEYFRAMES, first[0].keyframes)))])
        except DataError:
            return  # Training reports it with the step.
        set_modes(learner)
        learner(batch)


def _remedy(policy: Any) -> str:
    """Returns the settings that differ from the defaults of their class, which are the likely cause."""
    try:
        defaults = dict(flat(jsonable(asdict(type(policy)()))))
    except TypeError:  # A class with required settings.
        return "Change the settings of the policy."
    changed = [
        f"policy.{name}={value}" for name, value in flat(jsonable(asdict(policy))) if defaults.get(name) != value
    ]
    if not changed:
        return "Choose another policy, or demonstrations that fit it."
    return f"Change the settings of the policy; other than the defaults are {', '.join(changed)}."


def flat(settings: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the dotted path and the value of each setting; `path` is the path of `settings`."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value
