"""The door to benchmarks: `python -m launch.evaluate suite=memorybench tier=strict policy=[expert] output=DIR`."""

from pathlib import Path

from launch import door, schema


def evaluate(composed: door.Composed) -> None:
    """Runs the evaluation, then says its table and where the report lies."""
    from embodied.evaluation.evaluator import Evaluation
    from embodied.evaluation.evaluator import evaluate as run
    from embodied.evaluation.report import terminal_table
    from embodied.rollout.worker import WorkerConfig

    config: schema.EvaluateConfig = composed.config
    worker = WorkerConfig(
        simulator=config.simulator,
        controller=config.controller,
        tasks=schema.build_tasks(config.suite, config.tier),
        policies=schema.chosen_policies(config.policy, config.policy_options),
    )
    evaluation = Evaluation(
        suite=config.suite.name,
        tier=config.tier.name,
        worker=worker,
        episodes=config.episodes,
        seed=config.seed,
    )
    output: Path = door.job_folder(config.output)
    results = run(
        evaluation, compute=config.compute.build(worker), output=output, config=composed.text, videos=config.videos
    )
    door.say(f"\n{terminal_table(results)}\n\nReport: {output / 'report.html'}")


def main() -> None:
    """Enters with the settings of sim_configs/evaluate.yaml."""
    schema.register()
    door.enter(evaluate, config_name="evaluate")


if __name__ == "__main__":
    main()
