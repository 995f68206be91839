"""The contract of neural memories: `check_memory`. It is not in `embodied.testing`, since it needs PyTorch."""

from collections.abc import Callable

import torch
from torch import Tensor

from embodied.testing.contract import Rule, leaves
from policies.memory.contract import Memory, State

BATCH, STEPS = 3, 5
TOLERANCE = 1e-5
STATE_TYPES = (torch.float32, torch.int64, torch.bool)

LAYOUT = Rule(
    "state_layout", "A state must hold float32, int64 or bool tensors, batch first, whose shapes never change."
)
EMPTY = Rule("empty", "A memory that remembers nothing must read zeros and leave queries as they are.")
INPUTS = Rule("read_only_inputs", "A memory must not write to states and tokens that it is given.", "Make new tensors.")
DETERMINISM = Rule("determinism", "The same calls must give the same, bit for bit: nothing is kept in the module.")
ROWS = Rule("batch", "A batch must give what its rows give one by one.")
MASK = Rule("masked_writes", "A masked write must change nothing, even where it is not a number.")
RESET = Rule("reset", "`reset` must make the rows of `done` as new, and leave the others bit for bit.")
UNROLL = Rule("unroll", "`unroll` must give what the loop over its steps gives.")
ATTENTION = Rule(
    "attention", "Attention must be finite, at least 0, and sum to 1, or to 0 where nothing is remembered."
)
RESTORE = Rule("save_restore", "A copy of the weights and of the state must go on as the original, bit for bit.")


class _Tokens:
    """Random queries and tokens to write (batch, time, token, width), at keyframes with gaps; no row is reset."""

    def __init__(self, memory: Memory) -> None:
        random = torch.Generator().manual_seed(0)
        self.query = torch.randn(BATCH, STEPS, memory.tokens, memory.dim, generator=random)
        self.written = torch.randn(BATCH, STEPS, memory.tokens, memory.slot_dim, generator=random)
        self.time = torch.randint(1, 4, (BATCH, STEPS), generator=random).cumsum(1)
        self.first = torch.zeros(BATCH, STEPS, dtype=torch.bool)
        self.valid = torch.ones(BATCH, STEPS, dtype=torch.bool)
        self.valid[1, 2] = False

    def parts(self, rows: slice = slice(None)) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        return self.query[rows], self.written[rows], self.time[rows], self.first[rows], self.valid[rows]

    def write(self, memory: Memory, state: State, step: int, valid: Tensor | None = None) -> State:
        mask = self.valid[:, step] if valid is None else valid
        return memory.consolidate(memory.write(state, self.written[:, step], self.time[:, step], mask))


@torch.inference_mode()
def check_memory(make: Callable[[], Memory]) -> None:
    """Raises `ContractError`, which names the first broken rule, unless `make()` gives sound neural memories.

    An outside package calls it in its tests::

        from policies.testing import check_memory
        check_memory(lambda: MyMemoryConfig().build(grid))

    Weights may differ from one `make()` to the next; modules are checked as in evaluation.
    """
    with LAYOUT:
        memory = make().eval()
        tokens = _Tokens(memory)
        states = [memory.init_state(BATCH)]
        _require_layout(states[0], states[0])
    _check_empty(memory, tokens)
    for step in range(STEPS):
        with LAYOUT:
            states.append(tokens.write(memory, states[-1], step))
            _require_layout(states[-1], states[0])
    _check_calls(memory, tokens, states[-1])
    _check_attention(memory, tokens, states[-1])
    _check_mask_and_reset(memory, tokens, states[-1])
    _check_sequences(memory, tokens)
    with RESTORE:
        other = make().eval()
        other.load_state_dict(memory.state_dict())
        copied = {name: value.clone() for name, value in states[2].items()}
        _require_equal(RESTORE, tokens.write(memory, states[2], 2), tokens.write(other, copied, 2))
        query, time = tokens.query[:, 0], tokens.time[:, -1]
        for one, two in zip(memory.read(states[2], query, time), other.read(copied, query, time), strict=True):
            RESTORE.require_same("what both read", one, two)


