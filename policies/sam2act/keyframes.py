"""What a batch of demonstrations says about its valid keyframes, and what the coarse branch makes of them."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from torch import Tensor

from policies.heads.bins import RotationBins
from policies.sam2act.network import Look
from policies.sam2act.points import point_cloud
from policies.sam2act.sight import Body, Sight
from policies.training.learner import FROZEN, Batch

SIDE = "side"


@dataclass(frozen=True, eq=False)
class Keyframes:
    """The valid keyframes of a batch, one after another; `shown` is all that is told of them, by name."""

    shown: Batch
    words: Tensor
    position_m: Tensor
    rotation: Tensor
    gripper_open: Tensor
    avoid_collisions: Tensor

    @classmethod
    def of(cls, batch: Batch) -> "Keyframes":
        """Returns the valid keyframes of a batch, row by row."""
        valid = batch["valid"]
        words = batch["words"][:, None].expand(-1, valid.shape[1], -1)
        shown = {name: value[valid] for name, value in batch.items() if value.shape[:2] == valid.shape}
        return cls(
            shown=shown,
            words=words[valid],
            position_m=shown["intent_position_m"],
            rotation=RotationBins().encode(shown["intent_orientation"]),
            gripper_open=shown["intent_gripper_open"].long(),
            avoid_collisions=shown["intent_avoid_collisions"].long(),
        )

    @cached_property
    def sight(self) -> Sight:
        """What the policy is shown."""
        shown = self.shown
        cloud = point_cloud(shown["rgb"], shown["depth_m"], shown["intrinsics"], shown["world_from_camera"])
        body = Body(shown["tool_position_m"], shown["tool_orientation"], shown["gripper"], shown["time"])
        return Sight(cloud, self.words, body)


class Around(NamedTuple):
    """The coarse branch's tokens (frame, view, token, dim) and what its heat maps are made from besides.

    `sides` are (frame, view, channel, y, x) each; `needed` (frame,) tells which waypoints are not known without memory,
    None where nobody has asked.
    """

    tokens: Tensor
    sides: tuple[Tensor, ...]
    needed: Tensor | None

    @classmethod
    def of(cls, look: Look) -> "Around":
        """Returns what a look shows."""
        views = look.tokens.shape[:2]
        return cls(look.tokens, tuple(side.unflatten(0, views) for side in look.sides), None)

    @classmethod
    def cached(cls, frames: Keyframes) -> "Around | None":
        """Returns what was computed earlier, by `features`; None where nothing was."""
        kept = {name.removeprefix(FROZEN): value for name, value in frames.shown.items() if name.startswith(FROZEN)}
        if not kept:
            return None
        sides = sorted(name for name in kept if name.startswith(SIDE))
        return cls(kept["tokens"].float(), tuple(kept[name].float() for name in sides), kept["needed"])

    def features(self, valid: Tensor) -> dict[str, Tensor]:
        """Returns what is to be kept, (batch, time, ...) where `valid` (batch, time): numbers in half precision."""
        sides = {f"{SIDE}{place}": side.half() for place, side in enumerate(self.sides)}
        kept = {"tokens": self.tokens.half(), **sides} | ({} if self.needed is None else {"needed": self.needed})
        return {name: spread(flat, valid) for name, flat in kept.items()}

    def sides_of(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Returns the sides of some frames (frame,) as `Branch.heat_map` takes them."""
        return tuple(side[frames].flatten(0, 1) for side in self.sides)


def spread(flat: Tensor, valid: Tensor) -> Tensor:
    """Returns the values of valid frames (frame, ...) where they belong, (batch, time, ...), zero elsewhere."""
    whole = flat.new_zeros(*valid.shape, *flat.shape[1:])
    whole[valid] = flat
    return whole
