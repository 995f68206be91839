"""Retention: which events a bank may remove, and the compaction of the rest."""
