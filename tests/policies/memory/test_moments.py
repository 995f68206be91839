"""What a memory wrote can be stored in the bank as moments, and folded into the same state again."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from embodied.errors import MemoryBankError
from policies.memory.moments import replay, to_moment
from tests.policies.memory.kinds import GRID, KINDS, REMEMBERING, made, same, sequence, wrote

MODEL = "model/1"
TOKENS = torch.randn(GRID.tokens, GRID.slot_dim, generator=torch.Generator().manual_seed(3))


def moment_at(step: int, tokens: torch.Tensor = TOKENS):
    return to_moment(tokens, step, model_id=MODEL, position_m=(0.1, 0.2, 0.3), robot="arm")


@settings(max_examples=20)
@given(kind=st.sampled_from(list(KINDS)), steps=st.integers(0, 9), seed=st.integers(0, 1000))
def test_replaying_the_moments_gives_bitwise_the_state_that_was_lost(kind, steps, seed):
    memory = made(kind)
    fed = sequence(batch=1, steps=steps, seed=seed)
    moments = [moment_at(int(fed.time[0, step]), fed.written[0, step]) for step in range(steps)]
    with torch.no_grad():
        lost = wrote(memory, fed)
    assert same(replay(memory, moments, model_id=MODEL), lost)


def test_a_window_needs_its_newest_moments_only():
    memory = made("window")
    fed = sequence(batch=1, steps=8)
    moments = [moment_at(int(fed.time[0, step]), fed.written[0, step]) for step in range(8)]
    assert same(replay(memory, moments[-3:], model_id=MODEL), wrote(memory, fed))


def test_a_moment_has_exact_tokens_and_their_direction():
    moment = moment_at(7)
    np.testing.assert_array_equal(moment.tokens, TOKENS.numpy())
    assert moment.tokens.dtype == moment.embedding.dtype == np.float32
    mean = TOKENS.double().mean(0)
    np.testing.assert_allclose(moment.embedding, mean / mean.norm(), atol=1e-6)
    assert (moment.step, moment.time_s, moment.robot, moment.model_id) == (7, 7.0, "arm", MODEL)


def test_a_moment_does_not_change_with_the_tensor_it_was_made_of():
    tokens = TOKENS.clone()
    moment = moment_at(0, tokens)
    tokens.zero_()
    np.testing.assert_array_equal(moment.tokens, TOKENS.numpy())


@pytest.mark.parametrize("wrong", [torch.full_like(TOKENS, torch.nan), torch.zeros_like(TOKENS), TOKENS[0]])
def test_tokens_that_no_bank_would_keep_are_refused(wrong):
    with pytest.raises(MemoryBankError):
        moment_at(0, wrong)


def test_a_moment_must_name_its_model():
    with pytest.raises(MemoryBankError, match="name the model"):
        to_moment(TOKENS, 0, model_id="", position_m=(0.0, 0.0, 0.0), robot="arm")


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"model_id": "model/2"}, "its own model"),
        ({"tokens": None}, "must be finite, of shape"),
        ({"tokens": np.zeros((3, 8), np.float32)}, "must be finite, of shape"),
        ({"tokens": np.full((12, 8), np.nan, np.float32)}, "must be finite, of shape"),
        ({"step": None}, "rising order"),
        ({"step": 1}, "rising order"),
    ],
)
def test_moments_that_this_memory_did_not_write_are_refused(change, rule):
    moments = [moment_at(1), replace(moment_at(2), **change)]
    with pytest.raises(MemoryBankError, match=rule):
        replay(made("window"), moments, model_id=MODEL)


@pytest.mark.parametrize("kind", REMEMBERING)
def test_a_replayed_state_asks_for_no_gradients(kind):
    state = replay(made(kind), [moment_at(1), moment_at(2)], model_id=MODEL)
    assert not any(value.requires_grad for value in state.values())
