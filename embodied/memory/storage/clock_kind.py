"""Whether a bank has simulated time or that of the world: chosen by its first owner, and kept in its file."""

from embodied.errors import MemoryBankError
from embodied.memory.storage.clock import SimulatedClock, SiteClock, WallClock
from embodied.memory.storage.tables import DATABASE_ERRORS, Tables, translated


def clock_of(tables: Tables, given: SiteClock | None) -> SiteClock:
    """Returns the clock for the bank of `tables`: the one that is given, or without one a clock of the bank's kind.

    A bank without events takes over the kind of its clock; one of an older version may have none, and gets a wall
    clock. Raises `MemoryBankError` for a wall clock on simulated time, whose events would all lie far in the past.
    """
    found = tables.select_one("SELECT simulated FROM clock")
    if found is None:
        clock = WallClock() if given is None else given
        if tables.select_one("SELECT 1 FROM event LIMIT 1") is None:
            _note(tables, simulated=clock.simulated)
        return clock
    if given is None:
        return SimulatedClock() if found[0] else WallClock()
    if found[0] and not given.simulated:
        raise MemoryBankError(
            "A bank of simulated time must be opened with a simulated clock.",
            value="a wall clock",
            remedy="Give clock=SimulatedClock(), or none; it goes on where the last owner stopped.",
        )
    return given


def _note(tables: Tables, *, simulated: bool) -> None:
    with tables.lock:
        try:
            tables.begin()
            tables.write("INSERT INTO clock SELECT ? WHERE NOT EXISTS (SELECT * FROM clock)", simulated)
            tables.commit()
            tables.file.note_commit()
        except DATABASE_ERRORS as error:
            tables.roll_back()
            raise translated(error) from error
