"""Invalid queries are refused in the same way by a bank, a view and a client, and by closed ones."""

import math

import msgspec
import numpy as np
import pytest

from embodied.errors import MemoryBankError, NotGiven
from embodied.geometry import Pose
from embodied.memory import (
    BankClient,
    BankService,
    EntitySeen,
    EpisodeBegun,
    Event,
    EventFilter,
    Lease,
    LeaseGranted,
    Order,
    Outbox,
    Query,
    Ranking,
    RobotRegistered,
    RobotReported,
    SimulatedClock,
    Situation,
    SkillSpec,
    UnreachableError,
    open_bank,
    recall_ranked,
)
from tests.memory.links import socket_link
from tests.memory.writers import EventFactory, home, unit

NAN, INF = float("nan"), float("inf")
EAST = np.array([1.0, 0.0, 0.0, 0.0], np.float32)

NONSENSE = {
    "where: nan time": lambda bank: bank.where_is("cup", as_of_s=NAN),
    "where: text as time": lambda bank: bank.where_is("cup", as_of_s="now"),
    "where: true as time": lambda bank: bank.where_is("cup", as_of_s=True),
    "where: a time beyond floats": lambda bank: bank.where_is("cup", as_of_s=10**400),
    "where: nobody": lambda bank: bank.where_is(None),
    "where: empty": lambda bank: bank.where_is(""),
    "contents: nothing": lambda bank: bank.contents(None),
    "contents: several": lambda bank: bank.contents(["kitchen"]),
    "contents: nan time": lambda bank: bank.contents("kitchen", as_of_s=NAN),
    "related: nan time": lambda bank: bank.related("cup", as_of_s=NAN),
    "related: nothing": lambda bank: bank.related(None),
    "places: nan time": lambda bank: bank.places(as_of_s=NAN),
    "history: number as name": lambda bank: bank.history(3),
    "history: nan": lambda bank: bank.history("cup", from_s=NAN),
    "history: reversed": lambda bank: bank.history("cup", from_s=2.0, to_s=1.0),
    "history: unknown kind": lambda bank: bank.history("cup", kinds=["telepathy"]),
    "history: bare kind": lambda bank: bank.history("cup", kinds="interaction"),
    "history: no kinds": lambda bank: bank.history("cup", kinds=None),
    "changes: negative limit": lambda bank: bank.changes_since(0, limit=-1),
    "changes: no limit": lambda bank: bank.changes_since(0, limit=0),
    "changes: half a limit": lambda bank: bank.changes_since(0, limit=1.5),
    "changes: true as limit": lambda bank: bank.changes_since(0, limit=True),
    "changes: half a number": lambda bank: bank.changes_since(0.5),
    "changes: no number": lambda bank: bank.changes_since(None),
    "changes: negative": lambda bank: bank.changes_since(-1),
    "changes: bare kind": lambda bank: bank.changes_since(0, wanted=EventFilter(kinds="interaction")),
    "changes: unknown kind": lambda bank: bank.changes_since(0, wanted=EventFilter(kinds=("x",))),
    "changes: bare entity": lambda bank: bank.changes_since(0, wanted=EventFilter(entities="cup")),
    "changes: number as robot": lambda bank: bank.changes_since(0, wanted=EventFilter(robot=1)),
    "changes: no filter": lambda bank: bank.changes_since(0, wanted="interaction"),
    "able: nan": lambda bank: bank.skill_candidates("pick", (NAN, 0.0, 0.0)),
    "able: infinite": lambda bank: bank.skill_candidates("pick", (INF, 0.0, 0.0)),
    "able: flat": lambda bank: bank.skill_candidates("pick", (0.0, 0.0)),
    "able: nowhere": lambda bank: bank.skill_candidates("pick", None),
    "able: words": lambda bank: bank.skill_candidates("pick", ("0", "0", "0")),
    "able: nan time": lambda bank: bank.skill_candidates("pick", (0.0, 0.0, 0.0), as_of_s=NAN),
    "able: no skill": lambda bank: bank.skill_candidates("", (0.0, 0.0, 0.0)),
    "able: number as context": lambda bank: bank.skill_candidates("pick", (0.0, 0.0, 0.0), context=3),
    "why: words": lambda bank: bank.why("3"),
    "why: half": lambda bank: bank.why(1.5),
    "why: nan": lambda bank: bank.why(NAN),
    "why: negative": lambda bank: bank.why(-1),
    "why: true": lambda bank: bank.why(True),
    "event: words": lambda bank: bank.event("3"),
    "nth: none": lambda bank: bank.nth_interaction(0),
    "nth: half": lambda bank: bank.nth_interaction(1.5),
    "nth: true": lambda bank: bank.nth_interaction(True),
    "nth: reversed": lambda bank: bank.nth_interaction(1, between_s=(2.0, 1.0)),
    "nth: nan": lambda bank: bank.nth_interaction(1, between_s=(NAN, 1.0)),
    "nth: one end": lambda bank: bank.nth_interaction(1, between_s=(1.0,)),
    "nth: number as interval": lambda bank: bank.nth_interaction(1, between_s=1.0),
    "nth: several entities": lambda bank: bank.nth_interaction(1, entity=("cup",)),
    "similar: not of unit length": lambda bank: bank.similar_episodes(2 * EAST, "m"),
    "similar: nan": lambda bank: bank.similar_episodes(NAN * EAST, "m"),
    "similar: none": lambda bank: bank.similar_episodes(None, "m"),
    "similar: no model": lambda bank: bank.similar_episodes(EAST, ""),
    "similar: negative": lambda bank: bank.similar_episodes(EAST, "m", top_k=-1),
    "similar: another size": lambda bank: bank.similar_episodes(EAST[:3], "m"),
    "recall: no query": lambda bank: bank.recall("cup"),
    "recall: bare entity": lambda bank: bank.recall(Query(entities="cup")),
    "recall: number as entity": lambda bank: bank.recall(Query(entities=(3,))),
    "recall: bare label": lambda bank: bank.recall(Query(text_labels="x")),
    "recall: bare kind": lambda bank: bank.recall(Query(kinds="moment_stored")),
    "recall: events": lambda bank: bank.recall(Query(kinds=("interaction",))),
    "recall: unknown order": lambda bank: bank.recall(Query(order="eldest")),
    "recall: no order": lambda bank: bank.recall(Query(order=None)),
    "recall: nan interval": lambda bank: bank.recall(Query(time_s=(NAN, 1.0))),
    "recall: number as interval": lambda bank: bank.recall(Query(time_s=3.0)),
    "recall: number as region": lambda bank: bank.recall(Query(region=3)),
    "recall: region of words": lambda bank: bank.recall(Query(region=(("a", "b"), ("c", "d"), ("e", "f")))),
    "recall: number as robot": lambda bank: bank.recall(Query(robot=3)),
    "recall: nothing at all": lambda bank: bank.recall(Query(top_k=0)),
    "recall: ragged embedding": lambda bank: bank.recall(Query(embedding=[[1.0], [0.0, 0.0]], model_id="m")),
}  # fmt: skip
SNAPSHOTS = {
    "the future": 99, "the time before": -1, "true": True, "half": 0.5, "words": "1", "nan": NAN,
}  # fmt: skip


