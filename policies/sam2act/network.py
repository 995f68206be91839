"""SAM2Act as one module: a coarse look at the workspace, memory, a fine look around the coarse waypoint, an action."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from policies.heads.autoregressive import AutoregressiveHead
from policies.heads.heatmap import gaussian
from policies.memory.contract import Memory
from policies.memory.sizes import TokenGrid
from policies.sam2act.body import body_numbers, mark_tool
from policies.sam2act.branch import Branch, Told
from policies.sam2act.config import Sam2ActConfig
from policies.sam2act.glimpse import Glimpse
from policies.sam2act.sight import Sight
from policies.sam2act.splatting import Lens, splat
from policies.sam2act.views import VIEWS, pixels


class Look(NamedTuple):
    """One branch's view of its cube: visualisations, `Branch.sides`, and tokens (frame, view, grid ** 2, dim)."""

    visualisations: Tensor
    sides: tuple[Tensor, ...]
    tokens: Tensor


class Sam2Act(nn.Module):
    """Both branches, the image encoder they share, the words, the action head and the memory.

    Source: SAM2Act, arXiv 2501.18564, after the descriptions of RVT-2 (arXiv 2406.08545) and SAM2Act.
    """

    def __init__(self, config: Sam2ActConfig) -> None:
        super().__init__()
        config.check()
        self.config = config
        channels = config.channels
        self.encoder = config.encoder.config(channels=channels).build()
        self.language = config.language.config().build()
        self.coarse, self.fine = (
            Branch(config.branch, self.encoder, channels=channels, body=config.body_numbers, words=self.language.dim)
            for _ in range(2)
        )
        told = 2 * len(VIEWS) * config.branch.dim
        self.glimpse: Glimpse | None = None
        if config.glimpse.window:
            self.glimpse = Glimpse(config.glimpse, channels=channels)
            told += config.glimpse.dim
        self.hand = AutoregressiveHead(told, hidden=config.hand_hidden)
        grid = config.branch.grid
        self.memory: Memory | None = None
        chosen = config.memory.config()
        if chosen is not None:
            tokens = TokenGrid(views=len(VIEWS), rows=grid, cols=grid, dim=config.branch.dim, slot_dim=config.slot_dim)
            self.memory = chosen.build(tokens)
            self.moment = config.moment.build(tokens)

    def look_around(self, sight: Sight) -> Look:
        """Returns the coarse look at the whole workspace."""
        centre_m = sight.body.position_m.new_tensor(self.config.cube.centre_m)
        return self._look(self.coarse, sight, centre_m.expand_as(sight.body.position_m), zoom=1.0)

    def look_closely(self, sight: Sight, centre_m: Tensor) -> Look:
        """Returns the fine look around `centre_m` (frame, 3)."""
        return self._look(self.fine, sight, centre_m, zoom=self.config.zoom)

    def remembered(self, tokens: Tensor, chosen: Tensor) -> Tensor:
        """Returns what memory keeps of frames in which the waypoints `chosen` (frame, 3) of the cube were chosen.

        (frame, view * grid ** 2, slot_dim): the coarse `tokens` before memory is read, and the waypoint.
        """
        size = self.config.branch.size
        heat = gaussian(pixels(chosen, size), size, sigma_px=self.config.heat_sigma_px)
        heat = heat / heat.amax((-2, -1), keepdim=True).clamp_min(1e-6)
        frames, views, _, dim = tokens.shape
        grid = self.config.branch.grid
        return self.moment(tokens.view(frames, views, grid, grid, dim), heat)

    def features(self, look: Look, point: Tensor) -> Tensor:
        """Returns what the action is read from: each view's strongest features, those at `point`, and a glimpse of it.

        `point` (frame, 3) is in the cube of the look; the result is (frame, 2 * view * dim + glimpse).
        """
        frames, views, _, dim = look.tokens.shape
        grid = self.config.branch.grid
        at = pixels(point, grid) * (2 / grid) - 1.0
        spread = look.tokens.flatten(0, 1).transpose(1, 2).reshape(frames * views, dim, grid, grid)
        place = at.flip(-1).view(frames * views, 1, 1, 2)
        local = nn.functional.grid_sample(spread, place, padding_mode="border", align_corners=False)
        told = torch.cat((look.tokens.amax(2), local.view(frames, views, dim)), -1).flatten(1)
        if self.glimpse is None:
            return told
        return torch.cat((told, self.glimpse(look.visualisations, pixels(point, self.config.branch.size))), 1)

    def _look(self, branch: Branch, sight: Sight, centre_m: Tensor, *, zoom: float) -> Look:
        size, half_m = self.config.branch.size, self.config.cube.half_m / zoom
        # However closely it looks, it sees half a workspace deep both ways.
        visualisations = splat(sight.cloud, centre_m, half_m, Lens(size, self.config.radius_px, reach=zoom))
        if self.config.tool_channel:
            visualisations = torch.cat((visualisations, mark_tool(sight.body.position_m, centre_m, half_m, size)), 2)
        maps = self.encoder(visualisations.flatten(0, 1))
        words, known = self.language(sight.words)
        numbers = body_numbers(self.config, sight.body)
        return Look(visualisations, branch.sides(maps), branch.embed(maps, visualisations, Told(words, known, numbers)))
