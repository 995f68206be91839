"""The queries of the bank, at its newest state or as of an earlier log position."""
