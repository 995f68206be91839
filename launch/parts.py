"""The parts that settings choose among: this project's, and those from outside that the command line names."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, make_dataclass, replace
from functools import partial
from keyword import iskeyword
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from embodied.errors import ConfigError, PluginError, UnknownNameError, unknown_name
from embodied.planning import ScheduleConfig
from embodied.plugins import Registry, config_class, config_value, named_modules
from embodied.simulators.bullet import BulletConfig
from embodied.simulators.habitat import HabitatConfig
from launch.arguments import Arguments
from policies.learned import LearnedPolicyConfig
from policies.registry import FAMILIES
from policies.remote.config import RemotePolicyConfig
from policies.scripted import ExpertConfig, GuesserConfig, RandomPolicyConfig

KIND = "kind"

_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class NoDispatcherConfig:
    """Every robot has its instruction from the start."""


def settings_value(name: str, value: Any) -> Any:
    """Returns a config with `build()` whose fields can be settings. Raises `TypeError` for `name` otherwise."""
    config = config_value(name, value)
    try:
        OmegaConf.structured(config)
    except OmegaConfBaseException as error:
        raise TypeError(f"{type(config).__name__} must have fields that settings can have: {error}") from error
    return config


def _simulator(name: str, value: Any) -> type[Any]:
    settings_value(name, value)
    if not hasattr(config_class(name, value)(), "world"):
        raise TypeError(f"{name!r} must have a field `world` of type WorldConfig.")
    return value


def _planner(name: str, value: Any) -> type[Any]:
    settings_value(name, value)
    return config_class(name, value)


POLICIES: Registry[Any] = Registry(
    "policies",
    "policy",
    {
        "expert": ExpertConfig(),
        "guesser": GuesserConfig(),
        "random": RandomPolicyConfig(),
        "remote": RemotePolicyConfig(),
        "sam2act": LearnedPolicyConfig(weights="sam2act-memorybench"),
        "sam2act_plus": LearnedPolicyConfig(weights="sam2act_plus-memorybench"),
    },
    settings_value,
)
SIMULATORS: Registry[type[Any]] = Registry(
    "simulators", "simulator", {"bullet": BulletConfig, "habitat": HabitatConfig}, _simulator
)
PLANNERS: Registry[type[Any]] = Registry(
    "planners", "dispatcher", {"none": NoDispatcherConfig, "schedule": ScheduleConfig}, _planner
)


def policy_kinds() -> list[str]:
    """Returns the names of all kinds of policies: those of `POLICIES`, and learners whose weights can be loaded."""
    return [*POLICIES, *(name for name in FAMILIES if name not in POLICIES)]


def policy_kind(name: str) -> Any:
    """Returns the config of the kind of policy called `name`. Raises `UnknownNameError`, `PluginError`."""
    if name not in POLICIES and name in FAMILIES:
        return LearnedPolicyConfig()
    if name not in POLICIES:
        raise unknown_policy(name, policy_kinds())
    return POLICIES[name]


def unknown_policy(name: str, known: Iterable[str]) -> UnknownNameError:
    """Returns the error for a policy that is not among the `known` ones, with what makes a policy known."""
    error = unknown_name("policy", name, known)
    if named_modules():
        return error
    more = "A policy of your own needs plugins=[my_module] beside it, where EMBODIED of that module names it."
    return UnknownNameError(error.rule, value=error.value, remedy=f"{error.remedy} {more}")


def policy_options(arguments: Arguments) -> type[Any]:
    """Returns the dataclass of the settings of policies.

    One field for each built-in policy and each that `arguments` name. A label of the user's own, which
    `policy_options.LABEL.kind=NAME` introduces, has the settings of its kind. Raises `PluginError`, `UnknownNameError`
    and `ConfigError`.
    """
    labels = _labels(arguments)
    named = arguments.names("policy") | arguments.names("team.*.policy") | set(labels.values())
    named |= {key.split(".")[1] for key, _ in arguments.settings() if key.startswith("policy_options.")}
    kinds = {**POLICIES.own, **(POLICIES.sound() if arguments.show_all else {})}
    kinds |= {name: policy_kind(name) for name in policy_kinds() if name in named}
    options = {name: config for name, config in kinds.items() if name not in labels}
    options |= {label: _labelled(label, kind, policy_kind(kind)) for label, kind in labels.items()}
    return make_dataclass(
        "PolicyOptions",
        [(name, type(config), field(default_factory=partial(replace, config))) for name, config in options.items()],
        kw_only=True,
    )


def chosen_policy(name: str, options: Any) -> Any:
    """Returns the config of the policy called `name`, a kind or a label of `options`, with the digest of its weights.

    Raises `UnknownNameError`, `PluginError`, and what `pinned` of the config raises.
    """
    config = getattr(options, name, None)
    if config is None:
        config = policy_kind(name)
    label = getattr(type(config), "plain", None)
    plain = config if label is None else label(**{one.name: getattr(config, one.name) for one in fields(label)})
    return plain.pinned() if callable(getattr(plain, "pinned", None)) else plain


def check_simulator(config: Any) -> None:
    """Raises `ConfigError` for settings of a simulator that are out of range, those of its world at least."""
    check = getattr(config, "check", None)
    (check if callable(check) else config.world.check)()


def known_policies(options: Any) -> list[str]:
    """Returns the names of all kinds of policies, and the labels among `options`."""
    kinds = policy_kinds()
    return [*kinds, *(one.name for one in fields(options) if one.name not in kinds)]


def register_parts(group: str, names: Iterable[str], make: Callable[[str], Any], arguments: Arguments) -> None:
    """Registers with Hydra the parts called `names` in `group`, so that group=NAME chooses them.

    `make` returns the schema of a part, which is needed only for the parts that `arguments` name; for others the names
    suffice. Raises `PluginError` for a broken part that is named.
    """
    store, chosen = ConfigStore.instance(), arguments.names(group)
    for name in names:
        node: Any = {}
        if name in chosen or arguments.show_all:
            try:
                node = make(name)
            except PluginError as error:
                if name in chosen:
                    raise
                _log.warning("Left out: %s", error)
        store.store(group=group, name=name, node=node)


def _labels(arguments: Arguments) -> dict[str, str]:
    """Returns the kind of each label that the user has introduced. Raises `ConfigError`, `UnknownNameError`."""
    found: dict[str, str] = {}
    for key, value in arguments.settings():
        first, _, rest = key.partition(".")
        label, _, setting = rest.partition(".")
        if (first, setting) != ("policy_options", KIND):
            continue
        if not label.isidentifier() or iskeyword(label) or (label != value and label in policy_kinds()):
            raise ConfigError(
                "A label of a policy must be a plain name that no other policy has.",
                value=label,
                remedy=f"Write such as policy_options.mine.kind={value}.",
            )
        if value not in policy_kinds():
            raise unknown_name("kind of policy", value, policy_kinds())
        found[label] = value
    return found


def _labelled(label: str, kind: str, config: Any) -> Any:
    """Returns `config` with a field that names its kind; `plain` is its class without that field."""
    plain = type(config)
    with_kind = make_dataclass(
        f"{plain.__name__}_{label}",
        [(KIND, str, field(default=kind))],
        bases=(plain,),
        namespace={"plain": plain, "__doc__": plain.__doc__},
        kw_only=True,
        frozen=plain.__dataclass_params__.frozen,
    )
    return with_kind(**{one.name: getattr(config, one.name) for one in fields(plain) if one.init})
