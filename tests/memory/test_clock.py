"""Time: one clock of the owner, events that lie beyond it, robots whose clocks are wrong, and a past that is closed."""

import math
import threading
import time
from contextlib import closing, contextmanager

import pytest

from embodied.errors import AheadOfClockError, ConflictError, MemoryBankError
from embodied.geometry import Pose
from embodied.memory import (
    BankClient,
    BankService,
    EntitySeen,
    Event,
    Interaction,
    LeaseOffice,
    Observed,
    Outbox,
    Reopened,
    RetentionConfig,
    RobotRegistered,
    RobotReported,
    SimulatedClock,
    SkillSpec,
    StoppedClock,
    UnreachableError,
    WallClock,
    Watermark,
    Withdrawn,
    close_past,
    decode_events,
    open_bank,
    open_read_only,
    reopen_past,
    retain,
    withdraw,
)
from tests.memory.clocks import Machine
from tests.memory.test_service import Fault
from tests.memory.writers import EventFactory, x_of

NOW_S = 1.79e9
YEAR_S = 365 * 86_400.0
HOUR_S = 3600.0


def seen(x, entity="cup"):
    return EntitySeen(entity, "cup", Pose((x, 0.0, 0.0)))


def stamps(service):
    return [event.valid_time_s for event in service._bank.changes_since(0)]


@pytest.fixture
def machine():
    """The machine of the bank's owner."""
    return Machine(NOW_S)


@pytest.fixture
def service():
    with BankService(open_bank(":memory:", clock=WallClock(wall=lambda: NOW_S))) as made:
        yield made


@contextmanager
def robot(link, name, clock=None, path=None):
    with BankClient(link, Outbox(path), writer=name, timeout_s=5.0, clock=clock) as client:
        yield client


# --- The clock of the owner -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step_s", [-HOUR_S, HOUR_S, -YEAR_S, YEAR_S])
def test_a_step_of_the_systems_clock_changes_no_time_and_no_duration(machine, step_s):
    with open_bank(":memory:", clock=machine.clock()) as bank:
        office = LeaseOffice(bank)
        lease = office.acquire("fetch", "a", duration_s=30.0)
        assert lease.expires_s == NOW_S + 30.0
        machine.steps(step_s)
        machine.passes(29.0)
        with pytest.raises(ConflictError, match="'a' has it"):
            office.acquire("fetch", "b", duration_s=30.0)
        machine.passes(1.0)
        assert office.acquire("fetch", "b", duration_s=30.0).expires_s == NOW_S + 60.0


@pytest.mark.parametrize("step_s", [-HOUR_S, 0.0, HOUR_S])
def test_across_a_restart_a_lease_ends_on_time_and_never_early_whatever_the_clock_was_set_to(machine, tmp_path, step_s):
    url = f"sqlite:///{tmp_path / 'bank.db'}"
    with open_bank(url, clock=machine.clock()) as bank:
        LeaseOffice(bank).acquire("fetch", "a", duration_s=30.0)
        machine.passes(10.0)
        bank.append(Event("eye", 1, NOW_S, seen(1.0)))  # The owner is known to have lived until here.
    machine.steps(min(step_s, 0.0))
    with open_bank(url, clock=machine.clock()) as bank:
        assert bank.clock().time_s >= NOW_S + 10.0
        office = LeaseOffice(bank)
        machine.passes(19.0)
        with pytest.raises(ConflictError, match="'a' has it"):
            office.acquire("fetch", "b", duration_s=30.0)
        machine.steps(step_s)
        machine.passes(1.0)
        office.acquire("fetch", "b", duration_s=30.0)


def test_received_times_ascend_across_restarts_and_the_clock_never_stands_still(machine, tmp_path):
    url, received = f"sqlite:///{tmp_path / 'bank.db'}", []
    for number in range(1, 5):
        with open_bank(url, clock=machine.clock()) as bank:
            bank.append(Event("eye", number, NOW_S, seen(1.0)))
            before_s = bank.clock().time_s
            machine.passes(5.0)
            assert bank.clock().time_s == pytest.approx(before_s + 5.0, abs=1e-3)
            received += [event.received_time_s for event in bank.changes_since(number - 1)]
        machine.steps(-HOUR_S)
    assert received == sorted(received)


