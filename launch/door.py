"""What every door shares: quiet Hydra, errors in one clear message, logging to stderr, one folder per sweep job."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationToMissingValueError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)

from embodied.errors import ConfigError, EmbodiedError, unknown_name

REFUSED = 2
INTERRUPTED = 130


@dataclass(frozen=True)
class Composed:
    """What came through the door: `config` is the schema's dataclass, checked; `text` is it as YAML, resolved."""

    config: Any
    text: str


def enter(task: Callable[[Composed], None], *, config_name: str) -> None:
    """Composes `sim_configs/<config_name>.yaml` with the command line and runs `task` on it, once per sweep job.

    Whatever the caller can mend is said in one message on stderr, with exit code 2; an interrupt exits with 130.
    """
    # Hydra would print its own errors and exit; this makes it raise them, so that they can be said in our way.
    os.environ["HYDRA_FULL_ERROR"] = "1"

    def job(composed: DictConfig) -> None:
        logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True)
        # Hydra turns an Exception into a failed job and prints a line of its own; SystemExit passes through.
        with _Said():
            task(Composed(OmegaConf.to_object(composed), OmegaConf.to_yaml(composed, resolve=True)))

    with _Said():
        hydra.main(config_path="pkg://sim_configs", config_name=config_name, version_base="1.3")(job)()


def say(text: str) -> None:
    """Writes one result to stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def job_folder(output: str) -> Path:
    """Returns the folder of this job: `output`, or `output/<number>` in a sweep."""
    settings = HydraConfig.get()
    folder = Path(output)
    return folder / str(settings.job.num) if settings.mode is RunMode.MULTIRUN else folder


def restated(error: Exception) -> EmbodiedError:
    """Returns an error of Hydra or OmegaConf as rule, value and remedy, with the nearest right name."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, MissingConfigException) and cause.options is not None:
            group, _, name = str(cause.missing_cfg_file).rpartition("/")
            return unknown_name(f"choice of {group or 'configuration'}", name, cause.options)
        if isinstance(cause, OverrideParseException):
            return ConfigError(
                "A setting must read key=value.",
                value=cause.override,
                remedy="Quote lists for the shell: policy='[expert,guesser]'.",
            )
    for cause in reversed(causes):
        if isinstance(cause, OmegaConfBaseException):
            return _restated_value(cause)
    rule, *rest = str(error).strip().splitlines() or [type(error).__name__]
    return ConfigError(rule, remedy=" ".join(line.strip() for line in rest if line.strip()))


class _Said:
    """Turns the errors that a caller may mend into one message and an exit code."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, KeyboardInterrupt):
            sys.stderr.write("\nInterrupted. The same command goes on where this one stopped.\n")
            raise SystemExit(INTERRUPTED) from None
        if isinstance(error, HydraException | OmegaConfBaseException):
            error = restated(error)
        if isinstance(error, EmbodiedError):
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            raise SystemExit(REFUSED) from None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _restated_value(error: OmegaConfBaseException) -> ConfigError:
    key = error.full_key or str(error.key or "")
    if isinstance(error, ConfigAttributeError | ConfigKeyError):
        known = _sisters(error)
        near = get_close_matches(str(error.key), known, n=1, cutoff=0.5)
        hint = f"Did you mean {_beside(key, near[0])!r}? " if near else ""
        return ConfigError(
            "A setting must be one that exists.", value=key, remedy=f"{hint}Known here: {', '.join(known)}."
        )
    if isinstance(error, MissingMandatoryValue | InterpolationToMissingValueError):
        missing = key if isinstance(error, MissingMandatoryValue) else "output"
        return ConfigError(f"The setting {missing!r} must be given.", remedy=f"Add {missing}=... to the command.")
    if isinstance(error, ValidationError):
        return _restated_type(key, error)
    return ConfigError(f"The setting {key!r} must fit its schema.", remedy=str(error).splitlines()[0])


def _restated_type(key: str, error: OmegaConfBaseException) -> ConfigError:
    said = str(error).splitlines()[0]
    value = said.split("'")[1] if said.count("'") >= 2 else said
    wanted = error.ref_type
    if isinstance(wanted, type) and issubclass(wanted, Enum):
        options = [option.name for option in wanted]
        near = get_close_matches(value.lower(), options, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        return ConfigError(
            f"The setting {key!r} must be one of its choices.",
            value=value,
            remedy=f"{hint}Known: {', '.join(options)}.",
        )
    name = getattr(wanted, "__name__", str(wanted))
    return ConfigError(f"The setting {key!r} must be of type {name}.", value=value, remedy="See --help.")


def _sisters(error: OmegaConfBaseException) -> list[str]:
    parent = error.parent_node
    return sorted(str(name) for name in parent) if isinstance(parent, DictConfig) else []


def _beside(key: str, name: str) -> str:
    head, dot, _ = key.rpartition(".")
    return f"{head}{dot}{name}"
