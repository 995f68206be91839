"""A SAM2Act so small that tests are quick, and what it is shown: random depth before a random wall of colours."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from embodied.geometry import intrinsics_matrix, look_at, matrix_from_pose
from embodied.types import CameraImage, Observation, Request
from policies.sam2act import (
    BranchConfig,
    EncoderChoice,
    LanguageChoice,
    MemoryChoice,
    MemoryKind,
    RegionCropConfig,
    Sam2ActConfig,
    TransformerConfig,
)
from policies.sam2act.network import Sam2Act
from policies.sam2act.policy import Sam2ActPlusPolicy, Sam2ActPolicy
from policies.training.learner import Batch

CAMERAS = ("front", "wrist")
PIXELS = 24
EYES_M = ((1.3, 0.1, 1.6), (0.3, 0.5, 1.5), (0.3, -0.5, 1.5), (0.3, 0.1, 1.2))
INSTRUCTION = "put the block back"


def small_config(kind: MemoryKind = MemoryKind.window) -> Sam2ActConfig:
    return Sam2ActConfig(
        cameras=[*CAMERAS],
        encoder=EncoderChoice(widths=[8, 8, 8]),
        language=LanguageChoice(dim=8, words=6, buckets=32),
        branch=BranchConfig(
            size=32, grid=4, features=12, body=4, up_hidden=[8, 8, 8],
            transformer=TransformerConfig(width=16, heads=2, alone=1, joint=1),
        ),
        glimpse=RegionCropConfig(window=24),
        hand_hidden=16,
        memory=MemoryChoice(kind=kind, capacity=4, layers=1, heads=1, hidden=16, first=2, horizon=6),
        slot_dim=8,
    )  # fmt: skip


def small_network(kind: MemoryKind = MemoryKind.window, *, seed: int = 0) -> Sam2Act:
    torch.manual_seed(seed)
    network = Sam2Act(small_config(kind))
    if network.memory is not None:
        for parameter in network.memory.parameters():  # So that what is remembered decides something.
            torch.nn.init.normal_(parameter, std=0.3)
    return network.eval()


def small_policy(kind: MemoryKind = MemoryKind.window, *, seed: int = 0) -> Sam2ActPolicy:
    chosen = Sam2ActPolicy if kind is MemoryKind.off else Sam2ActPlusPolicy
    return chosen(small_network(kind, seed=seed), model_id=f"small-{seed}")


def observation(seed: int, *, cameras: Sequence[str] = CAMERAS) -> Observation:
    random = np.random.default_rng(seed)
    images = {}
    for name, eye_m in zip(cameras, EYES_M, strict=False):
        depth_m = random.uniform(0.5, 1.4, (PIXELS, PIXELS)).astype(np.float32)
        depth_m[random.random((PIXELS, PIXELS)) < 0.1] = 0.0
        images[name] = CameraImage(
            rgb=random.integers(0, 256, (PIXELS, PIXELS, 3), dtype=np.uint8),
            depth_m=depth_m,
            instance=None,
            intrinsics=intrinsics_matrix(PIXELS, PIXELS, 0.9),
            world_from_camera=matrix_from_pose(look_at(eye_m, (0.2, 0.0, 1.0))),
        )
    tool = (*random.uniform((0.0, -0.3, 0.8), (0.5, 0.3, 1.2)), 1.0, 0.0, 0.0, 0.0)
    proprio = np.array([*random.uniform(-1, 1, 7), *tool, 1.0], dtype=np.float32)
    return Observation("panda", images, proprio, gripper=float(seed % 2), time_s=None)


def request(seed: int, *, step: int = 0, **more: object) -> Request:
    return Request(observation(seed), INSTRUCTION, step=step, seed=0, **more)  # type: ignore[arg-type]


def batch_of(sequences: list[list[Observation]], tokens: Tensor, *, cameras: Sequence[str] = CAMERAS) -> Batch:
    """Returns the sequences, all of one length, as a learner is shown them; intents are random."""
    random = np.random.default_rng(99)
    shape = (len(sequences), len(sequences[0]))
    flat = [seen for sequence in sequences for seen in sequence]

    def stacked(values: list[object], dtype: type) -> Tensor:
        array = np.array(values, dtype)
        return torch.from_numpy(array.reshape(*shape, *array.shape[1:]))

    def images(part: str, dtype: type) -> Tensor:
        return stacked([[getattr(seen.images[name], part) for name in cameras] for seen in flat], dtype)

    turns = random.normal(size=(len(flat), 4))
    return {
        "rgb": images("rgb", np.uint8),
        **{name: images(name, np.float32) for name in ("depth_m", "intrinsics", "world_from_camera")},
        "tool_position_m": stacked([seen.proprio[7:10] for seen in flat], np.float32),
        "tool_orientation": stacked([seen.proprio[10:14] for seen in flat], np.float32),
        "gripper": stacked([seen.gripper for seen in flat], np.float32),
        "time": torch.arange(shape[1]).expand(shape).clone(),
        "intent_position_m": stacked([*random.uniform((0.0, -0.3, 0.8), (0.4, 0.3, 1.2), (len(flat), 3))], np.float32),
        "intent_orientation": stacked([*(turns / np.linalg.norm(turns, axis=1, keepdims=True))], np.float32),
        "intent_gripper_open": stacked([*(random.random(len(flat)) < 0.5)], np.bool_),
        "intent_avoid_collisions": stacked([*(random.random(len(flat)) < 0.5)], np.bool_),
        "valid": torch.ones(shape, dtype=torch.bool),
        "first": (torch.arange(shape[1]) == 0).expand(shape).clone(),
        "words": tokens.expand(shape[0], -1).clone(),
        "episode": torch.arange(shape[0]),
    }