def test_a_lease_is_not_granted_for_longer_than_a_day(service):
    with pytest.raises(MemoryBankError, match="86400 s"):
        service.lease("fetch", "a", duration_s=30e9)
    assert service.lease("fetch", "a", duration_s=86_400.0).epoch == 1


def test_simulated_time_stands_still_until_the_driver_advances_it_and_never_runs_backwards(tmp_path):
    url = f"sqlite:///{tmp_path / 'bank.db'}"
    with open_bank(url, clock=SimulatedClock()) as bank:
        assert (bank.advance(7.5), bank.advance(3.0), bank.clock().time_s) == (7.5, 7.5, 7.5)
        bank.append(Event("eye", 1, 5.0, seen(1.0)))
        for time_s in (math.nan, math.inf, 1.79e18, "soon"):
            with pytest.raises(MemoryBankError):
                bank.advance(time_s)
    with open_bank(url, clock=SimulatedClock()) as bank:
        assert bank.clock().time_s == 7.5
    with open_bank(":memory:") as bank, pytest.raises(MemoryBankError, match="simulated clock"):
        bank.advance(1e9)


# --- Events beyond the clock ------------------------------------------------------------------------------------------


def test_stamps_of_another_unit_are_refused_and_hide_nothing(machine):
    with open_bank(":memory:", clock=machine.clock(), half_life_s={"": 86_400.0}) as bank:
        bank.append(Event("good", 1, NOW_S, seen(1.0)))
        for unit, each in (("milliseconds", 1e3), ("microseconds", 1e6), ("nanoseconds", 1e9)):
            for entity in ("dust", "cup"):
                with pytest.raises(AheadOfClockError, match=f"60 s beyond the clock.*looks like {unit}"):
                    bank.append(Event("bad", 1, NOW_S * each, seen(9.0, entity)))
        bank.append(Event("good", 2, NOW_S + 1, seen(2.0)))
        assert (x_of(bank, "cup"), bank.where_is("cup").existence > 0.9, bank.latest_s()) == (2.0, True, NOW_S + 1)
        assert bank.append(Event("bad", 1, NOW_S, seen(3.0, "dust"))) == [3], "the writer goes on"


def test_the_bound_can_be_chosen_and_holds_for_the_times_of_an_interaction_too(machine):
    with open_bank(":memory:", clock=machine.clock(ahead_s=5.0)) as bank:
        bank.append(Event("eye", 1, NOW_S + 5.0, seen(1.0)))
        with pytest.raises(AheadOfClockError, match="5 s beyond"):
            bank.append(Event("eye", 2, NOW_S + 5.1, seen(1.0)))
        late = Interaction("press", "cup", NOW_S, NOW_S, NOW_S, NOW_S + 6.0)
        with pytest.raises(AheadOfClockError):
            bank.append(Event("arm", 1, NOW_S, late, robot="arm"))
    for ahead_s in (-1.0, math.nan, math.inf):
        with pytest.raises(MemoryBankError, match="beyond a clock"):
            machine.clock(ahead_s=ahead_s)


def test_an_event_that_is_sent_again_keeps_its_number_although_the_clock_shows_less_by_then(machine, tmp_path):
    url, event = f"sqlite:///{tmp_path / 'bank.db'}", Event("eye", 1, NOW_S + 59.0, seen(1.0))
    with open_bank(url, clock=machine.clock()) as bank:
        assert bank.append(event) == [1]
    with open_bank(url, clock=machine.clock(ahead_s=0.0)) as bank:
        assert bank.append(event) == [1]


