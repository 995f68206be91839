"""Training as a job: in this process, or on Ray Train with one worker per GPU or share of the cores."""

import logging
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import distributed

from embodied.errors import ConfigError, EmbodiedError, NotGiven
from embodied.evaluation.output_folder import claim
from embodied.paths import write_atomically
from embodied.plugins import import_failure, not_importable, recorded_use, sources_of
from embodied.rollout.compute import ComputeKind
from embodied.rollout.ray.address import require_answer
from policies.folders import json_bytes
from policies.training.checkpoint_writer import CHECKPOINTS
from policies.training.config import TrainComputeConfig
from policies.training.episodes import Recordings
from policies.training.learner import TrainingError
from policies.training.loop import Summary, train
from policies.training.plan import TrainingPlan, prepare
from policies.training.process_group import ProcessGroup, ProcessStoppedError
from policies.training.progress import progress
from policies.training.trial import try_out

RUN = "run.json"
RAY_FOLDER = ".ray"
OUTCOME = "outcome.json"
PLAN, CODE = "plan", "code"

_log = logging.getLogger(__name__)


class RunReport(msgspec.Struct):
    """The result of a worker: a summary, or an error as type, rule, value and remedy."""

    summary: tuple[int, int, float] = (0, 0, 0.0)
    error: tuple[str, str, str, str] | None = None


