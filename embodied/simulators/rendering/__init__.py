"""Rendering of scenes, separate from physics."""
