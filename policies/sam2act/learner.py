"""Training of SAM2Act: sequences of keyframes, demonstrated waypoints written to memory, one sum of losses."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from embodied.errors import ConfigError
from embodied.robots.catalogue import robot_model
from embodied.robots.commands import proprio_layout
from embodied.scenes.tabletop import WORKSPACE_M
from policies.sam2act.branch import CoarseFeatures
from policies.sam2act.geometry import most_likely_point
from policies.sam2act.inputs import Keyframes, scatter_valid
from policies.sam2act.losses import (
    action_losses,
    entropy,
    needs_memory,
    share_near,
    waypoint_error_m,
    waypoint_loss,
)
from policies.sam2act.network import Sam2Act
from policies.sam2act.policy import Sam2ActPlusPolicy, Sam2ActPolicy
from policies.sam2act.settings import Sam2ActSettings
from policies.sam2act.visualisation import drawn_heat_maps
from policies.training.learner import Batch, DatasetFeatures, Learner

Metrics = dict[str, Tensor]
BEFORE_MEMORY = ("encoder", "language", "coarse")
ACTION_HEAD = "hand"
"""The action head's name among the parameter groups, as recorded trainings and shipped weights have it."""
SETTINGS = {"moment": ("moment", "slot_dim"), ACTION_HEAD: ("hand_hidden", "glimpse")}


