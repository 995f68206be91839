"""Perception for the bank: depth images with poses and instance masks become sightings and absences of objects."""

from embodied.memory.perception.absence import Absence, visible_fraction
from embodied.memory.perception.boxes import UprightBox
from embodied.memory.perception.colours import NAMED_RGB, Colour
from embodied.memory.perception.known import Known, Measured, standing
from embodied.memory.perception.looks import Change, ChangeKind, Look
from embodied.memory.perception.naming import ObjectNames
from embodied.memory.perception.objects import (
    InstanceTable,
    Labeller,
    MaskLabel,
    PerceptionConfig,
    SeenObject,
    perceive,
)
from embodied.memory.perception.supports import support_height_m, support_of
from embodied.memory.perception.tracker import SceneTracker
from embodied.memory.perception.watch import PerceptionResult, Watch, events_of

__all__ = [
    "NAMED_RGB",
    "Absence",
    "Change",
    "ChangeKind",
    "Colour",
    "InstanceTable",
    "Known",
    "Labeller",
    "Look",
    "MaskLabel",
    "Measured",
    "ObjectNames",
    "PerceptionConfig",
    "PerceptionResult",
    "SceneTracker",
    "SeenObject",
    "UprightBox",
    "Watch",
    "events_of",
    "perceive",
    "standing",
    "support_height_m",
    "support_of",
    "visible_fraction",
]
