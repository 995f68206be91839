"""PyBullet: the default world."""
