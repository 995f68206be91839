"""Trains a policy: `python -m launch.train policy=NAME data=DIR output=DIR steps=10000 batch=8 seed=0`."""

import shlex
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from embodied.errors import ConfigError, MissingDependencyError
from launch import cli
from launch.arguments import Arguments
from launch.parts import register_parts
from policies.registry import FAMILIES, family_of
from policies.training.config import TrainComputeConfig, TrainingConfig

MEMORY_SETTINGS = ("policy.memory.options",)  # A memory from outside has other names of settings.
COMMAND = tuple(sys.argv[1:])  # The arguments as typed, before `cli.enter` adds to them.


@dataclass(kw_only=True)
class TrainConfig(TrainingConfig):
    """All settings of `python -m launch.train`: those of training, and where it begins and ends.

    The parts typed `Any` are checked by the schema of their group; `data` is a folder of demonstrations or a list.
    """

    policy: Any = MISSING
    data: Any = MISSING
    output: str = MISSING
    address: str = ""
    compute: Any = MISSING


def train(composed: cli.Composed) -> None:
    """Runs the training or the rest of it, and prints its progress and where the policy is."""
    config: TrainConfig = composed.config
    # Absolute: workers on Ray have a working folder of their own.
    folders = tuple(Path(folder).absolute() for folder in _folders(config.data))
    training = TrainingConfig(**{option.name: getattr(config, option.name) for option in fields(TrainingConfig)})
    try:
        from policies.policy import find_pretrained
        from policies.training.checkpoint_writer import POLICY
        from policies.training.job import run_job
        from policies.training.plan import TrainingPlan
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "Training needs libraries of the extra 'train'.", value=error.name, remedy="pip install '.[train]'"
        ) from error
    output = cli.job_folder(config.output).absolute()
    plan = TrainingPlan(
        family=family_of(config.policy),
        policy=config.policy,
        training=training,
        folders=folders,
        output=output,
        start=find_pretrained(training.stage.start).absolute() if training.stage.start else None,
        command=f"python -m launch.train {shlex.join(COMMAND)}",
    )
    summary = run_job(plan, config.compute, config=composed.text)
    cli.print_text(f"{summary.step} of {summary.steps} steps, {summary.wall_s / 3600.0:.2f} hours in all")
    if summary.step < summary.steps:
        cli.print_text("The minutes are over; the same command goes on.")
    cli.print_text(f"\nPolicy: {output / POLICY}")


def _folders(data: Any) -> list[str]:
    folders = [data] if isinstance(data, str) else data
    if not isinstance(folders, list) or not folders or not all(isinstance(folder, str) for folder in folders):
        raise ConfigError("data must be a folder of demonstrations, or a list of such.", value=data)
    return folders


def register(arguments: Arguments = Arguments()) -> None:  # noqa: B008 - a frozen value
    """Registers with Hydra the schemas to which sim_configs/train.yaml refers. Raises as `schema.register`."""
    store = ConfigStore.instance()
    store.store(name="train_schema", node=TrainConfig)
    store.store(group="compute", name="compute_schema", node=TrainComputeConfig)
    for family, kind in FAMILIES.own.items():
        store.store(group="policy", name=f"{family}_schema", node=kind)
    register_parts("policy", [name for name in FAMILIES if name not in FAMILIES.own], FAMILIES.__getitem__, arguments)


def main() -> None:
    """Starts the command line with the settings of sim_configs/train.yaml."""
    cli.enter(train, config_name="train", register=register, groups="training", mappings=MEMORY_SETTINGS)


if __name__ == "__main__":
    main()
