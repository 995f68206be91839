"""The kinds of neural memories by name: those of this project and those of plugins."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import msgspec

from embodied.errors import ConfigError, unknown_name
from embodied.plugins import Registry, config_class
from policies.memory.config import (
    KeepFirstMemoryConfig,
    MergingMemoryConfig,
    NeuralMemoryConfig,
    NoMemoryConfig,
    RecurrentMemoryConfig,
    WindowMemoryConfig,
)

MEMORIES: Registry[type[NeuralMemoryConfig]] = Registry(
    "memories",
    "memory",
    {
        "none": NoMemoryConfig,
        "window": WindowMemoryConfig,
        "keep_first": KeepFirstMemoryConfig,
        "merging": MergingMemoryConfig,
        "recurrent": RecurrentMemoryConfig,
    },
    config_class,
)


def memory_config(kind: str, settings: Mapping[str, Any]) -> NeuralMemoryConfig:
    """Returns the config of the memory called `kind` with `settings`, by the names of its fields.

    Raises `UnknownNameError` for a kind or setting that does not exist, `ConfigError` for a value of a wrong type, and
    `PluginError`.
    """
    chosen = MEMORIES[kind]
    known = [field.name for field in fields(chosen)]
    for name in settings:
        if name not in known:
            raise unknown_name(f"setting of memory {kind!r}", name, known)
    try:
        return msgspec.convert(dict(settings), type=chosen)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"The settings of memory {kind!r} must be of the types of its fields.",
            value=dict(settings),
            remedy=f"{error}.",
        ) from error
