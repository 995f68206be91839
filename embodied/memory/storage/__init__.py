"""The log on disk: SQLite tables, snapshots, integrity checks and tombstones."""
