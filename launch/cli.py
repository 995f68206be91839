"""What all command lines share: quiet Hydra, one clear message per error, logs on stderr, one folder per sweep job."""

import errno
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches
from enum import Enum
from functools import cache, partial
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

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

from embodied.errors import ConfigError, EmbodiedError, PathError, unknown_name
from launch.argument_checks import check_words, quote_arguments, tidy_sweep
from launch.arguments import PLUGINS, Arguments, plugins_record, take_arguments
from launch.help import help_page
from launch.printing import PrintableFormatter, printable

CONFIGS = Path(__file__).parents[1] / "sim_configs"
SCHEMA = "_schema"
OVERRIDE = re.compile(r"[+~]{0,2}[A-Za-z_][\w./@:]*=")
STDOUT, STDERR = 1, 2
REFUSED = 2
POLICY_FAILED = 3
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
INTERRUPTED = 130
BROKEN_PIPE = 141
_TYPE_NAMES = {
    int: "a whole number",
    int | None: "a whole number",
    float: "a number",
    float | None: "a number",
    str: "text",
    bool: "true or false",
    list[str]: "a list of names, such as '[expert,guesser]'",
    dict[str, Any]: "settings by name, such as team.panda.policy=expert",
    list[str] | None: "a list of names, such as '[front,wrist]'",
}


@dataclass(frozen=True)
class Composed:
    """The composed settings: `config` is the schema's dataclass, checked; `text` is it as YAML, resolved."""

    config: Any
    text: str


def enter_command(
    task: Callable[[Composed], int | None], *, config_name: str, register: Callable[[Arguments], None]
) -> None:
    """As `enter` with `task`, `config_name` and `register`, for a program of several commands.

    Its first word may be the value of `what` alone.
    """
    if len(sys.argv) > 1 and not sys.argv[1].startswith("-") and "=" not in sys.argv[1]:
        sys.argv[1] = f"what={sys.argv[1]}"
    enter(task, config_name=config_name, register=register)


def enter(
    task: Callable[[Composed], int | None],
    *,
    config_name: str,
    register: Callable[[Arguments], None],
    groups: str = "",
    mappings: Sequence[str] = (),
) -> None:
    """Composes `sim_configs/<config_name>.yaml` with the command line and runs `task` on it, once per sweep job.

    The modules of `plugins=[my_module]` are imported first; then `register` registers schemas for the arguments left.
    `groups` is a folder in sim_configs with groups that only this command has: where there is a group of a name, Hydra
    takes no list under it. `mappings` are settings with keys of the caller's own choice, such as `team.NAME.policy`.
    Errors that the caller can fix are printed as one message on stderr, with exit code 2; an interrupt exits with 130.
    `task` may return an exit code for a job that has ended with results; a sweep plays its other jobs, too.
    """
    _adapt_hydra(config_name)
    entered, exit_code = False, 0

    def job(composed: DictConfig) -> None:
        nonlocal entered, exit_code
        entered = True
        _log_our_own_lines()
        with _reported_errors():  # Hydra would print a line of its own for an Exception; SystemExit passes through it.
            _results_descriptor()
            exit_code = task(_resolved(composed)) or exit_code

    with _reported_errors():
        check_words(sys.argv[1:])
        register(take_arguments())
    _adapt_arguments(groups, mappings)
    with tidy_sweep(sys.argv[1:]), _reported_errors():
        try:
            hydra.main(config_path=str(CONFIGS), config_name=config_name, version_base="1.3")(job)()
        except ValueError as error:
            if entered:
                raise
            raise restated(error) from error  # Raised by Hydra, such as for a group that is set to null.
    if exit_code:
        raise SystemExit(exit_code)


def _resolved(composed: DictConfig) -> Composed:
    _check_keys(composed)
    return Composed(OmegaConf.to_object(composed), OmegaConf.to_yaml(composed, resolve=True) + plugins_record())


def _adapt_hydra(config_name: str) -> None:
    # Hydra would print its own errors and exit; this makes it raise them, so that they can be restated.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    OmegaConf.register_new_resolver("help_page", partial(help_page, config_name), replace=True)


