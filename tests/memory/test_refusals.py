"""What the bank refuses: rule, value and remedy are stated, and nothing is written."""

import pickle
import sqlite3

import msgspec
import numpy as np
import pytest

from embodied.errors import ConflictError, DataError, MemoryBankError, NumberTakenError, PathError, SceneError
from embodied.geometry import Pose
from embodied.memory import (
    SCHEMA_VERSION,
    AbsenceSeen,
    EntityMerged,
    EntitySeen,
    EpisodeBegun,
    EpisodeEnded,
    Event,
    Interaction,
    LeaseGranted,
    MomentStored,
    Observed,
    PlaceDefined,
    RelationEnded,
    RelationSet,
    RobotRegistered,
    RobotReported,
    SkillSpec,
    SubtaskEnded,
    ToolCalled,
    Watermark,
    decode_event,
    open_bank,
)
from embodied.memory.schema import kinds
from tests.memory.writers import CORNER, EventFactory, contents_of, home, unit

NAN, INF = float("nan"), float("inf")
HERE = Pose((1.0, 1.0, 1.0))


def forced(kind, **fields):
    """A payload or pose with values that its constructor would refuse, as memory could hold them."""
    made = kind()
    for name, value in fields.items():
        msgspec.structs.force_setattr(made, name, value)
    return made