def _require_layout(state: State, empty: State) -> None:
    for name, value in state.items():
        if value.dtype not in STATE_TYPES or not len(value.shape) or value.shape[0] != BATCH:
            raise LAYOUT.broken(f"{name!r} is {value.dtype} {tuple(value.shape)} for {BATCH} rows")
    shapes = [{name: (tuple(value.shape), value.dtype) for name, value in one.items()} for one in (state, empty)]
    if shapes[0] != shapes[1]:
        raise LAYOUT.broken(f"{shapes[0]}, where the empty state has {shapes[1]}")


def _require_equal(rule: Rule, one: State, other: State) -> None:
    rule.require_same("states", leaves(dict(one)), leaves(dict(other)))


def _check_empty(memory: Memory, tokens: _Tokens) -> None:
    with EMPTY:
        state, query = memory.init_state(BATCH), tokens.query[:, 0]
        read, attention = memory.read(state, query, tokens.time[:, 0])
        if read.shape != query.shape or read.any() or attention.any():
            raise EMPTY.broken(f"a reading {tuple(read.shape)} up to {float(read.abs().max()):g}")
        EMPTY.require_same("the query before and after", query, memory.fuse(query, read, state))


def _check_calls(memory: Memory, tokens: _Tokens, state: State) -> None:
    def called() -> list[object]:
        query, time = tokens.query[:, 0], tokens.time[:, -1] + 1
        read, attention = memory.read(state, query, time)
        written = memory.write(state, tokens.written[:, 0], time, tokens.valid[:, 0])
        reset = memory.reset(state, torch.tensor([True, False, False]))
        return [read, attention, memory.fuse(query, read, state), written, memory.consolidate(written), reset]

    with INPUTS:
        before = leaves((dict(state), tokens.query, tokens.written, tokens.time))
        first = leaves(called())
        INPUTS.require_same("states and tokens", before, (dict(state), tokens.query, tokens.written, tokens.time))
    with DETERMINISM:
        DETERMINISM.require_same("the same calls", first, called())


def _check_attention(memory: Memory, tokens: _Tokens, state: State) -> None:
    with ATTENTION:
        read, attention = memory.read(state, tokens.query[:, 0], tokens.time[:, -1] + 1)
        total = attention.sum(1)
        if attention.dim() != 2 or len(attention) != BATCH or not attention.isfinite().all() or (attention < 0).any():
            raise ATTENTION.broken(f"attention {tuple(attention.shape)} of {attention.min():g} to {attention.max():g}")
        remembers = read.flatten(1).any(1)
        if not torch.allclose(total, remembers.float(), atol=TOLERANCE):
            raise ATTENTION.broken(f"sums {total.tolist()}, where rows remember something: {remembers.tolist()}")


def _check_mask_and_reset(memory: Memory, tokens: _Tokens, state: State) -> None:
    with MASK:
        nothing, time = torch.zeros(BATCH, dtype=torch.bool), tokens.time[:, -1]
        for written in (tokens.written[:, 1], torch.full_like(tokens.written[:, 1], torch.nan)):
            _require_equal(MASK, state, memory.consolidate(memory.write(state, written, time, nothing)))
    with RESET:
        done = torch.tensor([False, True, False])
        fresh, after = memory.init_state(BATCH), memory.reset(state, done)
        expected = {name: value.clone() for name, value in state.items()}
        for name, value in expected.items():
            value[1] = fresh[name][1]
        _require_equal(RESET, expected, after)


def _check_sequences(memory: Memory, tokens: _Tokens) -> None:
    with UNROLL:
        fused, attention, state = memory.unroll(*tokens.parts())
        looped = Memory.unroll(memory, *tokens.parts())
        for what, one, two in (("fused queries", fused, looped[0]), ("attention", attention, looped[1])):
            UNROLL.require_same(what, one, two, tolerance=TOLERANCE)
        UNROLL.require_same("the last states", dict(state), dict(looped[2]), tolerance=TOLERANCE)
    with ROWS:
        for row in range(BATCH):
            alone = memory.unroll(*tokens.parts(slice(row, row + 1)))
            ROWS.require_same(f"row {row} and the same alone", fused[row], alone[0][0], tolerance=TOLERANCE)
            expected = {name: value[row] for name, value in state.items()}
            found = {name: value[0] for name, value in alone[2].items()}
            ROWS.require_same(f"the state of row {row}", expected, found, tolerance=TOLERANCE)
