"""The vocabulary of events and queries, and how both are checked, encoded and formatted."""
