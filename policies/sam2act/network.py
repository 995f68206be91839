"""SAM2Act as one module: coarse branch, memory, fine branch around the coarse waypoint, action head."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from policies.heads.autoregressive import AutoregressiveHead
from policies.heads.heatmap import gaussian
from policies.memory.contract import Memory
from policies.memory.sizes import TokenGrid
from policies.sam2act.branch import Branch, BranchFeatures, Conditioning
from policies.sam2act.geometry import VIEWS, pixels
from policies.sam2act.inputs import Inputs, mark_tool, proprioception_numbers
from policies.sam2act.settings import RegionCropConfig, Sam2ActSettings
from policies.sam2act.splatting import Lens, splat


class Sam2Act(nn.Module):
    """Both branches, the image encoder that they share, the language encoder, the action head and the memory.

    Names of modules are keys of shipped weights, so they stay: `hand` is the action head, `glimpse` encodes the
    region-of-interest crop, `moment` encodes what is written to memory. Source: SAM2Act, arXiv 2501.18564, after the
    descriptions of RVT-2 (arXiv 2406.08545) and SAM2Act.
    """

    def __init__(self, config: Sam2ActSettings) -> None:
        super().__init__()
        config.check()
        self.config = config
        channels = config.channels
        self.encoder = config.encoder.config(channels=channels).build()
        self.language = config.language.config().build()
        self.coarse, self.fine = (
            Branch(
                config.branch,
                self.encoder,
                channels=channels,
                proprioception=config.proprioception,
                words=self.language.dim,
            )
            for _ in range(2)
        )
        width = 2 * len(VIEWS) * config.branch.dim
        self.glimpse: RegionCrop | None = None
        if config.glimpse.window:
            self.glimpse = RegionCrop(config.glimpse, channels=channels)
            width += config.glimpse.dim
        self.hand = AutoregressiveHead(width, hidden=config.hand_hidden)
        grid = config.branch.grid
        self.memory: Memory | None = None
        chosen = config.memory.config()
        if chosen is not None:
            tokens = TokenGrid(views=len(VIEWS), rows=grid, cols=grid, dim=config.branch.dim, slot_dim=config.slot_dim)
            self.memory = chosen.build(tokens)
            self.moment = config.moment.build(tokens)

    def coarse_features(self, inputs: Inputs) -> BranchFeatures:
        """Returns the coarse branch's features of the whole workspace."""
        position_m = inputs.proprioception.position_m
        centre_m = position_m.new_tensor(self.config.cube.centre_m)
        return self._features(self.coarse, inputs, centre_m.expand_as(position_m), zoom=1.0)

    def fine_features(self, inputs: Inputs, centre_m: Tensor) -> BranchFeatures:
        """Returns the fine branch's features of the cube around `centre_m` (frame, 3) in the world."""
        return self._features(self.fine, inputs, centre_m, zoom=self.config.zoom)

    def memory_tokens(self, tokens: Tensor, chosen: Tensor) -> Tensor:
        """Returns the tokens to write to memory, (frame, view * grid ** 2, slot_dim).

        They encode the coarse `tokens` before memory is read, and the waypoints `chosen` (frame, 3) in the cube.
        """
        size = self.config.branch.size
        heat = gaussian(pixels(chosen, size), size, sigma_px=self.config.heat_sigma_px)
        heat = heat / heat.amax((-2, -1), keepdim=True).clamp_min(1e-6)
        frames, views, _, dim = tokens.shape
        grid = self.config.branch.grid
        return self.moment(tokens.view(frames, views, grid, grid, dim), heat)

    def action_features(self, features: BranchFeatures, point: Tensor) -> Tensor:
        """Returns the input of the action head: each view's maximum over tokens, the tokens at `point`, and its crop.

        `point` (frame, 3) is in the cube of the features; the result is (frame, 2 * view * dim + crop).
        """
        frames, views, _, dim = features.tokens.shape
        grid = self.config.branch.grid
        at = pixels(point, grid) * (2 / grid) - 1.0
        maps = features.tokens.flatten(0, 1).transpose(1, 2).reshape(frames * views, dim, grid, grid)
        place = at.flip(-1).view(frames * views, 1, 1, 2)
        local = functional.grid_sample(maps, place, padding_mode="border", align_corners=False)
        read = torch.cat((features.tokens.amax(2), local.view(frames, views, dim)), -1).flatten(1)
        if self.glimpse is None:
            return read
        return torch.cat((read, self.glimpse(features.visualisations, pixels(point, self.config.branch.size))), 1)

    def _features(self, branch: Branch, inputs: Inputs, centre_m: Tensor, *, zoom: float) -> BranchFeatures:
        size, half_m = self.config.branch.size, self.config.half_m / zoom
        # The reach is the same for every zoom: half a workspace before and behind the middle of the cube.
        visualisations = splat(inputs.cloud, centre_m, half_m, Lens(size, self.config.radius_px, reach=zoom))
        if self.config.tool_channel:
            marks = mark_tool(inputs.proprioception.position_m, centre_m, half_m, size)
            visualisations = torch.cat((visualisations, marks), 2)
        maps = self.encoder(visualisations.flatten(0, 1))
        words, known = self.language(inputs.words)
        conditioning = Conditioning(words, known, proprioception_numbers(self.config, inputs.proprioception))
        return BranchFeatures(visualisations, branch.skips(maps), branch.embed(maps, visualisations, conditioning))


class RegionCrop(nn.Module):
    """Encodes a region-of-interest crop of each view around one point, with convolutions that all views share.

    The point is always in the middle of the crop. A token covers `size / grid` pixels, and the point may lie anywhere
    in it, so tokens alone show the rotation of an object far worse than its position. The published action head reads
    tokens alone.
    """

    def __init__(self, config: RegionCropConfig, *, channels: int) -> None:
        super().__init__()
        self._window = config.window
        before = (channels, *config.widths)
        self._stages = nn.Sequential(*(_halving(a, b) for a, b in zip(before, config.widths, strict=False)))
        edge = config.window >> len(config.widths)
        self._out = nn.Linear(len(VIEWS) * config.widths[-1] * edge**2, config.dim)

    def forward(self, visualisations: Tensor, at_px: Tensor) -> Tensor:
        """Returns (frame, dim) of visualisations (frame, view, channel, size, size) around `at_px` (frame, view, 2).

        Points are (row, column) from the outer corner; pixels outside a view are zero.
        """
        seen = self._stages(crops(visualisations, at_px, self._window).flatten(0, 1))
        return functional.gelu(self._out(seen.reshape(len(visualisations), -1)))


def crops(visualisations: Tensor, at_px: Tensor, window: int) -> Tensor:
    """Returns the `window` x `window` pixels of `visualisations` around `at_px`.

    Their shape is (frame, view, channel, window, window).
    """
    frames, views, channels, size, _ = visualisations.shape
    offset = torch.arange(window, device=at_px.device, dtype=at_px.dtype) - (window - 1) / 2
    row, column = ((at_px[..., axis, None] + offset) * (2 / size) - 1.0 for axis in (0, 1))
    shape = (frames, views, window, window)
    place = torch.stack((column[..., None, :].expand(shape), row[..., None].expand(shape)), -1)
    seen = functional.grid_sample(visualisations.flatten(0, 1), place.flatten(0, 1), align_corners=False)
    return seen.view(frames, views, channels, window, window)


def _halving(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, width, 3, stride=2, padding=1), nn.GroupNorm(1, width), nn.GELU())