def _adapt_arguments(groups: str, mappings: Sequence[str]) -> None:
    """Rewrites the command line as Hydra reads it; `groups` and `mappings` as in `enter`."""
    for at, given in enumerate(sys.argv):
        if OVERRIDE.match(given) and given.startswith(tuple(f"{mapping}." for mapping in mappings)):
            sys.argv[at] = f"++{given}"  # Hydra would refuse a key that the schema does not list.
    quote_arguments()
    if groups:
        # Next to the first override: options may stand before or after all of them, not between.
        place = next((at for at, given in enumerate(sys.argv[1:], 1) if OVERRIDE.match(given)), len(sys.argv))
        sys.argv.insert(place, f"hydra.searchpath=['{(CONFIGS / groups).as_uri()}']")


def print_text(text: str) -> None:
    """Writes one result to stdout, see `printable`."""
    try:
        os.write(_results_descriptor(), f"{printable(text)}\n".encode())
    except BrokenPipeError:
        raise SystemExit(BROKEN_PIPE) from None  # The reader, such as `head`, has exited.
    except OSError as error:
        raise PathError(
            "The terminal, or the file in its place, must take what is printed.",
            value=f"stdout: {error.strerror}",
            remedy="Free space, or print to another place; the files of the run are written already.",
        ) from error


def job_folder(output: str) -> Path:
    """Returns the folder of this job: `output`, or `output/<number>` in a sweep.

    Raises `ConfigError` for an empty name.
    """
    if not output.strip():
        raise ConfigError("output must name a folder.", value=output, remedy="Write output=DIR.")
    settings = HydraConfig.get()
    folder = Path(output)
    return folder / str(settings.job.num) if settings.mode is RunMode.MULTIRUN else folder


def restated(error: Exception) -> EmbodiedError:
    """Returns an error of Hydra or OmegaConf as rule, value and remedy, with the nearest right name."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, MissingConfigException) and cause.options is not None:
            group, _, name = str(cause.missing_cfg_file).rpartition("/")
            options = [option for option in cause.options if not option.endswith(SCHEMA)]
            return unknown_name(f"choice of {group or 'settings'}", name, options)
        if isinstance(cause, MissingConfigException):
            return ConfigError(
                "The settings of a command must be in its own file.",
                value=str(cause).strip().splitlines()[0],
                remedy="Leave --config-name out, or name a file that has this command's settings.",
            )
        if isinstance(cause, OverrideParseException):
            return ConfigError(
                "A setting must read key=value.",
                value=cause.override,
                remedy="Lists are quoted for the shell: policy='[expert,guesser]'. Text with signs in it is quoted "
                "twice: similar=\"'put it back!'\".",
            )
        # Only the outer of OmegaConf's errors name the setting.
        if isinstance(cause, OmegaConfBaseException) and cause.full_key:
            return _restated_setting(cause)
    rule, *rest = str(error).strip().splitlines() or [type(error).__name__]
    return ConfigError(f"{rule.rstrip('.')}.", remedy=" ".join(line.strip() for line in rest if line.strip()))


@cache
def _results_descriptor() -> int:
    """Returns the file descriptor of results, after redirecting stdout to stderr, since C libraries print to stdout."""
    sys.stdout.flush()
    kept = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    return kept


def _log_our_own_lines() -> None:
    """Shows the log of this project's packages, and only warnings of libraries."""
    shown = logging.StreamHandler(sys.stderr)
    shown.setFormatter(PrintableFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[shown], force=True)
    for package in ("embodied", "policies", "launch"):
        logging.getLogger(package).setLevel(logging.INFO)
    # Matplotlib warns when it builds its font cache, once per machine.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)


@contextmanager
def _reported_errors() -> Iterator[None]:
    """Turns the errors that a caller can fix into one message and an exit code."""
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. The same command goes on where this one stopped.\n")
        raise SystemExit(INTERRUPTED) from None
    except EmbodiedError as error:
        _refuse(error)
    except (HydraException, OmegaConfBaseException) as error:
        _refuse(restated(error))
    except BrokenPipeError:  # The reader of --help, such as `head`, has exited.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(BROKEN_PIPE) from None
    except OSError as error:
        if error.errno in DISK_ERRORS:
            _refuse(PathError("The disk must take what is written.", value=error.strerror, remedy="Free space on it."))
        if error.filename is None:
            raise
        _refuse(
            PathError(
                "A file or folder must be one that can be made.",
                value=str(error.filename),
                remedy=f"{error.strerror}: choose another output.",
            )
        )


