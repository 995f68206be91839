"""Whether a bank has simulated time or that of the world: chosen by its first owner, and kept in its file."""

from embodied.errors import MemoryBankError
from embodied.memory.storage.clock import SimulatedClock, SiteClock, StoppedClock, WallClock
from embodied.memory.storage.tables import DATABASE_ERRORS, Tables, translated


def clock_of(tables: Tables, given: SiteClock | None) -> SiteClock:
    """Returns the clock for the bank of `tables`: the one that is given, or without one a clock of the bank's kind.

    A bank without events takes over the kind of its clock; one of an older version may have none, and gets a wall
    clock. Raises `MemoryBankError` for a clock of the other kind: simulated hours would leave the clock of a deployment
    ahead for ever, and the time of the world would end that of a simulation.
    """
    if given is not None and not all(hasattr(given, name) for name in ("simulated", "ahead_s", "time_s", "resume")):
        raise MemoryBankError(
            "The clock of a bank must be a `WallClock` or a `SimulatedClock`.", value=given, remedy="Or give none."
        )
    found = tables.select_one("SELECT simulated FROM clock")
    if found is None:
        clock = WallClock() if given is None else given
        if not isinstance(clock, StoppedClock) and tables.select_one("SELECT 1 FROM event LIMIT 1") is None:
            _note(tables, simulated=clock.simulated)
        return clock
    if given is None:
        return SimulatedClock() if found[0] else WallClock()
    if not isinstance(given, StoppedClock) and bool(found[0]) != given.simulated:
        kind, clock = ("simulated time", "SimulatedClock") if found[0] else ("the time of the world", "WallClock")
        raise MemoryBankError(
            f"A bank of {kind} must be opened with a clock of that kind.",
            value=type(given).__name__,
            remedy=f"Give clock={clock}(), or none; use another bank for other times.",
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
