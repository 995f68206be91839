"""What each memory keeps, and what it forgets."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.memory import MergingMemoryConfig, RecurrentMemoryConfig, TokenGrid
from tests.policies.memory.kinds import GRID, made, recalled, sequence, wrote

NOW = torch.tensor([60, 60])


@torch.no_grad()
def effect(kind: str, step: int, *, steps: int = 7) -> float:
    """How much what is recalled after `steps` writes depends on what was written at `step`."""
    memory = made(kind)
    fed = sequence(batch=2, steps=steps)
    before = recalled(memory, wrote(memory, fed), fed.query[:, 0], NOW)
    fed.written[:, step] += 1.0
    return float((recalled(memory, wrote(memory, fed), fed.query[:, 0], NOW) - before).abs().max())


@pytest.mark.parametrize("step", range(7))
def test_a_window_recalls_what_is_inside_and_nothing_older(step):
    assert (effect("window", step) > 1e-3) == (step >= 4)
    assert step >= 4 or effect("window", step) == 0.0


@pytest.mark.parametrize("step", range(7))
def test_keeping_the_first_recalls_them_for_ever_and_the_newest(step):
    assert (effect("keep_first", step) > 1e-3) == (step in {0, 1, 5, 6})


@pytest.mark.parametrize("step", range(7))
def test_a_merging_memory_loses_nothing_entirely(step):
    assert effect("merging", step) > 1e-4


def test_a_window_has_the_newest_first_and_keeping_the_first_the_first():
    fed = sequence(batch=2, steps=7)
    window, first = (wrote(made(kind), fed) for kind in ("window", "keep_first"))
    assert torch.equal(window["time"], fed.time[:, [6, 5, 4]].float())
    assert torch.equal(window["slots"], fed.written[:, [6, 5, 4]])
    assert torch.equal(first["time"], fed.time[:, [0, 1, 6, 5]].float())
    assert torch.equal(first["slots"], fed.written[:, [0, 1, 6, 5]])


def test_a_moment_counts_by_its_place_in_the_order_of_writes():
    memory = made("window")
    fed = sequence(batch=2, steps=2)
    fed.time[:] = 5
    swapped = sequence(batch=2, steps=2)
    swapped.time[:] = 5
    swapped.written[:] = fed.written.flip(1)
    one, other = (recalled(memory, wrote(memory, each), fed.query[:, 0], NOW) for each in (fed, swapped))
    assert (one - other).abs().max() > 1e-4


# --- Merging ----------------------------------------------------------------------------------------------------------

FLAT = TokenGrid(views=1, rows=1, cols=1, dim=4, slot_dim=4)


def merged(angles: list[float], *, capacity: int) -> dict[str, torch.Tensor]:
    """Writes unit vectors in the plane, one per keyframe, and returns the state of one row, without its batch axis."""
    memory = MergingMemoryConfig(capacity=capacity, layers=1, hidden=4).build(FLAT)
    state = memory.init_state(1)
    for step, angle in enumerate(angles):
        written = torch.tensor([[[math.cos(angle), math.sin(angle), 0.0, 0.0]]])
        state = memory.consolidate(memory.write(state, written, torch.tensor([step]), torch.tensor([True])))
    return {name: value[0] for name, value in state.items()}


@settings(max_examples=30)
@given(capacity=st.integers(1, 5), angles=st.lists(st.floats(0.0, 6.28), max_size=20))
def test_a_merging_memory_is_bounded_ordered_and_counts_every_write_once(capacity, angles):
    state = merged(angles, capacity=capacity)
    count = min(len(angles), capacity)
    assert state["valid"].tolist() == [True] * count + [False] * (capacity + 1 - count)
    assert int(state["mass"].sum()) == len(angles)
    times = state["time"][:count].double()
    assert (times.diff() < 0).all()
    moved = float((times * state["mass"][:count]).sum())
    assert moved == pytest.approx(sum(range(len(angles))), abs=1e-3)
    assert not state["slots"][count:].any()


@settings(max_examples=30)
@given(angles=st.lists(st.floats(0.0, 6.28), min_size=5, max_size=5))
def test_the_most_alike_neighbours_are_merged_into_their_mean(angles):
    vectors = torch.tensor([[math.cos(angle), math.sin(angle)] for angle in angles])
    alike = (vectors[:-1] * vectors[1:]).sum(1)
    state = merged(angles, capacity=4)
    older = 3 - int(state["mass"].argmax())
    assert float(alike[older]) == pytest.approx(float(alike.max()), abs=1e-5)
    expected = vectors[older : older + 2].mean(0)
    torch.testing.assert_close(state["slots"][3 - older, 0, :2], expected)
    assert float(state["time"][3 - older]) == older + 0.5


def test_of_equally_alike_neighbours_the_oldest_are_merged_and_means_are_weighted():
    state = merged([0.0, 0.0, 0.0], capacity=2)
    assert state["mass"].tolist() == [1, 2, 0]
    assert state["time"].tolist() == [2.0, 0.5, 0.0]
    state = merged([0.0, 0.1, 0.2, 3.0], capacity=2)
    assert state["mass"].tolist() == [1, 3, 0]
    mean = sum(math.sin(angle) for angle in (0.0, 0.1, 0.2)) / 3
    assert float(state["slots"][1, 0, 1]) == pytest.approx(mean, abs=1e-6)


def test_a_write_frees_a_slot_where_the_state_was_not_consolidated():
    memory = made("merging")
    fed = sequence(batch=2, steps=6)
    state = memory.init_state(2)
    for step in range(6):
        state = memory.write(state, fed.written[:, step], fed.time[:, step], fed.valid[:, step])
    assert state["mass"].sum(1).tolist() == [6, 6]
    assert torch.equal(state["time"][:, 0], fed.time[:, -1].float())


# --- Recurrent --------------------------------------------------------------------------------------------------------


def test_the_forgetting_of_an_lstm_is_spread_over_its_horizon():
    memory = RecurrentMemoryConfig(hidden=2000, horizon=25).build(GRID)
    bias = memory.cell.bias_ih + memory.cell.bias_hh
    take_in, forget = bias[:2000].detach(), bias[2000:4000].detach()
    assert torch.equal(take_in, -forget)
    spans = forget.exp()
    assert 1.0 <= spans.min() < 1.2
    assert 23.8 < spans.max() <= 24.0 + 1e-4
    assert float(spans.mean()) == pytest.approx(12.5, abs=0.5)
    assert not bias[4000:].any()


def test_an_lstm_knows_which_view_saw_something():
    memory = made("recurrent")
    state, mask = memory.init_state(2), torch.tensor([True, True])
    written = torch.zeros(2, GRID.tokens, GRID.slot_dim)
    written[0, : GRID.cells] = written[1, GRID.cells :] = 1.0
    hidden = memory.write(state, written, NOW, mask)["hidden"]
    assert (hidden[0] - hidden[1]).abs().max() > 1e-3