@pytest.fixture(scope="module")
def asked():
    """One bank, asked itself, through a view, and by clients beside it and over a socket, now and as they held it."""
    factory = EventFactory()
    with BankService(open_bank(":memory:", clock=SimulatedClock(1e6))) as service:
        bank = service._bank
        bank.append([factory.event(place) for place in home()])
        bank.append(factory.event(RobotRegistered("panda", "panda", (SkillSpec("pick"),)), robot="panda"))
        bank.append([factory.state("panda"), factory.seen("cup"), factory.moment(entities=("cup",))])
        bank.append([factory.event(EpisodeBegun("e", "wash", "m", unit(4))), factory.moment(time_s=1.0, axis=1)])
        settings = {"timeout_s": 5.0}
        with (
            BankClient(service, Outbox(None), writer="arm", **settings) as client,
            socket_link(service) as link,
            BankClient(link, Outbox(None), writer="leg", **settings) as far,
        ):
            own = {"bank": bank, "view": bank.snapshot(), "client": client, "held": client.snapshot()}
            yield {**own, "far": far, "far held": far.snapshot()}


def refused(call):
    with pytest.raises(MemoryBankError) as caught:
        call()
    assert caught.value.rule
    assert caught.value.value is not NotGiven.VALUE
    assert caught.value.remedy, caught.value.rule
    return caught.value


@pytest.mark.parametrize("case", NONSENSE)
def test_an_invalid_question_is_refused_alike_by_bank_snapshot_and_client(asked, case):
    payload = {name: str(refused(lambda view=view: NONSENSE[case](view))) for name, view in asked.items()}
    assert len(set(payload.values())) == 1, payload


