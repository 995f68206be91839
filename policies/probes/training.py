"""How probes learn: penalised regression, and small convolutional networks of fixed length of training."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from embodied.seeding import derive_seed
from policies.probes.samples import Labelled, ProbeKind, ProbeSettings, check_samples

SMALLEST_SPREAD = 1e-6
QUIET_SHARE = 0.1


class Probe:
    """Learns which candidate is right, then answers for samples it has not seen.

    The same seed, data and number of threads give the same answers. The global random state of torch is left alone.
    """

    def __init__(self, config: ProbeSettings, *, seed: int) -> None:
        self._config = config
        self._seed = seed

    def correct(self, train: Labelled, held_out: Labelled, *, candidates: int) -> int:
        """Returns how many samples of `held_out` are answered rightly after fitting `train`.

        Raises `ConfigError` for labels outside [0, `candidates`), wrong shapes and inputs that are not finite.
        """
        for samples in (train, held_out):
            check_samples(self._config.kind, samples, candidates)
        with _reproducible(self._seed, self._config.threads):
            scale = _Scale(_tensor(train), self._config.kind)
            inputs, labels = scale(_tensor(train)), torch.as_tensor(train.labels, dtype=torch.int64)
            network = _network(self._config, inputs, candidates)
            fit = _fit_linear if self._config.kind is ProbeKind.LINEAR else _fit_network
            fit(network, inputs, labels, self._config)
            answers = _answers(network, scale(_tensor(held_out)), self._config.batch)
        return int((answers.numpy() == held_out.labels).sum())


class _Scale:
    """Brings inputs to zero mean and unit spread, by the training samples; constant inputs stay at zero.

    Linear probes and whole images are scaled place by place, so that a faint change shows in a scene that is always
    bright there; crops, which show another place each time, by channel. Where an image hardly ever changes, a tenth of
    its channel's spread counts, so that noise is not amplified.
    """

    def __init__(self, inputs: Tensor, kind: ProbeKind) -> None:
        kept = {inputs.ndim - 3} if kind is ProbeKind.POINTING else set(range(1, inputs.ndim))
        spread, self._mean = _spread_and_mean(inputs, kept)
        if kind is ProbeKind.CONVOLUTION:
            spread = spread + QUIET_SHARE * _spread_and_mean(inputs, {1})[0]
        self._gain = torch.where(spread > SMALLEST_SPREAD, 1.0 / spread.clamp_min(SMALLEST_SPREAD), 0.0)

    def __call__(self, inputs: Tensor) -> Tensor:
        return (inputs - self._mean) * self._gain


def _spread_and_mean(inputs: Tensor, kept: set[int]) -> tuple[Tensor, Tensor]:
    axes = [axis for axis in range(inputs.ndim) if axis not in kept]
    return torch.std_mean(inputs, dim=axes, correction=0, keepdim=True)


class _Pointer(nn.Module):
    """Scores every candidate's crop with the same network: (sample, candidate, ...) to (sample, candidate)."""

    def __init__(self, scorer: nn.Module) -> None:
        super().__init__()
        self._scorer = scorer

    def forward(self, crops: Tensor) -> Tensor:
        return self._scorer(crops.flatten(0, 1)).view(crops.shape[:2])


def _network(config: ProbeSettings, inputs: Tensor, candidates: int) -> nn.Module:
    if config.kind is ProbeKind.LINEAR:
        layer = nn.Linear(inputs.shape[1], candidates)
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
        return layer
    if config.kind is ProbeKind.CONVOLUTION:
        return _convolutions(inputs, config.channels, outputs=candidates)
    return _Pointer(_convolutions(inputs, config.channels, outputs=1))


def _convolutions(inputs: Tensor, channels: int, *, outputs: int) -> nn.Sequential:
    """Three halvings, then one weighted sum that still knows where in the image things were."""
    _, height, width = inputs.shape[-3:]
    layers: list[nn.Module] = []
    before = inputs.shape[-3]
    for after in (channels, 2 * channels, 2 * channels):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(4, after), nn.ReLU()]
        before, height, width = after, (height + 1) // 2, (width + 1) // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(before * height * width, outputs))


def _fit_linear(network: nn.Module, inputs: Tensor, labels: Tensor, config: ProbeSettings) -> None:
    """Penalised logistic regression, to convergence: a convex problem, so the seed plays no part."""
    optimiser = torch.optim.LBFGS(network.parameters(), max_iter=300, history_size=20, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        penalty = sum((parameter.square().sum() for parameter in network.parameters()), torch.zeros(()))
        value = functional.cross_entropy(network(inputs), labels) + config.weight_decay * penalty
        value.backward()
        return value

    optimiser.step(loss)  # pyright: ignore[reportArgumentType]  # LBFGS takes a closure that returns a tensor


def _fit_network(network: nn.Module, inputs: Tensor, labels: Tensor, config: ProbeSettings) -> None:
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    steps = config.epochs * -(-len(labels) // config.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=config.learning_rate, total_steps=steps)
    network.train()
    for _ in range(config.epochs):
        for rows in torch.randperm(len(labels)).split(config.batch):
            optimiser.zero_grad()
            functional.cross_entropy(network(inputs[rows]), labels[rows]).backward()
            optimiser.step()
            schedule.step()


@torch.no_grad()
def _answers(network: nn.Module, inputs: Tensor, batch: int) -> Tensor:
    network.eval()
    return torch.cat([network(rows).argmax(dim=1) for rows in inputs.split(batch)])


@contextmanager
def _reproducible(seed: int, threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "probe"))
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _tensor(samples: Labelled) -> Tensor:
    return torch.from_numpy(samples.inputs.astype(np.float32))
