"""Extreme values of an event's own fields: what was accepted leaves the file intact, the rest is refused."""

import math
import sqlite3

import pytest

from embodied.errors import MemoryBankError
from embodied.memory import Event, Observed, inspect_file, open_bank, rescue
from embodied.memory.storage.row_codec import chained_digest, row_with_names

TIMES_S = [-0.0, 0.0, 5e-324, -5e-324, 1.7e308, -1.7e308, 2**53 + 1, -(2**62), 0.1, 2.0**51, -1]
LARGEST = 2**63 - 1


@pytest.mark.parametrize("time_s", TIMES_S)
def test_the_file_is_intact_with_any_time_that_is_accepted(tmp_path, time_s):
    with open_bank(f"sqlite:///{tmp_path}/run.db") as bank:
        assert bank.append([Event("r", number, time_s, Observed("x")) for number in (1, 2)]) == [1, 2]
        assert bank.verify().problems == ()
        stored_s = bank.event(1).valid_time_s
        assert (stored_s, math.copysign(1.0, stored_s)) == (float(time_s), math.copysign(1.0, time_s + 0.0))
    assert inspect_file(tmp_path / "run.db").sound_seq == 2


def test_the_file_is_intact_with_any_name_number_and_cause_that_is_accepted(tmp_path):
    names = ["a\0b", "\0", "x" * 1000, "\N{SNOWMAN}", "e\u0301", "\xe9", " ", "'\"", "\ufeff", "\U0010ffff"]
    with open_bank(f"sqlite:///{tmp_path}/run.db") as bank:
        for seq, name in enumerate(names, 1):
            lease = {"subtask": name, "epoch": LARGEST, "cause": (1,) * 1000} if seq > 1 else {}
            event = Event(name, 2**40, 0.0, Observed("x"), robot=name, task=name, **lease)
            assert bank.append(event) == [seq]
            assert bank.event(seq).writer == bank.event(seq).task == name
        assert bank.verify().problems == ()
    assert inspect_file(tmp_path / "run.db").sound_seq == len(names)


def test_a_bank_that_an_older_version_wrote_at_minus_zero_seconds_stays_readable(tmp_path):
    path = tmp_path / "run.db"
    with open_bank(f"sqlite:///{path}") as bank:
        bank.append([Event("r", number, 0.0, Observed("x")) for number in (1, 2, 3)])
    db = sqlite3.connect(path)
    names = dict(db.execute("SELECT id, text FROM name"))
    previous = bytes(8)
    for values in db.execute("SELECT * FROM event ORDER BY seq").fetchall():
        row = row_with_names(values, names.__getitem__)
        previous = chained_digest(previous, row._replace(valid_time_s=-0.0))
        db.execute("UPDATE event SET digest = ? WHERE seq = ?", (previous, row.seq))
    db.commit()
    db.close()
    with open_bank(f"sqlite:///{path}") as bank:
        assert bank.append(Event("r", 4, 0.0, Observed("x"))) == [4]
    assert rescue(path, tmp_path / "rescued.db") == 4


@pytest.mark.parametrize("time_s", [math.inf, -math.inf, math.nan, 10**400])
def test_a_time_that_no_file_can_hold_is_refused(time_s):
    with open_bank(":memory:") as bank, pytest.raises(MemoryBankError, match="finite"):
        bank.append(Event("r", 1, time_s, Observed("x")))
