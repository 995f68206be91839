"""The action head: rotation angle by angle, gripper, and whether to avoid collisions."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from policies.heads.bins import BINS

CHOICES = 2
JITTER_BINS = 2


class ActionLogits(NamedTuple):
    """`rotation` (batch, 3, bins), the later angles given the earlier ones; `gripper`, `collisions` (batch, 2).

    Of the two, index 1 means open, and avoid collisions.
    """

    rotation: Tensor
    gripper: Tensor
    collisions: Tensor


class AutoregressiveHead(nn.Module):
    """Chooses the bins of x, then of y given x, then of z given both, so that turns with several good ways stay whole.

    Each angle has an MLP of one hidden layer, into which the earlier bins enter through embeddings. In training, the
    given bins are those of the demonstration, moved by up to `jitter` bins: the head must stand its own small errors.
    """

    def __init__(self, dim: int, *, hidden: int = 256, bins: int = BINS, jitter: int = JITTER_BINS) -> None:
        super().__init__()
        self._bins = bins
        self._jitter = jitter
        self._features = nn.ModuleList(nn.Linear(dim, hidden) for _ in range(3))
        self._given = nn.ModuleList(nn.Embedding(angle * bins, hidden) for angle in (1, 2))
        self._angles = nn.ModuleList(nn.Linear(hidden, bins) for _ in range(3))
        self._gripper = _mlp(dim, hidden)
        self._collisions = _mlp(dim, hidden)

    def forward(
        self, features: Tensor, *, rotation: Tensor | None = None, generator: torch.Generator | None = None
    ) -> ActionLogits:
        """Returns the logits for `features` (batch, dim), each angle given the bins `rotation` (batch, 3) before it.

        Without `rotation`, each is given the likeliest bins before it. In training the given bins are jittered, by
        draws of `generator` (of the features' device) or of torch's own.
        """
        given = None if rotation is None else self._jittered(rotation, generator)
        chosen: list[Tensor] = []
        logits: list[Tensor] = []
        for angle in range(3):
            logits.append(self._angle(features, chosen))
            chosen.append(logits[-1].argmax(-1) if given is None else given[:, angle])
        return ActionLogits(torch.stack(logits, 1), self._gripper(features), self._collisions(features))

    def _angle(self, features: Tensor, earlier: list[Tensor]) -> Tensor:
        angle = len(earlier)
        hidden = self._features[angle](features)
        if earlier:
            # One table per angle: the rows of each earlier angle lie behind those of the one before.
            rows = torch.stack(earlier, -1) + self._bins * torch.arange(angle, device=features.device)
            hidden = hidden + self._given[angle - 1](rows).sum(-2)
        return self._angles[angle](torch.relu(hidden))

    def _jittered(self, rotation: Tensor, generator: torch.Generator | None) -> Tensor:
        if not self.training or not self._jitter:
            return rotation
        low, high = -self._jitter, self._jitter + 1
        moved = torch.randint(low, high, rotation.shape, generator=generator, device=rotation.device)
        return (rotation + moved) % self._bins


def _mlp(dim: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, CHOICES))
