"""Reads tokens from memory: each view of the query attends to its own view in the stored moments."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from policies.memory.codes import RotaryGrid
from policies.memory.sizes import AttentionSize, TokenGrid

FORGOTTEN = -1e9
NEARBY = 30.0  # The initial score of a token in the same place.
STEPS_AT_ONCE = 4
LANES = 16


@dataclass(frozen=True, eq=False)
class StoredMoments:
    """The content of memory: moments that all steps of a row share, and which of them are stored at each step.

    `slots` (batch, moment, tokens, slot_dim); `age` (batch, time, moment, slot_dim), the code of a moment's age at a
    step; `kept` bool (batch, time, moment).
    """

    slots: Tensor
    age: Tensor
    kept: Tensor


@dataclass(frozen=True)
class _Span:
    """The steps `first` to `last` attend to the moments `oldest` to `newest`; both ranges are half-open."""

    first: int
    last: int
    oldest: int
    newest: int


class MemoryAttention(nn.Module):
    """Layers of self-attention within a view, attention to its moments, and a feed-forward part; pre-norm.

    Source: the memory attention of SAM 2 (arXiv 2408.00714) as SAM2Act+ uses it (arXiv 2501.18564), with rotary codes
    by row and column on queries and keys. The code of a moment's age is added to its keys only and is not rotated,
    since it does not depend on the position.
    """

    def __init__(self, grid: TokenGrid, size: AttentionSize) -> None:
        super().__init__()
        self._split = (grid.views, grid.cells)
        self.layers = nn.ModuleList(_Layer(grid, heads=size.heads, hidden=size.hidden) for _ in range(size.layers))

    def forward(self, query: Tensor, held: StoredMoments) -> tuple[Tensor, Tensor]:
        """Returns the residual for `query` (batch, time, tokens, dim), and the attention (batch, time, moment).

        The attention is the mean over heads, layers and tokens. Both are zero at steps where nothing is stored.
        """
        spans = _attended_spans(held.kept)
        if all(span.oldest == span.newest for span in spans):
            return torch.zeros_like(query), query.new_zeros(held.kept.shape)
        before = tokens = query.unflatten(2, self._split)
        slots = held.slots.unflatten(2, self._split)
        attention = query.new_zeros(held.kept.shape)
        for layer in self.layers:
            tokens, paid = layer(tokens, slots, held, spans)
            attention = attention + paid / len(self.layers)
        some = held.kept.any(-1)
        added = torch.where(some[..., None, None], (tokens - before).flatten(2, 3), 0.0)
        return added, torch.where(some[..., None], attention, 0.0)


class _Layer(nn.Module):
    """Tokens are (batch, time, view, cell, dim), slots (batch, moment, view, cell, slot_dim)."""

    def __init__(self, grid: TokenGrid, *, heads: int, hidden: int) -> None:
        super().__init__()
        self.within_norm = nn.LayerNorm(grid.dim)
        self.within = _WithinView(grid, heads)
        self.across_norm = nn.LayerNorm(grid.dim)
        self.across = _ToMoments(grid, heads)
        self.forward_norm = nn.LayerNorm(grid.dim)
        self.feed_forward = nn.Sequential(nn.Linear(grid.dim, hidden), nn.ReLU(), nn.Linear(hidden, grid.dim))

    def forward(self, tokens: Tensor, slots: Tensor, held: StoredMoments, spans: list[_Span]) -> tuple[Tensor, Tensor]:
        tokens = tokens + self.within(self.within_norm(tokens))
        read, paid = self.across(self.across_norm(tokens), slots, held, spans)
        tokens = tokens + read
        return tokens + self.feed_forward(self.forward_norm(tokens)), paid


class _WithinView(nn.Module):
    """Self-attention over the cells of each view."""

    def __init__(self, grid: TokenGrid, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.rotary = RotaryGrid(grid.rows, grid.cols, grid.dim // heads)
        self.inward = nn.Linear(grid.dim, 3 * grid.dim)
        self.outward = nn.Linear(grid.dim, grid.dim)

    def forward(self, tokens: Tensor) -> Tensor:
        parts = self.inward(tokens.flatten(0, 2)).chunk(3, -1)
        query, key, value = (part.unflatten(-1, (self._heads, -1)).transpose(1, 2) for part in parts)
        read = functional.scaled_dot_product_attention(self.rotary(query), self.rotary(key), value)
        return self.outward(read.transpose(1, 2).flatten(2)).unflatten(0, tokens.shape[:3])


class _ToMoments(nn.Module):
    """Attention from the cells of a view to those of the same view in all stored moments.

    Keys get one more channel per moment, which is 1 in that moment's own tokens and 0 elsewhere; queries hold there the
    score that the moment's age adds, or `FORGOTTEN`. So one call of the fused kernel serves several steps, each with
    its own mask and ages. Values get the same channels, whose output is the attention paid to each moment.

    At initialisation a cell reads from its own position, and each head prefers moments of some ages. Starting from
    equal attention to hundreds of tokens, training took four times as many steps.
    """

    def __init__(self, grid: TokenGrid, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.rotary = RotaryGrid(grid.rows, grid.cols, grid.dim // heads)
        self.query = nn.Linear(grid.dim, grid.dim)
        self.key = nn.Linear(grid.slot_dim, grid.dim)
        self.value = nn.Linear(grid.slot_dim, grid.dim)
        self.outward = nn.Linear(grid.dim, grid.dim)
        for part in (
            self.query,
            self.key,
        ):  # Both start from the same code, so that their product falls with the distance.
            nn.init.constant_(part.bias, (NEARBY / (grid.dim // heads) ** 0.5) ** 0.5)

    def forward(self, tokens: Tensor, slots: Tensor, held: StoredMoments, spans: list[_Span]) -> tuple[Tensor, Tensor]:
        """Returns the tokens read (batch, time, view, cell, dim) and the attention (batch, time, moment)."""
        marks = _marks(slots, width=self._marks_wide(spans))
        keys = _marked(self.rotary(self._by_head(self.key(slots))), marks)
        values = _marked(self._by_head(self.value(slots)), marks)
        plain = self._by_head(self.query(tokens))
        turned = self.rotary(plain)
        read, paid = [], []
        for span in spans:
            steps = slice(span.first, span.last)
            age = self._age(plain[:, :, :, steps], held, span)
            one, attention = _attend(turned[:, :, :, steps], age, keys, values, span)
            read.append(one)
            paid.append(functional.pad(attention, (span.oldest, slots.shape[1] - span.newest)))
        return self.outward(torch.cat(read, 3).permute(0, 3, 1, 4, 2, 5).flatten(4)), torch.cat(paid, 1)

    def _marks_wide(self, spans: list[_Span]) -> int:
        """Returns how many extra channels the longest span needs, rounded up to the width of vector registers."""
        head = self.query.out_features // self._heads
        longest = max(span.newest - span.oldest for span in spans)
        return -(-(head + longest) // LANES) * LANES - head

    def _by_head(self, tokens: Tensor) -> Tensor:
        """Returns (batch, time, view, cell, dim) as (batch, view, head, time, cell, dim / heads)."""
        return tokens.unflatten(-1, (self._heads, -1)).permute(0, 2, 4, 1, 3, 5)

    def _age(self, query: Tensor, held: StoredMoments, span: _Span) -> Tensor:
        """Returns the scores that the ages of a span's moments add (batch, view, head, time, cell, moment)."""
        steps, moments = slice(span.first, span.last), slice(span.oldest, span.newest)
        age = functional.linear(held.age[:, steps, moments], self.key.weight).unflatten(-1, (self._heads, -1))
        score = query @ age.permute(0, 3, 1, 4, 2)[:, None]
        return torch.where(held.kept[:, None, None, steps, None, moments], score, FORGOTTEN)


