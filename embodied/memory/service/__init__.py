"""The owner of a bank, its clients, and the ways between them."""
