"""SAM2Act and SAM2Act+: keyframes from RGB-D through virtual views, with and without memory."""

from policies.sam2act.choices import EncoderChoice, EncoderKind, LanguageChoice, LanguageKind, MemoryChoice, MemoryKind
from policies.sam2act.config import Sam2ActConfig
from policies.sam2act.settings import BranchConfig, RegionCropConfig, TransformerConfig

__all__ = [
    "BranchConfig",
    "EncoderChoice",
    "EncoderKind",
    "LanguageChoice",
    "LanguageKind",
    "MemoryChoice",
    "MemoryKind",
    "RegionCropConfig",
    "Sam2ActConfig",
    "TransformerConfig",
]