CORNERS = tuple((float(number), float(number % 2)) for number in range(501))
REFUSED = {
    "nan pose": (EntitySeen("b", "cube", forced(Pose, position_m=(NAN, 0.0, 0.0))), "finite"),
    "non-unit pose": (EntitySeen("b", "cube", forced(Pose, orientation=(0.0, 0.0, 0.0, 2.0))), "unit"),
    "nan robot pose": (RobotReported(forced(Pose, position_m=(0.0, INF, 0.0))), "finite"),
    "nan tool": (RobotReported(HERE, tool=forced(Pose, position_m=(0.0, INF, 0.0))), "finite"),
    "no tool pose": (RobotReported(HERE, tool=(0.0, 0.0, 0.0)), "documented types"),  # type: ignore[arg-type]
    "wrong type": (EntitySeen("b", 3, HERE), "documented types"),  # type: ignore[arg-type]
    "no pose": (EntitySeen("b", "cube", None), "documented types"),  # type: ignore[arg-type]
    "not a payload": (Event("a", 1, 0.0, EntitySeen("b", "cube", HERE)), "known kind"),
    "confidence": (EntitySeen("b", "cube", HERE, confidence=1.5), r"\[0, 1\]"),
    "nan confidence": (EntitySeen("b", "cube", HERE, confidence=NAN), r"\[0, 1\]"),
    "zero confidence": (EntitySeen("b", "cube", HERE, confidence=0.0), "above 0"),
    "negative covariance": (EntitySeen("b", "cube", HERE, tuple((-np.eye(6)).ravel().tolist())), "semi-definite"),
    "short covariance": (EntitySeen("b", "cube", HERE, (1.0, 2.0)), "6 x 6"),
    "no size": (EntitySeen("b", "cube", HERE, size_m=(0.0, 1.0, 1.0)), "positive"),
    "nameless": (EntitySeen("", "cube", HERE), "must not be empty"),
    "hidden absence": (AbsenceSeen("block", 0.4), "half"),
    "nan absence": (AbsenceSeen("block", NAN), "half"),
    "embedding of another size": (MomentStored("e", "m", unit(5), (0.0, 0.0, 0.0)), "same size"),
    "embedding not of unit length": (MomentStored("e", "m", bytes(16), (0.0, 0.0, 0.0)), "unit length"),
    "nan embedding": (MomentStored("e", "m", np.full(4, NAN, "<f4").tobytes(), (0.0, 0.0, 0.0)), "unit length"),
    "no embedding": (MomentStored("e", "m", b"", (0.0, 0.0, 0.0)), "float32"),
    "no model": (MomentStored("e", "", unit(4), (0.0, 0.0, 0.0)), "model"),
    "nan moment": (MomentStored("e", "m", unit(4), (0.0, NAN, 0.0)), "finite"),
    "tokens without count": (MomentStored("e", "m", unit(4), (0.0, 0.0, 0.0), unit(4)), "Tokens"),
    "ragged tokens": (MomentStored("e", "m", unit(4), (0.0, 0.0, 0.0), bytes(20), 2), "Tokens"),
    "second parent": (RelationSet("block", "in", "home"), "two parents"),
    "unknown predicate": (RelationSet("block", "under", "home"), "predicate"),
    "inside itself": (RelationSet("panda", "on", "block", expected_version=0), "inside itself"),
    "related to itself": (RelationSet("panda", "near", "panda"), "itself"),
    "version of a link": (RelationSet("block", "near", "home", expected_version=0), "containment"),
    "end of what is not": (RelationEnded("block", "in", "home"), "holds can end"),
    "self merge": (EntityMerged("block", "block"), "itself"),
    "empty region": (PlaceDefined("hall", "region", "home"), "empty"),
    "flat region": (PlaceDefined("hall", "region", "home", ((0.0, 0.0), (1.0, 0.0), (2.0, 0.0))), "empty"),
    "crossing region": (
        PlaceDefined("hall", "region", "home", ((0.0, 0.0), (3.0, 2.0), (3.0, 0.0), (0.0, 1.0))), "cross",
    ),
    "bow tie": (PlaceDefined("hall", "region", "home", ((0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0))), "cross"),
    "region of two corners": (PlaceDefined("hall", "region", "home", ((0.0, 0.0), (1.0, 1.0))), "empty"),
    "tiny region": (PlaceDefined("hall", "region", "home", ((0.0, 0.0), (1e-5, 0.0), (0.0, 1e-5))), "empty"),
    "flat region of four": (
        PlaceDefined("hall", "region", "home", ((0.0, 0.0), (0.1, 0.3), (0.2, 0.6), (0.05, 0.15))), "empty",
    ),
    "nan region": (PlaceDefined("hall", "region", "home", ((0.0, 0.0), (NAN, 1.0), (1.0, 0.0))), "finite"),
    "no parent": (PlaceDefined("hall", "region", None, CORNER), "site"),
    "unknown parent": (PlaceDefined("hall", "region", "castle", CORNER), "not defined"),
    "parent too narrow": (PlaceDefined("hall", "floor", "kitchen"), "wider"),
    "other level": (PlaceDefined("kitchen", "slot", "home"), "keep its level"),
    "no height": (PlaceDefined("hall", "region", "home", CORNER, 2.0, 1.0), "height"),
    "battery": (RobotReported(HERE, 2.0), r"\[0, 1\]"),
    "skill without schema": (RobotRegistered("panda", "arm", (SkillSpec("pick", "[1]"),)), "JSON object"),
    "skill of broken JSON": (RobotRegistered("panda", "arm", (SkillSpec("pick", "{"),)), "JSON text"),
    "reach": (RobotRegistered("panda", "arm", reach_m=-1.0), "negative"),
    "times of an interaction": (Interaction("pick", "block", 1.0, 3.0, 2.0, 4.0), "ascend"),
    "episode that never began": (EpisodeEnded("nowhere", "success"), "runs"),
    "closed future": (Watermark(11.0), "past"),
    "nothing closed": (Watermark(-INF), "finite"),
    "a number beyond 64 bits": (EpisodeEnded("e", "success", first_seq=2**70), "documented types"),
    "a number beyond 64 bits with a sign": (SubtaskEnded("s", "done", epoch=2**63), "fit into 64 bits"),
    "hypothesis beyond 64 bits with a sign": (EntitySeen("b", "cube", HERE, hypothesis=2**63), "fit into 64 bits"),
    "count beyond 64 bits": (kinds.Forgotten("old", ((1, 2),), 2**64), "documented types"),
    "range beyond 64 bits": (kinds.Forgotten("old", ((1, 2**64),), 1), "documented types"),
    "a long name": (EntitySeen("b" * 1_001, "cube", HERE), "not be longer than 1000 characters"),
    "a long label": (EntitySeen("b", "cube", HERE, labels=("ok", "x" * 1_001)), "not be longer than 1000 characters"),
    "many labels": (EntitySeen("b", "cube", HERE, labels=tuple(map(str, range(1_001)))), "more than 1000 entries"),
    "a long name of a skill": (RobotRegistered("panda", "arm", (SkillSpec("s" * 1_001),)), "1000 characters"),
    "a long text": (Observed("x" * (2**16 + 1)), "longer than 65536 characters"),
    "a large event": (MomentStored("e", "m", unit(4), (0.0, 0.0, 0.0), bytes(2**23 + 4), 1), "8388608 bytes"),
    "JSON nested too deeply": (ToolCalled("t", '{"a":' * 65 + "1" + "}" * 65), "Got 'more than 64 deep'"),
    "JSON with a number that is too large": (ToolCalled("t", '{"a": 1e999}'), "JSON text"),
    "JSON with half of a surrogate pair": (ToolCalled("t", '{"a": "\\ud800"}'), "JSON text"),
    "many corners": (PlaceDefined("hall", "region", "home", CORNERS), "not have more than 500 corners"),
    "many corners of a workspace": (RobotRegistered("panda", "arm", workspace=CORNERS), "500 corners"),
    "lease that has ended": (LeaseGranted("wash", 2, 9.0), "after it begins"),
    "forgetting what others build on": (kinds.Forgotten("old", ((1, 2),), 2), "no state is built"),
    "forgetting the future": (kinds.Forgotten("old", ((90, 99),), 10), "past"),
}  # fmt: skip
STALE = {
    "stale version": (RelationSet("block", "in", "home", expected_version=0), "read again"),
    "lease of another": (LeaseGranted("wash", 2, 20.0), "one robot at a time"),
    "skipped epoch": (LeaseGranted("wash", 3, 200.0), "grow by one"),
    "stale outcome": (SubtaskEnded("wash", "done", epoch=2), "no longer yours"),
    "outcome without lease": (SubtaskEnded("wash", "done"), "newest lease"),
    "lease held by another": (SubtaskEnded("wash", "done", epoch=1), "no longer yours"),
}