def run_job(plan: TrainingPlan, compute: TrainComputeConfig, *, config: str) -> Summary:
    """Trains `plan` on `compute`, continuing the run in its output folder; `config` becomes config.yaml there.

    Raises, before the folder is made, what `prepare` and `try_out` raise; `ConfigError` where it is another run's or
    being written, `PathError` where it has other content, `PluginError` where a node has other code than the driver, or
    lacks some, and `TrainingError`.
    """
    compute.check(plan.training.batch)
    _require_gpus(compute)
    if compute.address:
        require_answer(compute.address)
    with recorded_use() as used:
        prepared = prepare(plan)
        try_out(prepared.learner, prepared.recordings, plan.training.sampling)
    plan = replace(plan, sources=sources_of(used, [type(plan.policy).__module__]))
    threads = compute.threads_per_worker or max(1, len(os.sched_getaffinity(0)) // compute.workers)
    plan = replace(plan, threads=threads, output=plan.output.absolute())
    with claim(plan.output, kind="training", mark=CHECKPOINTS):
        (plan.output / CHECKPOINTS).mkdir(exist_ok=True)
        _record_settings(plan, prepared.recordings)
        write_atomically(plan.output / "config.yaml", config.encode())
        steps = plan.steps(prepared.recordings)
        _log.info("Writing to %s, %s.", plan.output, compute.place)
        del prepared
        with progress(plan.output, steps):
            if compute.kind is ComputeKind.inline:
                return train(plan, ProcessGroup(device=torch.device("cuda" if compute.gpus else "cpu")))
            return _run_on_ray(plan, compute)


def _require_gpus(compute: TrainComputeConfig) -> None:
    """Raises `ConfigError` if this machine lacks the GPUs, for which Ray would wait indefinitely."""
    found = torch.cuda.device_count()
    if compute.kind is not ComputeKind.cluster and compute.gpus > found:
        raise ConfigError(
            f"compute.gpus must be at most the number of CUDA GPUs that torch finds on this machine, {found}.",
            value=compute.gpus,
            remedy="Leave it out to train on the CPU, or train on a cluster that has them.",
        )


def _record_settings(plan: TrainingPlan, recordings: Recordings) -> None:
    """Writes the settings that determine the result of the plan's run, after comparing them with recorded ones."""
    path = plan.output / RUN
    if path.exists():
        plan.steps_before(msgspec.json.decode(path.read_bytes()), recordings)
    write_atomically(path, json_bytes(plan.settings(recordings.features)))


def _run_on_ray(plan: TrainingPlan, compute: TrainComputeConfig) -> Summary:
    with _cluster(compute), _scratch(plan.output / RAY_FOLDER) as scratch:
        from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
        from ray.train.torch import TorchTrainer

        from embodied.rollout.ray.node import driver_code

        code = driver_code()
        trainer = TorchTrainer(
            _work,
            train_loop_config={PLAN: plan, CODE: code},
            scaling_config=ScalingConfig(num_workers=compute.workers, use_gpu=bool(compute.gpus)),
            run_config=RunConfig(
                name="training",
                storage_path=str(scratch),
                failure_config=FailureConfig(max_failures=compute.max_restarts),
                worker_runtime_env={"env_vars": {"PYTHONPATH": code.python_path}},
            ),
        )
        try:
            with _interrupts():
                trainer.fit()
        except TrainingFailedError as error:
            if missing := import_failure(str(error)):
                raise not_importable(missing) from error
            raise TrainingError(
                f"The workers of a training may be restarted {compute.max_restarts} times.",
                value=str(error).strip().splitlines()[-1],
                remedy="Look for exhausted memory or a crash in every step; compute=inline shows it.",
            ) from error
        outcome = msgspec.json.decode((scratch / OUTCOME).read_bytes(), type=RunReport)
    if outcome.error:
        raise _error_from(outcome.error)
    return Summary(*outcome.summary)


@contextmanager
def _interrupts() -> Iterator[None]:
    """Converts Ray Train's reaction to an interrupt to `KeyboardInterrupt`; restores the signal handler at the end."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:  # Ray Train aborts the run, and exits from where it waits for it.
        raise KeyboardInterrupt from error
    finally:
        if main:
            signal.signal(signal.SIGINT, before)


def _work(config: dict[str, Any]) -> None:
    """Runs one Ray Train worker.

    Errors that the caller must correct are returned, since a retry would not help.
    """
    from ray.train import get_context
    from ray.train.torch import get_device

    place = get_context()
    group = ProcessGroup(place.get_world_rank(), place.get_world_size(), torch.device(str(get_device())))
    outcome = RunReport()
    try:
        config[CODE].load()
        summary = train(config[PLAN], group)
        outcome.summary = (summary.step, summary.steps, summary.wall_s)
    except EmbodiedError as error:
        if not isinstance(error, ProcessStoppedError):
            outcome.error = _text_from(error)
    errors: list[Any] = [outcome.error] * group.workers
    if group.workers > 1:
        distributed.all_gather_object(errors, outcome.error)
    if group.leads:
        outcome.error = next(filter(None, errors), None)
        write_atomically(config[PLAN].output / RAY_FOLDER / OUTCOME, json_bytes(outcome))


def _text_from(error: EmbodiedError) -> tuple[str, str, str, str]:
    value = "" if error.value is NotGiven.VALUE else str(error.value)
    return type(error).__name__, error.rule, value, error.remedy


def _error_from(text: tuple[str, str, str, str]) -> EmbodiedError:
    name, rule, value, remedy = text
    kinds = {kind.__name__: kind for kind in _kinds(EmbodiedError)}
    kind = kinds.get(name, TrainingError)
    return kind(rule, value=value, remedy=remedy) if value else kind(rule, remedy=remedy)


def _kinds(root: type[EmbodiedError]) -> Iterator[type[EmbodiedError]]:
    for kind in root.__subclasses__():
        yield kind
        yield from _kinds(kind)


def _cluster(compute: TrainComputeConfig) -> AbstractContextManager[None]:
    from embodied.rollout.ray.cluster import existing_cluster, local_cluster

    if compute.kind is ComputeKind.cluster:
        return existing_cluster(compute.address, ship_mb=compute.ship_mb)
    return local_cluster(cpus=compute.workers, object_store_mb=compute.object_store_mb)


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Yields the folder of Ray Train's own files, and deletes it at the end; checkpoints lie elsewhere."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
