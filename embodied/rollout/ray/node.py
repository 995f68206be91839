"""What every actor of a run needs on its node before it can read a configuration: the same code as the driver's."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RaySystemError

import embodied
from embodied.plugins import (
    code_identity,
    import_modules,
    module_folders,
    named_modules,
    not_importable,
    require_same_code,
)


@dataclass(frozen=True)
class WorkerCode:
    """`identity` identifies the driver's code, and `modules` are those named by `plugins=`.

    `python_path` is the module search path of workers, absolute: this project, `plugins=` modules, the user's
    PYTHONPATH, then the driver's folder.
    """

    identity: Mapping[str, str]
    modules: Sequence[str]
    python_path: str

    def load(self) -> None:
        """Imports the modules. Raises `PluginError` for code that cannot be imported or differs from the driver's."""
        require_same_code(self.identity)
        import_modules(self.modules)


def driver_code() -> WorkerCode:
    """Returns what actors must load, as it is in this process."""
    own = [str(Path(folder).absolute()) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    path = os.pathsep.join([str(Path(embodied.__file__).parents[1]), *module_folders(), *own, str(Path.cwd())])
    return WorkerCode(code_identity(), named_modules(), path)


def shared_value(reference: Sequence[Any]) -> Any:
    """Returns what the driver has put into Ray's shared memory; `reference` is a list that holds the reference to it.

    Ray would read a reference that is an argument by itself, before the code is loaded. Raises `PluginError` where this
    node lacks code that the value needs.
    """
    try:
        return ray.get(reference[0])
    except RaySystemError as error:
        raise not_importable(str(error).strip().splitlines()[0]) from error
