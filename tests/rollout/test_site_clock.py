"""Episodes of all runs have one slot after another on the site clock, on any worker."""

from dataclasses import dataclass, replace

import pytest

from embodied.errors import MemoryBankError
from embodied.evaluation.evaluator import evaluate
from embodied.evaluation.plan import Evaluation
from embodied.geometry import Pose
from embodied.memory import BankService, EntitySeen, EpisodeBegun, Event, SimulatedClock, open_bank
from embodied.rollout.bank_feed.run_memory import RunMemory
from embodied.rollout.bank_feed.site_clock import run_start_s, slot_length_s
from embodied.rollout.worker import SimulatorWorker, WorkerConfig
from tests.evaluation.fakes import evaluation
from tests.fakes import FakeControllerConfig, FakePolicyConfig, FakeSimulatorConfig, FakeTask


@dataclass(kw_only=True)
class Observing:
    """The evaluator's own configs, with parts that only `preflight` builds."""

    privileged: bool = True

    def build(self):
        return FakePolicyConfig(privileged=self.privileged).build()


@pytest.mark.parametrize(("limit_s", "slot_s"), [(0.5, 100.0), (60.0, 100.0), (100.0, 200.0), (120.0, 200.0)])
def test_a_slot_is_longer_than_its_episode(limit_s, slot_s):
    assert slot_length_s(limit_s) == slot_s


@pytest.mark.parametrize(
    ("newest_s", "start_s"), [(None, 0.0), (-5.0, 0.0), (0.0, 1000.0), (999.0, 1000.0), (1000.0, 2000.0)]
)
def test_a_run_starts_after_all_that_the_bank_holds(newest_s, start_s):
    with open_bank(":memory:", clock=SimulatedClock(1e4)) as bank:
        if newest_s is not None:
            bank.append(Event("eye", 1, newest_s, EntitySeen("cup", "cup", Pose())))
        assert run_start_s(bank, {"r/p/a": 0.0}) == start_s


def test_a_run_that_the_bank_knows_keeps_its_start_whichever_episode_was_logged():
    with open_bank(":memory:", clock=SimulatedClock(1e4)) as bank:
        bank.append(Event("a", 1, 3000.0, EpisodeBegun("other/p/a", "x")))
        bank.append(Event("b", 1, 5200.0, EpisodeBegun("r/p/c#2", "x")))
        bank.append(Event("eye", 1, 9000.0, EntitySeen("cup", "cup", Pose())))
        assert run_start_s(bank, {"r/p/a": 0.0, "r/p/b": 100.0, "r/p/c": 200.0}) == 5000.0


def test_the_slots_of_a_run_follow_its_own_order_and_no_two_are_the_same():
    jobs = list(evaluation(episodes=3).jobs())
    assert [job.start_s for job in jobs] == [100.0 * slot for slot in range(18)]


# --- Whole evaluations ------------------------------------------------------------------------------------------------


class Inline:
    """Plays jobs with one worker, backwards where asked, and stops after `most` of them."""

    place = "in this process"

    def __init__(self, worker, *, backwards=False, most=None):
        self._worker, self._backwards, self._most = worker, backwards, most

    def __enter__(self):
        return self

    def __exit__(self, *_): ...

    def run(self, jobs):
        worker = SimulatorWorker(self._worker)
        try:
            for number, job in enumerate(reversed(list(jobs)) if self._backwards else jobs):
                if number == self._most:
                    raise KeyboardInterrupt
                yield worker.run(job)
        finally:
            worker.close()


def run(folder, service, *, seed=0, start_s=None, **how):
    """Plays two episodes of one task by two policies, logging to the bank."""
    worker = WorkerConfig(
        simulator=FakeSimulatorConfig(),
        controller=FakeControllerConfig(),
        tasks={"bin_block/strict": FakeTask()},
        policies={"seeing": Observing(), "blind": Observing(privileged=False)},
        memory=RunMemory(link=service, start_s=start_s),
    )
    plan = Evaluation(suite="fake", tier="strict", worker=worker, episodes=2, seed=seed, salt="")
    evaluate(plan, compute=Inline(worker, **how), output=folder, config="", videos=0)
    return plan


