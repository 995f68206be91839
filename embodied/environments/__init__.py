"""The worlds as other people's interfaces expect them."""
