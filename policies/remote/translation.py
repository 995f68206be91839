"""Converts requests to messages and answers to decisions: under a server's own names, or in our encoding."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from embodied.codec import (
    action_spec_from_plain,
    decision_from_plain,
    decision_to_plain,
    observation_spec_from_plain,
    request_to_plain,
)
from embodied.errors import CodecError
from embodied.rollout.requests import without_instances
from embodied.specs import ActionSpec, ObservationSpec
from embodied.types import Request
from policies.remote.answers import AnswerNames
from policies.remote.connection import BadAnswerError
from policies.remote.names import ServerNames
from policies.remote.requests import RequestNames
from policies.remote.sessions import DecodedAnswer


class Translation(Protocol):
    """Converts requests to messages, and answers to decisions."""

    @property
    def observation_spec(self) -> ObservationSpec:
        """The observations that the server reads."""
        ...

    @property
    def action_spec(self) -> ActionSpec:
        """The actions that it emits."""
        ...

    def message(self, request: Request, *, first: bool, since: int) -> dict[str, Any]:
        """Returns the message of `request`.

        `since` is the number of observations in the history that have not been sent yet; `first` is whether it opens a
        session.
        """
        ...

    def read(self, answer: Mapping[str, Any]) -> DecodedAnswer:
        """Returns a decoded answer. Raises `BadAnswerError`."""
        ...


class NamedTranslation:
    """Uses the names of a file; `rows` actions of each answer are carried out before the next request."""

    def __init__(self, names: ServerNames, *, rows: int) -> None:
        self._requests = RequestNames(names)
        self._answers = AnswerNames(names)
        self._rows = rows
        self.action_spec = self._answers.spec
        past = names.each and rows > 1 and self.action_spec.rate_hz is not None
        self.observation_spec = ObservationSpec(
            cameras=names.cameras, history=rows if past else 1, rate_hz=self.action_spec.rate_hz if past else None
        )

    def message(self, request: Request, *, first: bool, since: int) -> dict[str, Any]:
        """Returns the message of `request` with the keys of the file; `first` and `since` as in `Translation`."""
        return self._requests.message(request, first=first, since=since)

    def read(self, answer: Mapping[str, Any]) -> DecodedAnswer:
        """Returns the rows to carry out. Raises `BadAnswerError`."""
        actions = self._answers.actions(answer)
        return DecodedAnswer(
            intents=self._answers.intents(actions, rows=self._rows),
            rows=min(self._rows, len(actions)),
            numbers=actions.ravel(),
            moments=self._answers.moments(answer),
        )


class OwnTranslation:
    """Uses the encoding of `embodied.codec`, for servers of ours; the carry stays with the server."""

    def __init__(self, observation_spec: ObservationSpec, action_spec: ActionSpec) -> None:
        self.observation_spec = observation_spec
        self.action_spec = action_spec

    def message(self, request: Request, *, first: bool, since: int) -> dict[str, Any]:
        """Returns `request` without truth, hints and instance images; `first` and `since` as in `Translation`."""
        del first, since
        plain = replace(
            request,
            observation=without_instances(request.observation),
            history=tuple(without_instances(past) for past in request.history),
            carry=None,
            truth=None,
            hint=None,
        )
        return {"request": request_to_plain(plain)}

    def read(self, answer: Mapping[str, Any]) -> DecodedAnswer:
        """Returns the decision of an answer. Raises `BadAnswerError`."""
        try:
            decision = decision_from_plain(answer.get("decision"))
        except CodecError as error:
            raise BadAnswerError(error.rule, value=error.value) from error
        numbers = _numbers(decision_to_plain(replace(decision, carry=None, moments=(), visualisations={})))
        if not np.isfinite(numbers).all():
            raise BadAnswerError("A decision must hold finite numbers.")
        return DecodedAnswer(
            intents=decision.intents,
            numbers=numbers,
            moments=decision.moments,
            report=decision.report,
            visualisations=decision.visualisations,
        )


def own_translation(observation_spec: object, action_spec: object) -> OwnTranslation:
    """Returns the translation for a server of ours with these declarations. Raises `CodecError` and `SpecError`."""
    return OwnTranslation(observation_spec_from_plain(observation_spec), action_spec_from_plain(action_spec))


def _numbers(value: object) -> np.ndarray:
    """Returns all numbers in a plain value, in order."""
    if isinstance(value, Mapping):
        parts = [_numbers(value[name]) for name in sorted(value)]
    elif isinstance(value, list | tuple):
        parts = [_numbers(inner) for inner in value]
    elif isinstance(value, np.ndarray):
        return value.astype(np.float64).ravel()
    else:
        return np.array([value], dtype=np.float64) if isinstance(value, bool | int | float) else np.zeros(0)
    return np.concatenate([np.zeros(0), *parts])
