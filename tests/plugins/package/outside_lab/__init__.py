"""Parts from outside: what a package may add to embodied-memory without a change to it."""
