"""Dialects: how a policy server is informed that an episode begins, by openpi, its derivatives, and ourselves.

| name | a new session | side by side |
|---|---|---|
| `openpi` | a new connection, since the protocol has no reset | no |
| `robomme` | `{"reset": true}`, answered by `{"reset_finished": true}` | no |
| `behavior` | `{"reset": true}` without an answer (BEHAVIOR-1K) | no |
| `roboarena` | `{"endpoint": "reset", "session_id": ...}`, answered by text; both stand in each request, too | no |
| `embodied` | `{"reset": true, ...}`, answered by `{"reset": true}`; `session_id`, `episode_id` in each request | yes |
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from embodied.errors import unknown_name
from policies.remote.connection import BadAnswerError, Connection

AUTO, OPENPI, ROBOMME, BEHAVIOR, ROBOARENA, EMBODIED = "auto", "openpi", "robomme", "behavior", "roboarena", "embodied"


@dataclass(frozen=True)
class Dialect:
    """The abilities of a server besides answering requests.

    Attributes:
        resets: whether its memory can be emptied on an open connection
        sessions: whether it keeps several memories at once
    """

    name: str
    resets: bool = False
    sessions: bool = False

    def begin(self, connection: Connection, session: str, episode: str) -> None:
        """Begins `session` on a connection.

        Args:
            connection: The open connection.
            session: The id of the session.
            episode: The id of its episode.

        Raises:
            BadAnswerError: For a reset that is not acknowledged.
        """
        if self.name == ROBOMME:
            _require(connection.exchange({"reset": True}), "reset_finished")
        elif self.name == BEHAVIOR:
            connection.send({"reset": True})
        elif self.name == ROBOARENA:
            answer = connection.exchange({"endpoint": "reset", "session_id": session}, text=True)
            if "success" not in str(answer.get("text", answer.get("status", ""))).lower():
                raise BadAnswerError("A reset must be answered by 'reset successful'.", value=f"{answer!r:.80}")
        elif self.name == EMBODIED:
            _require(connection.exchange({"reset": True, "session_id": session, "episode_id": episode}), "reset")

    def tagged(self, message: Mapping[str, Any], session: str, episode: str) -> dict[str, Any]:
        """Returns the request `message` with the ids `session` and `episode`, if the dialect has a place for them."""
        if self.name == ROBOARENA:
            return {**message, "endpoint": "infer", "session_id": session}
        if self.name == EMBODIED:
            return {**message, "session_id": session, "episode_id": episode}
        return dict(message)


DIALECTS: Mapping[str, Dialect] = {
    OPENPI: Dialect(OPENPI),
    ROBOMME: Dialect(ROBOMME, resets=True),
    BEHAVIOR: Dialect(BEHAVIOR, resets=True),
    ROBOARENA: Dialect(ROBOARENA, resets=True),
    EMBODIED: Dialect(EMBODIED, resets=True, sessions=True),
}


def chosen_dialect(name: str, metadata: Mapping[str, Any]) -> Dialect:
    """Returns the dialect called `name`; `auto` chooses by the metadata of a server. Raises `UnknownNameError`."""
    if name == AUTO:
        if str(metadata.get("protocol", "")).startswith(EMBODIED) and metadata.get("sessions"):
            return DIALECTS[EMBODIED]
        return DIALECTS[ROBOARENA if "needs_session_id" in metadata else OPENPI]
    if name not in DIALECTS:
        raise unknown_name("dialect of policy servers", name, [AUTO, *DIALECTS])
    return DIALECTS[name]


def _require(answer: Mapping[str, Any], key: str) -> None:
    if answer.get(key) is not True:
        raise BadAnswerError(f"A reset must be acknowledged by {key!r}: true.", value=f"{answer!r:.80}")