def begun(bank):
    found = [(event.valid_time_s, event.payload.episode) for event in bank.history(kinds=("episode_begun",))]
    return {name.partition("/")[2]: time_s for time_s, name in found}, [time_s for time_s, _ in found]


SLOTS = {
    "seeing/bin_block/strict/test/0": 0.0, "blind/bin_block/strict/test/0": 100.0,
    "seeing/bin_block/strict/test/1": 200.0, "blind/bin_block/strict/test/1": 300.0,
}  # fmt: skip


@pytest.fixture
def service():
    with BankService(open_bank(":memory:", clock=SimulatedClock())) as made:
        yield made


@pytest.mark.parametrize("newest_s", [1.79e12, 1.79e18], ids=["milliseconds", "nanoseconds"])
def test_a_run_in_a_bank_whose_times_are_too_large_is_refused_before_it_starts(tmp_path, newest_s):
    with BankService(open_bank(":memory:", clock=SimulatedClock(ahead_s=1e19))) as poisoned:
        poisoned._bank.append(Event("bad", 1, newest_s, EntitySeen("dust", "dust", Pose())))
        with pytest.raises(MemoryBankError, match="resolves a microsecond"):
            run(tmp_path / "out", poisoned)
        assert poisoned.head() == 1
        run(tmp_path / "out", poisoned, start_s=1000.0)  # Where its caller says when it starts, it can be played.
        assert begun(poisoned._bank)[0]["seeing/bin_block/strict/test/0"] == 1000.0


def test_a_run_that_is_to_start_too_late_is_refused_before_it_starts(tmp_path, service):
    with pytest.raises(MemoryBankError, match="resolves a microsecond"):
        run(tmp_path / "out", service, start_s=1.79e12)
    assert service.head() == 0


def test_events_are_received_at_the_time_to_which_the_run_was_advanced(tmp_path, service):
    run(tmp_path / "out", service)
    events = service._bank.changes_since(0, limit=10_000)
    assert all(event.received_time_s == pytest.approx(event.valid_time_s, abs=0.001) for event in events)
    assert service.clock().time_s == pytest.approx(events[-1].valid_time_s)


@pytest.mark.parametrize("backwards", [False, True])
def test_each_episode_has_its_slot_in_whatever_order_they_are_played(tmp_path, service, backwards):
    run(tmp_path / "out", service, backwards=backwards)
    slots, _ = begun(service._bank)
    assert slots == SLOTS


@pytest.mark.parametrize("backwards", [False, True])
def test_a_run_that_was_stopped_goes_on_in_its_own_slots_even_when_others_came_between(tmp_path, service, backwards):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", service, backwards=backwards, most=1)
    service.advance(7000.5)
    service._bank.append(Event("eye", 1, 7000.5, EntitySeen("cup", "cup", Pose())))
    run(tmp_path / "out", service)
    assert begun(service._bank)[0] == SLOTS
    head = service._bank.head
    run(tmp_path / "again", service)
    assert service._bank.head == head, "the same run again logs nothing new"


def test_the_next_run_comes_after_the_last_and_as_of_then_does_not_mix_them(tmp_path, service):
    bank = service._bank
    first = run(tmp_path / "one", service)
    second = run(tmp_path / "two", service, seed=1)
    assert sorted(begun(bank)[1]) == [0.0, 100.0, 200.0, 300.0, 1000.0, 1100.0, 1200.0, 1300.0]
    tool = f"{second.run}/seeing/bin_block/strict/test/{next(iter(second.jobs())).seed}/arm/tool"
    assert bank.where_is(tool, as_of_s=999.0) is None
    assert bank.where_is(tool, as_of_s=1000.0).since_s == 1000.0
    assert bank.where_is("arm", as_of_s=150.0).since_s < 150.0
    assert first.run != second.run


def test_a_start_that_is_given_is_kept_and_belongs_to_the_run(tmp_path, service):
    plan = run(tmp_path / "out", service, start_s=12_300.0)
    assert sorted(begun(service._bank)[1]) == [12_300.0, 12_400.0, 12_500.0, 12_600.0]
    free = replace(plan, worker=replace(plan.worker, memory=RunMemory(link=service)))
    assert free.run != plan.run
