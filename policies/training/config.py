"""The settings of training, which are checked before anything starts."""

from dataclasses import dataclass, field
from enum import Enum
from math import inf

from embodied.errors import ConfigError
from embodied.plugins import SHIP_MB
from embodied.rollout.compute import LARGEST_SHIP_MB, ComputeKind, require_capacity
from embodied.rollout.ray.address import check_address


class Precision(Enum):
    """The precision of the forward pass; weights and optimiser are always float32."""

    float32 = "float32"
    bfloat16 = "bfloat16"


@dataclass(kw_only=True)
class SamplingConfig:
    """The selection of demonstrations, and how they are cut into sequences.

    `tasks` read `<task>/<tier>` or `<task>`; none means all. A share `held_out` of each task's episodes is kept for
    validation. `sequence_length` 0 means whole episodes; otherwise windows of `sequence_length` keyframes begin every
    `sequence_stride` keyframes, overhanging both ends so that each keyframe lies in equally many windows. `memory_mb`
    bounds the decoded episodes that each worker keeps in memory.

    Attributes:
        split: of the demonstrations: train or test
        tasks: TASK/TIER or TASK; an empty list for all
        held_out: share of the episodes of each task that is kept for validation
        sequence_length: keyframes of a sequence; 0 for whole episodes
        sequence_stride: keyframes between the beginnings of sequences
        memory_mb: decoded episodes that each worker keeps in memory
    """

    split: str = "train"
    tasks: list[str] = field(default_factory=list)
    held_out: float = 0.05
    sequence_length: int = 0
    sequence_stride: int = 1
    memory_mb: int = 4096

    def check(self) -> None:
        """Raises `ConfigError` for values out of range."""
        if not 0.0 <= self.held_out <= 0.5:
            raise ConfigError("sampling.held_out must lie in [0, 0.5].", value=self.held_out)
        if self.sequence_length < 0 or self.memory_mb < 0:
            raise ConfigError(
                "sampling.sequence_length and sampling.memory_mb must not be negative.",
                value=(self.sequence_length, self.memory_mb),
            )
        if self.sequence_stride < 1 or self.sequence_length % self.sequence_stride:
            raise ConfigError(
                "sampling.sequence_stride must divide sequence_length, or some keyframes would be trained less often.",
                value=(self.sequence_stride, self.sequence_length),
                remedy="A stride of 1 always does.",
            )


@dataclass(kw_only=True)
class AugmentationConfig:
    """How far the world is moved, once per sequence: turned by up to `yaw_rad`, shifted by up to `shift_m` (x, y, z).

    With `copies` 0 a move is drawn anew each time; otherwise each episode has `copies` fixed draws, so that features
    can be cached. After `tries` draws that would take an intent out of the workspace, a sequence is left unmoved.

    Attributes:
        yaw_rad: the world is turned by up to this angle, once per sequence
        shift_m: the world is shifted by up to these lengths along x, y and z
        copies: fixed draws per episode, for cached features; 0 draws anew each time
        tries: draws that may leave the workspace before a sequence is left unmoved
    """

    yaw_rad: float = 0.7854
    shift_m: list[float] = field(default_factory=lambda: [0.125, 0.125, 0.125])
    copies: int = 0
    tries: int = 20

    def check(self) -> None:
        """Raises `ConfigError` for values out of range."""
        if not 0.0 <= self.yaw_rad <= 3.15:
            raise ConfigError("augmentation.yaw_rad must lie in [0, pi].", value=self.yaw_rad)
        if len(self.shift_m) != 3 or not all(0.0 <= shift <= 10.0 for shift in self.shift_m):
            raise ConfigError("augmentation.shift_m must be three distances in [0, 10] m.", value=self.shift_m)
        if self.copies < 0 or self.tries < 1:
            raise ConfigError(
                "augmentation.copies must not be negative, and tries at least 1.", value=(self.copies, self.tries)
            )


