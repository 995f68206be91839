"""The multi-view transformer: first every view by itself, then all views together with words and body."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from policies.sam2act.sizes import TransformerConfig


class MultiViewTransformer(nn.Module):
    """Exchanges what tokens of `dim` know; pre-norm layers with gated GELU, as in RVT (arXiv 2306.14896, 3.2)."""

    def __init__(self, config: TransformerConfig, *, dim: int) -> None:
        super().__init__()
        self.enter = nn.Linear(dim, config.width)
        self.alone = nn.ModuleList(_Layer(config) for _ in range(config.alone))
        self.joint = nn.ModuleList(_Layer(config) for _ in range(config.joint))
        self.leave = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, dim))

    def forward(self, image: Tensor, extra: Tensor, known: Tensor) -> Tensor:
        """Returns the image tokens (frame, view, token, dim) after they have seen each other and the extra ones.

        `extra` are (frame, word, dim), of which `known` (frame, word) are to be seen.
        """
        frames, views, tokens, _ = image.shape
        mixed = self.enter(image).flatten(0, 1)
        for layer in self.alone:
            mixed = layer(mixed, None)
        mixed = torch.cat((mixed.view(frames, views * tokens, -1), self.enter(extra)), 1)
        seen = torch.cat((known.new_ones(frames, views * tokens), known), 1)[:, None, None, :]
        for layer in self.joint:
            mixed = layer(mixed, seen)
        return self.leave(mixed[:, : views * tokens]).view(frames, views, tokens, -1)


class _Layer(nn.Module):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width, inner = config.width, config.width * config.feedforward
        self.heads, self.dropout = config.heads, config.dropout
        self.before_attention, self.before_feedforward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.attended = nn.Linear(width, width)
        self.gated, self.shrunk = nn.Linear(width, 2 * inner), nn.Linear(inner, width)

    def forward(self, tokens: Tensor, seen: Tensor | None) -> Tensor:
        batch, count, width = tokens.shape
        split = self.query_key_value(self.before_attention(tokens)).view(batch, count, 3, self.heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen, dropout_p=dropout)
        tokens = tokens + self._drop(self.attended(attended.transpose(1, 2).reshape(batch, count, width)))
        inner, gate = self.gated(self.before_feedforward(tokens)).chunk(2, -1)
        return tokens + self._drop(self.shrunk(inner * functional.gelu(gate)))

    def _drop(self, change: Tensor) -> Tensor:
        return functional.dropout(change, self.dropout, self.training) if self.dropout else change
