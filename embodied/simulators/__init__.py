"""Simulators: worlds that advance, and their rendering."""