@pytest.fixture
def bank(tmp_path):
    """A bank in which a block lies in the kitchen; the robot `other` has leased a subtask; all at 10 s."""
    factory = EventFactory()
    with open_bank("sqlite:///bank.db", root=tmp_path) as made:
        made.append([*(factory.event(place, 1.0, "map") for place in home())])
        made.append([factory.seen("block", 1.0, 10.0, "eye"), factory.moment(time_s=1.0)])
        made.append(factory.put("block", "in", "kitchen", time_s=10.0, writer="eye"))
        made.append(factory.put("kit", "on", "panda", time_s=1.0, writer="eye2"))
        made.append(factory.put("block", "held_by", "kit", 1, time_s=10.5, writer="eye"))
        made.append(factory.put("block", "in", "kitchen", 2, time_s=10.5, writer="eye"))
        made.append(factory.put("block", "held_by", "kit", 3, time_s=10.5, writer="eye"))
        made.append(factory.event(LeaseGranted("wash", 1, 100.0), 10.0, "leases", robot="other"), as_site=True)
        yield made


def refuse(bank, event, error, match):
    before = contents_of(bank)
    with pytest.raises(error, match=match) as caught:
        bank.append([EventFactory().event(EntitySeen("new", "cube", HERE), 50.0, "fresh"), event], as_site=True)
    assert type(caught.value) is error
    assert caught.value.rule
    assert contents_of(bank) == before
    assert bank.where_is("new") is None, "an event of the same append, before the refused one, must not stay either"


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_event_writes_nothing_and_says_why(bank, case):
    payload, match = REFUSED[case]
    expected = {"inside itself": 0}.get(case)
    if expected is not None:
        payload = msgspec.structs.replace(payload, expected_version=expected)
    refuse(bank, Event("panda", 2, 10.0, payload, robot="panda"), MemoryBankError, match)


