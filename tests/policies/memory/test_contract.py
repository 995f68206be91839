"""Every memory keeps the contract."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from embodied.errors import ConfigError
from policies.memory import (
    KeepFirstMemoryConfig,
    MergingMemoryConfig,
    RecurrentMemoryConfig,
    TokenGrid,
    WindowMemoryConfig,
)
from policies.memory.contract import Memory
from tests.policies.memory.kinds import ATTENDED, GRID, KINDS, REMEMBERING, made, recalled, same, sequence, wrote

NOW = torch.tensor([40, 41, 42])


@pytest.fixture(params=list(KINDS))
def kind(request):
    return request.param


@pytest.mark.parametrize("kind", list(KINDS))
@settings(max_examples=12)
@given(
    steps=st.integers(1, 11),
    seed=st.integers(0, 10_000),
    valid=st.sampled_from([1.0, 0.6, 0.0]),
    first=st.sampled_from([0.0, 0.2]),
)
def test_an_unrolled_sequence_is_the_loop_over_its_steps(kind, steps, seed, valid, first):
    memory = made(kind)
    fed = sequence(batch=3, steps=steps, seed=seed, valid=valid, first=first)
    looped, batched = Memory.unroll(memory, *fed.parts), memory.unroll(*fed.parts)
    for one, other in zip(looped[:2], batched[:2], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    assert same(looped[2], batched[2])


def test_gradients_of_an_unrolled_sequence_are_those_of_the_loop(kind):
    memory = made(kind)
    fed = sequence(batch=3, steps=7, valid=0.7, first=0.1)
    inputs = [part.requires_grad_() for part in (fed.query, fed.written)]
    learned = list(memory.parameters())
    weights = torch.randn(fed.query.shape)
    looped, batched = (
        torch.autograd.grad((unroll(memory, *fed.parts)[0] * weights).sum(), [*inputs, *learned], allow_unused=True)
        for unroll in (Memory.unroll, type(memory).unroll)
    )
    for one, other in zip(looped, batched, strict=True):
        size = 1.0 if one is None else max(1.0, one.abs().max().item())
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * size)


def test_a_batch_is_its_rows_one_by_one(kind):
    memory = made(kind)
    fed = sequence(batch=3, steps=8, valid=0.7, first=0.2)
    together, attention, state = memory.unroll(*fed.parts)
    for row in range(3):
        one = memory.unroll(*fed.rows(slice(row, row + 1)).parts)
        torch.testing.assert_close(one[0][0], together[row], rtol=0, atol=1e-5)
        torch.testing.assert_close(one[1][0], attention[row], rtol=0, atol=1e-5)
        for name, value in one[2].items():
            torch.testing.assert_close(value[0], state[name][row], rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", REMEMBERING)
def test_a_reset_row_is_as_new_and_the_others_are_bitwise_what_they_were(kind):
    memory = made(kind)
    state = wrote(memory, sequence(batch=3, steps=6))
    after = memory.reset(state, torch.tensor([False, True, False]))
    fresh = memory.init_state(3)
    for name, value in after.items():
        assert torch.equal(value[[0, 2]], state[name][[0, 2]])
        assert torch.equal(value[1], fresh[name][1])
    assert not same(state, after)


def test_a_write_that_is_masked_changes_nothing_even_if_it_is_not_a_number(kind):
    memory = made(kind)
    fed = sequence(batch=3, steps=6)
    state = wrote(memory, fed)
    nonsense = torch.full_like(fed.written[:, 0], torch.nan)
    assert same(memory.consolidate(memory.write(state, nonsense, NOW, torch.zeros(3, dtype=torch.bool))), state)


def test_padding_that_is_not_a_number_does_not_spoil_a_sequence_or_its_gradients(kind):
    memory = made(kind)
    fed = sequence(batch=2, steps=6)
    fed.valid[0, 1:] = False
    clean = memory.unroll(*fed.parts)[0]
    fed.written[0, 1:] = torch.nan
    inputs = [part.requires_grad_() for part in (fed.query, fed.written)]
    padded = memory.unroll(*fed.parts)[0]
    torch.testing.assert_close(padded, clean, rtol=0, atol=1e-6)
    padded.sum().backward()
    learned = [*inputs, *memory.parameters()]
    assert all(part.grad is None or part.grad.isfinite().all() for part in learned)


@pytest.mark.parametrize("kind", REMEMBERING)
def test_what_is_remembered_changes_the_query_in_its_own_row_only(kind):
    memory = made(kind)
    fed = sequence(batch=3, steps=4)
    fed.valid[1] = False
    state = wrote(memory, fed)
    read, _ = memory.read(state, fed.query[:, 0], NOW)
    fused = memory.fuse(fed.query[:, 0], read, state)
    assert not read[1].any()
    assert torch.equal(fused[1], fed.query[1, 0])
    assert all((fused[row] - fed.query[row, 0]).abs().max() > 1e-3 for row in (0, 2))


def test_a_state_has_the_same_shapes_and_types_however_much_was_written(kind):
    memory = made(kind)
    empty, full = memory.init_state(3), wrote(memory, sequence(batch=3, steps=12))
    kinds = {name: (value.shape, value.dtype) for name, value in empty.items()}
    assert {name: (value.shape, value.dtype) for name, value in full.items()} == kinds
    assert all(shape[0] == 3 for shape, _ in kinds.values())
    assert {dtype for _, dtype in kinds.values()} <= {torch.float32, torch.int64, torch.bool}


def test_a_memory_that_was_saved_and_loaded_goes_on_as_the_same(kind):
    memory, loaded = made(kind), KINDS[kind].build(GRID)
    fed, rest = sequence(batch=3, steps=5), sequence(batch=3, steps=4, seed=1)
    state = wrote(memory, fed)
    loaded.load_state_dict(load(save(memory.state_dict())))
    restored = load(save({name: value.detach().contiguous() for name, value in state.items()}))
    one, other = wrote(memory, rest, state), wrote(loaded, rest, restored)
    assert same(one, other)
    query = rest.query[:, 0]
    assert torch.equal(recalled(memory, one, query, NOW), recalled(loaded, other, query, NOW))


@settings(max_examples=15)
@given(kind=st.sampled_from(REMEMBERING), steps=st.integers(0, 9), seed=st.integers(0, 1000))
def test_attention_sums_to_one_over_what_is_there_and_is_zero_elsewhere(kind, steps, seed):
    memory = made(kind)
    fed = sequence(batch=3, steps=steps, seed=seed, valid=0.5)
    state = wrote(memory, fed)
    _, attention = memory.read(state, torch.randn(3, GRID.tokens, GRID.dim), NOW)
    valid = state["valid"].view(3, -1)
    assert not attention[~valid].any()
    torch.testing.assert_close(attention.sum(1), valid.any(1).float())


@pytest.mark.parametrize("kind", REMEMBERING)
def test_gradients_reach_what_was_written_earlier_unless_writes_are_detached(kind):
    memory = made(kind)
    fed = sequence(batch=2, steps=4)
    fed.written.requires_grad_()
    memory.unroll(*fed.parts)[0][:, -1].sum().backward()
    reached = fed.written.grad.abs().amax((2, 3)) > 0
    assert reached[:, 1:3].all()
    assert not reached[:, 3].any()
    fed.written.grad = None
    memory.unroll(*fed.parts, detach_writes=True)[0][:, -1].sum().backward()
    assert fed.written.grad is None


@pytest.mark.parametrize("kind", REMEMBERING)
def test_the_keyframes_since_a_write_count_not_only_the_order(kind):
    memory = made(kind)
    fed = sequence(batch=3, steps=2)
    state = wrote(memory, fed)
    soon, late = (recalled(memory, state, fed.query[:, 0], fed.time[:, -1] + gap) for gap in (1, 9))
    assert (soon - late).abs().max() > 1e-4


@pytest.mark.parametrize("kind", REMEMBERING)
def test_only_differences_of_times_count(kind):
    memory = made(kind)
    fed = sequence(batch=2, steps=7, valid=0.8)
    one, _, _ = memory.unroll(*fed.parts)
    other, _, _ = memory.unroll(fed.query, fed.written, fed.time + 100, fed.first, fed.valid)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ATTENDED)
def test_a_view_remembers_its_own_past_only(kind):
    memory = made(kind)
    fed = sequence(batch=2, steps=4)
    before = memory.unroll(*fed.parts)[0]
    fed.written[:, :, GRID.cells :] += 1.0  # The second view's.
    changed = (memory.unroll(*fed.parts)[0] - before)[:, 1:].abs().amax((0, 1, 3))
    assert not changed[: GRID.cells].any()
    assert (changed[GRID.cells :] > 1e-4).all()


@pytest.mark.parametrize(
    "config",
    [
        WindowMemoryConfig(capacity=0),
        WindowMemoryConfig(layers=0),
        WindowMemoryConfig(heads=3),
        WindowMemoryConfig(heads=8),
        KeepFirstMemoryConfig(capacity=4, first=4),
        KeepFirstMemoryConfig(first=0),
        MergingMemoryConfig(hidden=0),
        RecurrentMemoryConfig(hidden=0),
        RecurrentMemoryConfig(horizon=2),
    ],
)
def test_settings_out_of_range_are_refused(config):
    with pytest.raises(ConfigError):
        config.build(GRID)


@pytest.mark.parametrize("wrong", [{"rows": 0}, {"dim": 10}, {"slot_dim": 6}])
def test_grids_that_no_code_fits_are_refused(wrong):
    with pytest.raises(ConfigError):
        TokenGrid(**{**vars(GRID), **wrong})
