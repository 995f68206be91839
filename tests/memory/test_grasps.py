"""A hold ends with the evidence against it: what was seen where no gripper can be is not held, and stays there."""

import pytest

from embodied.errors import MemoryBankError
from embodied.geometry import Pose
from embodied.memory import EntitySeen, RobotRegistered, RobotReported, SimulatedClock, SkillSpec, open_bank
from tests.memory.writers import EventFactory

SIZE_M = (0.08, 0.08, 0.1)
ORIGIN, AHEAD = Pose(), Pose((0.5, 0.0, 0.5))


class Scene:
    """An arm at the origin that grasped a cup at 2 s, its tool at (0.5, 0, 0.5)."""

    def __init__(self, bank, *, tool=AHEAD, reach_m=0.8, speed_mps=0.0):
        self.bank, self.factory = bank, EventFactory()
        registered = RobotRegistered("arm", "panda", (SkillSpec("pick"),), reach_m=reach_m, speed_mps=speed_mps)
        bank.append(self.factory.event(registered, 0.0, "arm", robot="arm"))
        self.report(1.0, tool)
        self.see(1.0, (0.5, 0.0, 0.5))
        bank.append(self.factory.put("cup", "held_by", "arm", time_s=2.0))

    def report(self, time_s, tool, base=ORIGIN):
        self.bank.append(self.factory.event(RobotReported(base, tool=tool), time_s, "arm", robot="arm"))

    def see(self, time_s, position_m, size_m=SIZE_M):
        self.bank.append(self.factory.event(EntitySeen("cup", "cup", Pose(position_m), size_m=size_m), time_s))

    def believed(self):
        there = self.bank.where_is("cup")
        held = self.bank.contents("arm") == ["cup"]
        assert held == (there.parent == "arm")
        return tuple(round(value, 6) for value in there.pose.position_m), held


@pytest.fixture
def bank():
    with open_bank(":memory:", clock=SimulatedClock(ahead_s=1e6)) as made:
        yield made


def test_a_dropped_thing_stays_where_it_was_seen_when_the_gripper_moves_on(bank):
    scene = Scene(bank)
    for time_s in range(50, 55):
        scene.see(float(time_s), (3.0, 3.0, 0.04))
    scene.report(60.0, Pose((0.0, 0.5, 0.5)))
    assert scene.believed() == ((3.0, 3.0, 0.04), False)
    assert bank.where_is("cup", as_of_s=10.0).parent == "arm"


def test_a_thing_seen_at_the_gripper_is_held_and_moves_with_it(bank):
    scene = Scene(bank)
    scene.see(3.0, (0.52, 0.0, 0.45))
    scene.report(4.0, Pose((0.5, 0.3, 0.5)))
    assert scene.believed() == ((0.52, 0.3, 0.45), True)


def test_a_tool_may_have_moved_since_it_was_reported(bank):
    scene = Scene(bank)
    scene.report(3.0, Pose((0.5, 0.0, 0.5)))
    scene.see(3.2, (0.1, 0.4, 0.5))  # 0.57 m away after 0.2 s.
    assert scene.believed()[1]
    scene.report(4.0, Pose((0.5, 0.0, 0.5)))
    scene.see(4.0, (0.1, 0.4, 0.5))  # The same, at the time of the report.
    assert not scene.believed()[1]


def test_what_is_held_again_is_held(bank):
    scene = Scene(bank)
    scene.see(50.0, (3.0, 3.0, 0.04))
    bank.append(scene.factory.put("cup", "held_by", "arm", 1, time_s=55.0))
    scene.report(60.0, Pose((0.0, 0.5, 0.5)))
    assert scene.believed() == ((0.0, 0.5, 0.5), True)


@pytest.mark.parametrize(
    ("fields", "held"),
    [({"tool": None}, False), ({"tool": None, "reach_m": 0.0}, True), ({"tool": None, "speed_mps": 0.1}, True)],
)
def test_without_a_tool_the_reach_of_the_base_decides_and_a_base_may_have_driven(bank, fields, held):
    scene = Scene(bank, **fields)
    scene.see(50.0, (3.0, 3.0, 0.04))
    assert scene.believed()[1] is held


def test_a_thing_of_unknown_size_is_not_judged(bank):
    scene = Scene(bank)
    scene.see(50.0, (3.0, 3.0, 0.04), size_m=None)
    assert scene.believed()[1]


@pytest.mark.parametrize("status", ["error", "ERROR", "Charging", " offline "])
def test_a_robot_that_is_unable_is_not_offered_however_it_writes_it(bank, status):
    scene = Scene(bank)
    assert len(bank.skill_candidates("pick", (0.1, 0.0, 0.0))) == 1
    bank.append(scene.factory.event(RobotReported(ORIGIN, status=status), 3.0, "arm", robot="arm"))
    assert bank.skill_candidates("pick", (0.1, 0.0, 0.0)) == []


def test_a_silent_robot_can_be_left_out_and_its_age_is_given(bank):
    Scene(bank)
    bank.advance(601.0)
    (offered,) = bank.skill_candidates("pick", (0.1, 0.0, 0.0))
    assert offered.age_s == 600.0
    assert bank.skill_candidates("pick", (0.1, 0.0, 0.0), max_age_s=599.0) == []
    assert bank.skill_candidates("pick", (0.1, 0.0, 0.0), as_of_s=1.5, max_age_s=10.0)[0].age_s == 0.5
    with pytest.raises(MemoryBankError, match="max_age_s"):
        bank.skill_candidates("pick", (0.1, 0.0, 0.0), max_age_s=-1.0)
