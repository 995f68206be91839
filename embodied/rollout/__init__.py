"""One episode loop, run in this process or by many Ray workers."""
