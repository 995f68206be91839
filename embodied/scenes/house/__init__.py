"""Procedural homes as data: rooms with doors, furniture that carries objects, and one robot with a camera."""

from embodied.scenes.house.config import HouseConfig
from embodied.scenes.house.furniture import RECEPTACLES
from embodied.scenes.house.generation import CAMERA, ROBOT, head_camera, make_house, with_image_size
from embodied.scenes.house.reach import Reach, distance_to_surface
from embodied.scenes.house.records import Door, House, HouseObject, Receptacle, Room, Surface

__all__ = [
    "CAMERA",
    "RECEPTACLES",
    "ROBOT",
    "Door",
    "House",
    "HouseConfig",
    "HouseObject",
    "Reach",
    "Receptacle",
    "Room",
    "Surface",
    "distance_to_surface",
    "head_camera",
    "make_house",
    "with_image_size",
]
