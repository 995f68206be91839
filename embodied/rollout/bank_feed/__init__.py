"""Logs episodes in the memory bank, and gives moments back to policies."""
