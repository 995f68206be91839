"""SAM2Act as one module: a coarse look at the workspace, memory, a fine look around the coarse waypoint, an action."""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from policies.heads.autoregressive import AutoregressiveHead
from policies.heads.heatmap import gaussian
from policies.memory.config import TokenGrid
from policies.memory.contract import Memory
from policies.sam2act.body import body_numbers, mark_tool
from policies.sam2act.branch import Branch
from policies.sam2act.config import Sam2ActConfig
from policies.sam2act.points import Cloud
from policies.sam2act.splatting import splat
from policies.sam2act.views import VIEWS, pixels


class Body(NamedTuple):
    """The robot in each frame: tool position (frame, 3) m and orientation (frame, 4) xyzw in the world, gripper, time.

    `gripper` (frame,) is the opening in [0, 1]; `time` (frame,) counts keyframes.
    """

    position_m: Tensor
    orientation: Tensor
    gripper: Tensor
    time: Tensor


class Look(NamedTuple):
    """One branch's view of its cube: pictures, the encoder's maps, and tokens (frame, view, grid ** 2, dim)."""

    pictures: Tensor
    maps: tuple[Tensor, ...]
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
        self.encoder = replace(config.encoder, inputs=channels).build()
        self.language = config.language.build()
        self.coarse, self.fine = (
            Branch(config.branch, self.encoder, channels=channels, body=config.body_numbers, words=self.language.dim)
            for _ in range(2)
        )
        self.hand = AutoregressiveHead(2 * len(VIEWS) * config.branch.dim, hidden=config.hand_hidden)
        grid = config.branch.grid
        self.memory: Memory | None = None
        if config.memory is not None:
            tokens = TokenGrid(views=len(VIEWS), rows=grid, cols=grid, dim=config.branch.dim, slot_dim=config.slot_dim)
            self.memory = config.memory.build(tokens)
            self.moment = config.moment.build(tokens)

    def look(self, branch: Branch, cloud: Cloud, centre_m: Tensor, half_m: float, words: Tensor, body: Body) -> Look:
        """Returns what a branch makes of the cube of `half_m` around each `centre_m` (frame, 3)."""
        pictures = splat(cloud, centre_m, half_m, size=self.config.branch.size, radius_px=self.config.radius_px)
        if self.config.tool_channel:
            pictures = torch.cat((pictures, mark_tool(body.position_m, centre_m, half_m, pictures.shape[-1])), 2)
        maps = self.encoder(pictures.flatten(0, 1))
        read, known = self.language(words)
        numbers = body_numbers(self.config, body)
        return Look(pictures, maps, branch.embed(maps, pictures, read, known, numbers))

    def look_around(self, cloud: Cloud, words: Tensor, body: Body) -> Look:
        """Returns the coarse look at the whole workspace."""
        centre_m = cloud.position_m.new_tensor(self.config.cube.centre_m).expand(cloud.position_m.shape[0], 3)
        return self.look(self.coarse, cloud, centre_m, self.config.cube.half_m, words, body)

    def look_closely(self, cloud: Cloud, centre_m: Tensor, words: Tensor, body: Body) -> Look:
        """Returns the fine look around `centre_m` (frame, 3)."""
        return self.look(self.fine, cloud, centre_m, self.config.fine_half_m, words, body)

    def remembered(self, look: Look, chosen: Tensor) -> Tensor:
        """Returns what memory keeps of frames in which the waypoints `chosen` (frame, 3) of the cube were chosen.

        (frame, view * grid ** 2, slot_dim): the tokens and the waypoint, not what was read from memory before.
        """
        size = self.config.branch.size
        heat = gaussian(pixels(chosen, size), size, sigma_px=self.config.heat_sigma_px)
        heat = heat / heat.amax((-2, -1), keepdim=True).clamp_min(1e-6)
        frames, views, _, dim = look.tokens.shape
        grid = self.config.branch.grid
        return self.moment(look.tokens.view(frames, views, grid, grid, dim), heat)

    def features(self, look: Look, point: Tensor) -> Tensor:
        """Returns what the action is read from: each view's strongest features, and those at `point` (frame, 3).

        `point` is in the cube of the look; the result is (frame, 2 * view * dim).
        """
        frames, views, _, dim = look.tokens.shape
        grid = self.config.branch.grid
        at = pixels(point, grid) * (2 / grid) - 1.0
        spread = look.tokens.flatten(0, 1).transpose(1, 2).reshape(frames * views, dim, grid, grid)
        place = at.flip(-1).view(frames * views, 1, 1, 2)
        local = nn.functional.grid_sample(spread, place, padding_mode="border", align_corners=False)
        return torch.cat((look.tokens.amax(2), local.view(frames, views, dim)), -1).flatten(1)