def _refuse(error: EmbodiedError) -> NoReturn:
    sys.stderr.write(printable(f"{type(error).__name__}: {error}\n"))
    raise SystemExit(REFUSED) from None


def _check_keys(node: DictConfig, path: str = "") -> None:
    """Refuses settings that were added with + or removed with ~: Hydra accepts them, but nothing reads them."""
    schema = OmegaConf.get_type(node)
    known = [option.name for option in fields(schema)] if is_dataclass(schema) else list(node)
    for key in node:
        if key not in known:
            raise _no_such_setting(f"{path}{key}", known)
    for key in known:
        if key not in node.keys():  # noqa: SIM118 - `in node` would not see those that are yet to be given
            raise ConfigError("A setting must not be removed.", value=f"{path}{key}", remedy="Give it a value instead.")
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            _check_keys(child, f"{path}{key}.")


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _restated_setting(error: OmegaConfBaseException) -> ConfigError:
    key = str(error.full_key)
    if isinstance(error, ConfigAttributeError | ConfigKeyError):
        parent = error.parent_node
        if not isinstance(parent, DictConfig):
            return _no_such_setting(key, [])
        return _no_such_setting(key, [str(name) for name in parent], list(_paths(parent._get_root())))
    if isinstance(error, MissingMandatoryValue):
        return ConfigError(f"The setting {key!r} must be given.", remedy=f"Add {key}=... to the command.")
    if isinstance(error, InterpolationToMissingValueError):
        return ConfigError(
            "What other settings refer to must be given, and once for the whole sweep.",
            value=str(error).splitlines()[0],
            remedy="Add output=... to the command.",
        )
    if isinstance(error, ValidationError) and is_dataclass(error.object_type):
        wanted = get_type_hints(error.object_type).get(str(error.key))
        return _wrong_type(key, error.value, wanted)  # type: ignore[attr-defined]
    reason = " ".join(str(error).split("full_key:")[0].split())
    return ConfigError(f"The setting {key!r} must fit its schema.", value=reason, remedy="--help shows what it may be.")


def _paths(node: Any, path: str = "") -> Iterator[str]:
    """Yields the paths of all settings, such as `suite.tasks`, but those of Hydra."""
    for key in node:
        if f"{path}{key}" == "hydra":
            continue
        yield f"{path}{key}"
        child = node._get_node(key)
        if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
            yield from _paths(child, f"{path}{key}.")


def _wrong_type(key: str, value: Any, wanted: Any) -> ConfigError:
    if isinstance(wanted, type) and issubclass(wanted, Enum):
        options = [option.name.lower() for option in wanted]
        near = get_close_matches(str(value).lower(), options, n=1, cutoff=0.5)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        rule = f"The setting {key!r} must be one of its choices."
        return ConfigError(rule, value=value, remedy=f"{hint}Known: {', '.join(options)}.")
    name = _TYPE_NAMES.get(wanted, str(wanted))
    return ConfigError(f"The setting {key!r} must be {name}.", value="null" if value is None else value)


def _no_such_setting(key: str, known: Sequence[str], elsewhere: Sequence[str] = ()) -> ConfigError:
    """Returns the error for a setting that is not `known` in its section; `elsewhere` are all other settings."""
    if key == PLUGINS:
        return ConfigError(
            f"{PLUGINS} must stand on the command line alone, so that no file can choose what code runs.",
            value=key,
            remedy=f"Write {PLUGINS}=[my_module].",
        )
    head, dot, name = key.rpartition(".")
    own = sorted(set(known) - {"hydra"})
    same = [path for path in elsewhere if path.rpartition(".")[2] == name]
    near = [f"{head}{dot}{found}" for found in get_close_matches(name, own, n=1, cutoff=0.5)]
    hint = f"Did you mean {(same or near)[0]}? " if same or near else ""
    place = f"in {head}" if head else "here"
    if head == "policy_options":
        hint += f"A label of your own needs {key}.kind=POLICY beside its settings. "
    listed = f"Known {place}: {', '.join(own)}." if own else f"There are no settings {place}."
    return ConfigError("A setting must be one that exists.", value=key, remedy=f"{hint}{listed}")
