"""Lists what was laid aside in a robot's outbox, and sends one parcel of it again."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from embodied.memory import BankClient, BankService, LaidAside, Outbox, describe, open_bank, read_laid_aside
from launch.memory_json import event_document
from launch.memory_output import CommandAnswer, path_text

MOST_EVENTS = 3


def laid_aside(path: Path, *, again: int | None, bank: str, root: Path | None) -> CommandAnswer:
    """Returns what the outbox at `path` has laid aside, or what became of the parcel `again`.

    That parcel goes into the bank at the URL `bank`, confined by `root`, where one is given; otherwise it waits for the
    next client of the outbox. Raises as `Outbox.send_again` and `open_bank`, and `MemoryBankError` where the bank
    refuses it again.
    """
    if again is None:
        return _listed(path, read_laid_aside(path))
    if not bank:
        outbox = Outbox(path)
        try:
            parcel = outbox.send_again(again)
        finally:
            outbox.close()
        line = f"Parcel {again} waits as parcel {parcel.number}: the next client of {path.name} sends it."
        return CommandAnswer([line], {"parcel": again, "waits_as": parcel.number, "events": None})
    with (
        BankService(open_bank(bank, root=root)) as service,
        BankClient(service, Outbox(path), writer="launch.memory") as client,
    ):
        numbers = client.send_again(again)
    line = f"The bank has the {len(numbers)} events of parcel {again}, as {', '.join(map(str, numbers[:10]))}."
    return CommandAnswer([line], {"parcel": again, "waits_as": None, "events": numbers})


def _listed(path: Path, found: Sequence[LaidAside]) -> CommandAnswer:
    none = f"{path.name}: no parcel is laid aside."
    lines = [f"{len(found)} parcels are laid aside in {path.name}." if found else none]
    lines += [line for one in found for line in _lines(one)]
    if found:
        lines.append(f"To send one again: python -m launch.memory refused url=sqlite:///{path} again=NUMBER [bank=URL]")
    parcels = [
        {"number": one.number, "reason": one.reason, "events": [event_document(event) for event in one.events]}
        for one in found
    ]
    return CommandAnswer(lines, {"outbox": path_text(path), "parcels": parcels})


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
