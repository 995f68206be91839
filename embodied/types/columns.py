"""What a task wants to be reported of its episodes beside success, as data that a report needs no task for."""

from dataclasses import dataclass
from enum import StrEnum

from embodied.errors import GoalError

CHOICE = "choice"  # Stands for whether the choice of an episode was right.


class Interval(StrEnum):
    """How the values of many episodes become one: `WILSON`, the share of ones; `MEAN`, a mean with Student's t."""

    WILSON = "wilson"
    MEAN = "mean"


@dataclass(frozen=True)
class ReportColumn:
    """One quantity of every episode: its key in results.json, its title, and where it is read.

    `metric` names an entry of `EpisodeRecord.metrics`, or is `CHOICE`. Episodes without it do not count. Values under
    `WILSON` are 0 or 1. `against_chance` compares their share with the task's chance: at most one column of a task
    does. `explanation` is for people who read the report. Raises `GoalError`.
    """

    name: str
    title: str
    metric: str
    interval: Interval = Interval.WILSON
    against_chance: bool = False
    explanation: str = ""

    def __post_init__(self) -> None:
        if not (self.name and self.title and self.metric):
            raise GoalError("A column of a report must have a name, a title and a metric.", value=self)
        if self.against_chance and self.interval is not Interval.WILSON:
            raise GoalError("Only a share can be compared with chance.", value=self.name)
