"""Leak probes: what a network can read from one instant about what it should have to remember."""
