"""A glimpse: what lies around a point of a picture, always in the middle, so that how it is turned can be read."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from policies.sam2act.sizes import GlimpseConfig
from policies.sam2act.views import VIEWS


class Glimpse(nn.Module):
    """Reads a window of each view around one point, pixel by pixel, with convolutions that all views share.

    A token covers `size / grid` pixels and lies anywhere about the point, so that tokens tell where a thing is far
    better than how it is turned; the published head has tokens alone.
    """

    def __init__(self, config: GlimpseConfig, *, channels: int) -> None:
        super().__init__()
        self._window = config.window
        before = (channels, *config.widths)
        self._stages = nn.Sequential(*(_halving(a, b) for a, b in zip(before, config.widths, strict=False)))
        edge = config.window >> len(config.widths)
        self._out = nn.Linear(len(VIEWS) * config.widths[-1] * edge**2, config.dim)

    def forward(self, visualisations: Tensor, at_px: Tensor) -> Tensor:
        """Returns (frame, dim) of visualisations (frame, view, channel, size, size) around `at_px` (frame, view, 2).

        Points are (row, column) from the outer corner; what lies outside a picture is zero.
        """
        seen = self._stages(windows(visualisations, at_px, self._window).flatten(0, 1))
        return functional.gelu(self._out(seen.reshape(len(visualisations), -1)))


def windows(visualisations: Tensor, at_px: Tensor, window: int) -> Tensor:
    """Returns the `window` x `window` pixels (frame, view, channel, window, window) whose middle is `at_px`."""
    frames, views, channels, size, _ = visualisations.shape
    offset = torch.arange(window, device=at_px.device, dtype=at_px.dtype) - (window - 1) / 2
    row, column = ((at_px[..., axis, None] + offset) * (2 / size) - 1.0 for axis in (0, 1))
    shape = (frames, views, window, window)
    place = torch.stack((column[..., None, :].expand(shape), row[..., None].expand(shape)), -1)
    seen = functional.grid_sample(visualisations.flatten(0, 1), place.flatten(0, 1), align_corners=False)
    return seen.view(frames, views, channels, window, window)


def _halving(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, width, 3, stride=2, padding=1), nn.GroupNorm(1, width), nn.GELU())
