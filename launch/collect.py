"""Collects demonstrations: `python -m launch.collect suite=memorybench tier=strict demos=100 output=DIR`."""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from embodied.rollout.recording.recorder import RecorderConfig
from launch import cli, schema
from launch.arguments import Arguments
from launch.lists import find_list
from launch.parts import check_simulator, policy_options

if TYPE_CHECKING:
    from embodied.evaluation.demonstrations import Collection
    from embodied.rollout.worker import WorkerConfig


@dataclass(kw_only=True)
class CollectConfig(schema.TeamSettings):
    """All settings of `python -m launch.collect`. The parts typed `Any` are checked by the schema of their group."""

    suite: Any = MISSING
    tier: schema.Tiers = schema.Tiers.strict
    policy: str = "expert"
    policy_options: Any = MISSING
    demos: int | None = None
    seed: int = 0
    split: str | None = None
    episode_list: str = ""
    output: str = MISSING
    address: str = ""
    rate_hz: float | None = None
    recorder: RecorderConfig = field(default_factory=RecorderConfig)
    simulator: Any = MISSING
    controller: Any = MISSING
    compute: Any = MISSING


def collect(composed: cli.Composed) -> None:
    """Collects the demonstrations that the output folder lacks, and prints what it contains."""
    from embodied.evaluation.demonstrations import INDEX_FILE
    from embodied.evaluation.demonstrations import collect as run
    from embodied.rollout.worker import WorkerConfig

    config: CollectConfig = composed.config
    check_simulator(config.simulator)
    config.compute.require_reachable()
    worker = WorkerConfig(
        simulator=config.simulator,
        controller=config.controller,
        tasks=schema.build_tasks(config.suite, config.tier),
        policies=schema.chosen_policies([config.policy], config.policy_options),
        recorder=config.recorder,
    )
    worker = config.applied(worker, config.policy_options)
    collection = _collection(config, worker)
    output: Path = cli.job_folder(config.output)
    logging = replace(worker, log_folder=str((output / "logs").absolute()))
    dataset = run(collection, compute=config.compute.build(logging), output=output, config=composed.text)
    # In a team every robot has its own file.
    made = Counter(task for task, _ in {(file.task, file.seed) for file in dataset.files})
    failures = Counter(failure.task for failure in dataset.failures)
    for task in dataset.tasks:
        solved, failed = counted(made[task], "demonstration"), counted(failures[task], "failure")
        beyond = made[task] > collection.demos
        wanted = f" ({collection.demos} were asked for; those beyond are kept)" if beyond else ""
        cli.print_text(f"{task}: {solved}{wanted}, {failed} of policy {dataset.policy}")
    cli.print_text(f"\nIndex: {output / INDEX_FILE}")


def _collection(config: CollectConfig, worker: "WorkerConfig") -> "Collection":
    from embodied.evaluation.demonstrations import DEMOS, TRAIN_SPLIT, Collection

    demos, split, episode_list = config.demos, config.split, None
    if config.episode_list:
        episode_list = find_list(config.episode_list, suite=config.suite.name)
        demos = episode_list.shortened(worker.tasks, None).longest if demos is None else demos
        split = split or episode_list.split
    return Collection(
        worker=worker,
        demos=DEMOS if demos is None else demos,
        seed=config.seed,
        split=split or TRAIN_SPLIT,
        episode_list=episode_list,
    )


def counted(number: int, noun: str) -> str:
    """Returns a count with its noun, such as "1 failure" or "3 failures"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def register(arguments: Arguments) -> None:
    """Registers with Hydra the schemas to which sim_configs/collect.yaml refers. Raises as `schema.register`."""
    schema.register(arguments)
    options = policy_options(arguments)()
    ConfigStore.instance().store(name="collect_schema", node=CollectConfig(policy_options=options))


def main() -> None:
    """Starts the command line with the settings of sim_configs/collect.yaml."""
    cli.enter(collect, config_name="collect", register=register, mappings=("team",))


if __name__ == "__main__":
    main()
