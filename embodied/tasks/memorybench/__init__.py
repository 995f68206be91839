"""Three manipulation tasks that need memory, in a faithful and a strict tier."""