def test_retention_of_a_bank_with_an_old_event_of_the_far_future_keeps_what_is_fresh():
    with open_bank(":memory:", clock=SimulatedClock(1000.0, ahead_s=1e12)) as bank:
        bank.append(Event("bad", 1, 1e12, seen(9.0, "dust")))
        bank.append([Event("good", number, 900.0 + number, seen(1.0)) for number in range(1, 50)])
        bank._log.clock.ahead_s = 60.0  # As an owner of today has it.
        assert retain(bank, RetentionConfig(fresh_s=600.0)).forgotten == {}
        assert sum(retain(bank, RetentionConfig(fresh_s=10.0)).forgotten.values()) > 0


# --- Ages -------------------------------------------------------------------------------------------------------------


def test_ages_count_by_the_owners_clock_and_those_of_a_snapshot_never_change(machine, tmp_path):
    url, near_m = f"sqlite:///{tmp_path / 'bank.db'}", (0.0, 0.0, 0.0)
    half_life_s = {"": 100.0}
    with open_bank(url, clock=machine.clock(), half_life_s=half_life_s) as bank:
        card = RobotRegistered("arm", "arm", (SkillSpec("pick"),))
        bank.append([Event("arm", 1, NOW_S, card, robot="arm"), Event("eye", 1, NOW_S, seen(1.0))])
        bank.append(Event("arm", 2, NOW_S, RobotReported(Pose()), robot="arm"))
        held = bank.snapshot()
        machine.passes(100.0)
        assert bank.where_is("cup").existence == pytest.approx(0.5)
        assert [one.age_s for one in bank.skill_candidates("pick", near_m)] == [100.0]
        assert bank.skill_candidates("pick", near_m, max_age_s=99.0) == [], "a silent robot is left out by itself"
        before = held.where_is("cup"), held.skill_candidates("pick", near_m)
        assert (before[0].existence, before[1][0].age_s) == (1.0, 0.0)
        bank.append(Event("eye", 2, NOW_S + 100.0, seen(2.0, "jug")))
        machine.passes(1e6)
        assert (held.where_is("cup"), held.skill_candidates("pick", near_m)) == before
        newest = bank.snapshot()
        assert newest.where_is("cup").existence == pytest.approx(0.5), "a snapshot stands at its last event"
        with open_read_only(url, half_life_s=half_life_s) as read:
            assert read.where_is("cup") == newest.where_is("cup")


# --- Robots whose clocks are wrong ------------------------------------------------------------------------------------


@pytest.mark.parametrize("off_s", [-NOW_S, -YEAR_S, -HOUR_S, HOUR_S, YEAR_S])
def test_a_robot_whose_clock_is_wrong_stamps_by_the_owners_and_hides_no_truth(service, off_s):
    wrong = Machine(NOW_S + off_s)
    with robot(service, "a", wrong.clock()) as a, robot(service, "b") as b:
        for number, client in enumerate((a, b, a, b, a)):
            client.log(seen(float(number)))
            assert x_of(b, "cup") == number, "each hides what was seen before it, and nothing else"
            wrong.steps(-2.0 * off_s * (number == 2))
            time.sleep(0.03)  # Their estimates of the owner's clock differ by less.
    assert all(abs(time_s - NOW_S) < 60.0 for time_s in stamps(service))


@pytest.mark.parametrize("off_s", [-YEAR_S, -HOUR_S, HOUR_S, YEAR_S])
@pytest.mark.parametrize("restarts", [False, True])
def test_what_a_robot_logs_offline_by_a_wrong_clock_is_stamped_again_in_order(service, tmp_path, off_s, restarts):
    link, wrong = Fault(service), Machine(NOW_S + off_s)
    link.down = True
    client = BankClient(link, Outbox(tmp_path / "box"), writer="a", timeout_s=0.01, clock=wrong.clock())
    for number in range(5):
        with pytest.raises(MemoryBankError):
            client.log(Observed(f"{number}"))
    if restarts:
        client.close(timeout_s=0.0)
        wrong.steps(-off_s)
        client = BankClient(link, Outbox(tmp_path / "box"), writer="a", timeout_s=5.0, clock=wrong.clock())
    link.down = False
    client.flush(timeout_s=5.0)
    assert client.laid_aside() == []
    client.close()
    events = service._bank.changes_since(0)
    assert [(event.writer, event.payload.evidence) for event in events] == [("a", f"{number}") for number in range(5)]
    times = stamps(service)
    assert times == sorted(times)
    assert times[-1] <= NOW_S + 1.0, "none lies ahead of the owner's clock"
    if not restarts:
        assert times[0] > NOW_S - 60.0, "while its program runs a robot knows how long ago it was"


