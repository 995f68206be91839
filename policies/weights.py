"""Tensors on disk as safetensors, and whether they fit a network: no pickle, and no silent misfit."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from embodied.errors import DataError

LISTED = 5


def tensor_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Returns `tensors` as the content of a safetensors file; the same tensors give the same bytes."""
    # Copies, since tied tensors may not share memory there.
    own = {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    return safetensors.torch.save(own)


def tensors_from_bytes(content: bytes, source: Path) -> dict[str, Tensor]:
    """Returns the tensors of a safetensors file. Raises `DataError`, naming `source`, for any other content."""
    try:
        return safetensors.torch.load(content)
    except (SafetensorError, ValueError, KeyError) as error:  # KeyError: an element type that torch does not have.
        raise DataError(
            "Weights must be a safetensors file; others could run code when they are read.",
            value=str(source),
            remedy=f"It says: {error}. Convert it where it was made, or take a whole copy.",
        ) from error


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of a safetensors file. Raises `DataError` where it is missing or something else."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError("Weights must be a file that can be read.", value=str(path), remedy=str(error)) from error
    return tensors_from_bytes(content, path)


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor], source: Path, *, fresh: Iterable[str] = ()) -> None:
    """Copies `tensors` into `network`; those whose names are in `fresh` may be missing, and stay as they are.

    `source` is named in messages. Raises `DataError`, listing at most five names, before anything is copied, where they
    are of another architecture.
    """
    own = network.state_dict()
    anew = set(fresh)
    problems = [f"missing {name}" for name in own if name not in tensors and name not in anew]
    problems += [f"unexpected {name}" for name in tensors if name not in own]
    problems += [
        f"{name} is {tuple(tensors[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in tensors and name not in anew and tensors[name].shape != own[name].shape
    ]
    if problems:
        more = f" and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        raise DataError(
            "Weights must be of the architecture that they are loaded into.",
            value=f"{source}: {'; '.join(problems[:LISTED])}{more}",
            remedy="Choose the policy settings that they were trained with.",
        )
    network.load_state_dict({name: tensor for name, tensor in tensors.items() if name not in anew}, strict=False)
