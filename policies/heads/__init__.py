"""Heads: from features to where, and how, the hand goes."""
