"""Leases: one robot at a time, until the site clock says otherwise, and no outcome under a stale epoch."""

from dataclasses import replace

import pytest

from embodied.errors import ConflictError, MemoryBankError
from embodied.geometry import Pose
from embodied.memory import (
    Event,
    Lease,
    LeaseOffice,
    RobotRegistered,
    RobotReported,
    SimulatedClock,
    SkillSpec,
    SubtaskEnded,
    open_bank,
)


class Site:
    """A bank, an office, and a clock that the test turns."""

    def __init__(self, bank):
        self.bank = bank
        self.office = LeaseOffice(bank)
        self.logged = 0

    @property
    def now_s(self):
        return self.bank.clock().time_s

    @now_s.setter
    def now_s(self, time_s):
        self.bank.advance(time_s)

    def end(self, lease):
        self.logged += 1
        payload = SubtaskEnded(lease.subtask, "success", epoch=lease.epoch)
        return self.bank.append(Event(f"{lease.robot}/{self.logged}", 1, self.now_s, payload, robot=lease.robot))


@pytest.fixture
def site():
    with open_bank(":memory:", clock=SimulatedClock(100.0)) as bank:
        yield Site(bank)


def test_a_lease_is_for_one_robot_until_it_expires_by_the_site_clock(site):
    assert site.office.acquire("wash", "a", duration_s=10.0) == Lease("wash", "a", 1, 110.0)
    site.now_s = 109.999
    with pytest.raises(ConflictError, match="'a' has it until 110"):
        site.office.acquire("wash", "b", duration_s=10.0)
    assert site.office.acquire("dry", "b", duration_s=10.0).epoch == 1
    site.now_s = 110.0
    assert site.office.acquire("wash", "b", duration_s=10.0) == Lease("wash", "b", 2, 120.0)


def test_an_outcome_under_a_stale_epoch_is_rejected_and_that_of_the_newest_counts_once(site):
    stale = site.office.acquire("wash", "a", duration_s=1.0)
    site.now_s = 105.0
    fresh = site.office.acquire("wash", "b", duration_s=10.0)
    with pytest.raises(ConflictError, match="no longer yours"):
        site.end(stale)
    with pytest.raises(ConflictError):
        site.end(replace(fresh, robot="a"))
    site.end(fresh)
    with pytest.raises(MemoryBankError, match="only once"):
        site.end(fresh)
    with pytest.raises(ConflictError, match="ended"):
        site.office.acquire("wash", "a", duration_s=1.0)


def test_a_subtask_that_ended_without_a_lease_stays_ended(site):
    def end(writer, epoch=0):
        return site.bank.append(Event(writer, 1, 100.0, SubtaskEnded("wash", "success", epoch=epoch), robot="a"))

    end("a/first")
    with pytest.raises(MemoryBankError, match=r"only once.*It ended with event 1"):
        end("a/second")
    with pytest.raises(ConflictError, match="ended must not be leased again"):
        site.office.acquire("wash", "b", duration_s=10.0)
    with pytest.raises(MemoryBankError):
        end("b/third", epoch=1)
    assert site.office.acquire("dry", "b", duration_s=10.0).epoch == 1
    assert site.bank.verify().problems == ()


def test_an_older_bank_in_which_a_subtask_ended_twice_is_rebuilt_and_the_first_end_counts(site):
    log = site.bank._log
    spatial, *others = log.projections
    for number in (1, 2):
        log.projections = ()  # As an older version wrote them: without the check.
        site.bank.append(Event("a", number, 100.0, SubtaskEnded("wash", "success"), robot="a"))
    log.projections = (spatial, *others)
    site.bank.rebuild()
    assert site.bank.verify().problems == ()
    with pytest.raises(ConflictError, match="It ended with event 1"):
        site.office.acquire("wash", "b", duration_s=10.0)


def test_a_renewal_prolongs_and_outdates_the_lease_before(site):
    first = site.office.acquire("wash", "a", duration_s=10.0)
    site.now_s = 109.0
    second = site.office.renew(first, duration_s=10.0)
    assert second == Lease("wash", "a", 2, 119.0)
    with pytest.raises(ConflictError, match="'a' has epoch 2"):
        site.office.renew(first, duration_s=10.0)
    site.now_s = 118.0
    with pytest.raises(ConflictError):
        site.office.acquire("wash", "b", duration_s=1.0)
    with pytest.raises(ConflictError):
        site.end(first)
    site.end(second)


