"""Recordings of an episode: trajectories and videos."""