@dataclass(kw_only=True)
class OptimiserConfig:
    """AdamW: `learning_rate` after `warm_up` steps, down a cosine to the share `final_share` of it at the last step.

    Gradients longer than `clip_norm` are shortened to it. `ema_decay` is the decay per step of the averaged weights,
    which are evaluated and shipped; it is smaller in early steps. A training that is extended to more steps follows the
    cosine of the larger number from then on, so that its rate rises once; with `final_share=1` the rate is constant
    after the warm-up, and does not depend on the number of steps.

    Attributes:
        learning_rate: of AdamW, after the warm-up
        weight_decay: of AdamW
        warm_up: steps in which the learning rate rises
        final_share: share of the learning rate that is left at the last step
        clip_norm: length to which longer gradients are shortened
        ema_decay: share of the averaged weights that is kept per step
    """

    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    warm_up: int = 200
    final_share: float = 0.01
    clip_norm: float = 1.0
    ema_decay: float = 0.999

    def check(self) -> None:
        """Raises `ConfigError` for values out of range."""
        if not 0.0 < self.learning_rate < inf or not self.clip_norm > 0.0 or not 0.0 <= self.weight_decay < inf:
            raise ConfigError(
                "optimiser.learning_rate and clip_norm must be positive, weight_decay not negative, no rate infinite.",
                value=(self.learning_rate, self.clip_norm, self.weight_decay),
            )
        if self.warm_up < 0 or not 0.0 <= self.final_share <= 1.0 or not 0.0 <= self.ema_decay < 1.0:
            raise ConfigError(
                "optimiser.warm_up must not be negative, final_share lie in [0, 1] and ema_decay in [0, 1).",
                value=(self.warm_up, self.final_share, self.ema_decay),
            )


@dataclass(kw_only=True)
class StageConfig:
    """One stage of a recipe; a recipe of two stages is two runs, the second with `start` at the first.

    `start` is a pretrained policy's name or folder, such as an earlier run's output/policy; "" for fresh weights.
    Parameter groups in `fresh` are initialised anew in spite of `start`, those in `frozen` are not trained; with
    `cache_features`, the output of the frozen ones for each keyframe is computed once and kept on disk.

    Attributes:
        start: weights to begin from: the name or the folder of a pretrained policy
        fresh: groups of parameters that are initialised anew all the same
        frozen: groups of parameters that are not trained
        cache_features: whether the output of frozen parts is kept on disk
    """

    start: str = ""
    fresh: list[str] = field(default_factory=list)
    frozen: list[str] = field(default_factory=list)
    cache_features: bool = False


@dataclass(kw_only=True)
class LogConfig:
    """The intervals, in steps, of metrics, validation, visualisations and checkpoints; 0 means never.

    The last `keep` checkpoints stay, and those of every `keep_every`-th step (0: no others).

    Attributes:
        metrics_every: steps between rows of metrics
        validate_every: steps between validations; 0 for none
        pictures_every: steps between visualisations; 0 for none
        checkpoint_every: steps between checkpoints
        keep: newest checkpoints that are kept
        keep_every: interval in steps of checkpoints that are kept permanently; 0 for none
        tensorboard: whether curves are written for TensorBoard
    """

    metrics_every: int = 10
    validate_every: int = 500
    pictures_every: int = 500
    checkpoint_every: int = 250
    keep: int = 2
    keep_every: int = 0
    tensorboard: bool = True

    def check(self) -> None:
        """Raises `ConfigError` for values out of range."""
        if min(self.validate_every, self.pictures_every, self.keep_every) < 0:
            raise ConfigError(
                "log.validate_every, pictures_every and keep_every must not be negative.",
                value=(self.validate_every, self.pictures_every, self.keep_every),
            )
        if min(self.metrics_every, self.checkpoint_every, self.keep) < 1:
            raise ConfigError(
                "log.metrics_every, checkpoint_every and keep must be at least 1.",
                value=(self.metrics_every, self.checkpoint_every, self.keep),
            )


