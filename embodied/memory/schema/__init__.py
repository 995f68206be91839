"""What an event can say, what a query can ask, and how both are checked, encoded and formatted."""
