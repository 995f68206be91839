"""The label of a recorded episode: what it was and how it ended, in formats 2 and 1."""

from collections.abc import Mapping
from typing import Any

import msgspec

from embodied.errors import DataError
from embodied.types import Answer, Choice, Goal, Mission, Outcome

KINDS: dict[str, type[Goal]] = {kind.__name__.lower(): kind for kind in (Choice, Answer, Mission)}


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the episode was and how it ended; with `task`, `tier`, `seed` and `split` it can be sampled again.

    `goal` is what `goal_to_json` makes of the goal. `reached` are the phases in order of completion, `choice` is the
    candidate that was touched first, None before that. `robots` are all that were recorded, each in a file of its own.
    """

    episode: str
    task: str
    tier: str
    variant: int
    seed: int
    split: str
    instruction: str
    goal: dict[str, Any]
    outcome: Outcome
    reason: str
    reached: tuple[str, ...]
    choice: str | None
    robots: tuple[str, ...]


class FirstLabel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The label of format 1."""

    episode: str
    task: str
    tier: str
    variation: int
    seed: int
    split: str
    instruction: str
    target: str
    candidates: tuple[str, ...]
    outcome: Outcome
    reason: str
    reached: tuple[str, ...]
    first_choice: str | None

    def renamed(self, robot: str) -> Label:
        """Returns the same label in format 2, for an episode of `robot` alone."""
        return Label(
            episode=self.episode,
            task=self.task,
            tier=self.tier,
            variant=self.variation,
            seed=self.seed,
            split=self.split,
            instruction=self.instruction,
            goal={"kind": "choice", "candidates": list(self.candidates), "target": self.target},
            outcome=self.outcome,
            reason=self.reason,
            reached=self.reached,
            choice=self.first_choice,
            robots=(robot,),
        )


def goal_to_json(goal: Goal) -> dict[str, Any]:
    """Returns a goal as JSON: its fields, and its kind, which is the name of its type in lower case."""
    return {"kind": type(goal).__name__.lower(), **msgspec.json.decode(msgspec.json.encode(goal))}


def goal_from_json(data: Mapping[str, Any]) -> Goal:
    """Returns the goal that `goal_to_json` wrote. Raises `DataError` for any other."""
    fields = dict(data)
    try:
        return msgspec.convert(fields, KINDS[fields.pop("kind")])
    except (KeyError, msgspec.ValidationError) as error:
        raise DataError("A recorded goal must be one of the documented kinds.", value=data) from error
