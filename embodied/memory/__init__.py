"""What outlives a moment: one bank for space, time and embodiment, and the perception that feeds it."""
