"""Settings of a process that owns a bank for many clients, so that none of them waits for its threads or its memory."""

import gc
import sys

SWITCH_S = 0.0005


def prepare_owner_process() -> None:
    """Lets the thread that commits have the interpreter soon, and keeps imported modules out of garbage collections.

    SQLite releases the interpreter's lock at each of the twenty statements of an event. Any other thread that computes,
    such as one that decodes the events of another client, would then keep it for 5 ms each time. Call it once, when all
    is imported and the bank is open.
    """
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()  # A full collection takes a tenth of a second otherwise, for which every client waits.
