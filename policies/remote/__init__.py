"""A policy that runs elsewhere, behind a websocket: openpi's protocol, its dialects, and our own sessions."""
