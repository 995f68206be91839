"""Converts a policy's memory to moments of the memory bank and back, so that a killed worker can resume."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from embodied.errors import MemoryBankError
from embodied.geometry import Vector3
from embodied.types import Moment
from policies.memory.contract import Memory, State


def to_moment(written: Tensor, time: float, *, model_id: str, position_m: Vector3, robot: str) -> Moment:
    """Returns `written`, the tokens (tokens, slot_dim) of keyframe `time`, as a moment to be stored.

    `model_id` names the weights; `position_m` and `robot` are those of the request. The moment's tokens are exact, its
    embedding is their mean at unit length. The feed that appends it to the bank adds the episode. Raises
    `MemoryBankError` for tokens that are not finite, and for an empty `model_id`.
    """
    tokens = np.array(written.detach().cpu().numpy(), np.float32)
    if not model_id:
        raise MemoryBankError("A moment must name the model that made it.", value=model_id)
    if tokens.ndim != 2 or not np.isfinite(tokens).all():
        raise MemoryBankError("Tokens of a moment must be finite, of shape (tokens, slot_dim).", value=tokens.shape)
    mean = tokens.astype(np.float64).mean(0)
    length = float(np.sqrt(mean @ mean))
    if not length > 0.0:
        raise MemoryBankError("The mean token of a moment must have a direction.", value=length)
    embedding = (mean / length).astype(np.float32)
    return Moment(embedding, tokens, model_id, float(time), position_m, robot, episode="", step=int(time))


@torch.no_grad()
def replay(memory: Memory, moments: Sequence[Moment], *, model_id: str) -> State:
    """Returns the state, of one row, of `memory` after writing `moments` in their order: bitwise the original one.

    A window needs the newest `capacity` of an episode, every other memory all of them. Raises `MemoryBankError` for
    moments of another model than `model_id`, without steps in rising order, or with tokens of another shape than this
    memory's.
    """
    device = next(memory.parameters(), torch.empty(0)).device
    state, newest = memory.init_state(1, device=device), -1
    for moment in moments:
        tokens = _tokens_of(moment, (memory.tokens, memory.slot_dim), model_id)
        if moment.step is None or moment.step <= newest:
            raise MemoryBankError(
                "Moments must have steps, in rising order.",
                value=(newest, moment.step),
                remedy="Give them as `MemoryFeed.moments` does.",
            )
        newest = moment.step
        time, mask = torch.tensor([newest], device=device), torch.tensor([True], device=device)
        state = memory.consolidate(memory.write(state, tokens[None].to(device), time, mask))
    return state


def _tokens_of(moment: Moment, shape: tuple[int, int], model_id: str) -> Tensor:
    if moment.model_id != model_id:
        raise MemoryBankError(
            "A memory can only hold what its own model wrote.",
            value=moment.model_id,
            remedy=f"Load that model, or recall moments of {model_id!r}.",
        )
    if moment.tokens is None or moment.tokens.shape != shape or not np.isfinite(moment.tokens).all():
        raise MemoryBankError(
            f"Tokens of a moment must be finite, of shape {shape}.",
            value=None if moment.tokens is None else moment.tokens.shape,
        )
    return torch.from_numpy(np.array(moment.tokens, np.float32))  # A copy, since arrays from the bank are read-only.
