"""Appends that would cost out of proportion are refused wholly, so that one robot holds up no other."""

import time

import pytest

from embodied.errors import MemoryBankError
from embodied.memory import EntityMerged, Event, MomentStored, Observed, Outbox, RelationSet, open_bank
from embodied.memory.schema.limits import DEEPEST_CONTAINMENT, MOST_EVENTS
from tests.memory.writers import EventFactory, unit


@pytest.fixture
def bank():
    with open_bank(":memory:") as made:
        yield made


def nested(count, *, outwards):
    """Things in one another, the outermost or the innermost relation first."""
    pairs = [(i, i + 1) if outwards else (i + 1, i) for i in range(count)]
    return [Event("r", number, 0.0, RelationSet(f"c{a}", "in", f"c{b}")) for number, (a, b) in enumerate(pairs, 1)]


def test_one_append_has_at_most_so_many_events(bank):
    events = [Event("r", number, 0.0, Observed("x")) for number in range(1, MOST_EVENTS + 2)]
    with pytest.raises(MemoryBankError, match="10000 events"):
        bank.append(events)
    with pytest.raises(MemoryBankError, match="10000 events"):
        Outbox(None).add(events, later=True)
    assert bank.append(events[:3]) == [1, 2, 3]


def test_things_are_nested_as_deep_as_is_allowed_and_no_deeper(bank):
    events = nested(DEEPEST_CONTAINMENT + 1, outwards=False)
    bank.append(events[:-1])
    with pytest.raises(MemoryBankError, match="nested at most 256 deep"):
        bank.append(events[-1])
    assert bank.append(Event("r", len(events), 0.0, RelationSet("other", "in", "c3"))) == [len(events)]


@pytest.mark.parametrize("outwards", [True, False])
def test_an_append_of_a_long_chain_ends_soon(bank, outwards):
    begun_s = time.thread_time()
    try:
        bank.append(nested(5_500, outwards=outwards))
    except MemoryBankError as error:
        assert "nested" in str(error)
    assert time.thread_time() - begun_s < 10.0


def test_merges_that_move_much_again_and_again_are_refused(bank):
    factory = EventFactory()
    children = [factory.put(f"k{i}", "in", "b0") for i in range(500)]
    bank.append(children)
    merges = [factory.event(EntityMerged(f"b{i}", f"b{i + 1}")) for i in range(500)]
    with pytest.raises(MemoryBankError, match="rows"):
        bank.append(merges)
    assert bank.where_is("k3").parent == "b0"
    assert bank.append(merges[:10]) == list(range(501, 511))


def test_names_of_moments_count_too(bank):
    names = tuple(f"n{i}" for i in range(1000))
    moments = [Event("r", i, 0.0, MomentStored("e", "m", unit(4), (0.0, 0.0, 0.0), entities=names), robot="r")
               for i in range(1, 400)]  # fmt: skip
    with pytest.raises(MemoryBankError, match="rows"):
        bank.append(moments)
    assert bank.head == 0