def test_a_time_that_is_no_number_is_described_as_none_and_one_that_is_nan_to_be_nan(asked):
    for as_of_s, rule in (
        ("now", "a number."), (True, "a number."), ([1.0], "a number."), (NAN, "a number that is not NaN, nor"),
        (np.float32(NAN), "a number that is not NaN, nor"), (10**400, "a number that is not NaN, nor too large"),
    ):  # fmt: skip
        assert f"`as_of_s` must be {rule}" in str(refused(lambda at=as_of_s: asked["bank"].where_is("cup", as_of_s=at)))


@pytest.mark.parametrize("wrong", ["x", NAN, None, [1.0]])
def test_a_timeout_that_is_no_number_is_refused_before_anything_is_waited_for(asked, wrong):
    client = asked["client"]
    if wrong is not None:
        assert "`timeout_s` must be a number" in str(refused(lambda: client.flush(timeout_s=wrong)))
    assert "`timeout_s` must be a number" in str(refused(lambda: client.close(timeout_s=wrong)))
    client.flush(timeout_s=math.inf)
    assert client.where_is("cup"), "It is open yet."


def test_a_client_may_wait_for_ever():
    with (
        BankService(open_bank(":memory:")) as service,
        BankClient(service, Outbox(None), writer="arm", timeout_s=math.inf) as client,
    ):
        for number in range(20):
            client.append(Event("arm", 0, float(number), SEEN.payload))
        client.post([Event("arm", 0, 20.0, SEEN.payload)])
        client.flush()
        assert client.last_of_writer("arm") == (21, 20.0)


@pytest.mark.parametrize("case", SNAPSHOTS)
@pytest.mark.parametrize("way", ["bank", "client"])
def test_only_the_past_can_be_held_still(asked, way, case):
    refused(lambda: asked[way].snapshot(SNAPSHOTS[case]))


@pytest.mark.parametrize("way", ["bank", "client"])
def test_an_invalid_subscription_is_refused(asked, way):
    refused(lambda: asked[way].subscribe(EventFilter(kinds="interaction")))
    refused(lambda: asked[way].subscribe(after_seq=-1))
    assert "leave out `after_seq`" in str(refused(lambda: asked[way].subscribe(after_seq=asked["bank"].head + 1)))
    assert asked[way].subscribe(after_seq=np.int64(asked["bank"].head)).poll() == []
    refused(lambda: asked[way].last_of_writer(None))
    refused(lambda: asked["bank"].subscribe(after_seq=0).poll(limit=0))
    refused(lambda: asked["bank"].newest_lease(None))
    for duration_s in (NAN, "long", 0.0):
        refused(lambda wanted=duration_s: asked["client"].acquire("wash", "panda", duration_s=wanted))
    refused(lambda: asked["client"].acquire("wash", None, duration_s=1.0))
    for lease in (None, "wash", Lease("wash", "panda", 0, 9.0)):  # Epoch 0 would ask for a new one.
        refused(lambda lease=lease: asked["client"].renew(lease, duration_s=1.0))


@pytest.mark.parametrize("way", ["bank", "view", "client", "held"])
def test_what_makes_sense_in_other_words_is_taken(asked, way):
    bank = asked[way]
    for order, times in (("oldest", [0.0, 1.0]), ("newest", [1.0, 0.0]), (Order.OLDEST, [0.0, 1.0])):
        assert [one.moment.time_s for one in bank.recall(Query(order=order))] == times
    one, two = np.int64(1), np.float32(2.0)
    assert bank.changes_since(one, limit=one) == bank.changes_since(1, limit=1)
    assert bank.where_is("cup", as_of_s=two) == bank.where_is("cup", as_of_s=2)
    assert bank.skill_candidates("pick", np.zeros(3), as_of_s=two) == bank.skill_candidates(
        "pick", (0.0, 0.0, 0.0), as_of_s=2.0
    )
    assert bank.event(np.int64(3)) == bank.event(3)
    assert bank.history("cup", kinds=["entity_seen"], from_s=-math.inf) == bank.history("cup", kinds=("entity_seen",))
    assert bank.similar_episodes([1.0, 0.0, 0.0, 0.0], "m", top_k=np.int64(1)) == [("e", 1.0)]


def test_a_ranking_is_asked_with_sense_too(asked):
    here = Situation(time_s=0.0, position_m=(0.0, 0.0, 0.0))
    bank = asked["bank"]
    assert len(recall_ranked(bank.recall, Query(order="oldest"), here, Ranking())) == 2
    refused(lambda: recall_ranked(bank.recall, Query(top_k=-1), here, Ranking()))
    refused(lambda: Situation(time_s=NAN, position_m=(0.0, 0.0, 0.0)))
    refused(lambda: Situation(time_s=0.0, position_m=(NAN, 0.0, 0.0)))


