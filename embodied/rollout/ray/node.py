"""What every actor of a run needs on its node before it can read a configuration: the same code as the driver's."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RaySystemError

import embodied
from embodied.errors import PluginError
from embodied.plugins import import_modules, module_folders, named_modules, require_same_modules, source_digest


@dataclass(frozen=True)
class WorkerCode:
    """`modules` maps the modules named by `plugins=` to the SHA-256 of their source on the driver.

    `python_path` is the module search path of workers, absolute: this project, `plugins=` modules, then the user's
    PYTHONPATH.
    """

    modules: Mapping[str, str]
    python_path: str

    def load(self) -> None:
        """Imports the modules. Raises `PluginError` for code that cannot be imported or differs from the driver's."""
        import_modules(list(self.modules))
        require_same_modules(self.modules)


def driver_code() -> WorkerCode:
    """Returns what actors must load, as it is in this process."""
    own = [str(Path(folder).absolute()) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    path = os.pathsep.join([str(Path(embodied.__file__).parents[1]), *module_folders(), *own])
    return WorkerCode({name: source_digest(name) for name in named_modules()}, path)


def shared_value(reference: Sequence[Any]) -> Any:
    """Returns what the driver has put into Ray's shared memory; `reference` is a list that holds the reference to it.

    Ray would read a reference that is an argument by itself, before the code is loaded. Raises `PluginError` where this
    node lacks code that the value needs.
    """
    try:
        return ray.get(reference[0])
    except RaySystemError as error:
        raise PluginError(
            "Every node must be able to import all code that a run uses.",
            value=str(error).strip().splitlines()[0],
            remedy="Install its package on all nodes, or name its module: plugins=[my_module].",
        ) from error