def _attend(query: Tensor, age: Tensor, keys: Tensor, values: Tensor, span: _Span) -> tuple[Tensor, Tensor]:
    """Returns the tokens that `query` reads, in its shape, and the attention to the span (batch, time, moment)."""
    if span.oldest == span.newest:
        return torch.zeros_like(query), query.new_zeros(query.shape[0], query.shape[3], 0)
    cells, width = query.shape[-2:]
    column = torch.arange(span.oldest, span.newest, device=query.device) % (keys.shape[-1] - width)
    marks = age.new_zeros(*age.shape[:-1], keys.shape[-1] - width).index_copy(-1, column, age)
    seen = slice(span.oldest * cells, span.newest * cells)
    out = functional.scaled_dot_product_attention(
        torch.cat((query, marks), -1).flatten(3, 4).flatten(0, 1),
        keys[:, :, :, seen].flatten(0, 1),
        values[:, :, :, seen].flatten(0, 1),
        scale=width**-0.5,
    )
    out = out.unflatten(0, query.shape[:2]).unflatten(3, query.shape[3:5])
    return out[..., :width], out[..., width:].mean((1, 2, 4)).index_select(-1, column)


def _marks(slots: Tensor, *, width: int) -> Tensor:
    """Returns the extra channels (moment, cell, width): any `width` moments in a row have one each."""
    moment = torch.arange(slots.shape[1], device=slots.device) % width
    return functional.one_hot(moment, width).to(slots)[:, None].expand(-1, slots.shape[3], -1)


def _marked(parts: Tensor, marks: Tensor) -> Tensor:
    """Returns (batch, view, head, moment, cell, width) with `marks`, the tokens of all moments in one axis."""
    return torch.cat((parts, marks.expand(*parts.shape[:-1], -1)), -1).flatten(3, 4)


def _attended_spans(kept: Tensor) -> list[_Span]:
    """Returns the steps, a few at once, with the moments that any row keeps at any of them."""
    spans = []
    for first, chunk in enumerate(kept.any(0).split(STEPS_AT_ONCE)):
        seen = chunk.any(0).nonzero()
        bounds = (int(seen[0]), int(seen[-1]) + 1) if len(seen) else (0, 0)
        start = first * STEPS_AT_ONCE
        spans.append(_Span(start, start + len(chunk), *bounds))
    return spans
