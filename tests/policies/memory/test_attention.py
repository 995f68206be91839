"""Codes of place and age, and what the attention of memories computes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from policies.memory import MomentEncoderConfig, TokenGrid, WindowMemoryConfig
from policies.memory.attention import MemoryAttention, StoredMoments
from policies.memory.codes import RotaryGrid, sine_code, sine_grid
from policies.memory.sizes import AttentionSize

ROWS, COLS, WIDTH = 5, 7, 12
cells = st.tuples(st.integers(0, ROWS - 1), st.integers(0, COLS - 1))


def score(query: torch.Tensor, key: torch.Tensor, at: tuple[int, int], of: tuple[int, int]) -> float:
    """The score that a token at one cell gives to a token at another."""
    rotary = RotaryGrid(ROWS, COLS, WIDTH).double()
    turned_query, turned_key = (rotary(part.expand(ROWS * COLS, WIDTH)) for part in (query, key))
    return float(turned_query[at[0] * COLS + at[1]] @ turned_key[of[0] * COLS + of[1]])


@given(at=cells, of=cells, shift=cells, seed=st.integers(0, 100))
def test_a_score_depends_on_where_tokens_lie_relative_to_each_other_only(at, of, shift, seed):
    query, key = torch.randn(2, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    row, col = min(shift[0], ROWS - 1 - max(at[0], of[0])), min(shift[1], COLS - 1 - max(at[1], of[1]))
    moved = score(query, key, (at[0] + row, at[1] + col), (of[0] + row, of[1] + col))
    assert moved == pytest.approx(score(query, key, at, of), abs=1e-5)


def test_rows_and_columns_are_distinguished():
    query, key = torch.randn(2, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    scores = {of: score(query, key, (1, 1), of) for of in [(1, 1), (2, 1), (1, 2), (0, 1), (1, 0)]}
    assert len({round(value, 3) for value in scores.values()}) == 5


def test_turning_keeps_lengths():
    tokens = torch.randn(3, ROWS * COLS, WIDTH)
    turned = RotaryGrid(ROWS, COLS, WIDTH)(tokens)
    torch.testing.assert_close(turned.norm(dim=-1), tokens.norm(dim=-1))
    assert torch.equal(turned[:, 0], tokens[:, 0])


def test_every_cell_and_every_gap_has_a_code_of_its_own():
    for codes in (sine_grid(ROWS, COLS, 8), sine_code(torch.arange(60.0), 8)):
        apart = torch.cdist(codes, codes) + 10.0 * torch.eye(len(codes))
        assert apart.min() > 0.05
    assert sine_grid(ROWS, COLS, 8).shape == (ROWS * COLS, 8)


def test_attention_in_one_call_is_attention_as_it_is_written_down():
    """One layer, one view, two steps that keep different moments: against softmax(q k) v, by hand."""
    torch.manual_seed(0)
    grid = TokenGrid(views=1, rows=2, cols=2, dim=8, slot_dim=4)
    attention = MemoryAttention(grid, AttentionSize(layers=1, heads=1, hidden=8)).double()
    query, slots = torch.randn(1, 2, 4, 8).double(), torch.randn(1, 3, 4, 4).double()
    age = torch.randn(1, 2, 3, 4).double()
    kept = torch.tensor([[[True, False, True], [False, True, True]]])
    added, paid = attention(query, StoredMoments(slots, age, kept))
    (layer,) = attention.layers
    rotary = RotaryGrid(2, 2, 8).double()
    for step in range(2):
        tokens = (
            query[0, step] + layer.within(layer.within_norm(query[:, step, None, None]).squeeze(1)[:, None])[0, 0, 0]
        )
        plain = layer.across.query(layer.across_norm(tokens))
        keys = rotary(layer.across.key(slots[0]))
        scores = torch.einsum("pd,mkd->pmk", rotary(plain), keys)
        scores = (scores + (plain @ (age[0, step] @ layer.across.key.weight.T).T)[..., None]) / 8**0.5
        scores[:, ~kept[0, step]] = -torch.inf
        weights = scores.flatten(1).softmax(1).view_as(scores)
        tokens = tokens + layer.across.outward(torch.einsum("pmk,mkd->pd", weights, layer.across.value(slots[0])))
        tokens = tokens + layer.feed_forward(layer.forward_norm(tokens))
        torch.testing.assert_close(added[0, step], tokens - query[0, step], rtol=0, atol=1e-6)
        torch.testing.assert_close(paid[0, step], weights.sum(2).mean(0), rtol=0, atol=1e-6)


def test_the_published_size_has_the_published_number_of_parameters():
    grid = TokenGrid(views=3, rows=16, cols=16, dim=128, slot_dim=64)
    memory, encoder = (
        sum(part.numel() for part in config.build(grid).parameters())
        for config in (WindowMemoryConfig(), MomentEncoderConfig())
    )
    assert memory == pytest.approx(2.57e6, rel=0.02)
    assert encoder == pytest.approx(0.49e6, rel=0.02)
    assert memory + encoder == pytest.approx(3.07e6, rel=0.02)


def test_before_anything_is_learnt_a_cell_reads_what_was_at_its_own_place():
    grid = TokenGrid(views=1, rows=8, cols=8, dim=96, slot_dim=32)
    for seed in range(3):
        torch.manual_seed(seed)
        memory = WindowMemoryConfig(capacity=4, layers=1, heads=4, hidden=8).build(grid)
        query, here = torch.randn(1, grid.tokens, grid.dim), 27
        slots = torch.randn(1, 4, grid.tokens, grid.slot_dim)
        other = slots.clone()
        other[:, :, here] = torch.randn(grid.slot_dim)
        held = [
            StoredMoments(one, torch.zeros(1, 1, 4, grid.slot_dim), torch.ones(1, 1, 4, dtype=torch.bool))
            for one in (slots, other)
        ]
        with torch.no_grad():
            before, after = (memory.attention(query[:, None], one)[0] for one in held)
        changed = (before - after).norm(dim=-1).flatten()
        assert changed.argmax() == here
        assert changed[here] > 10 * changed.median()