@pytest.mark.parametrize("case", STALE)
def test_what_builds_on_something_stale_is_a_conflict(bank, case):
    payload, match = STALE[case]
    refuse(bank, Event("panda", 2, 10.0, payload, robot="panda"), ConflictError, match)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"valid_time_s": 0.5}, "backwards"),
        ({"valid_time_s": NAN}, "finite"),
        ({"valid_time_s": "now"}, "finite"),
        ({"writer": ""}, "writer"),
        ({"writer_seq": 0}, "writer"),
        ({"schema_version": SCHEMA_VERSION + 1}, "schema version"),
        ({"schema_version": 0}, "schema version"),
        ({"cause": (99,)}, "before it"),
        ({"cause": (2**64,)}, "before it"),
        ({"cause": (1,) * 1_001}, "more than 1000 causes"),
        ({"writer": "w" * 1_001}, "not be longer than 1000 characters"),
        ({"robot": "r" * 1_001}, "not be longer than 1000 characters"),
        ({"task": "t" * 1_001}, "not be longer than 1000 characters"),
        ({"writer_seq": 2**63}, "count from 1"),
        ({"cause": (0,)}, "before it"),
        ({"seq": 7}, "bank itself"),
        ({"received_time_s": 7.0}, "bank itself"),
        ({"robot": None}, "text"),
        ({"robot": "other", "payload": RobotReported(HERE)}, "Only a robot itself"),
        ({"robot": "pan", "payload": RobotReported(HERE)}, "Only a robot itself"),
        ({"robot": "", "payload": RobotReported(HERE)}, "Only a robot itself"),
    ],
)
def test_an_invalid_envelope_is_refused(bank, fields, match):
    event = Event("panda", 2, 10.0, EntitySeen("b", "cube", HERE), robot="panda")
    refuse(bank, msgspec.structs.replace(event, **fields), MemoryBankError, match)


def test_a_number_that_has_another_event_is_refused(bank):
    event = Event("panda", 1, 10.0, EntitySeen("b", "cube", HERE), robot="panda")
    refuse(bank, event, NumberTakenError, "number twice")


def test_what_is_as_large_as_allowed_is_accepted(bank):
    deep = '{"a":' * 64 + "1" + "}" * 64
    around = tuple((float(np.cos(a)), float(np.sin(a))) for a in np.linspace(0.0, 2 * np.pi, 500, endpoint=False))
    fits = (
        ToolCalled("t" * 1_000, deep, feedback="x" * 2**16),
        ToolCalled("t", '{"brackets": "' + "[" * 1_000 + '\\""}'),
        EntitySeen("b" * 1_000, "cube", HERE, labels=tuple(map(str, range(1_000)))),
        MomentStored("e", "m", unit(4), (0.0, 0.0, 0.0), bytes(2**23 - 1024), 1),
        PlaceDefined("hall", "region", "home", tuple((1.0 + x / 2, 1.0 + y / 2) for x, y in around)),
        EntitySeen("c", "cube", HERE, hypothesis=2**63 - 1),
    )
    for payload in fits:
        bank.append(Event("large", bank.last_of_writer("large")[0] + 1, 10.0, payload, robot="large"))
    assert bank.verify().problems == ()


@pytest.mark.parametrize("number", [2**63, 2**70, -(2**70), 10**400], ids=["2**63", "2**70", "-2**70", "10**400"])
def test_questions_with_numbers_beyond_64_bits_are_refused(bank, number):
    for ask in (
        lambda: bank.changes_since(0, limit=number),
        lambda: bank.changes_since(number),
        lambda: bank.why(number),
        lambda: bank.nth_interaction(number),
        lambda: bank.snapshot(number),
        lambda: bank.evidence(number),
        lambda: bank.subscribe(after_seq=number),
        lambda: bank.subscribe().poll(limit=number),
    ):
        with pytest.raises(MemoryBankError):
            ask()


