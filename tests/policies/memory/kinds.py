"""Small memories of every kind, and sequences to feed them with."""

from dataclasses import dataclass

import torch
from torch import Tensor

from policies.memory import (
    KeepFirstMemoryConfig,
    MergingMemoryConfig,
    NoMemoryConfig,
    RecurrentMemoryConfig,
    TokenGrid,
    WindowMemoryConfig,
)
from policies.memory.contract import Memory, State

GRID = TokenGrid(views=2, rows=2, cols=3, dim=16, slot_dim=8)
SMALL = {"layers": 2, "hidden": 16}
KINDS = {
    "window": WindowMemoryConfig(capacity=3, heads=2, **SMALL),
    "keep_first": KeepFirstMemoryConfig(capacity=4, first=2, **SMALL),
    "merging": MergingMemoryConfig(capacity=3, heads=2, **SMALL),
    "recurrent": RecurrentMemoryConfig(hidden=8, horizon=10),
    "none": NoMemoryConfig(),
}
REMEMBERING = [kind for kind in KINDS if kind != "none"]
ATTENDED = ["window", "keep_first", "merging"]


def made(kind: str, grid: TokenGrid = GRID) -> Memory:
    torch.manual_seed(0)
    return KINDS[kind].build(grid)


@dataclass(frozen=True, eq=False)
class Sequence:
    """What `Memory.unroll` takes."""

    query: Tensor
    written: Tensor
    time: Tensor
    first: Tensor
    valid: Tensor

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        return self.query, self.written, self.time, self.first, self.valid

    def rows(self, rows: slice) -> "Sequence":
        return Sequence(*(part[rows] for part in self.parts))


def sequence(*, batch: int, steps: int, seed: int = 0, valid: float = 1.0, first: float = 0.0) -> Sequence:
    """Random tokens at keyframes with gaps; shares of steps that are written, and that begin an episode."""
    random = torch.Generator().manual_seed(seed)
    return Sequence(
        torch.randn(batch, steps, GRID.tokens, GRID.dim, generator=random),
        torch.randn(batch, steps, GRID.tokens, GRID.slot_dim, generator=random),
        torch.randint(1, 4, (batch, steps), generator=random).cumsum(1),
        torch.rand(batch, steps, generator=random) < first,
        torch.rand(batch, steps, generator=random) < valid,
    )


def wrote(memory: Memory, fed: Sequence, state: State | None = None) -> State:
    """Returns the state after all writes of a sequence, without resets."""
    state = memory.init_state(len(fed.query)) if state is None else state
    for step in range(fed.query.shape[1]):
        written = memory.write(state, fed.written[:, step], fed.time[:, step], fed.valid[:, step])
        state = memory.consolidate(written)
    return state


def recalled(memory: Memory, state: State, query: Tensor, time: Tensor) -> Tensor:
    """Returns the query after memory."""
    return memory.fuse(query, memory.read(state, query, time)[0], state)


def same(one: State, other: State) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
