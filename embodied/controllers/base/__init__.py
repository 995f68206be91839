"""Motions of a base: driving at a velocity, following a path, and going to a place."""