def test_a_message_about_something_large_is_short(bank):
    with pytest.raises(MemoryBankError) as caught:
        bank.append(Event("panda", 2, 10.0, ToolCalled("t", "[" + "1," * 30_000 + "1]"), robot="panda"))
    assert len(str(caught.value)) < 3_000
    nested = []
    for _ in range(5_000):
        nested = [nested]
    with pytest.raises(MemoryBankError, match="nested too deeply"):
        bank.append(nested)


def test_a_number_below_the_last_that_was_never_sent_is_refused(bank):
    bank.append(Event("panda", 5, 10.0, EntitySeen("b", "cube", HERE)))
    refuse(bank, Event("panda", 4, 10.0, EntitySeen("b", "cube", HERE)), NumberTakenError, "order of their numbers")


def test_what_comes_after_the_past_was_closed_is_refused(bank):
    bank.append(EventFactory().event(Watermark(5.0), 10.0, "site/past"), as_site=True)
    refuse(bank, EventFactory().seen("b", 1.0, 4.9, "late"), MemoryBankError, "closed past")
    bank.append(EventFactory().seen("b", 1.0, 5.0, "late"))


def test_what_another_writer_may_still_explain_is_taken_and_says_nothing_until_then():
    """Whatever order writers arrive in, the same is believed; so what looks like nonsense now is not refused."""
    logged = [
        EventFactory().event(RelationSet("a", "near", "b"), 1.0, "ann"),
        EventFactory().event(RelationEnded("a", "near", "b"), 2.0, "bob"),
        EventFactory().seen("cup", 1.0, 1.0, "cy"),
        EventFactory().event(AbsenceSeen("cup", 0.5), 2.0, "dan"),
        EventFactory().event(Watermark(0.5), 3.0, "site/eve"),
        EventFactory().event(Watermark(0.25), 3.0, "site/fred"),
    ]
    answers = []
    for order in (logged, logged[::-1]):
        with open_bank(":memory:") as bank:
            bank.append(order[:3], as_site=True)
            assert bank.where_is("a") is None
            bank.append(order[3:], as_site=True)
            there = bank.where_is("cup")
            answers.append((bank.related("a"), bank.related("a", as_of_s=1.5), there.since_s, there.existence))
            refuse(bank, EventFactory().seen("cup", 1.0, 0.4, "late"), MemoryBankError, "before 0.5 s is closed")
    assert answers == [([], [("a", "near", "b")], 1.0, 0.5)] * 2


def test_an_episode_that_runs_cannot_begin_again_and_ends_once(bank):
    def begin(writer, number, time_s=20.0):
        return Event(writer, number, time_s, EpisodeBegun("e", "tidy up"))

    end = EpisodeEnded("e", "success")
    (seq,) = bank.append(begin("ann", 1))
    for again in (begin("ann", 2), begin("bob", 1), begin("bob", 1, 10.0)):
        refuse(bank, again, MemoryBankError, f"must not begin again.*Event {seq} began it")
    assert bank.append(begin("ann", 1)) == [seq], "the same event appended again is no second beginning"
    (ended,) = bank.append(Event("ann", 2, 21.0, end))
    refuse(bank, Event("bob", 1, 22.0, end), MemoryBankError, "runs can end.*has ended already")
    assert bank.append([Event("ann", 2, 21.0, end), begin("ann", 1)]) == [ended, seq]
    with pytest.raises(MemoryBankError, match="must not begin again"):
        bank.append([begin("bob", 1, 30.0), begin("bob", 2, 30.0)])
    bank.append(begin("bob", 1, 30.0))
    assert bank.verify().problems == ()


