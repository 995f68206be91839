"""Pixels from scenes, apart from physics."""
