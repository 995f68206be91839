"""Names of things that no other robot, and no other start of the same robot, gives."""

import secrets
from collections import Counter
from collections.abc import Callable

MARK_BYTES = 5


def run_names(robot: str, *, run: str = "") -> Callable[[str], str]:
    """Returns the function that names the things of one `SceneTracker`: `<robot>/<run>/<kind>-0001` and so on.

    Counting alone would begin anew in every process, and two robots would mean two things by one name. `run` must
    differ in each start of the robot's program; without it a random one is taken.
    """
    prefix, counts = f"{robot}/{run or secrets.token_hex(MARK_BYTES)}", Counter[str]()

    def name(kind: str) -> str:
        counts[kind] += 1
        return f"{prefix}/{kind}-{counts[kind]:04d}"

    return name
