"""Grasping by attachment: a body that all fingers of a closing gripper touch is attached until the gripper opens.

This is how RLBench grasps (James et al., 2020). The rules are defined here; a simulator reports contacts and attaches
bodies.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from embodied.geometry import Pose

CLOSING_BELOW = 0.5  # Opening target under which the fingers count as closing.
Holder = tuple[str, str]  # A robot and one of its end effectors, by name.


@dataclass(frozen=True)
class GripperTarget:
    """The target of the fingers of an end effector: an opening in [0, 1], or to stay where they touch (`frozen`)."""

    opening: float
    frozen: bool


@dataclass(frozen=True)
class Grip:
    """A body in a gripper: `body_in_link` is its inertial frame in that of the link that carries the tool."""

    body: str
    body_in_link: Pose


class GraspingWorld(Protocol):
    """The interface of a simulator for these rules. Bodies are named; only graspable ones count as touched."""

    def gripper_target(self, holder: Holder) -> GripperTarget | None:
        """Returns the present target of the fingers, None for an end effector without fingers."""
        ...

    def touched_by_all_fingers(self, holder: Holder) -> Collection[str]:
        """Returns the graspable bodies that press on every finger."""
        ...

    def body_in_link(self, holder: Holder, body: str) -> Pose:
        """Returns where `body` is now, as in `Grip`."""
        ...

    def attach(self, holder: Holder, grip: Grip) -> None:
        """Joins the body to the end effector at `grip.body_in_link`."""
        ...

    def detach(self, holder: Holder, grip: Grip) -> None:
        """Ends the joint of `attach`."""
        ...

    def freeze_fingers(self, holder: Holder) -> None:
        """Keeps the fingers where they are until the gripper is asked to open, which ends `frozen`."""
        ...


class Attachments:
    """The bodies attached to end effectors. Several may hold one body, as in a hand-over."""

    def __init__(self, world: GraspingWorld) -> None:
        self._world = world
        self._grips: dict[Holder, Grip] = {}

    @property
    def grips(self) -> dict[Holder, Grip]:
        """The present grips by end effector, which `restore` takes back."""
        return self._grips.copy()

    @property
    def held_by(self) -> dict[Holder, str]:
        """The held body by end effector; empty grippers are absent."""
        return {holder: grip.body for holder, grip in self._grips.items()}

    @property
    def held(self) -> frozenset[str]:
        """The bodies that are held."""
        return frozenset(grip.body for grip in self._grips.values())

    def pending(self, holders: Iterable[Holder]) -> list[Holder]:
        """Returns the end effectors that may grasp or release in this period: `update` does nothing to the others."""
        return [holder for holder in holders if self._may_change(holder)]

    def update(self, holder: Holder) -> None:
        """Attaches or releases for one end effector of `pending`; called after every physics step."""
        if holder in self._grips:
            if self._may_change(holder):
                self.release(holder)
            return
        touched = self._world.touched_by_all_fingers(holder)
        if touched and self._may_change(holder):
            self.hold(holder, min(touched))
            self._world.freeze_fingers(holder)

    def hold(self, holder: Holder, body: str) -> None:
        """Attaches `body` to an end effector where both are now."""
        self._attach(holder, Grip(body, self._world.body_in_link(holder, body)))

    def release(self, holder: Holder) -> None:
        """Releases the body of an end effector, if any."""
        grip = self._grips.pop(holder, None)
        if grip is not None:
            self._world.detach(holder, grip)

    def restore(self, grips: Mapping[Holder, Grip]) -> None:
        """Releases all bodies, then attaches bodies as in `grips`."""
        for holder in list(self._grips):
            self.release(holder)
        for holder, grip in grips.items():
            self._attach(holder, grip)

    def _attach(self, holder: Holder, grip: Grip) -> None:
        self._world.attach(holder, grip)
        self._grips[holder] = grip

    def _may_change(self, holder: Holder) -> bool:
        target = self._world.gripper_target(holder)
        if target is None:
            return False
        return not target.frozen if holder in self._grips else target.opening < CLOSING_BELOW
