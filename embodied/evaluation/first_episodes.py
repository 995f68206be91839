"""Stops a run whose first episodes are all invalid for one reason, since later episodes would fail alike.

Episodes that a policy itself made invalid do not count: `evaluation.failing` stops that policy instead of the run.
"""

from pathlib import Path

from embodied.errors import EmbodiedError
from embodied.evaluation.failing import failure_of
from embodied.evaluation.metrics import plain_reason
from embodied.types import EpisodeRecord, Outcome

FIRST_EPISODES = 5


class NothingPlayedError(EmbodiedError):
    """No episode of an evaluation is valid: it has no results."""

    usual_remedy = "Correct the cause given above, and run again into another output folder."


class FirstEpisodes:
    """Watches the first episodes of a run in `folder`, as they end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._invalid: list[EpisodeRecord] = []
        self._over = False

    def add(self, record: EpisodeRecord) -> None:
        """Adds the next record.

        Raises `NothingPlayedError` if `FIRST_EPISODES` records have come, all invalid and for the same reason.
        """
        if self._over:
            return
        reasons = {plain_reason(one.reason) for one in (*self._invalid, record)}
        if record.outcome is not Outcome.INVALID or failure_of(record) or len(reasons) > 1:
            self._over = True
            return
        self._invalid.append(record)
        if len(self._invalid) == FIRST_EPISODES:
            raise NothingPlayedError(
                "The first episodes of a run must not all be invalid for one reason.",
                value=f"{FIRST_EPISODES} invalid episodes in {self._folder}; {record.reason or 'no reason given'}",
                remedy="Correct the cause given here; the same command plays these episodes again.",
            )
