"""The families of learned policies by name: each is a config dataclass whose `build()` returns its learner."""

from typing import Any

from embodied.errors import unknown_name
from embodied.plugins import Registry, config_class
from policies.sam2act.config import Sam2ActConfig

FAMILIES: Registry[type[Any]] = Registry("learners", "family of policies", {"sam2act": Sam2ActConfig}, config_class)


def family_of(config: Any) -> str:
    """Returns the name under which the class of `config` is registered. Raises `UnknownNameError`."""
    for name, kind in {**FAMILIES.own, **FAMILIES.loaded}.items():
        if type(config) is kind:
            return name
    raise unknown_name("family of policies", type(config).__name__, FAMILIES)
