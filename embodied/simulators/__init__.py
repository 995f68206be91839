"""Worlds that advance, and the pixels they show."""
