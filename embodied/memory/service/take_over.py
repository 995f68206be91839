"""Opening a bank whose owner is being replaced, or which a command holds for a moment."""

import time
from collections.abc import Callable

from embodied.memory.service.bank import Bank
from embodied.memory.storage.lock import OwnedError

PAUSE_S = 0.05


def opened_when_free(opened: Callable[[], Bank], *, wait_s: float, on_wait: Callable[[OwnedError], object]) -> Bank:
    """Returns the bank that `opened` opens, once no other process owns its file, within `wait_s`.

    `on_wait` is called once, with the refusal, where it has to wait. Raises `OwnedError` where the file stays owned,
    and whatever else `opened` raises.
    """
    due_s = time.monotonic() + wait_s
    waits = False
    while True:
        try:
            return opened()
        except OwnedError as error:
            if time.monotonic() > due_s:
                raise
            if not waits:
                on_wait(error)
                waits = True
        time.sleep(PAUSE_S)
