"""Objects of homes: fifty categories of composed parts, with models that no two splits share."""

from embodied.scenes.objects.catalogue import (
    MODELS_PER_CATEGORY,
    SPLITS,
    ObjectModel,
    Split,
    object_body,
    object_model,
)
from embodied.scenes.objects.categories import CATEGORIES, Category

__all__ = [
    "CATEGORIES",
    "MODELS_PER_CATEGORY",
    "SPLITS",
    "Category",
    "ObjectModel",
    "Split",
    "object_body",
    "object_model",
]
