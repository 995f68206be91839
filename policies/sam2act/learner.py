"""How SAM2Act is trained: sequences of keyframes, the demonstrated waypoints written to memory, one sum of losses."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from embodied.errors import ConfigError
from embodied.robots.catalogue import robot_model
from embodied.robots.commands import proprio_layout
from embodied.scenes.tabletop import WORKSPACE_M
from policies.heads.heatmap import heatmap_loss
from policies.sam2act.config import Sam2ActConfig
from policies.sam2act.drawing import drawn_heat_maps
from policies.sam2act.keyframes import Around, Keyframes, spread
from policies.sam2act.measures import entropy, near, needs_memory, off_m
from policies.sam2act.network import Sam2Act
from policies.sam2act.policy import Sam2ActPlusPolicy, Sam2ActPolicy
from policies.sam2act.views import most_likely_point, pixels
from policies.training.learner import ACTION_SPACE, Batch, DatasetFeatures, Learner

Metrics = dict[str, Tensor]
BEFORE_MEMORY = ("encoder", "language", "coarse")
SETTINGS = {"moment": ("moment", "slot_dim"), "hand": ("hand_hidden", "glimpse")}


class Sam2ActLearner(Learner):
    """Trains both branches on all keyframes at once; only memory goes through each sequence in its order.

    Memory is written with the waypoints that were demonstrated, as in evaluation with those that were chosen. So what
    is stored does not depend on what was read, and a whole sequence is encoded in one batch.
    """

    workspace_m = WORKSPACE_M
    learning_settings = ("easy_share", "fine_shift_m", "heat_sigma_px")

    def __init__(self, config: Sam2ActConfig) -> None:
        super().__init__()
        self.policy_config = config
        self.cameras = config.cameras
        self.network = Sam2Act(config)

    def check(self, data: DatasetFeatures) -> None:
        """Raises `ConfigError` unless the demonstrations show the cameras, the robot and the workspace."""
        missing = [name for name in self.cameras if name not in data.image_px]
        if missing:
            raise ConfigError(
                "Demonstrations must show every camera of the policy.",
                value=missing,
                remedy=f"Recorded are {', '.join(data.image_px)}: collect again, or set policy.cameras.",
            )
        layout = proprio_layout(robot_model(self.policy_config.robot))
        if data.proprio_names != layout:
            raise ConfigError(
                f"The robot of the demonstrations must tell what a {self.policy_config.robot} does.",
                value=(data.robot, data.proprio_names),
                remedy="Set policy.robot to the model that was recorded.",
            )
        sizes = {data.image_px[name] for name in self.cameras}
        if len(sizes) > 1:
            raise ConfigError("All cameras of a policy must have one size.", value=sorted(sizes))
        if data.action_form != ACTION_SPACE:
            raise ConfigError("SAM2Act learns keyframes.", value=data.action_form, remedy=f"Record {ACTION_SPACE!r}.")
        low, high = np.transpose(WORKSPACE_M)
        if (np.less(data.intent_low_m, low) | np.greater(data.intent_high_m, high)).any():
            raise ConfigError(
                "All keyframes must lie in the workspace.", value=(data.intent_low_m, data.intent_high_m),
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
        """Returns the parts that a stage may freeze: the network's, and of the coarse branch `upsampling` by itself.

        What a glimpse is read with belongs to the hand.
        """
        groups = {name: list(part.parameters()) for name, part in self.network.named_children()}
        groups["hand"] += groups.pop("glimpse", [])
        coarse = self.network.coarse
        up = [value for part in (coarse.up, coarse.normed, coarse.heat) for value in part.parameters()]
        others = {id(value) for value in up}
        return {**groups, "coarse": [value for value in groups["coarse"] if id(value) not in others], "upsampling": up}

    def settings_of(self, group: str) -> Sequence[str]:
        """Returns the settings that make this parameter group and no other."""
        return SETTINGS.get(group, (group,))

    def frozen_features(self, batch: Batch) -> dict[str, Tensor]:
        """Returns what memory is asked with and what becomes of the answer, of every keyframe: see `Around`.

        Raises `ConfigError` where the parts before memory learn.
        """
        learning = [name for name in BEFORE_MEMORY if self._learns(name)]
        if learning:
            raise ConfigError(
                "Features can be cached of what does not learn.",
                value=f"{', '.join(learning)} learn",
                remedy=f"Set stage.frozen to {', '.join(BEFORE_MEMORY)} at least, or stage.cache_features=false.",
            )
        seen, config = Keyframes.of(batch), self.policy_config
        look = self.network.look_around(seen.sight)
        scores = self.network.coarse.heat_map(look.tokens, look.sides)
        needed = needs_memory(scores, config.cube.normalised(seen.position_m), config)
        return Around.of(look)._replace(needed=needed).features(batch["valid"])

    def forward(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """Returns the sum of all losses, each a mean over the valid keyframes, and what they are.

        In training, the close look is left out where nothing of it learns.
        """
        config, seen = self.policy_config, Keyframes.of(batch)
        aim = config.cube.normalised(seen.position_m)
        around = Around.cached(seen) or Around.of(self.network.look_around(seen.sight))
        tokens, attention = self._remember(batch, around.tokens, aim)
        chosen = self._learnt_from(around)
        scores = self.network.coarse.heat_map(tokens[chosen], around.sides_of(chosen))
        losses = {"coarse": self._heat_loss(scores, aim[chosen]).sum() / len(aim)}
        metrics: Metrics = {} if attention is None else {"attention_entropy": attention}
        if not self.training:
            metrics |= self._coarse_errors(around, scores, aim)
        if not self.training or self._learns("fine") or self._learns("hand"):
            close_losses, errors = self._look_closely(seen)
            losses, metrics = losses | close_losses, metrics | errors
        metrics |= {f"loss/{name}": loss.detach() for name, loss in losses.items()}
        return torch.stack([*losses.values()]).sum(), metrics

    def visualisations(self, batch: Batch) -> dict[str, np.ndarray]:
        """Returns what the first sequence shows, a row per keyframe, and where both branches would go."""
        first = {name: value[:1] for name, value in batch.items()}
        network, seen = self.network, Keyframes.of(first)
        around = network.look_around(seen.sight)
        tokens, _ = self._remember(first, around.tokens, self.policy_config.cube.normalised(seen.position_m))
        close = network.look_closely(seen.sight, seen.position_m)
        drawn = {
            "whole table": (around, network.coarse.heat_map(tokens, around.sides)),
            "close look": (close, network.fine.heat_map(close.tokens, close.sides)),
        }
        frames = range(len(seen.position_m))
        return {
            name: np.concatenate([drawn_heat_maps(look, scores, frame) for frame in frames])
            for name, (look, scores) in drawn.items()
        }

    def _learns(self, part: str) -> bool:
        return any(value.requires_grad for value in self.parameter_groups()[part])

    def _learnt_from(self, around: Around) -> Tensor:
        """Returns the frames (frame,) that training looks at: all, or those that need memory and a few others."""
        frames = around.tokens.new_ones(len(around.tokens), dtype=torch.bool)
        if around.needed is None or not self.training:
            return frames
        drawn = torch.rand(len(frames), device=frames.device) < self.policy_config.easy_share
        picked = around.needed | drawn
        return picked if picked.any() else frames

    def _remember(self, batch: Batch, tokens: Tensor, aim: Tensor) -> tuple[Tensor, Tensor | None]:
        """Returns the coarse tokens of valid frames, enriched by memory, and the mean entropy of its attention."""
        memory = self.network.memory
        if memory is None:
            return tokens, None
        valid = batch["valid"]
        written = self.network.remembered(tokens, aim)
        query, written = (spread(flat, valid) for flat in (tokens.flatten(1, 2), written))
        fused, attention, _ = memory.unroll(query, written, batch["time"], batch["first"], valid)
        return fused[valid].view_as(tokens), entropy(attention[valid])

    def _coarse_errors(self, around: Around, scores: Tensor, aim: Tensor) -> Metrics:
        """Returns how far the coarse waypoints are off, and how many lie near, with memory and without."""
        off = off_m(scores, aim, self.policy_config)
        metrics = {"coarse_error_m": off.mean(), "coarse_within_5cm": near(off)}
        if self.network.memory is not None:
            alone = self.network.coarse.heat_map(around.tokens, tuple(side.flatten(0, 1) for side in around.sides))
            metrics["coarse_within_5cm_without_memory"] = near(off_m(alone, aim, self.policy_config))
        return metrics

    def _look_closely(self, seen: Keyframes) -> tuple[Metrics, Metrics]:
        """Returns the losses of the close look and the hand, and in evaluation how far the waypoint is off."""
        network, config = self.network, self.policy_config
        centre_m = seen.position_m + self._shift(seen.position_m)
        close = network.look_closely(seen.sight, centre_m)
        aim = (seen.position_m - centre_m) / config.fine_half_m
        scores = network.fine.heat_map(close.tokens, close.sides)
        losses = {"fine": self._heat_loss(scores, aim).mean(), **self._hand_losses(network.features(close, aim), seen)}
        if self.training:
            return losses, {}
        return losses, {"fine_error_m": (most_likely_point(scores) - aim).norm(dim=-1).mean() * config.fine_half_m}

    def _hand_losses(self, features: Tensor, seen: Keyframes) -> Metrics:
        logits = self.network.hand(features, rotation=seen.rotation)
        rotation = functional.cross_entropy(logits.rotation.flatten(0, 1), seen.rotation.flatten(), reduction="none")
        return {
            "rotation": rotation.view(-1, 3).sum(1).mean(),
            "gripper": functional.cross_entropy(logits.gripper, seen.gripper_open),
            "collisions": functional.cross_entropy(logits.collisions, seen.avoid_collisions),
        }

    def _heat_loss(self, scores: Tensor, point: Tensor) -> Tensor:
        """Returns the loss (frame,) of heat maps, a mean over the views."""
        at = pixels(point, scores.shape[-1])
        return heatmap_loss(scores, at, sigma_px=self.policy_config.heat_sigma_px).mean(-1)

    def _shift(self, position_m: Tensor) -> Tensor:
        """Returns how far the fine cube is off, drawn anew for every frame; half as much, fixed, in evaluation."""
        drawn = torch.rand_like(position_m) if self.training else torch.full_like(position_m, 0.75)
        return (2 * drawn - 1) * self.policy_config.fine_shift_m
