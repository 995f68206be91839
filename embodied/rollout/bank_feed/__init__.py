"""Episodes into the memory bank, and moments back to policies."""
