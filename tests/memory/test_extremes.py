"""Extreme values of an event's own fields: what was accepted leaves the file intact, the rest is refused."""

import math
import sqlite3
import time

import pytest

from embodied.errors import MemoryBankError
from embodied.memory import BankClient, BankService, Event, Observed, Outbox, WallClock, inspect_file, open_bank, rescue
from embodied.memory.schema.codec import encode_events
from embodied.memory.service.parcels import digest_of
from embodied.memory.storage.row_codec import chained_digest, row_with_names

TIMES_S = [-0.0, 0.0, 5e-324, -5e-324, 1.7e308, -1.7e308, 2**53 + 1, -(2**62), 0.1, 2.0**51, -1]
LARGEST = 2**63 - 1


@pytest.mark.parametrize("time_s", TIMES_S)
def test_the_file_is_intact_with_any_time_that_is_accepted(tmp_path, time_s):
    with open_bank(f"sqlite:///{tmp_path}/run.db", clock=WallClock(ahead_s=1.79e308)) as bank:
        assert bank.append([Event("r", number, time_s, Observed("x")) for number in (1, 2)]) == [1, 2]
        assert bank.verify().problems == ()
        stored_s = bank.event(1).valid_time_s
        assert (stored_s, math.copysign(1.0, stored_s)) == (float(time_s), math.copysign(1.0, time_s + 0.0))
    assert inspect_file(tmp_path / "run.db").sound_seq == 2


def test_the_file_is_intact_with_any_name_number_and_cause_that_is_accepted(tmp_path):
    names = [
        "x" * 1000,
        "\N{SNOWMAN}",
        "\xe9",
        "a b",
        "'\"",
        "%s",
        "\N{TEAPOT}",
        "\N{CJK UNIFIED IDEOGRAPH-676F}",
        "-",
        "/",
    ]
    with open_bank(f"sqlite:///{tmp_path}/run.db") as bank:
        for seq, name in enumerate(names, 1):
            lease = {"subtask": name, "epoch": LARGEST, "cause": (1,) * 1000} if seq > 1 else {}
            event = Event(name, 2**32, 0.0, Observed("x"), robot=name, task=name, **lease)
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


@pytest.fixture
def service():
    with BankService(open_bank(":memory:")) as made:
        yield made


def logged(service):
    return [event.payload.evidence for event in service._bank.changes_since(0)]


@pytest.mark.parametrize("number", [2**63, 2**64 - 1, 2**64, LARGEST, 2**40])
def test_a_number_that_leaves_a_writer_no_others_is_refused_and_silences_nothing(service, tmp_path, number):
    for start in range(2):
        with BankClient(service, Outbox(tmp_path / "outbox.db"), writer="r", timeout_s=5) as client:
            client.log(Observed(f"before {start}"))
            with pytest.raises(MemoryBankError):
                client.append(Event("r", number, time.time(), Observed("it")))
            client.log(Observed(f"after {start}"))
    assert logged(service) == ["before 0", "after 0", "before 1", "after 1"]


def test_a_writer_without_numbers_left_does_not_keep_other_writers_of_its_robot_from_the_bank(service, tmp_path):
    with service._bank._log.tables.lock:  # As an older version let a writer number itself.
        service._bank._log._writers["r"] = (LARGEST, 0.0)
    with BankClient(service, Outbox(tmp_path / "outbox.db"), writer="r", timeout_s=5) as client:
        with pytest.raises(MemoryBankError, match="continue above"):
            client.log(Observed("it"))
        client.append(Event("r/2", 0, 0.0, Observed("other")))
    assert logged(service) == ["other"]


def test_parcels_without_numbers_that_can_have_none_are_laid_aside_and_the_others_are_sent(service, tmp_path):
    path = tmp_path / "outbox.db"
    Outbox(path).close()
    db = sqlite3.connect(path)
    for number, writer in enumerate(("", "r", "", "r/2"), 1):  # As a client without a name once left it.
        content = encode_events([Event(writer, 0, 0.0, Observed(writer or "nameless"))])
        columns = "number, count, content, digest, stored_s"
        db.execute(f"INSERT INTO parcel ({columns}) VALUES (?, 1, ?, ?, 0)", (number, content, digest_of(content)))
        db.execute("INSERT INTO unnumbered VALUES (?, 0)", (number,))
    db.commit()
    db.close()
    with BankClient(service, Outbox(path), writer="r", timeout_s=5) as client:
        client.flush()
        assert [one.events[0].payload.evidence for one in client.laid_aside()] == ["nameless", "nameless"]
    assert logged(service) == ["r", "r/2"]


def test_a_writers_number_that_was_altered_in_the_outbox_does_not_silence_it(service, tmp_path):
    path = tmp_path / "outbox.db"
    with BankClient(service, Outbox(path), writer="r", timeout_s=5) as client:
        client.log(Observed("before"))
    for last in (LARGEST, 2**62, 2**40):
        db = sqlite3.connect(path)
        db.execute("UPDATE writer SET last = ?", (last,))
        db.commit()
        db.close()
        with BankClient(service, Outbox(path), writer="r", timeout_s=5) as client:
            client.log(Observed("after"))
    assert logged(service) == ["before", *["after"] * 3]


@pytest.mark.parametrize("writer", ["", None, 5])
def test_a_client_must_have_a_name(service, writer):
    with pytest.raises(MemoryBankError, match="`writer`"):
        BankClient(service, Outbox(None), writer=writer)
