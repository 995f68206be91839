"""Weights of published networks, from a safetensors file that the user has: checked whole before any is taken."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from embodied.errors import ConfigError, PathError

LISTED = 5


def load_weights(module: nn.Module, path: Path, *, prefixes: Sequence[str] = ("",)) -> None:
    """Fills every parameter and buffer of `module` from the file `path`, whose names may begin with one of `prefixes`.

    Other tensors of the file are ignored. Raises `PathError` where there is no file, and `ConfigError` where it is no
    safetensors file, or lacks a tensor, or has one of another shape; then `module` is as before.
    """
    wanted = module.state_dict()
    with opened(path) as file:
        names = set(file.keys())
        prefix = max(prefixes, key=lambda start: sum(start + name in names for name in wanted))
        _refuse_if_any((prefix + name for name in wanted if prefix + name not in names), "lacks", path)
        shapes = {name: tuple(file.get_slice(prefix + name).get_shape()) for name in wanted}
        wrong = (name for name, value in wanted.items() if shapes[name] != tuple(value.shape))
        described = (f"{prefix + name} {shapes[name]}, not {tuple(wanted[name].shape)}" for name in wrong)
        _refuse_if_any(described, "has other shapes for", path)
        with torch.no_grad():
            for name, value in wanted.items():
                value.copy_(file.get_tensor(prefix + name))


def opened(path: Path) -> safe_open:
    """Returns the open safetensors file, a context manager. Raises `PathError`, and `ConfigError` if it is none."""
    if not path.is_file():
        raise PathError("A file of weights must exist.", value=str(path), remedy="Nothing is downloaded: name yours.")
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        raise ConfigError(
            "Weights must be a safetensors file.",
            value=path.name,
            remedy=f"Convert it: files that pickle are never opened ({error}).",
        ) from error


def _refuse_if_any(offenders: Iterable[str], verb: str, path: Path) -> None:
    found = list(offenders)
    if found:
        more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
        raise ConfigError(
            "A file of weights must hold every tensor of the network, in its shape.",
            value=path.name,
            remedy=f"It {verb} {'; '.join(found[:LISTED])}{more}. Choose the size of this file, named by transformers.",
        )
