"""Memories learn to recall; without one, or with one that has forgotten, there is chance."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from embodied.evaluation.metrics import chance_band
from policies.memory import (
    KeepFirstMemoryConfig,
    NeuralMemoryConfig,
    NoMemoryConfig,
    TokenGrid,
    WindowMemoryConfig,
)

CUES, CHANCE = 4, 0.25
GRID = TokenGrid(views=1, rows=2, cols=2, dim=16, slot_dim=16)
ATTENDED = {"layers": 1, "hidden": 32}


def cues(count: int, steps: int, seed: int) -> Tensor:
    return torch.randint(CUES, (count, steps), generator=torch.Generator().manual_seed(seed))


def answers(memory: nn.Module, head: nn.Module, shown: Tensor) -> Tensor:
    """Returns the scores of cues (batch, time, cue); the query reveals nothing, only memory does."""
    batch, steps = shown.shape
    written = functional.one_hot(shown, GRID.slot_dim).float()[:, :, None].expand(-1, -1, GRID.tokens, -1)
    time = torch.arange(steps).expand(batch, -1)
    query = torch.zeros(batch, steps, GRID.tokens, GRID.dim)
    return head(memory.unroll(query, written, time, time == 0, torch.ones_like(time, dtype=torch.bool))[0].mean(2))


def recalled(config: NeuralMemoryConfig, *, delay: int, steps: int, updates: int) -> float:
    """Trains to recall which cue was shown `delay` keyframes ago; returns the share of new ones recalled rightly."""
    torch.manual_seed(0)
    memory, head = config.build(GRID), nn.Linear(GRID.dim, CUES)
    optimiser = torch.optim.AdamW([*memory.parameters(), *head.parameters()], lr=1e-2)
    for update in range(updates):
        shown = cues(32, steps, update)
        logged = answers(memory, head, shown)[:, delay:]
        optimiser.zero_grad()
        functional.cross_entropy(logged.flatten(0, 1), shown[:, : steps - delay].flatten()).backward()
        optimiser.step()
    shown = cues(100, steps, 10_000)
    with torch.no_grad():
        logged = answers(memory, head, shown)[:, delay:].argmax(-1)
    return float((logged == shown[:, : steps - delay]).float().mean())


def test_a_window_learns_to_recall_which_cue_was_written_five_steps_ago():
    assert recalled(WindowMemoryConfig(capacity=8, **ATTENDED), delay=5, steps=12, updates=80) > 0.95


def test_without_memory_there_is_chance():
    low, high = chance_band(CHANCE, 700)
    assert low <= 700 * recalled(NoMemoryConfig(), delay=5, steps=12, updates=40) <= high


def test_the_first_cue_is_learned_by_keeping_the_first_and_lost_to_a_window_of_the_same_capacity():
    low, high = chance_band(CHANCE, 100)
    assert recalled(KeepFirstMemoryConfig(capacity=4, **ATTENDED), delay=8, steps=9, updates=80) > 0.95
    assert low <= 100 * recalled(WindowMemoryConfig(capacity=4, **ATTENDED), delay=8, steps=9, updates=40) <= high
