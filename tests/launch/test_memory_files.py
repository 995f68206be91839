"""Backups of banks on the command line, and what a terminal is shown of names."""

import pytest

from embodied.errors import MemoryBankError
from embodied.memory import SimulatedClock, SkillEnded, open_bank
from launch.printing import printable
from tests.launch.test_memory import payload
from tests.memory.writers import EventFactory


def test_a_bank_is_backed_up_while_it_is_open_and_restored(tmp_path):
    with open_bank("sqlite:///run.db", root=tmp_path) as bank:
        factory = EventFactory()
        bank.append(factory.event(SkillEnded("pick", False, reason="cup\x1b[2J\nforged"), robot="panda"))
        bank.append(factory.seen("cup"))
        shown = payload(tmp_path, "backup", "url=sqlite:///run.db", "output=backup.db")
        assert "backup.db holds events 1 to 2" in shown
        assert r"cup\u001b[2J\u000aforged" in payload(tmp_path, "query", "url=sqlite:///run.db", "since=0")
    again = payload(tmp_path, "backup", "url=sqlite:///run.db", "output=backup.db", code=2)
    assert "must be a new file" in again
    assert "new.db holds events 1 to 2" in payload(tmp_path, "restore", "url=sqlite:///new.db", "backup=backup.db")
    with open_bank("sqlite:///new.db", root=tmp_path) as bank:
        assert bank.where_is("cup") is not None


@pytest.mark.parametrize(
    "arguments",
    [
        ("backup", "url=sqlite:///missing.db", "output=b.db"),
        ("backup", "url=sqlite:///run.db"),
        ("restore", "url=sqlite:///new.db"),
        ("restore", "url=sqlite:///new.db", "backup=missing.db"),
        ("restore", "url=sqlite:///nowhere/new.db", "backup=run.db"),
    ],
)
def test_a_backup_that_cannot_be_is_refused_in_one_message(tmp_path, arguments):
    with open_bank("sqlite:///run.db", root=tmp_path) as bank:
        bank.append(EventFactory().seen("cup"))
    assert len(payload(tmp_path, *arguments, code=2).strip().splitlines()) == 1


def test_the_operator_closes_the_past_and_opens_it_again_and_the_time_of_the_bank_stays(tmp_path):
    def late(writer):
        with open_bank("sqlite:///run.db", root=tmp_path, clock=SimulatedClock()) as bank:
            bank.append(EventFactory().seen("cup", 1.0, 10.0, writer))
            return bank.clock().time_s

    with open_bank("sqlite:///run.db", root=tmp_path, clock=SimulatedClock(100.0)) as bank:
        bank.append(EventFactory().seen("cup", 1.0, 50.0))
    assert "closes the past" in payload(tmp_path, "close_past", "url=sqlite:///run.db", "before_s=20")
    with pytest.raises(MemoryBankError, match="closed past"):
        late("a")
    assert "past can be closed" in payload(tmp_path, "close_past", "url=sqlite:///run.db", "before_s=101", code=2)
    assert "opens the past again: nothing" in payload(tmp_path, "reopen_past", "url=sqlite:///run.db")
    assert late("a") == 100.0


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cup\x1b[2J\x9b", r"cup\u001b[2J\u009b"),
        ("a\u202egpj.exe", r"a\u202egpj.exe"),
        ("pr\udcfcf", r"pr\udcfcf"),
        ("tab\tand line\nstay, café 🤖", "tab\tand line\nstay, café 🤖"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text, shown):
    assert printable(text) == shown
    assert printable(text).encode()
