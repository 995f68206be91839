"""A policy whose memory lies in the bank: it gets the moments it has stored, and resumes where it was killed."""

from collections.abc import Sequence
from dataclasses import replace

from embodied.protocols import Policy
from embodied.rollout.bank_feed.moment_reader import MomentReader
from embodied.rollout.policy_calls import decisions_of
from embodied.rollout.requests import as_seen
from embodied.types import Decision, MemoryContext, Request


class Remembering:
    """Calls `policy` with the newest `capacity` moments of the robot in this episode as `Request.memory`.

    Decisions that the bank already has (`reader.recorded`) are repeated without calling the policy: the world returns
    to the state in which a worker was killed, and the policy goes on with its memory. Its carry is lost in that case,
    so its only memory must be the bank. The moments of `earlier` readers, those of the previous episodes of its chain,
    come first.
    """

    def __init__(
        self, policy: Policy, reader: MomentReader, *, capacity: int, earlier: Sequence[MomentReader] = ()
    ) -> None:
        self.inner = policy
        self._reader = reader
        self._readers = (*earlier, reader)
        self._capacity = capacity
        self.observation_spec = policy.observation_spec
        self.action_spec = policy.action_spec
        self.privileged = policy.privileged

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """Returns one decision per request."""
        known = self._reader.recorded
        keys = [(request.observation.robot, request.step) for request in requests]
        open_requests = [
            self._reminded(request) for request, key in zip(requests, keys, strict=True) if key not in known
        ]
        decided = iter(decisions_of(self.inner, open_requests) if open_requests else ())
        return [known[key] if key in known else next(decided) for key in keys]

    def _reminded(self, request: Request) -> Request:
        robot = request.observation.robot
        moments = [moment for reader in self._readers for moment in reader.moments(robot, limit=self._capacity)]
        newest = MemoryContext(tuple(moments[-self._capacity :]))
        return as_seen(replace(request, memory=newest), self.inner)
