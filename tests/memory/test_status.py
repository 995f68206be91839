"""How a bank and the outboxes of robots are doing: read beside their owners, and served to Prometheus on loopback."""

import os
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing

import pytest

from embodied.errors import ConfigError, MemoryBankError
from embodied.memory import (
    BankClient,
    BankService,
    EventFilter,
    Outbox,
    RetentionConfig,
    SimulatedClock,
    UnreachableError,
    encode_events,
    is_outbox,
    metrics_text,
    open_bank,
    open_read_only,
    outbox_status,
    retain,
)
from embodied.prometheus import gauge_lines, metrics_served
from tests.launch.test_memory import payload
from tests.memory.writers import EventFactory

URL = "sqlite:///bank.db"
HOUR_S = 3600.0


class Away:
    """A link to an owner that is away until it is given one."""

    def __init__(self):
        self.owner = None

    def __getattr__(self, name):
        if self.owner is None:
            raise UnreachableError("The owner must answer.", value="away")
        return getattr(self.owner, name)


def page(url):
    with urllib.request.urlopen(url, timeout=5.0) as answer:
        return answer.read().decode()


def until(true, limit_s=10.0):
    due_s = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < due_s
        time.sleep(0.02)


def test_the_state_of_a_bank_counts_what_came_in_the_last_hour_and_the_last_day(tmp_path):
    factory = EventFactory()
    with open_bank(URL, root=tmp_path, clock=SimulatedClock()) as bank:
        for received_s, count in ((0.0, 5), (30 * HOUR_S, 7), (47.5 * HOUR_S, 11), (47.9 * HOUR_S, 1)):
            bank.advance(received_s)
            bank.append([factory.seen("cup", time_s=received_s) for _ in range(count)])
        found = bank.status(now_s=48 * HOUR_S)
        assert (found.head, found.events, found.last_hour, found.last_day) == (24, 24, 12, 19)
        assert found.lag_s == pytest.approx(0.1 * HOUR_S)
        assert found.bytes_last_hour == pytest.approx(found.file_bytes / 2)
        assert (found.state, found.owner_pid) == ("running", os.getpid())
        assert [(one.writer, one.last_number, one.last_time_s) for one in found.writers] == [
            ("panda", 24, 47.9 * HOUR_S)
        ]


def test_events_that_were_removed_count_as_growth_and_their_writers_are_still_listed(tmp_path):
    factory = EventFactory()
    with open_bank(URL, root=tmp_path, clock=SimulatedClock(100.0)) as bank:
        bank.append([factory.seen("cup", time_s=float(t), writer="gone") for t in range(50)])
        bank.append([factory.seen("cup", time_s=100.0, writer="stays") for _ in range(2)])
        retain(bank, RetentionConfig(fresh_s=0.0, observations=1))
        found = bank.status(now_s=101.0)
        assert found.events == len(bank.changes_since(0, wanted=EventFilter(), limit=1000)) < found.head
        assert found.last_hour == found.head
        assert {one.writer: one.last_number for one in found.writers}.items() >= {"gone": 50, "stays": 2}.items()


def test_leases_are_listed_with_the_time_that_is_left_and_those_that_have_run_out_apart(tmp_path):
    with BankService(open_bank(URL, root=tmp_path, clock=SimulatedClock(1000.0))) as service:
        service.lease("wash", "a", duration_s=10.0)
        long = service.lease("dry", "b", duration_s=60.0)
        service.lease("dry", "b", duration_s=60.0, epoch=long.epoch)
        service.advance(1020.0)
        found = service.status()
        assert [(one.subtask, one.robot, one.epoch, one.left_s) for one in found.running_leases] == [
            ("dry", "b", 2, 40.0)
        ]
        assert [(one.subtask, one.left_s) for one in found.stale_leases] == [("wash", -10.0)]
        assert (found.running, found.stale, found.now_s) == (1, 1, 1020.0)
        assert 'embodied_memory_lease_seconds_left{subtask="dry",robot="b"} 40\n' in service.metrics()


