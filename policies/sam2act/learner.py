"""How SAM2Act is trained: sequences of keyframes, the demonstrated waypoints written to memory, one sum of losses."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from embodied.errors import ConfigError
from embodied.robots.catalogue import robot_model
from embodied.scenes.tabletop import WORKSPACE_M
from embodied.specs import proprio_layout
from policies.heads.bins import RotationBins
from policies.heads.heatmap import heatmap_loss
from policies.sam2act.config import Sam2ActConfig
from policies.sam2act.drawing import drawn_heat_maps
from policies.sam2act.network import Look, Sam2Act
from policies.sam2act.points import point_cloud
from policies.sam2act.policy import Sam2ActPlusPolicy, Sam2ActPolicy
from policies.sam2act.sight import Body, Sight
from policies.sam2act.views import most_likely_point, pixels
from policies.training.learner import ACTION_FORM, Batch, DataFacts, Learner

Metrics = dict[str, Tensor]


class Sam2ActLearner(Learner):
    """Trains both branches on all keyframes at once; only memory goes through each sequence in its order.

    Memory is written with the waypoints that were demonstrated, as in evaluation with those that were chosen. So what
    is stored does not depend on what was read, and a whole sequence is encoded in one batch.
    """

    workspace_m = WORKSPACE_M

    def __init__(self, config: Sam2ActConfig) -> None:
        super().__init__()
        self.policy_config = config
        self.cameras = config.cameras
        self.network = Sam2Act(config)

    def check(self, data: DataFacts) -> None:
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
        if data.action_form != ACTION_FORM:
            raise ConfigError("SAM2Act learns keyframes.", value=data.action_form, remedy=f"Record {ACTION_FORM!r}.")
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

    def forward(self, batch: Batch) -> tuple[Tensor, Metrics]:
        """Returns the sum of all losses, each a mean over the valid keyframes, and what they are."""
        network, config = self.network, self.policy_config
        seen = _Frames.of(batch)
        aim = config.cube.normalised(seen.position_m)
        around = network.look_around(seen.sight)
        tokens, attention = self._remember(batch, around, aim)
        scores = network.coarse.heat_map(tokens, around.maps)
        centre_m = seen.position_m + self._shift(seen.position_m)
        close = network.look_closely(seen.sight, centre_m)
        near = (seen.position_m - centre_m) / config.fine_half_m
        fine_scores = network.fine.heat_map(close.tokens, close.maps)
        losses = {
            "coarse": self._heat_loss(scores, aim),
            "fine": self._heat_loss(fine_scores, near),
            **self._hand_losses(network.features(close, near), seen),
        }
        metrics = {f"loss/{name}": loss.detach() for name, loss in losses.items()}
        if attention is not None:
            metrics["attention_entropy"] = attention
        if not self.training:
            metrics |= _errors(config, seen, scores, fine_scores, centre_m)
        return torch.stack([*losses.values()]).sum(), metrics

    def pictures(self, batch: Batch) -> dict[str, np.ndarray]:
        """Returns what the first sequence shows, a row per keyframe, and where both branches would go."""
        first = {name: value[:1] for name, value in batch.items()}
        network, seen = self.network, _Frames.of(first)
        around = network.look_around(seen.sight)
        tokens, _ = self._remember(first, around, self.policy_config.cube.normalised(seen.position_m))
        close = network.look_closely(seen.sight, seen.position_m)
        drawn = {
            "whole table": (around, network.coarse.heat_map(tokens, around.maps)),
            "close look": (close, network.fine.heat_map(close.tokens, close.maps)),
        }
        frames = range(len(seen.position_m))
        return {
            name: np.concatenate([drawn_heat_maps(look, scores, frame) for frame in frames])
            for name, (look, scores) in drawn.items()
        }

    def _remember(self, batch: Batch, around: Look, aim: Tensor) -> tuple[Tensor, Tensor | None]:
        """Returns the coarse tokens of valid frames, enriched by memory, and the mean entropy of its attention."""
        memory = self.network.memory
        if memory is None:
            return around.tokens, None
        valid = batch["valid"]
        written = self.network.remembered(around, aim)
        query, written = (_spread(flat, valid) for flat in (around.tokens.flatten(1, 2), written))
        fused, attention, _ = memory.unroll(query, written, batch["time"], batch["first"], valid)
        return fused[valid].view_as(around.tokens), _entropy(attention[valid])

    def _hand_losses(self, features: Tensor, seen: "_Frames") -> Metrics:
        logits = self.network.hand(features, rotation=seen.rotation)
        rotation = functional.cross_entropy(logits.rotation.flatten(0, 1), seen.rotation.flatten(), reduction="none")
        return {
            "rotation": rotation.view(-1, 3).sum(1).mean(),
            "gripper": functional.cross_entropy(logits.gripper, seen.gripper_open),
            "collisions": functional.cross_entropy(logits.collisions, seen.avoid_collisions),
        }

    def _heat_loss(self, scores: Tensor, point: Tensor) -> Tensor:
        at = pixels(point, scores.shape[-1])
        return heatmap_loss(scores, at, sigma_px=self.policy_config.heat_sigma_px).mean()

    def _shift(self, position_m: Tensor) -> Tensor:
        """Returns how far the fine cube is off, drawn anew for every frame; half as much, fixed, in evaluation."""
        drawn = torch.rand_like(position_m) if self.training else torch.full_like(position_m, 0.75)
        return (2 * drawn - 1) * self.policy_config.fine_shift_m


class _Frames(NamedTuple):
    """The valid keyframes of a batch, one after another."""

    sight: Sight
    position_m: Tensor
    rotation: Tensor
    gripper_open: Tensor
    avoid_collisions: Tensor

    @classmethod
    def of(cls, batch: Batch) -> "_Frames":
        valid = batch["valid"]
        words = batch["words"][:, None].expand(-1, valid.shape[1], -1)
        seen = {name: value[valid] for name, value in batch.items() if value.shape[:2] == valid.shape}
        cloud = point_cloud(seen["rgb"], seen["depth_m"], seen["intrinsics"], seen["world_from_camera"])
        body = Body(seen["tool_position_m"], seen["tool_orientation"], seen["gripper"], seen["time"])
        return cls(
            sight=Sight(cloud, words[valid], body),
            position_m=seen["intent_position_m"],
            rotation=RotationBins().encode(seen["intent_orientation"]),
            gripper_open=seen["intent_gripper_open"].long(),
            avoid_collisions=seen["intent_avoid_collisions"].long(),
        )


def _spread(frames: Tensor, valid: Tensor) -> Tensor:
    """Returns the values of valid frames (frame, ...) where they belong, (batch, time, ...), zero elsewhere."""
    whole = frames.new_zeros(*valid.shape, *frames.shape[1:])
    whole[valid] = frames
    return whole


def _entropy(attention: Tensor) -> Tensor:
    """Returns the mean entropy, in nats, of attention (frame, moment) over frames that remember something."""
    remembering = attention.sum(-1) > 0.5
    entropy = -(attention * attention.clamp_min(1e-12).log()).sum(-1)
    return (entropy * remembering).sum().detach() / remembering.sum().clamp_min(1)


def _errors(config: Sam2ActConfig, seen: _Frames, scores: Tensor, fine_scores: Tensor, centre_m: Tensor) -> Metrics:
    """Returns how far the waypoints of both branches are off, and how many coarse ones lie within 5 cm."""
    coarse_m = config.cube.metres(most_likely_point(scores))
    fine_m = centre_m + most_likely_point(fine_scores) * config.fine_half_m
    off_m, fine_off_m = ((seen.position_m - found).norm(dim=-1) for found in (coarse_m, fine_m))
    return {
        "coarse_error_m": off_m.mean(),
        "coarse_within_5cm": (off_m < 0.05).float().mean(),
        "fine_error_m": fine_off_m.mean(),
    }
