"""Perception for the bank: depth images with poses and instance masks become sightings and absences of objects."""

from embodied.memory.perception.absence import Absence, visible_fraction
from embodied.memory.perception.boxes import UprightBox
from embodied.memory.perception.colours import NAMED_RGB, Colour
from embodied.memory.perception.objects import (
    InstanceTable,
    Labeller,
    MaskLabel,
    PerceptionConfig,
    SeenObject,
    perceive,
)
from embodied.memory.perception.watch import PerceptionResult, Watch, events_of

__all__ = [
    "NAMED_RGB",
    "Absence",
    "Colour",
    "InstanceTable",
    "Labeller",
    "MaskLabel",
    "PerceptionConfig",
    "PerceptionResult",
    "SeenObject",
    "UprightBox",
    "Watch",
    "events_of",
    "perceive",
    "visible_fraction",
]
