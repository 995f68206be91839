"""The doors: commands that a user runs."""
