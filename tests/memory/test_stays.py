"""What a store held at an instant, found without looking through all that ever passed through it."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from embodied.memory import RelationEnded, open_bank
from embodied.memory.projections.stays import OFFSET, node_of
from tests.memory.work import work_of
from tests.memory.writers import EventFactory

THINGS, STORES = ("a", "b", "c"), ("x", "y")
MOVES = st.tuples(
    st.sampled_from(THINGS), st.sampled_from((*STORES, "")), st.floats(-3.0, 6.0).map(lambda time_s: round(time_s, 1))
)


@settings(max_examples=100, deadline=None)
@given(st.lists(MOVES, max_size=25))
def test_at_every_instant_a_store_holds_the_things_whose_parent_it_is(moves):
    factory = EventFactory()
    with open_bank(":memory:") as bank:
        for number, (thing, store, time_s) in enumerate(moves):
            there = bank.where_is(thing)
            version = there.version if there else 0
            if store:
                event = factory.put(thing, "in", store, version, time_s=time_s, writer=f"w{number}")
            elif there and there.parent:
                event = factory.event(RelationEnded(thing, "in", there.parent, version), time_s, f"w{number}")
            else:
                continue
            bank.append(event)
        for view in (bank, bank.snapshot(bank.head // 3), bank.snapshot(bank.head // 2)):
            for as_of_s in (None, -4.0, -1.05, -0.0, 0.0, 0.1, 2.0, 5.9, 100.0):
                asked = {thing: view.where_is(thing, as_of_s=as_of_s) for thing in THINGS}
                for store in STORES:
                    expected = [thing for thing, there in asked.items() if there and there.parent == store]
                    assert view.contents(store, as_of_s=as_of_s) == expected


def test_the_work_grows_with_what_a_store_holds_not_with_what_passed_through_it(monkeypatch):
    costs = []
    for count in (100, 2000):
        factory = EventFactory()
        with open_bank(":memory:") as bank:
            for number in range(count):
                bank.append(factory.put(f"thing_{number}", "in", "store", 0, time_s=float(number), writer="in"))
                bank.append(factory.event(RelationEnded(f"thing_{number}", "in", "store", 1), number + 2.5, "out"))
            middle = count // 2
            expected = sorted(f"thing_{middle - late}" for late in range(3))
            assert bank.contents("store", as_of_s=float(middle)) == expected
            held = bank.snapshot(2 * middle - 1)
            past = work_of(monkeypatch, bank, lambda bank=bank, at=float(middle): bank.contents("store", as_of_s=at))
            costs.append((*past, *work_of(monkeypatch, bank, lambda held=held: held.contents("store"))))
    assert all(many <= 1.5 * few + 20 for few, many in zip(*costs, strict=True)), costs


@given(st.integers(1 - OFFSET, OFFSET - 1), st.integers(1 - OFFSET, OFFSET - 1), st.integers(1 - OFFSET, OFFSET - 1))
def test_a_point_in_an_interval_finds_the_node_of_the_interval(first, last, point):
    low, high = min(first, last), max(first, last)
    node = node_of(low, high)
    assert low <= node <= high
    nodes = [(((point + OFFSET) >> bit | 1) << bit) - OFFSET for bit in range(64)]
    assert not low <= point <= high or node in nodes
    assert math.isfinite(node)
