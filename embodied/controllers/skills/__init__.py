"""Skills: compositions of moves and drives, with reasons where they fail."""
