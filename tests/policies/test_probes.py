import numpy as np
import pytest
import torch

from embodied.errors import ConfigError
from embodied.evaluation.metrics import chance_band
from policies.probes import Labelled, ProbeConfig, ProbeKind

KINDS = list(ProbeKind)
CANDIDATES = 3
EPOCHS = 8


def samples(kind: ProbeKind, *, count: int, signal: float, seed: int) -> Labelled:
    """Noise with a faint mark at the right candidate: a few features, or a patch of one channel."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % CANDIDATES)
    shape = {
        ProbeKind.LINEAR: (count, 30),
        ProbeKind.CONVOLUTION: (count, 2, 24, 24),
        ProbeKind.POINTING: (count, CANDIDATES, 2, 16, 16),
    }[kind]
    inputs = rng.normal(size=shape).astype(np.float32)
    for row, label in zip(inputs, labels, strict=True):
        if kind is ProbeKind.LINEAR:
            row[5 * label : 5 * label + 5] += signal
        elif kind is ProbeKind.CONVOLUTION:
            row[1, 8:16, 8 * label : 8 * label + 8] += signal
        else:
            row[label, 1, 4:12, 4:12] += signal
    return Labelled(inputs, labels)


def answered(kind: ProbeKind, *, signal: float, seed: int = 0, count: int = 150) -> int:
    train = samples(kind, count=count, signal=signal, seed=1)
    held_out = samples(kind, count=90, signal=signal, seed=2)
    config = ProbeConfig(kind=kind, epochs=EPOCHS)
    return config.build(seed=seed).correct(train, held_out, candidates=CANDIDATES)


@pytest.mark.parametrize("kind", KINDS)
def test_a_probe_finds_a_planted_mark(kind: ProbeKind):
    assert answered(kind, signal=1.0) >= 70


@pytest.mark.parametrize("kind", KINDS)
def test_a_probe_stays_at_chance_where_nothing_is_planted(kind: ProbeKind):
    low, high = chance_band(1 / CANDIDATES, 90)
    assert low <= answered(kind, signal=0.0) <= high


@pytest.mark.parametrize("kind", [ProbeKind.CONVOLUTION, ProbeKind.POINTING])
def test_the_seed_alone_decides_what_a_network_learns(kind: ProbeKind):
    torch.manual_seed(5)
    first = answered(kind, signal=0.2, seed=3, count=60)
    torch.manual_seed(6)
    assert answered(kind, signal=0.2, seed=3, count=60) == first
    assert len({answered(kind, signal=0.2, seed=seed, count=60) for seed in range(4)}) > 1


def test_a_probe_leaves_the_random_state_and_threads_of_torch_alone():
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    answered(ProbeKind.CONVOLUTION, signal=0.0, count=30)
    assert torch.rand(1) == expected
    assert torch.get_num_threads() == threads


def test_a_channel_that_is_constant_in_training_cannot_disturb_the_answers():
    train = samples(ProbeKind.POINTING, count=150, signal=1.0, seed=1)
    held_out = samples(ProbeKind.POINTING, count=90, signal=1.0, seed=2)
    train.inputs[:, :, 0] = 4.0
    held_out.inputs[:, :, 0] = np.random.default_rng(3).uniform(0, 100, size=(90, CANDIDATES, 16, 16))
    probe = ProbeConfig(kind=ProbeKind.POINTING, epochs=EPOCHS).build(seed=0)
    assert probe.correct(train, held_out, candidates=CANDIDATES) >= 70


@pytest.mark.parametrize("kind", KINDS)
def test_labels_outside_the_candidates_are_refused(kind: ProbeKind):
    data = samples(kind, count=12, signal=0.0, seed=0)
    wrong = Labelled(data.inputs, data.labels + 1)
    with pytest.raises(ConfigError, match="Labels must lie"):
        ProbeConfig(kind=kind).build(seed=0).correct(data, wrong, candidates=CANDIDATES)


def test_inputs_of_another_shape_and_nan_are_refused():
    flat = samples(ProbeKind.LINEAR, count=12, signal=0.0, seed=0)
    with pytest.raises(ConfigError, match="takes 4 axes"):
        ProbeConfig(kind=ProbeKind.CONVOLUTION).build(seed=0).correct(flat, flat, candidates=CANDIDATES)
    crops = samples(ProbeKind.POINTING, count=12, signal=0.0, seed=0)
    with pytest.raises(ConfigError, match="one crop per candidate"):
        ProbeConfig(kind=ProbeKind.POINTING).build(seed=0).correct(crops, crops, candidates=CANDIDATES + 1)
    flat.inputs[3, 3] = np.nan
    with pytest.raises(ConfigError, match="finite"):
        ProbeConfig().build(seed=0).correct(flat, flat, candidates=CANDIDATES)


def test_a_probe_without_epochs_is_refused():
    with pytest.raises(ConfigError, match="positive"):
        ProbeConfig(epochs=0).build(seed=0)