def test_a_robot_goes_on_when_the_owner_is_replaced_by_one_whose_clock_shows_an_hour_less(tmp_path):
    url, late, early = f"sqlite:///{tmp_path / 'bank.db'}", Machine(NOW_S + HOUR_S), Machine(NOW_S)
    link = Fault(None)
    with robot(link, "a") as client:
        with BankService(open_bank(url, clock=early.clock())) as link._service:
            client.log(Observed("1"))
        # While no event came, an hour passed for the second owner, which the third one does not know.
        with BankService(open_bank(url, clock=late.clock())) as link._service:
            client.clock()
            client._site.read()
        with BankService(open_bank(url, clock=early.clock())) as link._service:
            assert [client.log(Observed(name)) for name in ("2", "3")] == [2, 3]
            assert {event.writer for event in link._service._bank.changes_since(0)} == {"a"}
            assert max(stamps(link._service)) < NOW_S + 60.0


def test_what_waits_with_numbers_is_stamped_again_where_robot_and_owner_restart_and_the_clock_shows_less(tmp_path):
    url, late, early = f"sqlite:///{tmp_path / 'bank.db'}", Machine(NOW_S + HOUR_S), Machine(NOW_S)
    link, box = Fault(None), tmp_path / "box"
    client = BankClient(link, Outbox(box), writer="a", timeout_s=5.0)
    with BankService(open_bank(url, clock=early.clock())) as link._service:
        client.log(Observed("1"))
    with BankService(open_bank(url, clock=late.clock())) as link._service:
        client._site.read()
    link.down = True
    client._timeout_s = 0.05
    for name in ("2", "3"):
        with pytest.raises(UnreachableError):
            client.log(Observed(name))
    client.close(timeout_s=0.0)
    waiting = waiting_in(box)
    assert [event.writer_seq for event in waiting] == [2, 3]
    assert min(event.valid_time_s for event in waiting) > NOW_S + 60.0
    link.down = False
    with BankService(open_bank(url, clock=early.clock())) as link._service, robot(link, "a", path=box) as client:
        client.flush()
        assert client.laid_aside() == []
        logged = link._service._bank.changes_since(0)
        assert [(event.writer, event.payload.evidence) for event in logged] == [("a", "1"), ("a", "2"), ("a", "3")]
        assert max(stamps(link._service)) < NOW_S + 60.0


def waiting_in(path):
    with closing(Outbox(path)) as outbox:
        return [event for parcel in outbox.waiting() for event in decode_events(parcel.content)]


def test_a_writer_whose_last_time_lies_in_the_far_future_of_an_older_bank_is_not_silenced(tmp_path):
    url = f"sqlite:///{tmp_path / 'bank.db'}"
    machine = Machine(NOW_S)
    with open_bank(url, clock=machine.clock(ahead_s=1e19)) as bank:
        bank.append(Event("a", 1, 1.79e18, Observed("bad")))
    with BankService(open_bank(url, clock=machine.clock())) as service, robot(service, "a") as client:
        assert [client.log(Observed(name)) for name in ("x", "y")] == [2, 3]
        assert all(time_s < NOW_S + 60.0 for time_s in stamps(service)[1:])