# --- What is logged ---------------------------------------------------------------------------------------------------

SEEN, NEW = EventFactory().seen("cup"), Event("new", 1, 0.0, EventFactory().seen("cup").payload)
NO_EVENTS = {
    "a number": [1], "nothing": None, "words": "cup", "a payload": SEEN.payload,
    "an event and a number": [SEEN, 1], "a number for a writer": [Event(3, 1, 0.0, SEEN.payload)],
    "a mapping": {"a": 1}, "an empty mapping": {}, "events as keys": {NEW: 1}, "events without order": {NEW},
    "a pair of words": ("a", 1),
}  # fmt: skip


@pytest.mark.parametrize("case", NO_EVENTS)
@pytest.mark.parametrize("way", ["bank", "client"])
def test_what_is_no_event_is_not_appended(asked, way, case):
    before = asked["bank"].head
    refused(lambda: asked[way].append(NO_EVENTS[case]))
    assert asked["bank"].head == before
    assert asked["bank"].last_of_writer("panda") == asked["client"].last_of_writer("panda")


@pytest.mark.parametrize("way", ["bank", "client"])
def test_nothing_can_be_appended_and_changes_nothing(asked, way):
    before = asked["bank"].head
    assert asked[way].append([]) == []
    assert asked["bank"].head == before


@pytest.mark.parametrize("way", ["bank", "client"])
def test_numbers_and_arrays_of_numpy_are_taken_as_plain_ones(asked, way):
    bank, writer = asked["bank"], f"numpy/{way}"
    one, half, corner = np.int64(1), np.float32(0.5), np.array([1.0, 2.0, 3.0])
    seen = EntitySeen("numpy", "cup", Pose(corner, np.array([0.0, 0.0, 0.0, 1.0])), confidence=half, hypothesis=one)
    event = Event(writer, one, np.float64(2.0), seen, cause=(one, np.int32(2)))
    (seq,) = asked[way].append(event)
    logged = bank.event(seq)
    assert (logged.writer_seq, logged.valid_time_s, logged.cause) == (1, 2.0, (1, 2))
    assert {type(number) for number in (logged.writer_seq, *logged.cause)} == {int}
    assert logged.payload == EntitySeen("numpy", "cup", Pose((1.0, 2.0, 3.0)), confidence=0.5, hypothesis=1)
    (again,) = asked[way].append([Event(writer, 1, 2, logged.payload, cause=(1, 2))])
    assert again == seq
    state = RobotReported(Pose(tuple(corner)), battery=half)
    (seq,) = asked[way].append([Event(writer, np.uint8(2), half + 2, state, robot="numpy")])
    assert bank.event(seq).payload == RobotReported(Pose((1.0, 2.0, 3.0)), 0.5)
    for fields in (
        {"writer_seq": np.float64(3.0)}, {"valid_time_s": np.float64("nan")}, {"writer_seq": np.bool_(True)},
        {"valid_time_s": np.array([3.0])}, {"cause": (np.float64(1.0),)}, {"valid_time_s": np.datetime64(3, "s")},
        {"payload": RobotReported(Pose(), battery=np.array(0.5))},
    ):  # fmt: skip
        sound = Event(writer, 3, 3.0, state, robot="numpy")
        refused(lambda fields=fields, sound=sound: asked[way].append(msgspec.structs.replace(sound, **fields)))
    assert bank.last_of_writer(writer) == (2, 2.5)


@pytest.mark.parametrize(
    "fields",
    [{"cause": None}, {"cause": (0.5,)}, {"cause": 3}, {"valid_time_s": 10**400}, {"robot": "\ud800"}, {"task": None}],
    ids=repr,
)
def test_an_envelope_of_strange_types_is_refused_and_hinders_no_other_batch(asked, fields):
    bank = asked["bank"]
    number, time_s = bank.last_of_writer("panda")
    strange = msgspec.structs.replace(Event("odd", 1, 0.0, SEEN.payload), **fields)
    sound = Event("panda", number + 1, time_s, SEEN.payload)
    no_batch, refusal, numbers = bank.append_batches([1, [strange], [sound]])
    assert isinstance(no_batch, MemoryBankError)
    assert refusal.rule
    assert refusal.remedy
    assert numbers == [bank.head]
    refused(lambda: bank.append_batches(None))


