"""Encoders: from virtual views and instructions to features."""
