"""Simulators that live in another Python environment, and are reached over a socket and shared memory."""

from embodied.simulators.remote.connection import RemoteWorker

__all__ = ["RemoteWorker"]
