"""A policy whose decisions come from a server: its carry names the session that holds its memory there."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from embodied.specs import ActionSpec, ObservationSpec
from embodied.types import ControllerStatus, Decision, Request
from policies.remote.sessions import RemoteSessions
from policies.remote.translation import Translation

SESSION, EPISODE, ROWS = "session", "episode", "rows"


class RemotePolicy:
    """Sends requests to a server, one session per robot and episode, and returns its answers.

    Only the output of its translation is sent, which contains nothing privileged. The connection is opened at the first
    request and closed with the last policy that uses it. `remarks` on the server are for reports.
    """

    privileged = False

    def __init__(
        self,
        translation: Translation,
        sessions: RemoteSessions,
        *,
        one_episode_at_a_time: bool,
        remarks: tuple[str, ...],
    ) -> None:
        self.observation_spec: ObservationSpec = translation.observation_spec
        self.action_spec: ActionSpec = translation.action_spec
        self.one_episode_at_a_time = one_episode_at_a_time
        self.remarks = remarks
        self._translation = translation
        self._sessions = sessions

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """Returns one decision per request. Raises `OutageError` if the server does not give a usable one in time.

        The carry is a mapping: `session` names the memory on the server, "" requests an empty one.
        """
        return [self._decide(request) for request in requests]

    def _decide(self, request: Request) -> Decision:
        carry: Mapping[str, Any] = request.carry or {}
        episode = carry.get(EPISODE) or secrets.token_hex(8)
        session = carry.get(SESSION) or ""
        first = not session
        since = 0 if first or _stopped(request) else int(carry.get(ROWS, 0))
        message = self._translation.message(request, first=first, since=since)
        session = session or self._sessions.begin(episode)
        reading = self._sessions.infer(session, message, self._translation.read)
        return Decision(
            intents=reading.intents,
            moments=reading.moments,
            carry={SESSION: session, EPISODE: episode, ROWS: reading.rows},
            report=reading.report,
            visualisations=reading.visualisations if request.visualisations else {},
        )


class ResettableRemotePolicy(RemotePolicy):
    """A policy whose server empties memories on demand."""

    def wiped(self, carry: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the carry with an empty memory: the next request begins a new session."""
        return {**carry, SESSION: ""}

    def swapped(self, carry: Mapping[str, Any], donor: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the carry with the memory of the donor: the next request continues its session."""
        return {**carry, SESSION: donor[SESSION]}


def _stopped(request: Request) -> bool:
    """Returns whether the last chunk was interrupted, so that the number of new observations is unknown."""
    return request.feedback is not None and request.feedback.status is not ControllerStatus.DONE
