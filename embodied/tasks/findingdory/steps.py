"""Steps of a lived day: the agent's modes and actions, and the clock."""

import numpy as np

from embodied.errors import DataError

MODES = ("navigate", "manipulate")
NAVIGATE, MANIPULATE = range(2)
ACTIONS = ("start", "forward", "turn_left", "turn_right", "pick", "place", "wait")
START, FORWARD, TURN_LEFT, TURN_RIGHT, PICK, PLACE, WAIT = range(7)
FORWARD_M, TURN_RAD = 0.25, float(np.radians(10.0))

MOST_STEPS = 4000
FRAMES = 96
CLOCK_START_MIN, CLOCK_END_MIN = 6 * 60, 22 * 60
STEP_MIN = (CLOCK_END_MIN - CLOCK_START_MIN) / MOST_STEPS


def minutes_at(step: int) -> float:
    """Returns the minutes since midnight at a step: from 6:00, 4,000 steps are 16 hours."""
    return CLOCK_START_MIN + STEP_MIN * step


def clock_at(step: int) -> str:
    """Returns the clock at a step, such as "6:07"; seconds are cut off."""
    minutes = int(minutes_at(step) + 1e-9)
    return f"{minutes // 60}:{minutes % 60:02d}"


def even_frames(steps: int) -> np.ndarray:
    """Returns the 96 step numbers int32 (96,), from the first to the last of `steps`, in even distances.

    Raises `DataError` for no steps.
    """
    if steps < 1:
        raise DataError("A day must have a step.", value=steps)
    return np.linspace(0, steps - 1, FRAMES).astype(np.int32)