def test_a_bank_is_running_left_open_or_closed_and_sealed(tmp_path):
    def beside():
        with open_read_only(URL, root=tmp_path) as bank:
            return bank.status()

    script = (
        "import os; from embodied.memory import open_bank; from tests.memory.writers import EventFactory\n"
        f"bank = open_bank('sqlite:///{tmp_path}/bank.db'); bank.append(EventFactory().seen('cup'))\n"
        "print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        owner.stdout.readline()
        assert (beside().state, beside().owner_pid, beside().head) == ("running", owner.pid, 1)
        owner.kill()
    assert (beside().state, beside().owner_pid, beside().sealed) == ("left open", owner.pid, False)
    with open_bank(URL, root=tmp_path) as bank:
        bank.write_snapshot()
    found = beside()
    assert (found.state, found.owner_pid, found.sealed) == ("closed", os.getpid(), True)
    assert [one.seq for one in found.snapshots] == [1]
    with open_bank(URL, root=tmp_path, thorough=False):
        pass
    assert beside().sealed  # Nothing was written meanwhile.
    with (tmp_path / "bank.db").open("ab") as file:
        file.write(bytes(4096))
    assert not beside().sealed


def test_an_outbox_shows_its_oldest_parcel_until_the_bank_has_answered_and_what_was_laid_aside(tmp_path):
    path, link = tmp_path / "robot.outbox", Away()
    factory = EventFactory()
    with BankClient(link, Outbox(path), writer="panda", timeout_s=0.1) as client:
        client.post([factory.seen("cup", writer="", time_s=1.0), factory.seen("cup", writer="", time_s=2.0)])
        client.post(factory.seen("jug", writer="", time_s=3.0))
        found = outbox_status(path, now_s=time.time() + 60.0)
        assert (found.events, found.parcels, found.oldest, found.laid_aside) == (3, 2, 1, 0)
        assert 58.0 < found.oldest_age_s < 75.0
        assert found.waiting_bytes > 100
        with BankService(open_bank(":memory:")) as link.owner:
            client.flush(timeout_s=10.0)
            until(lambda: outbox_status(path).events == 0)  # Also in the file, although nothing was written since.
            assert outbox_status(path).oldest_age_s is None
    with closing(Outbox(path)) as outbox:
        outbox.refuse(outbox.add([factory.seen("cup", writer="other")]), "unfit")
    assert outbox_status(path).laid_aside == 1
    assert 'embodied_memory_outbox_laid_aside{outbox="robot.outbox"} 1\n' in metrics_text(None, [outbox_status(path)])


def test_an_outbox_of_an_older_version_gets_times_for_what_is_stored_from_now_on(tmp_path):
    path = tmp_path / "robot.outbox"
    with closing(Outbox(path)) as outbox:
        outbox.add([EventFactory().seen("cup")])
    with closing(sqlite3.connect(path)) as db:
        db.executescript("ALTER TABLE parcel DROP COLUMN stored_s")
    found = outbox_status(path)
    assert (found.oldest, found.oldest_age_s) == (1, None)
    with closing(Outbox(path)) as outbox:
        (old,) = outbox.waiting()
        outbox.add([EventFactory().seen("cup")])
        assert outbox_status(path).oldest_age_s is None
        outbox.remove([old], at_once=True)
        assert outbox_status(path).oldest_age_s < 10.0


def test_metrics_are_served_on_loopback_alone_until_the_end(tmp_path):
    with BankService(open_bank(URL, root=tmp_path)) as service, metrics_served(service.metrics, 0) as url:
        service._bank.append(EventFactory().seen("cup"))
        text = page(url)
        assert "\n# TYPE embodied_memory_head gauge\nembodied_memory_head 1\n" in f"\n{text}"
        assert 'embodied_memory_writer_last_number{writer="panda"} 1\n' in text
        assert url.startswith("http://127.0.0.1:")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            page(url.replace("/metrics", "/other"))
        taken = int(url.rpartition(":")[2].partition("/")[0])
        with pytest.raises(ConfigError, match="free port"), metrics_served(service.metrics, taken):
            pass
    with pytest.raises(urllib.error.URLError):
        page(url)


def test_a_closed_bank_is_an_answer_of_its_own_and_does_not_end_the_endpoint():
    with BankService(open_bank(":memory:")) as service, metrics_served(service.metrics, 0) as url:
        service.close()
        for _ in range(2):
            with pytest.raises(urllib.error.HTTPError, match="503"):
                page(url)
        with pytest.raises(MemoryBankError, match="must be open"):
            service.status()


def test_names_cannot_break_the_lines_of_the_metrics():
    assert gauge_lines("m", [({"name": 'a"b\\c\nd'}, 1.5)]) == ["# TYPE m gauge", 'm{name="a\\"b\\\\c\\nd"} 1.5']
    with pytest.raises(ConfigError, match="65535"), metrics_served(str, 70_000):
        pass


def test_the_command_line_shows_a_bank_beside_its_owner_and_outboxes(tmp_path):
    factory = EventFactory()
    with closing(Outbox(tmp_path / "a.outbox")) as outbox, open_bank(URL, root=tmp_path) as bank:
        outbox.add([factory.seen("cup", writer="b")])
        bank.append([factory.seen("cup", time_s=4.0) for _ in range(3)])
        assert is_outbox(tmp_path / "a.outbox")
        assert not is_outbox(tmp_path / "bank.db")
        shown = payload(tmp_path, "status", f"url={URL}", "outboxes=[a.outbox]")
    assert f"bank.db: process {os.getpid()} has it open" in shown
    assert "3 events in the last hour" in shown
    assert "panda: number 3, at 4.000 s" in shown
    assert "waiting    1 events in 1 parcels" in shown
    assert "must be a file that exists" in payload(tmp_path, "status", f"url={URL}", "outboxes=[b.outbox]", code=2)


@pytest.mark.usefixtures("ray_session")
def test_an_owner_on_ray_serves_its_metrics_where_a_port_is_chosen(tmp_path):
    from embodied.memory.service.ray_service import Host, hosted

    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        host = Host(f"sqlite:///{tmp_path / 'bank.db'}", name="measured", metrics_port=port)
        with pytest.raises(MemoryBankError, match="free port"), hosted(host):
            pass
    with hosted(host) as link:
        link.commit([encode_events([EventFactory().seen("cup")])])
        assert "embodied_memory_head 1\n" in page(f"http://127.0.0.1:{port}/metrics")


def test_beside_the_owner_of_simulated_time_ages_refer_to_the_newest_event(tmp_path):
    clock = SimulatedClock()
    with BankService(open_bank(URL, root=tmp_path, clock=clock)) as service:
        service.lease("wash", "a", duration_s=10.0)
        service.advance(4.0)
        service._bank.append(EventFactory().seen("cup", time_s=4.0))
        service.advance(5.0)
        assert service.status().lag_s == 1.0
        with open_read_only(URL, root=tmp_path) as bank:
            found = bank.status()
        assert (found.now_s, found.lag_s, found.last_hour) == (4.0, 0.0, 2)
        assert [one.left_s for one in found.running_leases] == [6.0]