class Sam2ActLearner(Learner):
    """Trains both branches on all keyframes at once; only memory processes each sequence in order.

    Training writes the demonstrated waypoints to memory, evaluation the chosen ones. So the stored tokens do not depend
    on what was read, and a whole sequence is encoded in one batch.
    """

    workspace_m = WORKSPACE_M
    learning_settings = ("easy_share", "fine_shift_m", "heat_sigma_px")

    def __init__(self, config: Sam2ActSettings) -> None:
        super().__init__()
        self.policy_config = config
        self.cameras = config.cameras
        self.network = Sam2Act(config)

    def check(self, features: DatasetFeatures) -> None:
        """Raises `ConfigError` unless the demonstrations show the cameras, the robot and the workspace."""
        missing = [name for name in self.cameras if name not in features.image_px]
        if missing:
            raise ConfigError(
                "Demonstrations must show every camera of the policy.",
                value=missing,
                remedy=f"Recorded are {', '.join(features.image_px)}: collect again, or set policy.cameras.",
            )
        layout = proprio_layout(robot_model(self.policy_config.robot))
        if features.proprio_names != layout:
            raise ConfigError(
                f"The robot of the demonstrations must have the proprioception of a {self.policy_config.robot}.",
                value=(features.robot, features.proprio_names),
                remedy="Set policy.robot to the model that was recorded.",
            )
        sizes = {features.image_px[name] for name in self.cameras}
        if len(sizes) > 1:
            raise ConfigError("All cameras of a policy must have one size.", value=sorted(sizes))
        if features.action_spec != self.action_spec:
            raise ConfigError("SAM2Act learns keyframes.", value=features.action_spec.name)
        low, high = np.transpose(WORKSPACE_M)
        if (np.less(features.intent_low_m, low) | np.greater(features.intent_high_m, high)).any():
            raise ConfigError(
                "All keyframes must lie in the workspace.", value=(features.intent_low_m, features.intent_high_m),
                remedy=f"It is {WORKSPACE_M} in metres.",
            )  # fmt: skip

    def policy(self, *, model_id: str) -> Sam2ActPolicy:
        """Returns the policy that acts with these weights, known as `model_id`."""
        kind = Sam2ActPolicy if self.network.memory is None else Sam2ActPlusPolicy
        return kind(self.network, model_id=model_id)

    def tokenise(self, instruction: str) -> np.ndarray:
        """Returns the words of an instruction as int64 (word,)."""
        return self.network.language.tokenise(instruction)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Returns the groups that a stage may freeze: the network's children, and the coarse branch's `upsampling`.

        The encoder of the region-of-interest crop belongs to the action head.
        """
        groups = {name: list(part.parameters()) for name, part in self.network.named_children()}
        groups[ACTION_HEAD] += groups.pop("glimpse", [])
        coarse = self.network.coarse
        up = [value for part in (coarse.up, coarse.normed, coarse.heat) for value in part.parameters()]
        others = {id(value) for value in up}
        return {**groups, "coarse": [value for value in groups["coarse"] if id(value) not in others], "upsampling": up}

    def settings_of(self, group: str) -> Sequence[str]:
        """Returns the settings that affect this parameter group and no other."""
        return SETTINGS.get(group, (group,))

    def frozen_features(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the coarse branch's features of every keyframe, from which memory is trained: see `CoarseFeatures`.

        Raises `ConfigError` where a module before memory is trained too.
        """
        learning = [name for name in BEFORE_MEMORY if self._learns(name)]
        if learning:
            raise ConfigError(
                "Features can be cached only where the parts before memory are frozen.",
                value=f"{', '.join(learning)} not frozen",
                remedy=f"Set stage.frozen to {', '.join(BEFORE_MEMORY)} at least, or stage.cache_features=false.",
            )
        keyframes, config = Keyframes.of(batch), self.policy_config
        features = self.network.coarse_features(keyframes.inputs)
        scores = self.network.coarse.heat_map(features.tokens, features.skips)
        needed = needs_memory(scores, config.cube.normalised(keyframes.position_m), config)
        return CoarseFeatures.of(features)._replace(needed=needed).named(batch["valid"])

    def forward(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """Returns the sum of all losses, each a mean over the valid keyframes, and the losses by name.

        In training, the fine branch and the action head are left out where both are frozen.
        """
        config, keyframes = self.policy_config, Keyframes.of(batch)
        aim = config.cube.normalised(keyframes.position_m)
        features = CoarseFeatures.cached(keyframes.arrays)
        if features is None:
            features = CoarseFeatures.of(self.network.coarse_features(keyframes.inputs))
        tokens, attention = self._with_memory(batch, features.tokens, aim)
        chosen = self._trained_on(features)
        scores = self.network.coarse.heat_map(tokens[chosen], features.skips_of(chosen))
        losses = {"coarse": self._waypoint_loss(scores, aim[chosen]).sum() / len(aim)}
        metrics: Metrics = {} if attention is None else {"attention_entropy": attention}
        if not self.training:
            metrics |= self._coarse_errors(features, scores, aim)
        if not self.training or self._learns("fine") or self._learns(ACTION_HEAD):
            fine_losses, errors = self._fine_losses(keyframes)
            losses, metrics = losses | fine_losses, metrics | errors
        metrics |= {f"loss/{name}": loss.detach() for name, loss in losses.items()}
        return torch.stack([*losses.values()]).sum(), metrics

    def visualisations(self, batch: Batch) -> dict[str, np.ndarray]:
        """Returns the views of the first sequence, a row per keyframe, with the heat maps of both branches."""
        first = {name: value[:1] for name, value in batch.items()}
        network, keyframes = self.network, Keyframes.of(first)
        coarse = network.coarse_features(keyframes.inputs)
        aim = self.policy_config.cube.normalised(keyframes.position_m)
        tokens, _ = self._with_memory(first, coarse.tokens, aim)
        fine = network.fine_features(keyframes.inputs, keyframes.position_m)
        drawn = {
            "whole table": (coarse, network.coarse.heat_map(tokens, coarse.skips)),
            "close look": (fine, network.fine.heat_map(fine.tokens, fine.skips)),
        }
        frames = range(len(keyframes.position_m))
        return {
            name: np.concatenate([drawn_heat_maps(features.visualisations, scores, frame) for frame in frames])
            for name, (features, scores) in drawn.items()
        }

    def _learns(self, part: str) -> bool:
        return any(value.requires_grad for value in self.parameter_groups()[part])

    def _trained_on(self, features: CoarseFeatures) -> Tensor:
        """Returns the frames (frame,) that the loss counts: all, or those that need memory and a few others."""
        frames = features.tokens.new_ones(len(features.tokens), dtype=torch.bool)
        if features.needed is None or not self.training:
            return frames
        drawn = torch.rand(len(frames), device=frames.device) < self.policy_config.easy_share
        picked = features.needed | drawn
        return picked if picked.any() else frames

    def _with_memory(self, batch: Batch, tokens: Tensor, aim: Tensor) -> tuple[Tensor, Tensor | None]:
        """Returns the coarse tokens of valid frames, enriched by memory, and the mean entropy of its attention."""
        memory = self.network.memory
        if memory is None:
            return tokens, None
        valid = batch["valid"]
        written = self.network.memory_tokens(tokens, aim)
        query, written = (scatter_valid(flat, valid) for flat in (tokens.flatten(1, 2), written))
        fused, attention, _ = memory.unroll(query, written, batch["time"], batch["first"], valid)
        return fused[valid].view_as(tokens), entropy(attention[valid])

    def _coarse_errors(self, features: CoarseFeatures, scores: Tensor, aim: Tensor) -> Metrics:
        """Returns the errors of the coarse waypoints, and the share that lies near the aim, with memory and without."""
        error_m = waypoint_error_m(scores, aim, self.policy_config)
        metrics = {"coarse_error_m": error_m.mean(), "coarse_within_5cm": share_near(error_m)}
        if self.network.memory is not None:
            skips = tuple(skip.flatten(0, 1) for skip in features.skips)
            without = self.network.coarse.heat_map(features.tokens, skips)
            error_m = waypoint_error_m(without, aim, self.policy_config)
            metrics["coarse_within_5cm_without_memory"] = share_near(error_m)
        return metrics

    def _fine_losses(self, keyframes: Keyframes) -> tuple[Metrics, Metrics]:
        """Returns the losses of the fine branch and the action head, and in evaluation the error of the waypoint."""
        network, config = self.network, self.policy_config
        centre_m = keyframes.position_m + self._shift(keyframes.position_m)
        fine = network.fine_features(keyframes.inputs, centre_m)
        aim = (keyframes.position_m - centre_m) / config.fine_half_m
        scores = network.fine.heat_map(fine.tokens, fine.skips)
        logits = network.hand(network.action_features(fine, aim), rotation=keyframes.rotation)
        losses = {"fine": self._waypoint_loss(scores, aim).mean(), **action_losses(logits, keyframes)}
        if self.training:
            return losses, {}
        return losses, {"fine_error_m": (most_likely_point(scores) - aim).norm(dim=-1).mean() * config.fine_half_m}

    def _waypoint_loss(self, scores: Tensor, point: Tensor) -> Tensor:
        return waypoint_loss(scores, point, sigma_px=self.policy_config.heat_sigma_px)

    def _shift(self, position_m: Tensor) -> Tensor:
        """Returns the offset of the fine cube, drawn anew for every frame; in evaluation fixed and half as large."""
        drawn = torch.rand_like(position_m) if self.training else torch.full_like(position_m, 0.75)
        return (2 * drawn - 1) * self.policy_config.fine_shift_m
