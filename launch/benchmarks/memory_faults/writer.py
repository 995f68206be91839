"""A process that owns a bank and writes to it from several threads until it is killed; acknowledgements go to stdout.

One line per acknowledged event: writer, its number, the bank's number. Run by `memory_faults` only.
"""

import os
import sys
import threading

from embodied.errors import ConflictError
from embodied.geometry import Pose
from embodied.memory import Bank, EntitySeen, Event, Observed, Payload, RelationSet, open_bank

BATCH = 3
OBJECTS = 5


def main() -> None:
    """Usage: `python -m launch.benchmarks.memory_faults.writer URL WRITERS`."""
    url, writers = sys.argv[1:]
    bank = open_bank(url, thorough=False)
    acknowledge("ready", 0, bank.head)
    threads = [threading.Thread(target=write, args=(bank, f"writer_{i}")) for i in range(int(writers))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def write(bank: Bank, writer: str) -> None:
    """Appends small batches without end, and prints them once they are acknowledged; conflicts are tried again."""
    number, time_s = bank.last_of_writer(writer)
    time_s = max(time_s, 0.0)
    while True:
        events = []
        for i in range(1, BATCH + 1):
            payload = payload_of(bank, writer, number + i)
            events.append(Event(writer, number + i, time_s + 0.05 * i, payload, robot=writer))
        try:
            numbers = bank.append(events)
        except ConflictError:
            continue
        for event, seq in zip(events, numbers, strict=True):
            acknowledge(writer, event.writer_seq, seq)
        number, time_s = events[-1].writer_seq, events[-1].valid_time_s


def payload_of(bank: Bank, writer: str, number: int) -> Payload:
    """Returns the payload of event `number` of a `writer`.

    It is a sighting, an observation, or a change of an object that all writers in `bank` share.
    """
    thing = f"object_{number % OBJECTS}"
    if number % BATCH == 0:
        found = bank.where_is(thing)
        return RelationSet(thing, "on", f"shelf_of_{writer}", expected_version=found.version if found else 0)
    if number % BATCH == 1:
        return EntitySeen(thing, "cube", Pose((0.1 * number, 0.0, 0.0)))
    return Observed(f"frames/{number}.png", entities=(thing,))


def acknowledge(writer: str, number: int, seq: int) -> None:
    """Writes the line of event `number` of a `writer`, which the bank stored as `seq`, in one system call.

    A kill leaves all of the line or none of it.
    """
    os.write(1, f"{writer} {number} {seq}\n".encode())


if __name__ == "__main__":
    main()
