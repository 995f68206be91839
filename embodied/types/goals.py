"""The goal of an episode: one choice among candidates, an answer to a question, or a mission."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

from embodied.errors import GoalError


@dataclass(frozen=True)
class Choice:
    """One of `candidates` is right, namely `target`; memory must choose among them. Raises `GoalError`."""

    candidates: tuple[str, ...]
    target: str

    def __post_init__(self) -> None:
        if len(set(self.candidates)) < max(2, len(self.candidates)):
            raise GoalError("A choice must have at least two candidates, all different.", value=self.candidates)
        if self.target not in self.candidates:
            raise GoalError(f"The target of a choice must be one of {list(self.candidates)}.", value=self.target)


@dataclass(frozen=True)
class Answer:
    """A question in words, and the answers that count as right. Raises `GoalError`."""

    question: str
    accepted: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.question.strip():
            raise GoalError("A question must have words.", value=self.question)
        if not self.accepted or len(set(self.accepted)) < len(self.accepted):
            raise GoalError("A question must accept at least one answer, each listed once.", value=self.accepted)


@dataclass(frozen=True)
class Mission:
    """Propositions that must become true, in words; `deadlines_s` bounds some of them, in simulated seconds.

    Raises `GoalError`.
    """

    propositions: tuple[str, ...]
    deadlines_s: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.propositions or len(set(self.propositions)) < len(self.propositions):
            raise GoalError("A mission must have at least one proposition, each once.", value=self.propositions)
        for proposition, deadline_s in self.deadlines_s.items():
            if proposition not in self.propositions:
                raise GoalError("A deadline must be that of a proposition of its mission.", value=proposition)
            if not (isfinite(deadline_s) and deadline_s > 0.0):
                raise GoalError("A deadline must be positive.", value=deadline_s)


Goal = Choice | Answer | Mission
