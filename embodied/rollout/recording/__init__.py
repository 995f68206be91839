"""What is kept of an episode: trajectories and videos."""
