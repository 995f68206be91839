"""Perception for the bank: depth images with poses and masks become things, and changes of what is known of them."""

from embodied.memory.perception.boxes import UprightBox
from embodied.memory.perception.colours import NAMED_RGB, Colour
from embodied.memory.perception.known import Known, Measured
from embodied.memory.perception.looks import Change, ChangeKind, Look
from embodied.memory.perception.run_names import run_names
from embodied.memory.perception.supports import support_of
from embodied.memory.perception.tracker import SceneTracker

__all__ = [
    "NAMED_RGB",
    "Change",
    "ChangeKind",
    "Colour",
    "Known",
    "Look",
    "Measured",
    "SceneTracker",
    "UprightBox",
    "run_names",
    "support_of",
]
