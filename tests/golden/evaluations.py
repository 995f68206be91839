"""Evaluations as `launch.evaluate` composes them, without its command line, for tests that play in this process."""

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from embodied.evaluation.plan import EPISODES, TEST_SPLIT, Evaluation
from embodied.rollout.compute import Compute, ComputeConfig, ComputeKind
from embodied.rollout.worker import WorkerConfig
from launch import cli, schema


def composed(*settings: str) -> Evaluation:
    """Returns the evaluation that these settings on the command line ask for."""
    schema.register()
    with initialize_config_dir(str(cli.CONFIGS), version_base="1.3"):
        chosen = compose("evaluate", overrides=["output=unused", *settings])
    config: schema.EvaluateConfig = OmegaConf.to_object(chosen)
    worker = WorkerConfig(
        simulator=config.simulator,
        controller=config.controller,
        tasks=schema.build_tasks(config.suite, config.tier),
        policies=schema.chosen_policies(config.policy, config.policy_options),
        controls=schema.chosen_controls(config.controls, config.memory),
    )
    return Evaluation(
        suite=config.suite.name,
        tier=config.tier.name,
        worker=worker,
        episodes=config.episodes or EPISODES,
        seed=config.seed,
        split=config.split or TEST_SPLIT,
        salt=config.salt,
    )


def inline(worker: WorkerConfig) -> Compute:
    """Returns this process to play in, without Ray."""
    return ComputeConfig(kind=ComputeKind.inline).build(worker)
