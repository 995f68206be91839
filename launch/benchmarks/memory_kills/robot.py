"""A robot's program that logs to a bank without end; run, and killed, by `memory_kills` only.

It prints `stored NAME` once an event lies in its outbox, and `acknowledged NAME SEQ` once the bank has it.
"""

import itertools
import os
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import msgspec

from embodied.geometry import Pose
from embodied.memory import BankClient, EntitySeen, Event, Outbox
from launch.benchmarks.memory_poison.links import BankAddress, connect

PERIOD_S = 0.02
TIMEOUT_S = 600.0
LAST_LIFE = "last"  # A program that writes nothing more, and ends once its outbox is empty.


def main() -> None:
    """Usage: `python -m launch.benchmarks.memory_kills.robot ADDRESS FOLDER ROBOT LIFE`, the address as JSON."""
    address, folder, robot, life = sys.argv[1:]
    link = connect(msgspec.json.decode(address, type=BankAddress), robot)
    outbox = Outbox(Path(folder) / f"{robot}.outbox")
    with BankClient(link, outbox, writer=robot, timeout_s=TIMEOUT_S) as client:
        if life == LAST_LIFE:
            client.flush()
            return
        for number in itertools.count():
            name = f"{robot}/{life}/{number}"
            seen = EntitySeen(f"cup_{number % 7}", "cup", Pose((0.01 * (number % 100), 0.0, 0.0)), evidence=name)
            answer = client.post(Event("", 0, time.time(), seen, robot=robot))
            print_line(f"stored {name}")
            answer.add_done_callback(lambda done, name=name: note_answer(name, done))
            time.sleep(PERIOD_S)


def note_answer(name: str, answer: Future[list[int]]) -> None:
    """Prints how the bank answered the event with this `name`."""
    error = answer.exception()
    print_line(f"acknowledged {name} {answer.result()[0]}" if error is None else f"refused {name} {error!r}")


def print_line(line: str) -> None:
    """Prints a line in one system call: a kill leaves all of it or nothing."""
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    main()
