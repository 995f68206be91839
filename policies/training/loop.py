"""The training loop: the same steps in this process and in each worker of a Ray Train job."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from embodied.errors import ConfigError, DataError
from embodied.evaluation.curves import VALIDATION
from embodied.seeding import derive_seed
from policies.training.augmentation import Augmentation
from policies.training.checkpoint import Growth, newest_checkpoint
from policies.training.checkpoint_writer import CHECKPOINTS, CheckpointWriter, RunProgress, held
from policies.training.config import Precision
from policies.training.dataset import SequenceDataset
from policies.training.ema import WeightAverage
from policies.training.episodes import EpisodeStore, Recording
from policies.training.features import FeatureCache
from policies.training.learner import Batch, TrainingError, set_modes
from policies.training.loader import Loader
from policies.training.metrics_logger import MetricsLogger
from policies.training.optimiser import (
    clip,
    global_norm,
    learning_rate,
    make_optimiser,
    optimiser_tensors,
    restore_optimiser,
    set_learning_rate,
)
from policies.training.plan import TrainingPlan, prepare
from policies.training.process_group import ProcessGroup
from policies.training.sampler import Sample
from policies.weights import load_weights

FEATURES = "features"
FILES_NAMED = 8

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Summary:
    """The end of a session: `step` of `steps` are done, after `wall_s` of all sessions."""

    step: int
    steps: int
    wall_s: float


@dataclass(frozen=True, eq=False)
class Portion:
    """This worker's part of the batch of `step`: its `share` of the valid keyframes of all parts."""

    step: int
    samples: Sequence[Sample]
    batch: Batch
    share: float


def train(plan: TrainingPlan, group: ProcessGroup) -> Summary:
    """Trains until the last step, or until the minutes are over, continuing the run in the output folder.

    The same plan gives the same weights, bit for bit on a CPU with the same threads and workers, however often it was
    interrupted. If the plan has more steps than the run had, the run continues after its last checkpoint with the
    learning rates of the longer plan; with a constant rate, the weights are those of a run that was begun with that
    many steps.

    Raises what `prepare` raises, `ConfigError` where the folder holds another run, one of more steps, or is being
    written, and `TrainingError` where a loss or gradient is not finite: no weight is changed by such a step.
    """
    torch.set_num_threads(plan.threads)
    with ExitStack() as stack:
        if group.leads:
            group.together(lambda: stack.enter_context(held(plan.output / CHECKPOINTS)))
        else:
            group.together(lambda: None)
        # Each step seeds torch; its previous random state is restored at the end.
        stack.enter_context(torch.random.fork_rng(devices=[group.device] if group.device.type == "cuda" else []))
        trainer = group.together(lambda: Trainer(plan, group))
        group.require_same(trainer.step, "checkpoints")
        return trainer.run()


