"""Leases: exclusive rights to a subtask until a time of the site clock, with a fencing epoch against stale work."""

import math
import threading
from dataclasses import dataclass

import msgspec

from embodied.errors import ConflictError, MemoryBankError
from embodied.memory.queries.validation import number, text, whole
from embodied.memory.schema.event import Event
from embodied.memory.schema.kinds import LeaseGranted
from embodied.memory.schema.reserved import SITE
from embodied.memory.service.bank import Bank

WRITER = f"{SITE}/leases"
LONGEST_LEASE_S = 86_400.0


@dataclass(frozen=True)
class Lease:
    """`robot` may work on `subtask` until `expires_s` on the site clock; effects and outcome must name `epoch`.

    The first lease of a subtask has epoch 1, and each grant or renewal the next one.
    """

    subtask: str
    robot: str
    epoch: int
    expires_s: float


class LeaseOffice:
    """Grants leases in the bank's process, by the clock of the bank alone: robots' own clocks do not count.

    That clock cannot be set back or forward while the bank is open, so a lease ends on time whatever happens to the
    system's clock.

    An expired lease may be renewed by its robot as long as no other robot has taken the subtask. Grants are events
    (`lease_granted`). Under any epoch but the newest the bank refuses outcomes (`subtask_ended`), and keeps effects of
    events that name `subtask` and `epoch` only as claims; see `Event`.
    """

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self._turn = threading.Lock()

    def acquire(self, subtask: str, robot: str, *, duration_s: float) -> Lease:
        """Returns a new lease of `robot` on `subtask` for `duration_s`; for its own lease a robot gets a newer epoch.

        Raises `ConflictError` where another robot has the subtask now, or where it has ended; `MemoryBankError` for
        empty names and durations that are not positive.
        """
        with self._turn:
            epoch, _, _ = self._bank.newest_lease(subtask)
            return self._grant(subtask, robot, epoch + 1, duration_s)

    def renew(self, lease: Lease, *, duration_s: float) -> Lease:
        """Returns the lease with the next epoch, which ends `duration_s` from now but never before the lease itself.

        Raises `ConflictError` where it is not the newest, `MemoryBankError` for other values.
        """
        check_lease(lease)
        with self._turn:
            epoch, robot, expires_s = self._bank.newest_lease(lease.subtask)
            if (epoch, robot) != (lease.epoch, lease.robot):
                raise ConflictError(
                    "Only the newest lease of a subtask can be renewed.",
                    value=(lease.subtask, lease.robot, lease.epoch),
                    remedy=f"{robot or 'No robot'!r} has epoch {epoch}: stop this work, and acquire a new lease.",
                )
            return self._grant(lease.subtask, lease.robot, epoch + 1, duration_s, held_until_s=expires_s)

    def _grant(
        self, subtask: str, robot: str, epoch: int, duration_s: float, *, held_until_s: float = -math.inf
    ) -> Lease:
        if not 0.0 < number("duration_s", duration_s) <= LONGEST_LEASE_S:
            raise MemoryBankError(
                f"The duration of a lease must lie above 0 s and at most at {LONGEST_LEASE_S:.0f} s.",
                value=duration_s,
                remedy="Renew it in time instead: nothing takes a subtask back from a robot that has died.",
            )
        last, last_s = self._bank.last_of_writer(WRITER)
        now_s = max(self._bank.clock().time_s, last_s)
        lease = Lease(subtask, text("robot", robot), epoch, max(now_s + float(duration_s), held_until_s))
        payload = LeaseGranted(subtask=subtask, epoch=epoch, expires_s=lease.expires_s)
        self._bank.append(Event(WRITER, last + 1, now_s, payload, robot=robot), as_site=True)
        return lease


def check_lease(lease: object) -> Lease:
    """Returns the lease, if it can have been granted; raises `MemoryBankError` otherwise."""
    if not isinstance(lease, Lease):
        raise MemoryBankError(
            "Only a lease can be renewed.", value=lease, remedy="Give what `acquire` or `renew` has returned."
        )
    whole("epoch", lease.epoch, least=1)
    text("subtask", lease.subtask)
    text("robot", lease.robot)
    return lease


def under(lease: Lease, event: Event) -> Event:
    """Returns the `event` as one of the work under this `lease`, by its robot where it names none."""
    held = check_lease(lease)
    return msgspec.structs.replace(event, subtask=held.subtask, epoch=held.epoch, robot=event.robot or held.robot)
