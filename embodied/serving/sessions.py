"""The memories of a server: one carry per session, bounded in number, bytes and time."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from embodied.codec import require_carry
from embodied.errors import EmbodiedError
from embodied.protocols import Policy
from embodied.serving.settings import ServingSettings
from embodied.types import Decision, MemoryContext, Moment, Request

REMEMBERED_EVICTIONS = 10_000
VALUE_BYTES = 64  # The approximate size of a plain value.


class SessionError(EmbodiedError):
    """A session cannot continue: it was evicted, is in use, or there are too many."""

    usual_remedy = "Send `reset`: true to begin it with an empty memory."


@dataclass(eq=False)
class Session:
    """One memory. `recalled` are moments of a bank for a policy without a carry; `busy` is set during a decision.

    `bound` is whether it belongs to one connection and ends with it. `policy` is its own instance, None if one instance
    decides for all sessions.
    """

    key: str
    bound: bool
    episode: str = ""
    policy: Policy | None = None
    carry: Mapping[str, Any] | None = None
    recalled: tuple[Moment, ...] = ()
    decisions: int = 0
    busy: bool = False
    size: int = 0
    used_s: float = 0.0

    def asked(self, request: Request) -> Request:
        """Returns the request for the policy: with the carry of this session, and the moments recalled from a bank."""
        recalled = self.carry is None and self.recalled and not request.memory.moments
        memory = MemoryContext(self.recalled) if recalled else request.memory
        return replace(request, carry=self.carry, memory=memory)

    def keep(self, decision: Decision) -> None:
        """Keeps the carry of a decision. Raises `CodecError` for a carry that is not a mapping of plain values."""
        require_carry(decision.carry)
        self.carry = _owned(decision.carry)
        self.size = _size(self.carry)
        self.decisions += 1


class Sessions:
    """The sessions of a server. `recall` returns the moments that a bank holds of a session, () for none."""

    def __init__(
        self,
        settings: ServingSettings,
        recall: Callable[[str], tuple[Moment, ...]] = lambda _: (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._recall = recall
        self._clock = clock
        self._open: OrderedDict[str, Session] = OrderedDict()
        self._evicted: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def size(self) -> int:
        """The bytes that the memories of all sessions take."""
        return sum(session.size for session in self._open.values())

    def begin(self, key: str, *, episode: str, bound: bool = False) -> Session:
        """Returns session `key` with an empty memory, whatever it held before.

        Args:
            key: The id of the session.
            episode: The id of its episode.
            bound: Whether it ends with its connection.

        Raises:
            SessionError: If it is in use, or too many sessions are open.
        """
        before = self._open.get(key)
        if before is not None and before.busy:
            raise SessionError("A session must have answered before it is reset.", value=key)
        self._evicted.pop(key, None)
        return self._add(Session(key, bound, episode))

    def found(self, key: str, *, episode: str = "", bound: bool = False) -> Session:
        """Returns session `key`; a new one begins with the moments that a bank holds of it.

        Args:
            key: The id of the session.
            episode: The id of its episode.
            bound: Whether it ends with its connection.

        Raises:
            SessionError: If it was evicted, or too many sessions are open.
        """
        self._evict_idle()
        session = self._open.get(key)
        if session is not None:
            self._open.move_to_end(key)
            return session
        if key in self._evicted:
            raise SessionError("A session must not have been evicted.", value=key)
        moments = () if bound else self._recall(key)
        newest = max((moment.step for moment in moments if moment.step is not None), default=-1)
        return self._add(Session(key, bound, episode, recalled=moments, decisions=newest + 1))

    @contextmanager
    def deciding(self, session: Session) -> Iterator[None]:
        """Marks a session as in use, so that it is neither used twice nor evicted. Raises `SessionError` if it is."""
        if session.busy:
            raise SessionError("A session must answer one request before it gets the next.", value=session.key)
        session.busy = True
        try:
            yield
        finally:
            session.busy = False
            session.used_s = self._clock()
            self._evict_beyond_bytes(session)

    def end(self, key: str) -> None:
        """Deletes a session."""
        self._open.pop(key, None)

    def _add(self, session: Session) -> Session:
        if session.key not in self._open:
            self._make_place()
        session.used_s = self._clock()
        self._open[session.key] = session
        self._open.move_to_end(session.key)
        return session

    def _make_place(self) -> None:
        if len(self._open) < self._settings.sessions:
            return
        oldest = next((one for one in self._open.values() if not one.busy and not one.bound), None)
        if oldest is None:
            raise SessionError(
                f"At most {self._settings.sessions} sessions may be open.", remedy="Raise `sessions` of the server."
            )
        self._evict(oldest)

    def _evict_idle(self) -> None:
        before_s = self._clock() - self._settings.session_idle_s
        for session in list(self._open.values()):
            if session.used_s >= before_s:
                return  # They are in the order of their last use.
            if not session.busy and not session.bound:
                self._evict(session)

    def _evict_beyond_bytes(self, newest: Session) -> None:
        excess = self.size - self._settings.session_bytes
        for session in [*self._open.values()]:
            if excess <= 0:
                return
            if session is not newest and not session.busy and not session.bound and session.size:
                excess -= session.size
                self._evict(session)
        if excess > 0 and newest.key in self._open:
            self._evict(newest)

    def _evict(self, session: Session) -> None:
        del self._open[session.key]
        self._evicted[session.key] = None
        while len(self._evicted) > REMEMBERED_EVICTIONS:
            self._evicted.popitem(last=False)


def _owned(value: Any) -> Any:
    """Returns a carry without views, since a view would keep the whole message alive."""
    if isinstance(value, np.ndarray):
        return value if value.base is None else value.copy()
    if isinstance(value, Mapping):
        return {name: _owned(inner) for name, inner in value.items()}
    return tuple(map(_owned, value)) if isinstance(value, tuple) else value


def _size(value: Any) -> int:
    if isinstance(value, np.ndarray):
        return value.nbytes + VALUE_BYTES
    if isinstance(value, Mapping):
        return VALUE_BYTES + sum(VALUE_BYTES + _size(inner) for inner in value.values())
    if isinstance(value, tuple):
        return VALUE_BYTES + sum(map(_size, value))
    return len(value) + VALUE_BYTES if isinstance(value, str | bytes) else VALUE_BYTES
