"""Tests of questions about a lived day."""
