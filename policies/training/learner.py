"""The interface between training and a family of policies: the batches a learner gets and what it must provide."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from embodied.errors import EmbodiedError
from embodied.geometry import Vector3
from embodied.protocols import Policy
from embodied.specs import KEYFRAME, ActionSpec

Batch = dict[str, Tensor]
"""Sequences of keyframes, batch first, then time, padded at the end by repeating the last keyframe.

Cameras are in the order of `Learner.cameras`.

    rgb                      uint8   (B, T, C, H, W, 3)
    depth_m                  float32 (B, T, C, H, W)      metres along the optical axis, 0 unknown
    intrinsics               float32 (B, T, C, 3, 3)      pixels
    world_from_camera        float32 (B, T, C, 4, 4)
    tool_position_m          float32 (B, T, 3)            world frame
    tool_orientation         float32 (B, T, 4)            xyzw
    gripper                  float32 (B, T)               opening, 0 closed to 1 open
    time                     int64   (B, T)               number of the keyframe in its episode, no clock time
    intent_position_m        float32 (B, T, 3)            target: world frame
    intent_orientation       float32 (B, T, 4)            target: xyzw
    intent_gripper_open      bool    (B, T)               target
    intent_avoid_collisions  bool    (B, T)               target
    valid                    bool    (B, T)               False in the padding
    first                    bool    (B, T)               where a memory begins anew: the first keyframe of a sequence
    words                    int64   (B, W)               `Learner.tokenise` of the instruction, padded with zeros
    episode                  int64   (B,)                 number among the episodes trained on, for messages
    redrawn                  int64   (B,)                 augmentations rejected: an intent left the workspace
    frozen.<name>                    (B, T, ...)          cached results of `Learner.frozen_features`
"""

FROZEN = "frozen."


@dataclass(frozen=True)
class DatasetFeatures:
    """The common features of all demonstrations.

    `image_px` (height, width) by camera; `intent_low_m` and `intent_high_m` bound all intents, world frame; `longest`
    counts the intents of the longest episode; `digest` is a SHA-256 over all files.
    """

    robot: str
    image_px: Mapping[str, tuple[int, int]]
    proprio_names: tuple[str, ...]
    action_spec: ActionSpec
    tasks: tuple[str, ...]
    instructions: tuple[str, ...]
    intent_low_m: Vector3
    intent_high_m: Vector3
    longest: int
    digest: str


class TrainingError(EmbodiedError):
    """Training cannot go on: a loss or a gradient is not finite, or workers die again and again."""


class Learner(nn.Module, ABC):
    """A policy that can be trained: a training step calls only `forward`, so DDP can wrap it.

    `cameras` are the cameras of its images, in order; augmented intents must stay in `workspace_m` ((low, high) for x,
    y, z, world frame). `policy_config` is the dataclass, JSON-able, whose `build()` made it; of its fields
    `learning_settings` affect only the training. `action_spec` is the action space that it learns: demonstrations must
    declare it.
    """

    cameras: Sequence[str]
    workspace_m: Sequence[tuple[float, float]]
    policy_config: Any
    learning_settings: Sequence[str] = ()
    action_spec: ActionSpec = KEYFRAME

    @abstractmethod
    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Returns the loss, a mean over the valid keyframes of the batch, and metrics: detached scalars, means too.

        The mean matters: workers weigh their gradients by how many valid keyframes they were shown.
        """

    @abstractmethod
    def check(self, features: DatasetFeatures) -> None:
        """Raises `ConfigError` where cameras, image size, proprioception or normalisation do not fit."""

    @abstractmethod
    def tokenise(self, instruction: str) -> np.ndarray:
        """Returns the words of an instruction as int64 (W,); 0 is kept for padding."""

    def normalisation(self) -> dict[str, Any]:
        """Returns the scales of numbers, JSON-able: stored with the weights, and compared when these are loaded."""
        return {"cameras": list(self.cameras), "workspace_m": [list(axis) for axis in self.workspace_m]}

    @abstractmethod
    def policy(self, *, model_id: str) -> Policy:
        """Returns the policy that acts with these weights, known as `model_id`."""

    def visualisations(self, batch: Batch) -> dict[str, np.ndarray]:
        """Returns predictions drawn as uint8 (H, W, 3), by name; none by default."""
        del batch
        return {}

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Returns all parameters by the name under which a stage may freeze them; by default, one group per child."""
        groups = {name: list(child.parameters()) for name, child in self.named_children()}
        return {name: parameters for name, parameters in groups.items() if parameters}

    def settings_of(self, group: str) -> Sequence[str]:
        """Returns the fields of `policy_config` that affect only this parameter group; by default that of its name."""
        return (group,)

    def frozen_features(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the output of the frozen parts for each keyframe, (B, T, ...) by name; none by default.

        They are computed once per episode and augmentation copy, without dropout and gradients, and returned to the
        learner as `frozen.<name>`. Only stages with `cache_features` call this.
        """
        del batch
        return {}


def set_modes(learner: Learner) -> None:
    """Puts a learner into training mode, and its frozen parts into evaluation mode, without dropout and adaptation."""
    learner.train()
    for part in learner.modules():
        own = list(part.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            part.eval()
