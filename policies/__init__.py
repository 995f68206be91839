"""The mind: everything that decides."""
