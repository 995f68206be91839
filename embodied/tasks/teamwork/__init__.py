"""Tasks that several robots solve together."""