class Trainer:
    """One worker of one run, in the state of its output folder."""

    def __init__(self, plan: TrainingPlan, group: ProcessGroup) -> None:
        self._plan, self._group, self._training = plan, group, plan.training
        self._prepared = prepare(plan)
        self._learner = self._prepared.learner.to(group.device)
        recordings, training = self._prepared.recordings, plan.training
        augmentation = Augmentation(training.augmentation, self._learner.workspace_m)
        self._data = self._dataset(recordings.train, augmentation)
        self._held_out = self._dataset(recordings.held_out, None) if recordings.held_out else None
        self._features = self._feature_cache()
        self._steps = plan.steps(recordings)
        self._optimiser = make_optimiser(self._learner, training.optimiser)
        self._average = WeightAverage(self._learner, training.optimiser.ema_decay)
        self._scribe = CheckpointWriter(plan, self._prepared, group, steps=self._steps)
        self.step = 0
        self._sums: dict[str, float] = {}
        self._summed = 0
        self._wall_s = 0.0
        self._grown: tuple[Growth, ...] = ()
        self._resume()
        self._begun_s = self._row_s = time.monotonic()
        self._row_keyframes = 0

    def run(self) -> Summary:
        """Trains until the last step or the minutes' end; leaves a checkpoint and the policy."""
        network = self._group.wrapped(self._learner)
        with ExitStack() as stack:
            batches = stack.enter_context(Loader(self._portion, self.step, self._steps))
            metrics_logger = stack.enter_context(self._metrics_logger()) if self._group.leads else None
            stopped = False
            while self.step < self._steps and not stopped:
                stopped = self._train_step(network, batches)
                self._write(metrics_logger, last=stopped or self.step == self._steps)
        if self._group.leads:
            self._scribe.ship(self._standing(), self._average.tensors)
        return Summary(self.step, self._steps, self._standing().wall_s)

    # --- Data ---------------------------------------------------------------------------------------------------------

    def _dataset(self, recordings: Sequence[Recording], augmentation: Augmentation | None) -> SequenceDataset:
        sampling = self._training.sampling
        found = self._prepared.recordings
        share = len(recordings) / (len(found.train) + len(found.held_out))
        memory_bytes = int(sampling.memory_mb * 2**20 * share)
        store = EpisodeStore(recordings, self._learner.cameras, memory_bytes=memory_bytes)
        tokenise, seed = self._learner.tokenise, self._training.seed
        return SequenceDataset(store, sampling, tokenise=tokenise, augmentation=augmentation, seed=seed)

    def _feature_cache(self) -> FeatureCache | None:
        stage = self._training.stage
        if not stage.cache_features:
            return None
        return FeatureCache(self._learner, self._data, stage.frozen, self._plan.output / FEATURES)

    def _portion(self, step: int) -> Portion:
        """Makes this worker's part of a batch; called in the background."""
        samples = self._data.sampler.batch(step, self._training.batch)
        own = samples[self._group.rank :: self._group.workers]
        keyframes = sum(sample.item.keyframes for sample in own) / sum(sample.item.keyframes for sample in samples)
        try:
            return Portion(step, own, self._data.batch(own), keyframes)
        except DataError as error:
            raise DataError(error.rule, value=f"{error.value}, step {step}", remedy=error.remedy) from error

    # --- A step -------------------------------------------------------------------------------------------------------

    def _train_step(self, network: torch.nn.Module, batches: Iterator[Portion]) -> bool:
        """Takes one step and returns whether the minutes are over."""
        optimiser = self._training.optimiser
        set_learning_rate(self._optimiser, learning_rate(optimiser, self.step, self._steps))
        portion, loss, metrics = self._group.together(lambda: self._forward(network, next(batches)))
        # The backward pass averages over workers; a worker's loss is a mean over its own keyframes.
        (loss * (portion.share * self._group.workers)).backward()
        gradients = [parameter.grad for parameter in self._learner.parameters() if parameter.grad is not None]
        norm = global_norm(gradients)
        if not torch.isfinite(norm):
            raise self._not_finite("gradient", float(norm), portion)
        clip(gradients, norm, optimiser.clip_norm)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        self._average.update(self.step)
        self.step += 1
        late = bool(self._training.minutes) and time.monotonic() - self._begun_s >= 60.0 * self._training.minutes
        totals = self._group.total([float(late and self._group.leads), *(v * portion.share for v in metrics.values())])
        self._count({**dict(zip(metrics, totals[1:], strict=True)), "gradient_norm": float(norm)})
        self._row_keyframes += int(portion.batch["valid"].sum())
        return bool(totals[0])

    def _forward(self, network: torch.nn.Module, portion: Portion) -> tuple[Portion, Tensor, dict[str, float]]:
        """Returns the loss and all metrics; the network's random state depends on this step alone."""
        training = self._training
        torch.manual_seed(derive_seed(training.seed, "step", portion.step, self._group.rank))
        set_modes(self._learner)
        batch = dict(portion.batch)
        if self._features:
            batch |= self._features.features(portion.samples, portion.batch["valid"].shape[1])
        with torch.autocast(self._group.device.type, torch.bfloat16, enabled=training.precision is Precision.bfloat16):
            loss, metrics = network(self._moved(batch))
        if not loss.requires_grad:
            raise ConfigError(
                "The loss of a stage must depend on parameters that are trained.",
                value=f"frozen are {', '.join(training.stage.frozen) or 'none'}, and the rest has no part in it",
                remedy="Freeze less, or choose other parts: memory.kind=none, for one, has nothing to learn.",
            )
        measured = {"loss": float(loss.detach()), **{name: float(value) for name, value in metrics.items()}}
        for name, value in measured.items():
            if not torch.isfinite(torch.tensor(value)):
                raise self._not_finite(name, value, portion)
        rejected = portion.batch["redrawn"]
        measured["augmentation_redrawn"] = float(rejected.float().mean())
        measured["augmentation_left_out"] = float((rejected >= training.augmentation.tries).float().mean())
        return portion, loss, measured

    def _moved(self, batch: Batch) -> Batch:
        return {name: tensor.to(self._group.device, non_blocking=True) for name, tensor in batch.items()}

    def _not_finite(self, what: str, value: float, portion: Portion) -> TrainingError:
        files = self._data.describe(portion.samples)
        more = f" and {len(files) - FILES_NAMED} more" if len(files) > FILES_NAMED else ""
        return TrainingError(
            f"The {what} of a step must be finite.",
            value=f"{value} at step {portion.step} on {', '.join(files[:FILES_NAMED])}{more}",
            remedy="This step touched no weight. Look at these files, or begin in another output folder with a lower "
            "optimiser.learning_rate.",
        )

    def _count(self, values: dict[str, float]) -> None:
        self._sums = {name: self._sums.get(name, 0.0) + value for name, value in values.items()}
        self._summed += 1

    # --- Output -------------------------------------------------------------------------------------------------------

    def _write(self, metrics_logger: MetricsLogger | None, *, last: bool) -> None:
        """Writes the files that are due after a step, and a checkpoint at the `last` one; all workers take part."""
        log = self._training.log
        if metrics_logger and self.step % log.metrics_every == 0:
            metrics_logger.row(self.step, self._row(), self._pace())
        if self._held_out and _due(self.step, log.validate_every):
            values, wall = self._group.together(self._validation)
            if metrics_logger:
                metrics_logger.row(self.step, values, wall)
        if metrics_logger and log.tensorboard and _due(self.step, log.pictures_every):
            metrics_logger.visualisations(self.step, self._visualisations(self._held_out or self._data))
        if metrics_logger and (last or self.step % log.checkpoint_every == 0):
            metrics_logger.sync()  # Before the checkpoint: a run that continues from it must find its rows.
            parts = {
                "weights": self._learner.state_dict(),
                "average": self._average.tensors,
                "optimiser": optimiser_tensors(self._learner, self._optimiser),
            }
            self._scribe.checkpoint(self._standing(), parts)

    def _row(self) -> dict[str, float]:
        """Returns the means since the last row, and begins a new one."""
        means = {name: value / self._summed for name, value in self._sums.items()}
        self._sums, self._summed = {}, 0
        rate = learning_rate(self._training.optimiser, self.step - 1, self._steps)
        return {**means, "learning_rate": rate, "parameter_norm": float(global_norm(self._learner.parameters()))}

    def _pace(self) -> dict[str, float]:
        now_s = time.monotonic()
        passed_s, steps = max(now_s - self._row_s, 1e-9), self._training.log.metrics_every
        pace = {"seconds_per_step": passed_s / steps, "keyframes_per_s": self._row_keyframes / passed_s}
        self._row_s, self._row_keyframes = now_s, 0
        return {**pace, "hours": self._standing().wall_s / 3600.0}

    @torch.no_grad()
    def _validation(self) -> tuple[dict[str, float], dict[str, float]]:
        """Returns the metrics of the averaged weights on all held-out episodes, and the time taken."""
        begun_s, size, held_out = time.monotonic(), self._training.batch, self._held_out or self._data
        samples = [Sample(number, item) for number, item in enumerate(held_out.items)]
        chunks = [samples[start : start + size] for start in range(0, len(samples), size)]
        keyframes, sums = 0.0, dict[str, float]()
        with self._average.applied():
            for number, chunk in enumerate(chunks):
                torch.manual_seed(derive_seed(self._training.seed, "validation", number))
                loss, metrics = self._learner(self._moved(held_out.batch(chunk)))
                weight = sum(sample.item.keyframes for sample in chunk)
                keyframes += weight
                for name, value in {"loss": loss, **metrics}.items():
                    sums[name] = sums.get(name, 0.0) + weight * float(value)
        means = {f"{VALIDATION}{name}": value / keyframes for name, value in sums.items()}
        return means, {"validation_s": time.monotonic() - begun_s}

    @torch.no_grad()
    def _visualisations(self, dataset: SequenceDataset) -> dict[str, np.ndarray]:
        samples = [Sample(number, item) for number, item in enumerate(dataset.items[: self._training.batch])]
        with self._average.applied():
            return self._learner.visualisations(self._moved(dataset.batch(samples)))

    # --- State --------------------------------------------------------------------------------------------------------

    def _resume(self) -> None:
        checkpoint = newest_checkpoint(self._plan.output / CHECKPOINTS)
        if checkpoint is None:
            return
        state = checkpoint.state
        before = self._plan.steps_before(state.settings, self._prepared.recordings)
        load_weights(self._learner, checkpoint.weights, checkpoint.folder)
        self._average.restore(checkpoint.average)
        restore_optimiser(self._learner, self._optimiser, checkpoint.optimiser)
        self.step, self._sums, self._summed, self._wall_s = state.step, dict(state.sums), state.summed, state.wall_s
        self._grown = state.grown if before == self._steps else (*state.grown, Growth(state.step, before))
        if self._group.leads and before < self._steps:
            _log.info("The training has %d steps now; it had %d.", self._steps, before)
        if self._group.leads:
            going = "Going on after" if self.step < self._steps else "Finished already:"
            _log.info("%s step %d of %d, from %s.", going, self.step, self._steps, checkpoint.folder)

    def _standing(self) -> RunProgress:
        wall_s = self._wall_s + time.monotonic() - self._begun_s
        return RunProgress(self.step, self._sums, self._summed, wall_s, self._grown)

    def _metrics_logger(self) -> MetricsLogger:
        return MetricsLogger(self._plan.output, step=self.step, tensorboard=self._training.log.tensorboard)


def _due(step: int, every: int) -> bool:
    return bool(every) and step % every == 0
