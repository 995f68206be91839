"""Tasks judge facts; they never hold a simulator."""