def test_a_lease_that_another_robot_took_over_cannot_be_renewed(site):
    first = site.office.acquire("wash", "a", duration_s=1.0)
    site.now_s = 102.0
    site.office.acquire("wash", "b", duration_s=1.0)
    site.now_s = 104.0
    with pytest.raises(ConflictError, match="'b' has epoch 2"):
        site.office.renew(first, duration_s=10.0)


def test_asking_again_for_ones_own_lease_after_a_lost_answer_gives_a_newer_one(site):
    site.office.acquire("wash", "a", duration_s=10.0)
    assert site.office.acquire("wash", "a", duration_s=10.0).epoch == 2


def test_a_clock_that_is_set_back_does_not_shorten_or_stop_leases(site):
    site.office.acquire("wash", "a", duration_s=10.0)
    site.now_s = 50.0
    assert site.office.acquire("dry", "b", duration_s=10.0).expires_s == 110.0


def test_leases_and_epochs_survive_their_owner(tmp_path):
    url = f"sqlite:///{tmp_path / 'bank.db'}"
    with open_bank(url, clock=SimulatedClock(5.0)) as bank:
        lease = LeaseOffice(bank).acquire("wash", "a", duration_s=10.0)
    with open_bank(url, clock=SimulatedClock(6.0)) as bank:
        office = LeaseOffice(bank)
        with pytest.raises(ConflictError):
            office.acquire("wash", "b", duration_s=1.0)
        assert office.renew(lease, duration_s=10.0).epoch == 2


@pytest.mark.parametrize("duration_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_duration_must_be_finite_and_positive(site, duration_s):
    with pytest.raises(MemoryBankError, match="duration"):
        site.office.acquire("wash", "a", duration_s=duration_s)
    assert site.bank.head == 0
    with pytest.raises(MemoryBankError):
        site.office.acquire("", "a", duration_s=1.0)


def test_a_renewal_never_ends_before_what_it_renews(site):
    lease = site.office.acquire("wash", "a", duration_s=100.0)
    shorter = site.office.renew(lease, duration_s=1.0)
    assert shorter == Lease("wash", "a", 2, 200.0)
    site.now_s = 199.0
    with pytest.raises(ConflictError, match="'a' has it until 200"):
        site.office.acquire("wash", "b", duration_s=1.0)
    assert site.office.renew(shorter, duration_s=10.0).expires_s == 209.0


@pytest.mark.parametrize(
    "lease", [None, "wash", ("wash", "a", 1, 9.0), Lease("wash", "a", 0, 9.0), Lease("wash", None, 1, 9.0)], ids=repr
)
def test_only_a_lease_can_be_renewed(site, lease):
    site.office.acquire("wash", "a", duration_s=1.0)
    with pytest.raises(MemoryBankError) as caught:
        site.office.renew(lease, duration_s=1.0)
    assert caught.value.remedy
    assert site.bank.head == 1


def test_candidates_as_of_a_time_wait_for_the_leases_of_then(site):
    card = RobotRegistered("a", "panda", (SkillSpec("wash", cost_s=10.0),), speed_mps=1.0)
    report = RobotReported(Pose((0.0, 0.0, 0.0)))
    site.bank.append([Event("a", 1, 50.0, card, robot="a"), Event("a", 2, 50.0, report, robot="a")])

    def cost_s(as_of_s):
        return site.bank.skill_candidates("wash", (0.0, 0.0, 0.0), as_of_s=as_of_s)[0].cost_s

    lease = site.office.acquire("dishes", "a", duration_s=1000.0)
    site.now_s = 110.0
    renewed = site.office.renew(lease, duration_s=1000.0)
    site.now_s = 120.0
    costs = [cost_s(99.0), cost_s(105.0), cost_s(115.0)]
    assert costs == [20.0, 40.0, 40.0]
    site.end(renewed)
    assert [cost_s(99.0), cost_s(105.0), cost_s(115.0), cost_s(125.0)] == [*costs, 20.0]
