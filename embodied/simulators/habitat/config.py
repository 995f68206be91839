"""The settings of Habitat-Sim, and where its interpreter is found."""

import os
import sys
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from embodied.errors import ConfigError, MissingDependencyError, PathError
from embodied.simulators.remote import RemoteWorker
from embodied.simulators.world import WorldConfig

if TYPE_CHECKING:
    from embodied.simulators.habitat.simulator import HabitatSimulator

PYTHON_VARIABLE = "EMBODIED_HABITAT_PYTHON"
HOW_TO_INSTALL = (
    "Install habitat-sim 0.3.2 to 0.3.4 with numpy and msgpack in an environment of its own, such as: conda create -n "
    "habitat python=3.9 habitat-sim=0.3.3 withbullet headless msgpack-python -c conda-forge -c aihabitat. Then set "
    f"simulator.python, or the environment variable {PYTHON_VARIABLE}, to the python of that environment."
)


@dataclass(kw_only=True)
class HabitatConfig:
    """Habitat-Sim 0.3.2 to 0.3.4, in another Python environment.

    Attributes:
        world: the shared settings of its world; physics_hz has no effect, since robots and bodies move by kinematics
        python: the interpreter with habitat-sim; empty for that of EMBODIED_HABITAT_PYTHON
        timeout_s: how long a call of Habitat may take before the episode counts as an outage
        base_radius_m: of the disc that keeps driving robots away from what stands around
        dataset: path of a scene_dataset_config.json, such as that of HSSD, ReplicaCAD or HM3D; empty for no place
        place: name of the scene in the dataset, or path of a GLB, in which episodes are set; empty for an empty place
    """

    world: WorldConfig = field(default_factory=WorldConfig)
    python: str = ""
    timeout_s: float = 120.0
    base_radius_m: float = 0.25
    dataset: str = ""
    place: str = ""

    def check(self) -> None:
        """Raises `ConfigError` for values out of range, and `PathError` for a dataset or place that is missing.

        Raises `MissingDependencyError` where no interpreter with habitat-sim is named.
        """
        self.world.check()
        self.interpreter()
        for name in ("timeout_s", "base_radius_m"):
            if not 0.0 < getattr(self, name) < 1e6:
                raise ConfigError(f"simulator.{name} must be positive.", value=getattr(self, name))
        if self.dataset and not Path(self.dataset).is_file():
            raise PathError(
                "simulator.dataset must be the scene_dataset_config.json of a downloaded dataset.",
                value=self.dataset,
                remedy="Download the dataset as its publisher describes, and set the path of that file.",
            )
        if self.dataset and not self.place:
            raise ConfigError("simulator.place must name a scene of the dataset.", value=self.place)
        if self.place and not self.dataset and not Path(self.place).is_file():
            raise PathError(
                "simulator.place must be the path of a GLB, or the name of a scene beside simulator.dataset.",
                value=self.place,
            )

    def build(self) -> "HabitatSimulator":
        """Returns the simulator. Raises as `check`, and `MissingDependencyError` where habitat-sim is not found."""
        self.check()
        from embodied.simulators.habitat.simulator import HabitatSimulator  # With pinocchio, which configs do without.

        simulator = HabitatSimulator(
            self.world,
            partial(start_worker, self.interpreter(), self.timeout_s),
            base_radius_m=self.base_radius_m,
            dataset=str(Path(self.dataset).resolve()) if self.dataset else "",
            place=self.place,
        )
        simulator.open()
        return simulator

    def interpreter(self) -> str:
        """Returns the interpreter with habitat-sim. Raises `MissingDependencyError` where none is named."""
        python = self.python or os.environ.get(PYTHON_VARIABLE, "")
        if python:
            return python
        if find_spec("habitat_sim") is not None:
            return sys.executable
        raise MissingDependencyError("simulator=habitat must have an interpreter with habitat-sim.", value=None,
                                     remedy=HOW_TO_INSTALL)  # fmt: skip


def start_worker(python: str, timeout_s: float) -> RemoteWorker:
    """Returns a worker with habitat-sim; `timeout_s` as in `RemoteWorker`, which also says what else is raised.

    Raises `MissingDependencyError`, which says what to install, where `python` lacks something.
    """
    try:
        return RemoteWorker(python, timeout_s=timeout_s)
    except MissingDependencyError as error:
        raise MissingDependencyError(
            f"The interpreter {python!r} must have habitat-sim.", value=error.value, remedy=HOW_TO_INSTALL
        ) from error