def test_a_time_that_the_caller_chose_beyond_the_clock_is_an_error_or_laid_aside(service, tmp_path):
    link = Fault(service)
    client = BankClient(link, Outbox(tmp_path / "box"), writer="a", timeout_s=5.0)
    with pytest.raises(AheadOfClockError):
        client.append(Event("a", 0, NOW_S + YEAR_S, Observed("bad")))
    assert client.log(Observed("good")) == 1
    link.down = True
    client.post(Event("b", 0, NOW_S + YEAR_S, Observed("bad")))
    client.close(timeout_s=0.0)
    link.down = False
    with robot(link, "a", path=tmp_path / "box") as client:
        client.flush()
        ((_, events, reason),) = client.laid_aside()
        assert (events[0].payload.evidence, "beyond the clock" in reason) == ("bad", True)
        assert client.log(Observed("goes on")) == 2


def test_what_is_logged_after_a_time_that_the_caller_chose_within_the_bound_lies_no_earlier(service):
    with robot(service, "a") as client:
        assert client.log(Observed("first")) == 1
        assert client.append(Event("", 0, NOW_S + 30.0, Observed("chosen"))) == [2]
        assert client.log(Observed("next")) == 3
        assert stamps(service)[2] == NOW_S + 30.0


def test_a_bank_keeps_the_kind_of_its_clock(tmp_path):
    simulated, wall = (f"sqlite:///{tmp_path / name}" for name in ("simulated.db", "wall.db"))
    with open_bank(simulated, clock=SimulatedClock(5000.0)) as bank:
        bank.append(Event("a", 1, 5000.0, Observed("x")))
    with open_bank(simulated) as bank:
        assert (bank.clock().simulated, bank.clock().time_s) == (True, 5000.0)
    with open_bank(wall) as bank:
        bank.append(Event("a", 1, 0.0, Observed("x")))
        shown_s = bank.clock().time_s
    for url, wrong in ((simulated, WallClock()), (wall, SimulatedClock())):
        with pytest.raises(MemoryBankError, match="clock of that kind"):
            open_bank(url, clock=wrong)
    with open_bank(wall, clock=StoppedClock()) as bank:  # That of a command.
        time_s = bank.clock().time_s
        with pytest.raises(MemoryBankError, match="stands still"):
            bank.advance(time_s + 1.0)
        assert (bank.clock().time_s, abs(time_s - shown_s) < 1.0) == (time_s, True)
    with open_bank(wall) as bank:
        assert not bank.clock().simulated


@pytest.mark.parametrize(
    "made",
    [
        lambda: SimulatedClock(math.nan),
        lambda: SimulatedClock(math.inf),
        lambda: SimulatedClock(1e300),
        lambda: SimulatedClock("x"),
        lambda: WallClock(ahead_s="x"),
        lambda: WallClock(wall=lambda: math.nan),
        lambda: open_bank(":memory:", clock=5),
    ],
)
def test_a_clock_of_impossible_times_is_refused_before_anything_is_written(made):
    with pytest.raises(MemoryBankError):
        made()


def test_after_a_restart_the_clock_is_not_behind_a_past_that_was_closed_up_to_now(tmp_path):
    url = f"sqlite:///{tmp_path / 'bank.db'}"
    with open_bank(url, clock=SimulatedClock()) as bank:
        bank.append(Event("a", 1, 0.0, Observed("x")))
        bank.advance(10.0004)  # Received times are stored in whole milliseconds.
        close_past(bank)
    with BankService(open_bank(url)) as service:
        assert service.lease("wash", "a", duration_s=10.0).expires_s == 20.0004
        assert withdraw(service._bank, [1], "wrong") == 4


