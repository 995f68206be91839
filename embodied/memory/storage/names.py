"""Interns names as small integers, which keeps rows short."""

import sqlite3

from embodied.errors import DataError

SCHEMA = """
CREATE TABLE IF NOT EXISTS name (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
INSERT OR IGNORE INTO name VALUES (0, '');
"""


class Names:
    """The two-way table of names, kept in memory too. Ids count from 0, the empty name, in the order of first use."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._texts = [text for (text,) in db.execute("SELECT text FROM name ORDER BY id")]
        self._ids = {text: number for number, text in enumerate(self._texts)}

    def __len__(self) -> int:
        return len(self._texts)

    @property
    def texts(self) -> tuple[str, ...]:
        """All names, by id."""
        return tuple(self._texts)

    def intern(self, text: str) -> int:
        """Returns the id of a name, a new one at its first use; inside the caller's transaction."""
        number = self._ids.get(text)
        if number is None:
            number = len(self._texts)
            self._db.execute("INSERT INTO name VALUES (?, ?)", (number, text))
            self._texts.append(text)
            self._ids[text] = number
        return number

    def forget_after(self, count: int) -> None:
        """Drops all but the first `count` names from memory, after the transaction that added them was rolled back."""
        for text in self._texts[count:]:
            del self._ids[text]
        del self._texts[count:]

    def find(self, text: str) -> int | None:
        """Returns the id of a name, or None where it was never used."""
        return self._ids.get(text)

    def text(self, number: int) -> str:
        """Returns the name of an id; raises `DataError` for an id that no name has."""
        try:
            return self._texts[number]
        except (IndexError, TypeError):
            raise DataError(
                "Every id in the memory bank must have a name.", value=number, remedy="Verify the file."
            ) from None
