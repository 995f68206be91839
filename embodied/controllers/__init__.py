"""The cerebellum: one intent into many commands."""
