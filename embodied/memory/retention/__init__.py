"""What a bank may forget, and how it compacts the rest."""
