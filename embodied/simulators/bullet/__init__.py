"""PyBullet: the default world."""

from embodied.simulators.bullet.simulator import BulletConfig, BulletSimulator

__all__ = ["BulletConfig", "BulletSimulator"]
