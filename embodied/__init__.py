"""The body: worlds, tasks, memory, plans and rollouts."""
