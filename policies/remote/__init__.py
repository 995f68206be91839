"""Policies in another process, behind a websocket: openpi's protocol, its dialects, and our own sessions."""
