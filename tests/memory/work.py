"""Counts the work of a call to a bank: SQLite's instructions and decoded events, never times."""

from embodied.memory.storage import log, row_codec

EVERY = 10  # Instructions of SQLite's virtual machine between two calls of the counter.


def work_of(monkeypatch, bank, call):
    """Returns how many instructions SQLite ran for `call`, in tens, and how many events were decoded."""
    counts = [0, 0]

    def count():
        counts[0] += 1

    def decoded(values, text, read=row_codec.event_from_row):
        counts[1] += 1
        return read(values, text)

    db = bank._log.tables.db
    with monkeypatch.context() as patch:
        patch.setattr(log.row_codec, "event_from_row", decoded)
        db.set_progress_handler(count, EVERY)
        try:
            call()
        finally:
            db.set_progress_handler(None, 0)
    return counts[0], counts[1]
