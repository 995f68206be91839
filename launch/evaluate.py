"""Evaluates policies: `python -m launch.evaluate suite=memorybench tier=strict policy=[expert] output=DIR`."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from launch import cli, frame_questions, schema
from launch.lists import find_list
from launch.parts import check_simulator

if TYPE_CHECKING:
    from embodied.evaluation.plan import Evaluation
    from embodied.memory import Bank
    from embodied.rollout.worker import WorkerConfig


def evaluate(composed: cli.Composed) -> int | None:
    """Runs the evaluation, records its episodes in a bank where one is named, and prints its table and the report.

    Returns the exit code for a run in which a policy has failed.
    """
    from embodied.rollout.worker import WorkerConfig

    config: schema.EvaluateConfig = composed.config
    check_simulator(config.simulator)
    config.compute.require_reachable()
    worker = WorkerConfig(
        simulator=config.simulator,
        controller=config.controller,
        tasks=schema.build_tasks(config.suite, config.tier),
        policies=schema.chosen_policies(config.policy, config.policy_options),
        controls=schema.chosen_controls(config.controls, config.memory),
    )
    worker = config.applied(worker, config.policy_options)
    output = cli.job_folder(config.output)
    # Errors in either are raised before a bank is opened.
    config.compute.build(worker)
    config.memory.feed()
    config.memory.belief()
    if not config.memory.url:
        return _evaluate(composed, worker, output)
    from embodied.evaluation.evaluator import require_playable
    from embodied.memory import require_openable
    from embodied.rollout.bank_feed.bank_owner import owned_bank

    for url in filter(None, (config.memory.url, config.memory.truth_url)):
        require_openable(url)
    require_playable(_evaluation(config, worker), output=output, videos=config.videos)
    with _truth_bank(config.memory.truth_url) as truth, owned_bank(config.memory.url, config.compute) as link:
        code = _evaluate(composed, replace(worker, memory=config.memory.build(link)), output, truth=truth)
    cli.print_text(f"Memory: {config.memory.url}")
    return code


@contextmanager
def _truth_bank(url: str) -> "Iterator[Bank | None]":
    """Yields the bank of ground truth, which this process alone opens, or None without one."""
    from embodied.memory import SimulatedClock, open_bank

    if not url:
        yield None
        return
    with open_bank(url, clock=SimulatedClock()) as bank:
        yield bank


def _evaluate(
    composed: cli.Composed, worker: "WorkerConfig", output: Path, *, truth: "Bank | None" = None
) -> int | None:
    from embodied.evaluation.evaluator import evaluate as run
    from embodied.evaluation.report import terminal_table

    config: schema.EvaluateConfig = composed.config
    results = run(
        _evaluation(config, worker),
        compute=config.compute.build(replace(worker, log_folder=str((output / "logs").absolute()))),
        output=output,
        config=composed.text,
        videos=config.videos,
        truth=truth,
    )
    cli.print_text(f"\n{terminal_table(results)}\n\nReport: {output / 'report.html'}")
    return cli.POLICY_FAILED if "policy_failures" in results else None


def _evaluation(config: schema.EvaluateConfig, worker: "WorkerConfig") -> "Evaluation":
    from embodied.evaluation.plan import EPISODES, TEST_SPLIT, Evaluation, Shard
    from embodied.tasks.registry import suite_named

    episodes, split, episode_list = config.episodes, config.split, None
    if config.episode_list:
        episode_list = find_list(config.episode_list, suite=config.suite.name).shortened(worker.tasks, episodes)
        episodes = episode_list.longest
        split = split or episode_list.split
    return Evaluation(
        suite=config.suite.name,
        tier=config.tier.name if suite_named(config.suite.name).tiers else "",
        worker=worker,
        episodes=EPISODES if episodes is None else episodes,
        seed=config.seed,
        split=split or TEST_SPLIT,
        salt=config.salt,
        episode_list=episode_list,
        list_name=config.episode_list,
        shard=Shard.parse(config.shard) if config.shard else None,
    )


def main() -> None:
    """Starts the command line with the settings of sim_configs/evaluate.yaml, or of a suite that plays nothing."""
    if frame_questions.requested(sys.argv[1:]):
        frame_questions.enter()
        return
    cli.enter(evaluate, config_name="evaluate", register=schema.register, mappings=("team",))


if __name__ == "__main__":
    main()
