"""Descriptions of worlds, as data."""
