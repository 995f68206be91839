"""PyBullet: the default simulator."""

from embodied.simulators.bullet.simulator import BulletConfig, BulletSimulator

__all__ = ["BulletConfig", "BulletSimulator"]
