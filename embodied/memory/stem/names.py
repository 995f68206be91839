"""Names as small integers, so that a row costs bytes and not words."""

import sqlite3

SCHEMA = "CREATE TABLE IF NOT EXISTS name (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)"


class Names:
    """The two-way table of names. Ids count from 0, which is the empty name, in the order of first use."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        db.execute(SCHEMA)
        self.reload()

    def reload(self) -> None:
        """Reads the table again: after a rollback, what was interned since is gone."""
        rows = self._db.execute("SELECT id, text FROM name").fetchall()
        self._texts: dict[int, str] = {0: "", **dict(rows)}
        self._ids: dict[str, int] = {text: number for number, text in self._texts.items()}

    def intern(self, text: str) -> int:
        """Returns the id of a name, a new one at its first use; inside the caller's transaction."""
        number = self._ids.get(text)
        if number is None:
            number = max(self._texts) + 1 if len(self._texts) != len(self._ids) else len(self._texts)
            self._db.execute("INSERT INTO name (id, text) VALUES (?, ?)", (number, text))
            self._ids[text] = number
            self._texts[number] = text
        return number

    def find(self, text: str) -> int | None:
        """Returns the id of a name, or None where it was never used."""
        return self._ids.get(text)

    def text(self, number: int) -> str:
        """Returns the name of an id."""
        return self._texts[number]
