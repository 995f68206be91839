"""SAM 2.1's image encoder, frozen but for low-rank corrections of its attention."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from policies.encoders.dependencies import training_extra
from policies.encoders.encoder import ImageEncoder
from policies.encoders.sizes import COLOURS, HieraShape
from policies.encoders.weights import load_weights, opened

SIDE_PX = 256
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
WIDTH = 256
CONVOLUTIONS = {"conv_s0": WIDTH // 8, "conv_s1": WIDTH // 4}  # SAM 2's own names and widths.


class HieraEncoder(ImageEncoder):
    """Sees the colours alone, resized to 256 px, as SAM 2 does: maps of 64, 32 and 16 pixels, whatever the input.

    Queries and values of every block of the trunk learn corrections of rank `rank` (LoRA, arXiv 2106.09685); so do the
    two 1 x 1 convolutions that narrow the finer maps, which SAM2Act left random and frozen. All else is as it came.
    Source: SAM 2, arXiv 2408.00714, through `transformers.Sam2VisionModel`.
    """

    channels = (*CONVOLUTIONS.values(), WIDTH)
    strides = (4, 8, 16)  # Of the resized image.
    _mean: Tensor
    _std: Tensor

    def __init__(self, shape: HieraShape, *, rank: int = 16, weights: str = "") -> None:
        super().__init__()
        self._vision = vision_model(shape)
        self._narrow = nn.ModuleDict({name: nn.Conv2d(WIDTH, width, 1) for name, width in CONVOLUTIONS.items()})
        if weights:
            self._load(Path(weights))
        _correct(self._vision, rank)
        self.register_buffer("_mean", torch.tensor(IMAGENET_MEAN)[:, None, None], persistent=False)
        self.register_buffer("_std", torch.tensor(IMAGENET_STD)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Returns maps (image, 32, 64, 64), (image, 64, 32, 32) and (image, 256, 16, 16)."""
        resized = functional.interpolate(images[:, COLOURS], size=(SIDE_PX, SIDE_PX), mode="bilinear")
        fine, middle, coarse = self._vision(pixel_values=(resized - self._mean) / self._std).fpn_hidden_states
        return self._narrow["conv_s0"](fine), self._narrow["conv_s1"](middle), coarse

    def sides(self, size: int) -> tuple[int, ...]:  # noqa: ARG002  # Every image is resized.
        """Returns 64, 32 and 16."""
        return tuple(SIDE_PX // stride for stride in self.strides)

    def _load(self, path: Path) -> None:
        load_weights(self._vision, path, prefixes=("vision_encoder.", ""))
        with opened(path) as file:
            has_convolutions = "mask_decoder.conv_s0.weight" in file.keys()  # noqa: SIM118  # It is no mapping.
        if has_convolutions:
            load_weights(self._narrow, path, prefixes=("mask_decoder.",))


class _Projection(nn.Module):
    """The fused projection of an attention, in its three parts, so that queries and values can be corrected alone.

    Where a stage begins, it widens from `dim` to `dim_out`; each part is corrected in all of its `dim_out` rows.
    """

    def __init__(self, fused: nn.Linear) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(fused.in_features, fused.out_features // 3) for _ in range(3))
        weights, biases = fused.weight.detach().chunk(3), fused.bias.detach().chunk(3)
        for part, weight, bias in zip((self.query, self.key, self.value), weights, biases, strict=True):
            part.weight, part.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())

    def forward(self, hidden: Tensor) -> Tensor:
        return torch.cat([self.query(hidden), self.key(hidden), self.value(hidden)], -1)


def vision_model(shape: HieraShape) -> Any:
    """Returns the network of this shape, as transformers makes it, with random weights."""
    with training_extra():
        from transformers import Sam2HieraDetConfig, Sam2VisionConfig, Sam2VisionModel
    widths = [shape.width * 2**stage for stage in range(4)]
    backbone = Sam2HieraDetConfig(
        hidden_size=shape.width,
        num_attention_heads=shape.heads,
        blocks_per_stage=list(shape.blocks),
        embed_dim_per_stage=widths,
        num_attention_heads_per_stage=[shape.heads * 2**stage for stage in range(4)],
        global_attention_blocks=list(shape.global_blocks),
        window_positional_embedding_background_size=[shape.background] * 2,
    )
    return Sam2VisionModel(Sam2VisionConfig(backbone_config=backbone, backbone_channel_list=widths[::-1]))


def _correct(vision: Any, rank: int) -> None:
    """Freezes the network and puts corrections beside queries and values, which begin as zero."""
    with training_extra():
        from peft import LoraConfig, inject_adapter_in_model
    vision.requires_grad_(False)
    for block in vision.backbone.blocks:
        block.attn.qkv = _Projection(block.attn.qkv)
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=["query", "value"]), vision.backbone)
