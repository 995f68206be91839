"""Tiny learners behind the real seam: they see the mean of each camera's pixels, and learn in milliseconds."""

import math
import os
import signal
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from embodied.errors import ConfigError
from embodied.specs import KEYFRAME
from policies.training.learner import Learner

WORKSPACE_M = ((-0.3, 0.7), (-0.5, 0.5), (0.6, 1.6))


@dataclass(kw_only=True)
class TinyConfig:
    """A perceptron.

    `nan` and `nan_gradient` break it; `die` names a file: the process that creates it, at step 12, is killed. `others`
    are the numbers beside those seen, time and words: other than 2 do not fit, as only a forward pass shows.
    """

    cameras: list[str] = field(default_factory=lambda: ["front", "wrist"])
    image_px: int = 8
    space: str = KEYFRAME.name
    workspace_m: list[list[float]] = field(default_factory=lambda: [list(axis) for axis in WORKSPACE_M])
    width: int = 16
    dropout: float = 0.1
    nan: bool = False
    nan_gradient: bool = False
    die: str = ""
    others: int = 2

    def build(self):
        return Tiny(self)


def die_once(mark):
    try:
        Path(mark).touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


class Tiny(Learner):
    def __init__(self, config):
        super().__init__()
        self.policy_config = config
        self.action_spec = replace(KEYFRAME, name=config.space)
        self.cameras = tuple(config.cameras)
        self.workspace_m = [tuple(axis) for axis in config.workspace_m]
        self.steps = 0
        self.eye = nn.Sequential(nn.Linear(4 * len(self.cameras), config.width), nn.LayerNorm(config.width))
        self.head = nn.Sequential(nn.GELU(), nn.Dropout(config.dropout), nn.Linear(config.width + config.others, 4))

    def forward(self, batch):
        self.steps += self.training
        if self.policy_config.die and self.steps == 12:
            die_once(self.policy_config.die)
        seen = batch.get("frozen.eye")
        seen = self._see(batch) if seen is None else seen
        words = (batch["words"] > 0).sum(1, keepdim=True).expand_as(batch["time"])
        printed = torch.stack([batch["time"] / 10.0, words], dim=-1)
        answer = self.head(torch.cat([seen, printed], dim=-1))
        place = (answer[..., :3] - batch["intent_position_m"]).square().sum(-1)
        grip = nn.functional.binary_cross_entropy_with_logits(
            answer[..., 3], batch["intent_gripper_open"].float(), reduction="none"
        )
        keyframes = batch["valid"].sum()
        loss = ((place + grip) * batch["valid"]).sum() / keyframes
        if self.policy_config.nan:
            loss = loss * math.nan
        if self.policy_config.nan_gradient:
            loss = loss + torch.sqrt(0.0 * self.head[-1].bias.square().sum())
        return loss, {"place": ((place * batch["valid"]).sum() / keyframes).detach()}

    def check(self, data):
        for camera in self.cameras:
            if data.image_px[camera] != (self.policy_config.image_px,) * 2:
                raise ConfigError("The image size must be the policy's.", value=data.image_px[camera])

    def policy(self):
        raise NotImplementedError("It is trained, never asked.")

    def tokenise(self, instruction):
        return np.array([len(word) for word in instruction.split()], dtype=np.int64)

    def visualisations(self, batch):
        return {"seen": batch["rgb"][0, 0, 0].cpu().numpy()}

    def frozen_features(self, batch):
        return {"eye": self._see(batch)}

    def _see(self, batch):
        colours = batch["rgb"].float().mean(dim=(-3, -2)) / 255.0
        depth = batch["depth_m"].mean(dim=(-2, -1)).unsqueeze(-1)
        return self.eye(torch.cat([colours, depth], dim=-1).flatten(-2))
