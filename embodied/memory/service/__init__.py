"""The owner of a bank, its clients, and the links between them."""
