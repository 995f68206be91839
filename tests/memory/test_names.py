"""Names in events, queries and scenes: what looks the same is the same, and the names of two runs never meet."""

import pytest

from embodied.errors import MemoryBankError, SceneError
from embodied.memory import (
    BankClient,
    BankService,
    EventFilter,
    Outbox,
    Query,
    RelationSet,
    SkillEnded,
    SubtaskEnded,
    open_bank,
)
from embodied.memory.perception import run_names
from embodied.memory.schema import checks
from embodied.names import is_sound
from embodied.scenes.checks import require_name
from tests.memory.writers import EventFactory

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"
UNSOUND = (
    DECOMPOSED, "cup ", " cup", "cup\n", "cup\x00", "c\tup", "cup\u00a0", "cup\u202e", "c\u200bup", "\ufeffcup",
    "cup\u200d", "a\u2028b", "cup\x7f", "c\u00adup", "the\u00a0cup", "the\u2009cup", "cup\ufe0f", "c\u034fup",
    "cup\u3164", "cup\u115f", "cup\U000e0061",
)  # fmt: skip
SOUND = (
    COMPOSED, "cup", "the red cup", "panda/object-0007", "\u676f\u5b50", "\u0643\u0648\u0628", "\U0001f9ea",
    "\U0001f469\u200d\U0001f52c", "\u2615\ufe0f", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "",
)  # fmt: skip


def test_sound_names_are_those_that_look_like_no_other():
    assert [name for name in UNSOUND if is_sound(name)] == []
    assert [name for name in SOUND if not is_sound(name)] == []


@pytest.mark.parametrize("name", UNSOUND)
def test_an_event_with_an_unsound_name_is_refused_with_what_to_write(name):
    factory = EventFactory()
    with open_bank(":memory:") as bank:
        for event in (
            factory.seen(name), factory.seen("cup", writer=name), factory.put("cup", "in", name),
            factory.event(SkillEnded("pick", True), robot=name), factory.moment(entities=("cup", name)),
        ):  # fmt: skip
            with pytest.raises(MemoryBankError, match="A name must be") as caught:
                bank.append(event)
            assert caught.value.remedy.startswith("Write '")
            assert caught.value.value.isascii()
        assert bank.head == 0


def test_free_texts_may_be_anything():
    factory = EventFactory()
    with open_bank(":memory:") as bank:
        bank.append(factory.event(SkillEnded("pick", True, reason="slipped\nat \u202ethe rim "), robot="panda"))
        bank.append(factory.event(SubtaskEnded("wash", "done\n")))
        assert bank.head == 2


def test_a_question_in_other_letters_is_refused_rather_than_answered_with_nothing():
    factory = EventFactory()
    with open_bank(":memory:") as bank:
        bank.append(factory.seen(COMPOSED, 1.0))
        assert bank.where_is(COMPOSED) is not None
        for ask in (
            lambda: bank.where_is(DECOMPOSED),
            lambda: bank.contents("cup\n"),
            lambda: bank.history(DECOMPOSED),
            lambda: bank.changes_since(0, wanted=EventFilter(entities=(DECOMPOSED,))),
            lambda: bank.recall(Query(entities=(DECOMPOSED,))),
            lambda: bank.nth_interaction(1, entity=DECOMPOSED),
            lambda: bank.snapshot().where_is(DECOMPOSED),
        ):
            with pytest.raises(MemoryBankError, match="composed"):
                ask()
        with (
            BankService(bank) as service,
            BankClient(service, Outbox(None), writer="arm") as client,
            pytest.raises(MemoryBankError, match="composed"),
        ):
            client.where_is(DECOMPOSED)


def test_a_log_of_an_older_version_with_such_names_is_read_and_asked_as_before(tmp_path, monkeypatch):
    factory, url = EventFactory(), f"sqlite:///{tmp_path / 'old.db'}"
    with monkeypatch.context() as older:
        older.setattr(checks, "check_names", lambda payload: None)
        with open_bank(url) as bank:
            bank.append([factory.seen(DECOMPOSED, 1.0), factory.seen("cup\n", 2.0)])
            bank.append(factory.event(RelationSet("cup\n", "in", DECOMPOSED)))
    with open_bank(url) as bank:
        assert bank.verify().problems == ()
        assert bank.where_is("cup\n").parent == DECOMPOSED
        assert bank.contents(DECOMPOSED) == ["cup\n"]
        assert len(bank.history(DECOMPOSED)) == 2
        assert bank.names() == [DECOMPOSED, "cup\n"]
        bank.rebuild()
        assert bank.where_is("cup\n").parent == DECOMPOSED


@pytest.mark.parametrize("name", UNSOUND)
def test_a_scene_refuses_an_unsound_name(name):
    with pytest.raises(SceneError, match="name of a body"):
        require_name("body", name)


def test_things_of_two_robots_and_of_two_starts_of_one_robot_never_share_a_name():
    makers = [run_names("panda"), run_names("panda"), run_names("kuka"), run_names("kuka", run="r1")]
    found = [make(kind) for make in makers for kind in ("object", "object", "surface")]
    assert len(set(found)) == len(found)
    assert found[-3:] == ["kuka/r1/object-0001", "kuka/r1/object-0002", "kuka/r1/surface-0001"]