def test_a_pose_that_is_not_one_cannot_even_be_made():
    for error in (
        MemoryBankError,
        SceneError,
    ):  # Code that writes to a bank expects the one, code that builds a scene the other.
        with pytest.raises(error, match=r"finite.*nothing was built or written") as caught:
            EntitySeen("block", "cube", Pose((NAN, 0.0, 0.0)))
        assert type(pickle.loads(pickle.dumps(caught.value))) is type(caught.value)
        with pytest.raises(error, match="unit"):
            Pose((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.5))


@pytest.mark.parametrize(
    "text",
    [
        '{"writer": "a", "writer_seq": 1, "valid_time_s": 0, "payload": {"type": "telepathy"}}',
        '{"writer": "a", "writer_seq": 1, "valid_time_s": 0, "payload": {"type": "absence_seen", "entity": "b"}}',
        '{"writer": "a", "writer_seq": 1, "valid_time_s": 0, "payload": {"type": "past_closed", "x": 1}}',
        '{"writer": "a", "writer_seq": 1}',
        "{",
    ],
)
def test_json_of_an_unknown_kind_or_form_is_refused(text):
    with pytest.raises(MemoryBankError, match="known kind"):
        decode_event(text)


def test_json_of_a_known_event_is_read():
    event = EventFactory().seen("block", 1.0, 2.0)
    assert decode_event(msgspec.json.encode(event)) == event


@pytest.mark.parametrize("url", ["postgres://x", "bank.db", "sqlite:///", "sqlite://bank.db", "sqlite:///a.db?mode=ro"])
def test_a_url_that_names_no_sqlite_file_is_refused(tmp_path, url):
    with pytest.raises(MemoryBankError, match="URL"):
        open_bank(url, root=tmp_path)


@pytest.mark.parametrize(
    "url", ["sqlite:///../x.db", "sqlite:////etc/x.db", "sqlite:///away/x.db", "sqlite:///no/x.db"]
)
def test_a_file_outside_its_root_is_refused(tmp_path, url):
    root = tmp_path / "root"
    root.mkdir()
    (root / "away").symlink_to(tmp_path)
    with pytest.raises(PathError):
        open_bank(url, root=root)
    assert {path.name for path in tmp_path.rglob("*")} == {"root", "away"}


def test_a_bank_of_a_newer_version_is_refused_and_left_as_it_is(tmp_path):
    with open_bank("sqlite:///bank.db", root=tmp_path) as bank:
        bank.append(EventFactory().seen("block"))
    with sqlite3.connect(tmp_path / "bank.db") as db:
        db.execute("PRAGMA user_version = 2")
    db.close()
    before = (tmp_path / "bank.db").read_bytes()
    for thorough in (True, False):
        with pytest.raises(DataError, match="newer version"):
            open_bank("sqlite:///bank.db", root=tmp_path, thorough=thorough)
    assert (tmp_path / "bank.db").read_bytes() == before


def test_a_database_of_another_program_is_refused_and_left_as_it_is(tmp_path):
    with sqlite3.connect(tmp_path / "bank.db") as db:
        db.execute("CREATE TABLE event (seq)")
    db.close()
    before = (tmp_path / "bank.db").read_bytes()
    with pytest.raises(DataError, match="another program"):
        open_bank("sqlite:///bank.db", root=tmp_path, thorough=False)
    assert (tmp_path / "bank.db").read_bytes() == before


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "bank.db").write_bytes(b"SAM" * 1000)
    for thorough in (True, False):
        with pytest.raises(DataError, match="not a database"):
            open_bank("sqlite:///bank.db", root=tmp_path, thorough=thorough)


def test_invalid_questions_are_refused(bank):
    for ask in (
        lambda: bank.snapshot(99),
        lambda: bank.history("block", kinds=["telepathy"]),
        lambda: bank.nth_interaction(0),
        lambda: bank.snapshot(-1),
        lambda: bank.evidence(3),
        lambda: bank.evidence(""),
    ):
        with pytest.raises(MemoryBankError):
            ask()
    assert bank.where_is("unheard of") is None
