"""Tables derived from the log: space, time, robots, and the inverted index of names."""
