"""The same training in this process and as Ray Train jobs, in one Ray: `python ray_jobs.py DATA OUTPUT`; says JSON."""

import json
import os
import sys
from pathlib import Path

from embodied.rollout.compute import ComputeKind
from embodied.rollout.ray.cluster import local_cluster
from policies.training.config import LogConfig, TrainComputeConfig, TrainingConfig
from policies.training.job import run_job
from policies.training.plan import TrainingPlan
from tests.policies.training.learners import TinyConfig

LOG = LogConfig(metrics_every=5, validate_every=10, pictures_every=0, checkpoint_every=5, tensorboard=False)


def train(data, output, *, workers=1, kind=ComputeKind.local, **policy):
    plan = TrainingPlan(
        family="tiny",
        policy=TinyConfig(dropout=0.0, **policy),
        training=TrainingConfig(steps=20, batch=4, log=LOG),
        folders=(data,),
        output=output,
    )
    compute = TrainComputeConfig(kind=kind, workers=workers, threads_per_worker=1, max_restarts=1)
    return run_job(plan, compute, config="").step


def main(data, output):
    os.environ["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] = "0.2"  # How soon an end or a death is seen.
    logged = {"inline": train(data, output / "inline", kind=ComputeKind.inline)}
    with local_cluster(cpus=2, object_store_mb=128):
        logged["one"] = train(data, output / "one")
        logged["two"] = train(data, output / "two", workers=2, die=str(output / "died"))
    (output / "logged.json").write_text(json.dumps(logged))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
