"""Habitat-Sim as a simulator, in a process and environment of its own."""

from embodied.simulators.habitat.config import HabitatConfig

__all__ = ["HabitatConfig"]
