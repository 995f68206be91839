"""A kind of event and a query are each added at one place; what is left out is refused by name."""

import inspect
from typing import get_args

import msgspec
import pytest

from embodied.errors import MemoryBankError
from embodied.memory import (
    KINDS,
    QUERIES,
    BankClient,
    BankService,
    BankView,
    Kind,
    ReadCall,
    Reads,
    RemoteReads,
    open_bank,
)
from embodied.memory.queries.reads import query
from embodied.memory.schema import kind_table, kinds
from embodied.memory.schema.kind_table import table_of

MEMBERS = get_args(kinds.Payload)


class DoorOpened(msgspec.Struct, frozen=True, tag="door_opened"):
    door: str


ROW = Kind(
    payload=DoorOpened,
    check=lambda *_: None,
    names=lambda _, payload: (payload.door,),
    text=lambda payload, _: payload.door,
)


def test_a_kind_with_a_class_a_place_in_the_union_and_a_row_is_complete():
    table = table_of([*KINDS.values(), ROW], [*MEMBERS, DoorOpened], [*MEMBERS, DoorOpened])
    assert list(table) == [*KINDS, "door_opened"]


@pytest.mark.parametrize(
    ("rows", "members", "declared"),
    [
        pytest.param([], [DoorOpened], [DoorOpened], id="no row"),
        pytest.param([ROW], [], [DoorOpened], id="not in the union"),
        pytest.param([], [], [DoorOpened], id="a class alone"),
        pytest.param([ROW, ROW], [DoorOpened], [DoorOpened], id="two rows"),
    ],
)
def test_an_incomplete_kind_is_refused_by_name(rows, members, declared):
    with pytest.raises(MemoryBankError, match="DoorOpened"):
        table_of([*KINDS.values(), *rows], [*MEMBERS, *members], [*MEMBERS, *declared])


@pytest.mark.parametrize("missing", ["check", "names", "text"])
def test_a_row_cannot_leave_out_what_a_kind_needs(missing):
    columns = {"payload": DoorOpened, "check": ROW.check, "names": ROW.names, "text": ROW.text}
    with pytest.raises(TypeError, match=missing):
        Kind(**{name: value for name, value in columns.items() if name != missing})


def test_payload_classes_are_found_by_their_tag():
    found = kind_table.tagged_classes(vars(kinds) | {"DoorOpened": DoorOpened})
    assert set(found) == {*MEMBERS, DoorOpened}  # SkillSpec has no tag: it is a part of a payload.


def test_tags_and_order_are_those_of_files_that_exist():
    assert list(KINDS) == [
        "place_defined", "entity_seen", "absence_seen", "relation_set", "relation_ended", "entity_merged",
        "robot_registered", "robot_state", "skill_ended", "interaction", "tool_called", "subtask_ended",
        "episode_begun", "episode_ended", "moment_stored", "lease_granted", "past_closed", "forgotten", "observed",
        "withdrawn", "past_reopened", "map_placed",
    ]  # fmt: skip


def test_every_public_method_of_reads_is_a_query_that_views_and_clients_have():
    methods = {name for name, _ in inspect.getmembers(Reads, inspect.isfunction) if not name.startswith("_")}
    assert methods == set(QUERIES)
    for name in QUERIES:
        assert getattr(BankView, name) is getattr(BankClient, name) is getattr(Reads, name)


def test_a_query_that_is_added_is_answered_by_banks_snapshots_and_services(monkeypatch, factory):
    def count(self, *, kind: str = "") -> int:
        return sum(kind in ("", event.kind) for event in self.changes_since(0))

    monkeypatch.setitem(QUERIES, "count", count)  # Undoes the registration after the test.
    monkeypatch.setattr(Reads, "count", query(count), raising=False)
    with open_bank(":memory:") as bank, BankService(bank) as service:
        bank.append([factory.seen("cup"), factory.state("panda")])
        remote = RemoteReads(service.read)
        assert (bank.count(), bank.snapshot(1).count(), bank.count(kind="robot_state")) == (2, 1, 1)
        assert (remote.count(), remote.count(kind="robot_state")) == (2, 1)
        assert service.read(ReadCall("count", seq=1)) == 1


def test_what_is_sent_is_the_name_and_the_arguments_of_a_query():
    sent = []
    RemoteReads(sent.append).where_is("cup", as_of_s=2.0)
    assert sent == [ReadCall("where_is", ("cup",), {"as_of_s": 2.0})]
