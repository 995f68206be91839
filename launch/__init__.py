"""The command lines: `python -m launch.NAME`."""
