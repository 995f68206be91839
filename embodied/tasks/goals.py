"""Shared properties of tasks with the same kind of goal."""

from embodied.types import CHOICE, Episode, ReportColumn

FIRST_CHOICE = ReportColumn(
    name="first_choice",
    title="first choice",
    metric=CHOICE,
    against_chance=True,
    explanation="which candidate was touched first once memory was needed, among the episodes that came that far",
)


class ChoosesOne:
    """A task whose goal is a `Choice`: a guess is right with probability 1 / the number of candidates."""

    @property
    def columns(self) -> tuple[ReportColumn, ...]:
        """The first choice, compared with chance."""
        return (FIRST_CHOICE,)

    def chance(self, episode: Episode) -> float | None:
        """Returns 1 / the number of candidates. Raises `GoalError` for an episode with another goal."""
        return 1.0 / len(episode.choice_goal.candidates)
