"""Several writers at once want the same thing: nothing is lost, and everything has one parent throughout."""

import threading

import pytest

from embodied.errors import ConflictError, MemoryBankError
from embodied.memory import Event, LeaseGranted, RelationSet, SubtaskEnded, open_bank
from tests.memory.writers import EventFactory

WRITERS = 8
UPDATES = 60
THINGS = 3


def move_about(bank, writer, done):
    """Moves shared things, trying anew after each conflict; `done` gets (thing, version) of every success."""
    for number in range(1, UPDATES + 1):
        thing = f"block_{number % THINGS}"
        while True:
            found = bank.where_is(thing)
            version = found.version if found else 0
            payload = RelationSet(thing, "held_by", writer, expected_version=version)
            try:
                bank.append(Event(writer, number, float(number), payload, robot=writer))
            except ConflictError:
                continue
            done.append((thing, version + 1))
            break


def test_of_conflicting_updates_none_is_lost_and_each_thing_has_one_parent_throughout(tmp_path):
    with open_bank(f"sqlite:///{tmp_path}/bank.db") as bank:
        bank._log.tables.db.execute("PRAGMA synchronous = OFF")  # Durability is not what is tested here.
        done: list[list[tuple[str, int]]] = [[] for _ in range(WRITERS)]
        threads = [threading.Thread(target=move_about, args=(bank, f"robot_{i}", done[i])) for i in range(WRITERS)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            held = bank.snapshot()
            holders = [thing for i in range(WRITERS) for thing in held.contents(f"robot_{i}")]
            assert len(holders) == len(set(holders)), "two robots hold the same thing"
        assert bank.head == WRITERS * UPDATES
        everything = sorted(pair for one in done for pair in one)
        assert everything == [
            (f"block_{i}", version) for i in range(THINGS) for version in range(1, WRITERS * UPDATES // THINGS + 1)
        ], "every success made a version of its own"
        assert bank.verify().problems == ()


@pytest.fixture
def bank():
    with open_bank(":memory:") as made:
        yield made


def grant(robot, epoch, time_s, expires_s, number=1):
    return Event(f"leases/{robot}", number, time_s, LeaseGranted("wash", epoch, expires_s), robot=robot)


def ended(robot, epoch, time_s, number=1):
    return Event(robot, number, time_s, SubtaskEnded("wash", "done", epoch=epoch), robot=robot)


def test_a_lease_that_expired_passes_on_and_its_old_holder_is_fenced_off(bank):
    bank.append(grant("a", 1, 0.0, 10.0), as_site=True)
    with pytest.raises(ConflictError, match="one robot"):
        bank.append(grant("b", 2, 9.0, 20.0), as_site=True)
    bank.append(grant("b", 2, 10.0, 20.0), as_site=True)
    assert bank.newest_lease("wash") == (2, "b", 20.0)
    with pytest.raises(ConflictError, match="no longer yours"):
        bank.append(ended("a", 1, 11.0))
    with pytest.raises(ConflictError, match="no longer yours"):
        bank.append(ended("a", 2, 11.0))
    bank.append(ended("b", 2, 12.0))
    with pytest.raises(MemoryBankError, match="only once"):
        bank.append(ended("b", 2, 13.0, 2))
    with pytest.raises(ConflictError, match="ended"):
        bank.append(grant("a", 3, 30.0, 40.0, 2), as_site=True)
    assert bank.newest_lease("dry") == (0, "", -float("inf"))


def test_a_holder_may_renew_before_its_lease_expires(bank):
    bank.append(grant("a", 1, 0.0, 10.0), as_site=True)
    bank.append(grant("a", 2, 5.0, 15.0, 2), as_site=True)
    with pytest.raises(ConflictError):
        bank.append(ended("a", 1, 6.0))
    bank.append(ended("a", 2, 6.0))


def test_a_write_that_names_the_version_may_be_a_little_behind_in_time(bank):
    factory = EventFactory()
    bank.append(factory.put("block", "in", "box", 0, time_s=10.0))
    bank.append(factory.put("block", "in", "bag", 1, time_s=9.5, writer="kuka"))
    assert bank.contents("box", as_of_s=10.0) == []
    assert bank.contents("bag", as_of_s=10.0) == ["block"]
    assert bank.contents("bag", as_of_s=9.9) == []
