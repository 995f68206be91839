"""The rules of grasping, in a world of facts alone."""

from embodied.geometry import Pose
from embodied.simulators.attachment import Attachments, Grip, GripperTarget, Holder

LEFT, RIGHT, BARE = ("robot", "left"), ("robot", "right"), ("base", "plate")


class Facts:
    """What fingers pursue and touch, written down; what is joined is recorded."""

    def __init__(self) -> None:
        self.targets: dict[Holder, GripperTarget | None] = {LEFT: GripperTarget(1.0, frozen=False), BARE: None}
        self.targets[RIGHT] = GripperTarget(1.0, frozen=False)
        self.touched: dict[Holder, set[str]] = {}
        self.joined: list[tuple[Holder, str]] = []

    def gripper_target(self, holder: Holder) -> GripperTarget | None:
        return self.targets[holder]

    def touched_by_all_fingers(self, holder: Holder) -> set[str]:
        return self.touched.get(holder, set())

    def body_in_link(self, holder: Holder, body: str) -> Pose:
        return Pose((0.0, 0.0, float(len(body))))

    def attach(self, holder: Holder, grip: Grip) -> None:
        self.joined.append((holder, grip.body))

    def detach(self, holder: Holder, grip: Grip) -> None:
        self.joined.remove((holder, grip.body))

    def freeze_fingers(self, holder: Holder) -> None:
        self.close(holder, frozen=True)

    def close(self, holder: Holder, *, frozen: bool = False) -> None:
        self.targets[holder] = GripperTarget(0.0, frozen)


def test_only_a_closing_gripper_that_touches_attaches_and_only_once():
    facts = Facts()
    attachments = Attachments(facts)
    facts.touched = {LEFT: {"cup", "block"}}
    assert attachments.pending([LEFT, RIGHT, BARE]) == []
    attachments.update(LEFT)
    assert attachments.held == frozenset()
    facts.close(LEFT)
    assert attachments.pending([LEFT, RIGHT, BARE]) == [LEFT]
    attachments.update(LEFT)
    attachments.update(LEFT)
    assert attachments.held_by == {LEFT: "block"}
    assert facts.joined == [(LEFT, "block")]
    assert attachments.pending([LEFT, RIGHT, BARE]) == []


def test_opening_releases_and_two_grippers_hold_one_body_until_each_opens():
    facts = Facts()
    attachments = Attachments(facts)
    facts.touched = {LEFT: {"block"}, RIGHT: {"block"}}
    for holder in (LEFT, RIGHT):
        facts.close(holder)
        attachments.update(holder)
    assert attachments.held_by == {LEFT: "block", RIGHT: "block"}
    facts.targets[LEFT] = GripperTarget(1.0, frozen=False)
    assert attachments.pending([LEFT, RIGHT, BARE]) == [LEFT]
    attachments.update(LEFT)
    assert (attachments.held_by, facts.joined) == ({RIGHT: "block"}, [(RIGHT, "block")])


def test_grips_are_restored_as_they_were():
    facts = Facts()
    attachments = Attachments(facts)
    attachments.hold(LEFT, "block")
    saved = attachments.grips
    attachments.release(LEFT)
    attachments.hold(RIGHT, "cup")
    attachments.restore(saved)
    assert attachments.grips == saved == {LEFT: Grip("block", Pose((0.0, 0.0, 5.0)))}
    assert facts.joined == [(LEFT, "block")]