@dataclass(kw_only=True)
class TrainingConfig:
    """The training of a policy: `steps` batches of `batch` sequences, whatever the number of workers that share them.

    If `epochs` is positive, it replaces `steps`: every sequence of the largest task is used that many times. With
    `minutes`, a run ends with a checkpoint after that time, and the same command continues it; 0 sets no limit.
    """

    steps: int = 10000
    epochs: float = 0.0
    batch: int = 8
    seed: int = 0
    minutes: float = 0.0
    precision: Precision = Precision.float32
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    stage: StageConfig = field(default_factory=StageConfig)
    log: LogConfig = field(default_factory=LogConfig)

    def check(self) -> None:
        """Raises `ConfigError` for values out of range."""
        if self.steps < 1 or self.batch < 1 or not 0.0 <= self.epochs < inf:
            raise ConfigError(
                "steps and batch must be at least 1, and epochs not negative, and finite.",
                value=(self.steps, self.batch, self.epochs),
            )
        if not 0 <= self.seed < 2**40 or not self.minutes >= 0.0:
            raise ConfigError(
                "seed must lie in [0, 2**40), and minutes not be negative.", value=(self.seed, self.minutes)
            )
        for part in (self.sampling, self.augmentation, self.optimiser, self.log):
            part.check()
        if self.stage.fresh and not self.stage.start:
            raise ConfigError(
                "stage.fresh may name groups only where stage.start gives the weights of the others.",
                value=list(self.stage.fresh),
                remedy="Set stage.start=DIR/policy; launch.train recipe=without_memory output=DIR makes one.",
            )
        if self.stage.cache_features and not (self.stage.frozen and self.augmentation.copies):
            raise ConfigError(
                "stage.cache_features must come with frozen groups and a fixed number of augmentation.copies.",
                value=(self.stage.frozen, self.augmentation.copies),
                remedy="Such as stage.frozen=[encoder] augmentation.copies=8.",
            )


@dataclass(kw_only=True)
class TrainComputeConfig:
    """Where a policy is trained: in this process, on a private Ray, or on an existing Ray cluster.

    `gpus` is 0, or one per worker. `threads_per_worker` 0 divides the cores of this machine among workers. If a worker
    dies, the group starts again from the last checkpoint, at most `max_restarts` times; on a cluster, data and output
    must be on a file system that all nodes see; code is shipped to them, or compared with the driver's before the first
    step. `address` is used by `cluster` only, `object_store_mb` by `local` only.

    Attributes:
        kind: inline, local or cluster, as chosen by compute=KIND
        workers: processes that share each batch
        address: of the cluster; set address=HOST:PORT instead
        threads_per_worker: threads of each worker; 0 shares the cores of this machine
        max_restarts: restarts from the last checkpoint after a worker has died
        object_store_mb: shared memory of a local Ray
        ship_mb: code that is shipped to a cluster at most, in MB; 0 ships none
    """

    kind: ComputeKind = ComputeKind.local
    workers: int = 1
    address: str = ""
    gpus: int = 0
    threads_per_worker: int = 0
    max_restarts: int = 10
    object_store_mb: int = 256
    ship_mb: int = SHIP_MB

    @property
    def place(self) -> str:
        """The place of the training as text: `in this process`, `4 workers`."""
        if self.kind is ComputeKind.inline:
            return "in this process"
        return f"{self.workers} worker{'s' * (self.workers > 1)}"

    def check(self, batch: int) -> None:
        """Raises `ConfigError` for values out of range, and for workers that cannot share a `batch` evenly."""
        if self.workers < 1 or (self.kind is ComputeKind.inline and self.workers != 1):
            raise ConfigError("compute.workers must be at least 1, and 1 for compute=inline.", value=self.workers)
        if batch % self.workers:
            raise ConfigError("batch must be a multiple of compute.workers.", value=(batch, self.workers))
        if self.gpus not in (0, self.workers):
            raise ConfigError("compute.gpus must be 0 or compute.workers.", value=(self.gpus, self.workers))
        if min(self.threads_per_worker, self.max_restarts) < 0 or self.object_store_mb < 80:
            raise ConfigError(
                "compute.threads_per_worker and max_restarts must not be negative, object_store_mb at least 80.",
                value=(self.threads_per_worker, self.max_restarts, self.object_store_mb),
            )
        if not 0 <= self.ship_mb <= LARGEST_SHIP_MB:
            raise ConfigError(f"compute.ship_mb must lie in [0, {LARGEST_SHIP_MB}].", value=self.ship_mb)
        if self.kind is ComputeKind.local:
            require_capacity(self.workers, self.object_store_mb)
        if (self.kind is ComputeKind.cluster) != bool(self.address):
            raise ConfigError(
                "compute.address must be given for compute=cluster, and for no other.",
                value=(str(self.kind), self.address),
            )
        if self.address:
            check_address(self.address)
