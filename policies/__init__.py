"""Policies: everything that decides what a robot does, how it is trained, and how it is shipped."""