@pytest.mark.parametrize("half_life_s", [{"cup": 0.0}, {"cup": NAN}, {"cup": -1.0}, {3: 1.0}, 5.0])
def test_invalid_half_lives_are_refused_before_the_file_is_made(tmp_path, half_life_s):
    refused(lambda: open_bank("sqlite:///new.db", root=tmp_path, half_life_s=half_life_s))
    refused(lambda: open_bank(None, root=tmp_path))
    assert not list(tmp_path.iterdir())


# --- After the end ----------------------------------------------------------------------------------------------------

CALLS = {
    "append": lambda bank: bank.append(SEEN),
    "append nothing": lambda bank: bank.append([]),
    "append_batches": lambda bank: bank.append_batches([[SEEN]]),
    "where_is": lambda bank: bank.where_is("cup"),
    "where_is an unknown robot": lambda bank: bank.where_is("ghost"),
    "contents": lambda bank: bank.contents("ghost"),
    "related": lambda bank: bank.related("cup"),
    "places": lambda bank: bank.places(),
    "names": lambda bank: bank.names(),
    "latest_s": lambda bank: bank.latest_s(),
    "history": lambda bank: bank.history(),
    "history of a ghost": lambda bank: bank.history("ghost"),
    "changes_since": lambda bank: bank.changes_since(0),
    "skill_candidates": lambda bank: bank.skill_candidates("pick", (0.0, 0.0, 0.0)),
    "why": lambda bank: bank.why(1),
    "event": lambda bank: bank.event(99),
    "nth_interaction": lambda bank: bank.nth_interaction(1),
    "similar_episodes": lambda bank: bank.similar_episodes(EAST, "m"),
    "recall": lambda bank: bank.recall(Query()),
    "head": lambda bank: bank.head,
    "snapshot": lambda bank: bank.snapshot(),
    "subscribe": lambda bank: bank.subscribe(),
    "last_of_writer": lambda bank: bank.last_of_writer("panda"),
    "newest_lease": lambda bank: bank.newest_lease("wash"),
    "verify": lambda bank: bank.verify(),
    "rebuild": lambda bank: bank.rebuild(),
    "write_snapshot": lambda bank: bank.write_snapshot(),
}


@pytest.fixture
def closed(tmp_path):
    """A bank that was used and then closed, a view of it, and a subscription to it."""
    with open_bank("sqlite:///bank.db", root=tmp_path) as bank:
        lease = EventFactory().event(LeaseGranted("wash", 1, 9.0), writer="leases", robot="a")
        bank.append([EventFactory().seen("cup"), lease], as_site=True)
        bank.recall(Query())
        view, subscription = bank.snapshot(), bank.subscribe()
    return bank, view, subscription


def test_a_closed_bank_says_that_it_is_closed_whatever_it_is_asked_or_given(closed):
    bank, view, subscription = closed
    bank.close()
    own = {"append", "append nothing", "append_batches", "snapshot", "subscribe", "last_of_writer", "newest_lease"}
    own |= {"verify", "rebuild", "write_snapshot"}
    calls = [(name, bank) for name in CALLS] + [(name, view) for name in CALLS if name not in own]
    for name, asked in calls:
        error = refused(lambda name=name, asked=asked: CALLS[name](asked))
        assert type(error) is MemoryBankError, name
        assert "must be open" in str(error), name
    assert "must be open" in str(refused(subscription.poll))


def test_the_service_of_a_closed_bank_says_so_and_what_is_sent_waits(tmp_path):
    service = BankService(open_bank("sqlite:///bank.db", root=tmp_path))
    outbox = Outbox(tmp_path / "outbox.db")
    client = BankClient(service, outbox, writer="arm", timeout_s=2.0)
    client.append(Event("arm", 0, 0.0, SEEN.payload))
    service.close()
    assert "must be open" in str(refused(lambda: client.where_is("cup")))
    with pytest.raises(UnreachableError, match="must be open"):
        client.append(Event("arm", 0, 1.0, SEEN.payload))
    client.close(timeout_s=0.1)
    with pytest.raises(UnreachableError, match="must be open"):
        client.append(Event("arm", 0, 2.0, SEEN.payload))
    with (
        BankService(open_bank("sqlite:///bank.db", root=tmp_path)) as again,
        BankClient(again, Outbox(tmp_path / "outbox.db"), writer="arm") as later,
    ):
        assert later.last_of_writer("arm") == (2, 1.0)