def test_what_the_site_appends_in_several_threads_gets_different_numbers():
    with open_bank(":memory:", clock=SimulatedClock(100.0)) as bank:
        threads = [threading.Thread(target=lambda: [close_past(bank, 0.5) for _ in range(50)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert bank.head == 200


def test_a_robot_in_simulated_time_stamps_by_the_driver():
    with BankService(open_bank(":memory:", clock=SimulatedClock())) as service, robot(service, "a") as client:
        for time_s in (0.0, 1.5, 1.5, 700.0):
            service.advance(time_s)
            client.log(Observed("x"))
        assert stamps(service) == [0.0, 1.5, 1.5, 700.0]


# --- A past that is closed --------------------------------------------------------------------------------------------


def test_one_robot_cannot_stop_the_site(machine, factory):
    with open_bank(":memory:", clock=machine.clock()) as bank:
        for writer, payload in (("robot", Watermark(0.0)), ("site", Watermark(0.0)), ("robot", Reopened())):
            with pytest.raises(MemoryBankError, match="Only the site"):
                bank.append(Event(writer, 1, NOW_S, payload))
        for before_s in (1e12, NOW_S + 1.0):
            with pytest.raises(MemoryBankError, match="past"):
                bank.append(Event("site/past", 1, NOW_S + 59.0, Watermark(before_s)), as_site=True)
            with pytest.raises(MemoryBankError, match="past"):
                close_past(bank, before_s)
        bank.append(factory.seen("cup", 1.0, NOW_S))


def test_a_closed_past_is_opened_again_and_answers_at_earlier_snapshots_stay(machine, factory):
    with open_bank(":memory:", clock=machine.clock()) as bank:
        bank.append(factory.seen("cup", 1.0, NOW_S - 100.0))
        closed = close_past(bank)
        held = bank.snapshot()
        before = held.where_is("cup", as_of_s=NOW_S - 50.0)
        late = EventFactory().seen("cup", 2.0, NOW_S - 60.0, "late")
        with pytest.raises(MemoryBankError, match="closed past"):
            bank.append(late)
        reopen_past(bank, NOW_S - 80.0)
        reopen_past(bank, NOW_S - 1.0)  # A later time closes nothing.
        with pytest.raises(MemoryBankError, match="closed past"):
            bank.append(EventFactory().seen("cup", 2.0, NOW_S - 81.0, "late"))
        bank.append(late)
        assert x_of(bank, "cup", as_of_s=NOW_S - 50.0) == 2.0
        assert held.where_is("cup", as_of_s=NOW_S - 50.0) == before
        assert bank.snapshot(closed).where_is("cup", as_of_s=NOW_S - 50.0) == before
        reopen_past(bank)
        bank.append(EventFactory().seen("mug", 1.0, 0.0, "archive"))
        close_past(bank, NOW_S - 10.0)
        with pytest.raises(MemoryBankError, match="closed past"):
            bank.append(EventFactory().seen("mug", 1.0, NOW_S - 11.0, "other"))
        assert bank.verify().problems == ()
        bank.rebuild()
        assert bank.verify().problems == ()


def test_an_older_bank_that_a_robot_closed_for_ever_is_opened_again(machine, factory):
    with open_bank(":memory:", clock=machine.clock()) as bank:
        bank._log.tables.db.execute("INSERT INTO closed VALUES (0, 1e12)")
        with pytest.raises(MemoryBankError, match="closed past"):
            bank.append(factory.seen("cup", 1.0, NOW_S))
        reopen_past(bank)
        bank.append(EventFactory().seen("cup", 1.0, NOW_S, "eye"))


# --- Eight hours ------------------------------------------------------------------------------------------------------


def shift(hours, robots=4, dies_s=10_000.0):
    """Plays a shift at 1 Hz: every robot reports and renews its lease; the first dies, and the second takes over.

    Returns the simulated times at which the subtask of the dead robot changed its robot, and the number of events.
    """
    taken, subtasks = [], {f"r{i}": f"task {i}" for i in range(robots)}
    with open_bank(":memory:", clock=SimulatedClock()) as bank, BankService(bank) as service:
        leases = {name: service.lease(task, name, duration_s=30.0) for name, task in subtasks.items()}
        for second in range(1, int(hours * HOUR_S) + 1):
            service.advance(float(second))
            living = [name for name in subtasks if name != "r0" or second < dies_s]
            events = [Event(name, second, float(second), RobotReported(Pose()), robot=name) for name in living]
            bank.append_batches([[event] for event in events])
            for name in living if second % 10 == 0 else ():
                leases[name] = service.lease(subtasks[name], name, duration_s=30.0, epoch=leases[name].epoch)
            if second >= dies_s and not taken:
                try:
                    service.lease("task 0", "r1", duration_s=30.0)
                except ConflictError:
                    continue
                taken.append(float(second))
        assert {lease.expires_s for name, lease in leases.items() if name != "r0"} == {hours * HOUR_S + 30.0}
        assert bank.snapshot().where_is("r1") is not None
        return taken, bank.head


def test_a_simulated_half_hour_is_played_in_seconds_and_the_lease_of_a_dead_robot_ends_on_time():
    assert shift(0.5, dies_s=905.0)[0] == [930.0]


@pytest.mark.proof
def test_eight_simulated_hours_are_played_in_minutes_and_leases_expire_on_time():
    taken, events = shift(8.0, dies_s=10_005.0)
    assert taken == [10_030.0]
    assert events > 100_000


def test_clients_in_threads_agree_on_simulated_time():
    with BankService(open_bank(":memory:", clock=SimulatedClock())) as service:

        def work(name):
            with robot(service, name) as client:
                for _ in range(20):
                    client.log(Observed(name))

        threads = [threading.Thread(target=work, args=(f"r{i}",)) for i in range(4)]
        for thread in threads:
            thread.start()
        for second in range(50):
            service.advance(float(second))
        for thread in threads:
            thread.join(30.0)
        assert len(stamps(service)) == 80
        for event in service._bank.changes_since(0):
            assert event.valid_time_s <= event.received_time_s


def test_a_log_of_another_era_ages_from_its_newest_event_by_what_has_passed_since():
    """What was recorded last week is as old as it was then; as time passes without events it grows older."""
    machine = Machine(NOW_S)
    with open_bank(":memory:", clock=machine.clock(), half_life_s={"": 3600.0}) as bank:
        bank.append(Event("old", 1, 1_000.0, seen(0.0)))
        bank.append(Event("old", 2, 4_600.0, seen(0.0, "plate")))
        past = bank.snapshot()
        assert bank.where_is("cup").existence == pytest.approx(0.5)
        machine.passes(HOUR_S)
        assert bank.where_is("cup").existence == pytest.approx(0.25)
        assert bank.where_is("plate").existence == pytest.approx(0.5)
        bank.append(Event("late", 1, 900.0, seen(0.0, "fork")))
        assert bank.where_is("plate").existence == pytest.approx(0.5), "a late event does not set the time back"
        assert past.where_is("cup").existence == pytest.approx(0.5), "nor does it change a snapshot"
        bank.append(Event("old", 3, 8_200.0, Withdrawn((2,), "wrong")))
        assert past.where_is("cup").existence == pytest.approx(0.5)


def test_the_newest_time_is_that_of_an_event_which_still_counts(machine):
    """A withdrawn or refused event no longer makes all others old, and snapshots of before stay as they were."""
    with open_bank(":memory:", clock=machine.clock(), half_life_s={"": HOUR_S}) as bank:
        bank.append([Event("old", 1, 1_000.0, seen(0.0)), Event("old", 2, 1_000.0 + HOUR_S, seen(0.0, "plate"))])
        bank.append([Event("bulk", number, 0.0, Observed("x")) for number in range(1, 4_200)])
        past = bank.snapshot()
        assert bank.where_is("cup").existence == pytest.approx(0.5)
        with pytest.raises(MemoryBankError):
            bank.append([Event("new", 1, 9_000.0, Observed("x")), Event("new", 2, 8_000.0, Observed("back"))])
        assert bank.where_is("cup").existence == pytest.approx(0.5)
        bank.append(Event("old/late", 1, 500.0, Withdrawn((2,), "wrong")))
        assert bank.where_is("cup").existence == pytest.approx(1.0)
        assert past.where_is("cup").existence == pytest.approx(0.5)
