"""Lists what was laid aside in a robot's outbox, and sends one parcel of it again."""

from collections.abc import Iterator
from pathlib import Path

from embodied.memory import BankClient, BankService, LaidAside, Outbox, describe, open_bank, read_laid_aside

MOST_EVENTS = 3


def laid_aside(path: Path, *, again: int | None, bank: str, root: Path | None) -> Iterator[str]:
    """Yields what the outbox at `path` has laid aside, or what became of the parcel `again`.

    That parcel goes into the bank at the URL `bank`, confined by `root`, where one is given; otherwise it waits for the
    next client of the outbox. Raises as `Outbox.send_again` and `open_bank`, and `MemoryBankError` where the bank
    refuses it again.
    """
    if again is None:
        found = read_laid_aside(path)
        yield (
            f"{len(found)} parcels are laid aside in {path.name}."
            if found
            else f"{path.name}: no parcel is laid aside."
        )
        for one in found:
            yield from _lines(one)
        if found:
            yield f"To send one again: python -m launch.memory refused url=sqlite:///{path} again=NUMBER [bank=URL]"
        return
    if not bank:
        outbox = Outbox(path)
        try:
            parcel = outbox.send_again(again)
        finally:
            outbox.close()
        yield f"Parcel {again} waits as parcel {parcel.number}: the next client of {path.name} sends it."
        return
    with (
        BankService(open_bank(bank, root=root)) as service,
        BankClient(service, Outbox(path), writer="launch.memory") as client,
    ):
        numbers = client.send_again(again)
    yield f"The bank has the {len(numbers)} events of parcel {again}, as {', '.join(map(str, numbers[:10]))}."


def _lines(one: LaidAside) -> Iterator[str]:
    writers = ", ".join(sorted({event.writer for event in one.events}))
    yield (
        f"parcel {one.number}: {len(one.events)} events of {writers}" if one.events else f"parcel {one.number}: damaged"
    )
    yield f"    {one.reason}"
    for event in one.events[:MOST_EVENTS]:
        yield f"    {event.valid_time_s:.2f} s  {event.kind}  {describe(event)}"
    if len(one.events) > MOST_EVENTS:
        yield f"    and {len(one.events) - MOST_EVENTS} more"
