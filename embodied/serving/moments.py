"""The moments of sessions in a memory bank, so that a restarted server can continue with their memory."""

import math
import threading
from collections.abc import Sequence
from dataclasses import replace

from embodied.memory import Bank, EpisodeBegun, EpisodeEnded, Event, EventFilter, Order, Payload, Query
from embodied.rollout.bank_feed.stored_moments import stored
from embodied.types import Decision, Moment, Request

WRITER = "serving"
EPISODE = "session/{}"
MOST_RECALLED = 10_000
PAGE = 1000


class SessionMoments:
    """Stores the moments of each session in `bank`, at the time of its clock, and recalls them.

    In the bank a session is an episode, which ends and begins anew when the session is reset. A session is restored
    from its moments only, like an episode of a killed worker: its policy must be able to continue from `Request.memory`
    without a carry.
    """

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self._lock = threading.Lock()
        self._number, self._newest_s = bank.last_of_writer(WRITER)
        self._begun: dict[str, int] = {}
        found, seq = self._begun_after(0), 0
        while found:
            self._begun.update(found)
            seq = found[-1][1]
            found = self._begun_after(seq)

    def begin(self, session: str) -> None:
        """Ends the episode of a session in the bank and begins a new one. Raises `MemoryBankError`."""
        name = EPISODE.format(session)
        with self._lock:
            ended = [EpisodeEnded(name, "reset")] if name in self._begun else []
            self._begun[name] = self._append([*ended, EpisodeBegun(name, "")])[-1]

    def store(self, session: str, request: Request, decision: Decision, *, step: int) -> None:
        """Appends the moments of a decision.

        Args:
            session: The name of the session.
            request: The request that was decided.
            decision: The decision, with its moments.
            step: The number of the decision in the session.

        Raises:
            MemoryBankError: If the bank refuses them.
        """
        name = EPISODE.format(session)
        if not decision.moments:
            return
        if name not in self._begun:
            self.begin(session)
        robot = request.observation.robot or "robot"
        with self._lock:
            moments = [(stored(moment, name, step=step), moment.robot or robot) for moment in decision.moments]
            self._append([payload for payload, _ in moments], robots=[robot for _, robot in moments])

    def recall(self, session: str) -> tuple[Moment, ...]:
        """Returns the moments of a session since its last reset, oldest first. Raises `MemoryBankError`."""
        name = EPISODE.format(session)
        if name not in self._begun:
            return ()
        found = self._bank.recall(Query(episode=name, top_k=MOST_RECALLED, order=Order.NEWEST))
        return tuple(
            replace(recalled.moment, time_s=float(recalled.moment.step or 0), episode="")
            for recalled in found[::-1]
            if recalled.seq > self._begun[name]
        )

    def _append(self, payloads: Sequence[Payload], robots: Sequence[str] = ()) -> list[int]:
        time_s = max(self._bank.clock().time_s, math.nextafter(self._newest_s, math.inf))
        named = robots or [""] * len(payloads)
        events = [
            Event(WRITER, self._number + place, time_s, payload, robot)
            for place, (payload, robot) in enumerate(zip(payloads, named, strict=True), start=1)
        ]
        found = self._bank.append(events)
        self._number, self._newest_s = self._number + len(events), time_s
        return found

    def _begun_after(self, seq: int) -> list[tuple[str, int]]:
        wanted = EventFilter(kinds=("episode_begun",))
        events = self._bank.changes_since(seq, wanted=wanted, limit=PAGE)
        return [(event.payload.episode, event.seq) for event in events if isinstance(event.payload, EpisodeBegun)]
