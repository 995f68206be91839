"""The service: shared commits, one answer per client, nothing lost or duplicated when a process is killed."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import pytest

from embodied.errors import (
    ConfigError,
    ConflictError,
    MemoryBankError,
    StorageError,
    UnknownNameError,
)
from embodied.geometry import Pose
from embodied.memory import (
    BankClient,
    BankService,
    EntitySeen,
    Event,
    EventFilter,
    Outbox,
    Query,
    ReadCall,
    RelationSet,
    RetentionConfig,
    SubtaskEnded,
    UnreachableError,
    encode_events,
    open_bank,
)


def seen(entity, time_s=0.0, writer="", number=0):
    return Event(writer, number, time_s, EntitySeen(entity, "cube", Pose()))


@pytest.fixture
def service():
    with BankService(open_bank(":memory:")) as made:
        yield made


@contextmanager
def client_of(link, writer="arm", path=None, timeout_s=10.0):
    with BankClient(link, Outbox(path), writer=writer, timeout_s=timeout_s) as client:
        yield client


def entities(bank):
    return [event.payload.entity for event in bank.changes_since(0, limit=100_000)]


class Fault:
    """A way to a service that fails as configured: before the commit, or after it with the answer lost."""

    def __init__(self, service):
        self._service = service
        self.before = 0
        self.after = 0
        self.down = False
        self.sent = 0

    def __getattr__(self, name):
        if self.down:
            raise UnreachableError("The owner of the bank must answer.", value="it is down")
        return getattr(self._service, name)

    def commit(self, groups):
        if self.down or self.before:
            self.before = max(0, self.before - 1)
            raise UnreachableError("The owner of the bank must answer.", value="it is down")
        results = self._service.commit(groups)
        self.sent += len(groups)
        if self.after:
            self.after -= 1
            raise UnreachableError("The owner of the bank must answer.", value="answer lost")
        return results


class SlowBank:
    """Holds the first commit until `gate` opens, and counts commits."""

    def __init__(self, bank):
        self._bank = bank
        self.gate = threading.Event()
        self.entered = threading.Event()
        self.commits = []
        self.failures = 0

    def __getattr__(self, name):
        return getattr(self._bank, name)

    def append_batches(self, batches, **options):
        self.entered.set()
        self.gate.wait(10.0)
        self.commits.append(len(batches))
        if self.failures:
            self.failures -= 1
            raise StorageError("The disk of a memory bank must be readable and writable.", value="full")
        return self._bank.append_batches(batches, **options)


# --- Commits ----------------------------------------------------------------------------------------------------------


def test_what_arrives_while_the_disk_is_busy_shares_the_next_commit_and_each_gets_its_own_answer():
    bank = SlowBank(open_bank(":memory:"))
    with BankService(bank) as service:
        first = service.submit([encode_events([seen("first", writer="w", number=1)])])
        assert bank.entered.wait(5.0)
        good = [service.submit([encode_events([seen(f"e{i}", writer=f"w{i}", number=1)])]) for i in range(20)]
        unread = service.submit([b"garbage", encode_events([seen("spared", writer="v", number=1)])])
        conflict = RelationSet("cup", "in", "sink", expected_version=7)
        bad = service.submit([encode_events([seen("bad", writer="x", number=1), Event("x", 2, 0.0, conflict)])])
        last = service.submit([encode_events([seen("last", writer="z", number=1)])])
        bank.gate.set()
        assert first.result(5.0) == [[1]]
        assert [answer.result(5.0) for answer in good] == [[[2 + i]] for i in range(20)]
        refused, spared = unread.result(5.0)
        assert isinstance(refused, MemoryBankError)
        assert spared == [22]
        assert isinstance(bad.result(5.0)[0], ConflictError)
        assert last.result(5.0) == [[23]]
        assert len(bank.commits) == 2
        assert "bad" not in entities(bank)


def test_a_failing_disk_is_reported_to_all_callers_and_the_service_goes_on():
    bank = SlowBank(open_bank(":memory:"))
    bank.gate.set()
    bank.failures = 1
    with BankService(bank) as service:
        with pytest.raises(StorageError):
            service.commit([encode_events([seen("a", writer="w", number=1)])])
        assert service.commit([encode_events([seen("a", writer="w", number=1)])]) == [[1]]


def test_clients_try_again_when_the_disk_fails():
    bank = SlowBank(open_bank(":memory:"))
    bank.gate.set()
    bank.failures = 2
    with BankService(bank) as service, client_of(service) as client:
        assert client.append(seen("a")) == [1]


def test_a_group_that_alone_meets_a_failing_disk_is_sent_again():
    class Flaky(SlowBank):
        def append_batches(self, batches, **options):
            if self.failures:
                self.failures -= 1
                return [StorageError("The disk of a memory bank must be readable and writable.", value="I/O")]
            return self._bank.append_batches(batches, **options)

    bank = Flaky(open_bank(":memory:"))
    bank.failures = 1_000_000
    with BankService(bank) as service, client_of(service, timeout_s=0.3) as client:
        with pytest.raises(UnreachableError, match="last problem: The disk"):
            client.append(seen("a"))
        assert bank.failures > 999_900  # It pauses in between.
        bank.failures = 0
        client.flush(timeout_s=5.0)
        assert client.where_is("a") is not None


def test_a_bug_in_the_bank_reaches_the_caller_instead_of_leaving_it_waiting():
    class Broken(SlowBank):
        def append_batches(self, batches, **options):
            raise ZeroDivisionError

    with BankService(Broken(open_bank(":memory:"))) as service:
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                service.submit([encode_events([seen("a", writer="w", number=1)])]).result(5.0)


@pytest.mark.parametrize("updates", [200, pytest.param(1000, marks=pytest.mark.proof)])
def test_eight_writers_of_many_conflicting_updates_lose_none_and_leave_one_parent_throughout(service, updates):
    things, homes, writers = [f"thing{i}" for i in range(4)], [f"home{i}" for i in range(8)], 8

    with client_of(service, "mapper") as client:  # A thing in a home that was never seen is looked for in all earlier.
        client.append([seen(home) for home in homes])

    def write(writer):
        choices = random.Random(writer)
        with client_of(service, f"robot{writer}", timeout_s=60.0) as client:
            for i in range(updates):
                client.move(choices.choice(things), "in", homes[writer], task=f"{writer}.{i}")

    stop, torn = threading.Event(), []

    def watch():
        while not stop.wait(0.02):
            view = service._bank.snapshot()
            held = [thing for home in homes for thing in view.contents(home)]
            if len(held) != len(set(held)):
                torn.append(held)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(writers) as pool:
        list(pool.map(write, range(writers)))
    stop.set()
    watcher.join()
    logged = service._bank.changes_since(len(homes), limit=100_000)
    assert Counter(event.task for event in logged) == Counter(
        f"{w}.{i}" for w in range(writers) for i in range(updates)
    )
    assert not torn
    for thing in things:
        changes = [event.payload for event in logged if event.payload.subject == thing]
        assert [change.expected_version for change in changes] == list(range(len(changes)))
        where = service.read(ReadCall("where_is", (thing,)))
        assert (where.version, where.parent) == (len(changes), changes[-1].object)
    assert sorted(thing for home in homes for thing in service.read(ReadCall("contents", (home,)))) == things


# --- Clients ----------------------------------------------------------------------------------------------------------


def test_a_client_reads_its_own_writes_and_others_numbers_go_on(service):
    with client_of(service) as client:
        answers = [client.post(seen(f"e{i}")) for i in range(50)]
        assert client.where_is("e49") is not None
        assert [answer.result(0.0) for answer in answers] == [[i + 1] for i in range(50)]
    with client_of(service) as again:  # Another outbox, the same writer: the bank knows where it was.
        assert again.append([seen("f"), seen("g")]) == [51, 52]
        assert again.last_of_writer("arm")[0] == 52


def test_a_refused_group_is_reported_to_its_caller_forgotten_and_no_obstacle(service):
    with client_of(service) as client:
        client.log(RelationSet("cup", "in", "sink"))
        later_s = client.time_s() + 30.0
        with pytest.raises(MemoryBankError, match="two parents"):
            client.append([seen("a", later_s), Event("", 0, later_s, RelationSet("cup", "in", "shelf"))])
        with pytest.raises(ConflictError, match="version is 1"):
            client.log(RelationSet("cup", "in", "shelf", expected_version=0))
        assert client.where_is("a") is None
        assert client.log(RelationSet("cup", "in", "shelf", expected_version=1)) == 2


def test_what_was_refused_is_not_sent_again_by_the_next_process(service, tmp_path):
    path = tmp_path / "outbox.db"
    with client_of(service, path=path) as client:
        client.log(EntitySeen("cup", "cup", Pose()))
        with pytest.raises(ConflictError):
            client.log(RelationSet("cup", "in", "shelf", expected_version=1))
        with closing(sqlite3.connect(path)) as left_by_a_kill_now:
            assert left_by_a_kill_now.execute("SELECT COUNT(*) FROM parcel").fetchone() == (0,)


def test_an_answer_that_was_lost_is_fetched_again_and_nothing_is_doubled(service):
    link = Fault(service)
    with client_of(link) as client:
        link.after = 2
        assert client.append([seen("a"), seen("b")]) == [1, 2]
        link.before = 2
        assert client.append([seen("c")]) == [3]
        assert link.sent > 2
        link.after = 1
        with pytest.raises(ConflictError):
            client.log(RelationSet("cup", "in", "shelf", expected_version=5))
        link.after = 1
        assert client.move("cup", "in", "shelf") == 4  # The second sending must not count as stale.
    assert entities_of_seen(service) == ["a", "b", "c"]


def entities_of_seen(service):
    events = service.read(ReadCall("changes_since", (0,), {"limit": 100_000}))
    return [event.payload.entity for event in events if isinstance(event.payload, EntitySeen)]


def test_a_read_that_cannot_see_ones_own_writes_says_why_and_goes_on_once_the_owner_is_back(service, tmp_path):
    link = Fault(service)
    with client_of(link, path=tmp_path / "outbox.db", timeout_s=0.3) as client:
        client.append(seen("a"))
        link.down = True
        client.post(seen("b"))
        with pytest.raises(UnreachableError, match=r"1 events of 'arm' wait.*it is down"):
            client.where_is("a")
        with pytest.raises(UnreachableError, match="stay in the outbox"):
            client.append(seen("c"))
        link.down = False
        client.flush(timeout_s=5.0)
        assert client.where_is("c") is not None
    assert entities_of_seen(service) == ["a", "b", "c"]


def test_what_a_dead_client_had_sent_is_sent_by_the_next_one_in_order_and_once(service, tmp_path):
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from tests.memory.test_service import *\n"
        "service = BankService(open_bank(':memory:'))\n"
        "link = Fault(service)\n"
        "client = BankClient(link, Outbox(Path(sys.argv[1])), writer='arm')\n"
        "client.append(seen('logged'))\n"
        "link.down = True\n"
        "for i in range(30): client.post(seen(f'e{i}'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "outbox.db"
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == -signal.SIGKILL
    link = Fault(service)
    link.after = 1
    with client_of(link, path=path) as client:
        client.append(seen("after"))
    assert entities_of_seen(service) == [*(f"e{i}" for i in range(30)), "after"]


def test_what_the_bank_refuses_of_a_dead_client_is_laid_aside_and_warned_of(service, tmp_path, caplog):
    path = tmp_path / "outbox.db"
    outbox = Outbox(path)
    outbox.adopt("arm", 0)
    outbox.add([Event("arm", 0, 0.0, RelationSet("cup", "in", "sink", expected_version=3))])
    outbox.add([seen("fine", writer="arm")])
    outbox.close()
    with client_of(service, path=path) as client:
        client.flush()
        assert client.where_is("fine") is not None
    assert "version" in caplog.text
    outbox = Outbox(path)
    ((events, reason),) = outbox.refused()
    assert events[0].payload.subject == "cup"
    assert "read again" in reason
    outbox.close()


def test_many_threads_may_share_a_client(service):
    with client_of(service) as client, ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda i: client.log(EntitySeen(f"e{i}", "cube", Pose())), range(200)))
    assert sorted(numbers) == list(range(1, 201))
    assert sorted(entities_of_seen(service)) == sorted(f"e{i}" for i in range(200))


def test_a_move_gives_up_after_its_tries_and_raises_the_conflict(service, monkeypatch):
    with client_of(service) as client, client_of(service, "competing") as competing:
        read = client.where_is

        def overtaken(entity):
            there = read(entity)
            competing.log(RelationSet(entity, "in", "elsewhere", expected_version=there.version if there else 0))
            return there

        monkeypatch.setattr(client, "where_is", overtaken)
        monkeypatch.setattr("embodied.memory.service.client.MOVE_TRIES", 3)
        with pytest.raises(ConflictError):
            client.move("cup", "in", "sink")
        assert competing.where_is("cup").version == 3


def test_subscriptions_hand_out_wanted_events_once_and_wait_for_them(service):
    with client_of(service) as client, client_of(service, "other") as other:
        client.append(seen("before"))
        news = client.subscribe(EventFilter(kinds=("relation_set",)))
        everything = client.subscribe(after_seq=0)
        assert news.poll() == []
        threading.Timer(0.2, lambda: other.append([seen("a"), Event("", 0, 0.0, RelationSet("b", "on", "c"))])).start()
        started_s = time.monotonic()
        (event,) = news.poll(wait_s=5.0)
        assert event.payload.subject == "b"
        assert time.monotonic() - started_s < 3.0
        assert news.poll() == []
        assert [event.seq for event in everything.poll()] == [1, 2, 3]


def test_a_subscription_that_an_older_bank_cannot_follow_is_refused_and_does_not_rewind(service):
    with BankService(open_bank(":memory:")) as older, client_of(service) as client:
        client.append([seen("a"), seen("b")])
        news = client.subscribe()
        client._link = older
        with pytest.raises(MemoryBankError, match="newest event is 0"):
            news.poll(wait_s=5.0)
        client._link = service
        client.append(seen("c"))
        assert [event.seq for event in news.poll()] == [3]
        for wait_s in ("long", None, float("nan")):
            with pytest.raises(MemoryBankError, match="`wait_s` must be a number"):
                news.poll(wait_s=wait_s)
        with pytest.raises(MemoryBankError, match="`wait_s` must be a number"):
            service.changes(EventFilter(), after_seq=0, wait_s="long")


def test_a_snapshot_answers_the_same_for_ever(service):
    with client_of(service) as client:
        client.move("cup", "in", "sink")
        then = client.snapshot()
        client.move("cup", "in", "shelf")
        assert then.where_is("cup").parent == "sink"
        assert client.where_is("cup").parent == "shelf"
        assert client.snapshot(1).where_is("cup").parent == "sink"
        with pytest.raises(MemoryBankError, match="past moment"):
            client.snapshot(99).where_is("cup")


def test_only_questions_of_a_view_can_be_asked(service):
    for name in ("close", "append", "_log", "where_was"):
        with pytest.raises(UnknownNameError):
            service.read(ReadCall(name))


def test_leases_go_through_the_service_and_stale_results_are_rejected(service):
    with client_of(service, "a") as a, client_of(service, "b") as b:
        lease = a.acquire("wash", "a", duration_s=60.0)
        with pytest.raises(ConflictError, match="'a' has it"):
            b.acquire("wash", "b", duration_s=60.0)
        newer = a.renew(lease, duration_s=60.0)
        with pytest.raises(ConflictError):
            a.log(SubtaskEnded("wash", "success", epoch=lease.epoch), robot="a")
        with pytest.raises(ConflictError):
            b.log(SubtaskEnded("wash", "success", epoch=newer.epoch), robot="b")
        a.log(SubtaskEnded("wash", "success", epoch=newer.epoch), robot="a")


def test_the_owner_forgets_at_a_clients_request_what_the_client_has_just_logged_included(service):
    with client_of(service) as client:
        client.append([seen("cup", float(second)) for second in range(10)])
        client.post(seen("cup", 10.0))
        done = client.retain(RetentionConfig(fresh_s=0.0))
        assert done.forgotten == {"sightings that say the same": 9}
        assert [event.valid_time_s for event in client.history("cup")] == [0.0, 10.0]
        assert client.retain(RetentionConfig(fresh_s=0.0)).forgotten == {}
        assert client.retain().forgotten == {}
        with pytest.raises(ConfigError, match=r"retention\.alike"):
            client.retain(RetentionConfig(alike=2.0))
        for link in (client, service):
            with pytest.raises(ConfigError, match="must be configured by a `RetentionConfig`"):
                link.retain("x")


def test_a_closed_client_sends_nothing_and_keeps_nothing(service, tmp_path):
    client = BankClient(service, Outbox(tmp_path / "o.db"), writer="arm")
    client.append(seen("a"))
    client.close()
    client.close()
    with pytest.raises(UnreachableError, match="open"):
        client.post(seen("b", writer="arm", number=9))
    assert service.head() == 1


def test_a_closed_client_says_that_it_is_closed_whatever_it_is_asked_or_given(service):
    with client_of(service) as client:
        client.append(seen("a"))
        held, news, lease = client.snapshot(), client.subscribe(), client.acquire("wash", "arm", duration_s=60.0)
    calls = [
        lambda: client.log(EntitySeen("b", "cube", Pose())), lambda: client.append([]),
        lambda: client.append(seen("b", writer="new")), lambda: client.move("a", "in", "sink"),
        lambda: client.where_is("a"), lambda: client.recall(Query()), lambda: held.where_is("a"), news.poll,
        client.head, client.flush, client.snapshot, client.subscribe, client.retain,
        lambda: client.subscribe(after_seq=0), lambda: client.snapshot(1), lambda: client.last_of_writer("arm"),
        lambda: client.acquire("dry", "arm", duration_s=1.0), lambda: client.renew(lease, duration_s=1.0),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(UnreachableError, match=r"must be open.*the closed client of 'arm'.*Make a new one"):
            call()
    assert service.head() == 2


# --- On Ray -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("ray_session")
@pytest.mark.timeout(120)
def test_the_owner_may_be_killed_again_and_again_and_nothing_is_lost_or_doubled(tmp_path):
    from embodied.memory.service.ray_service import Host, hosted

    url = f"sqlite:///{tmp_path / 'bank.db'}"
    clients, each, kills = 4, 60, 3
    acknowledged = Counter()

    def write(number):
        with client_of(link, f"robot{number}", tmp_path / f"{number}.outbox", timeout_s=60.0) as client:
            for i in range(each):
                client.log(EntitySeen(f"{number}.{i}", "cube", Pose()))
                acknowledged[number] += 1
                client.move("cup", "in", f"home{number}")

    with hosted(Host(url, name="killed")) as link:
        with ThreadPoolExecutor(clients) as pool:
            runs = [pool.submit(write, number) for number in range(clients)]
            victims = set()
            for round_ in range(1, kills + 1):
                wait_until(lambda round_=round_: acknowledged.total() >= round_ * clients * each // (kills + 2))
                victims.add(pid := link_pid(link))
                os.kill(pid, signal.SIGKILL)
            for run in runs:
                run.result()
        assert len(victims) == kills
        with pytest.raises(MemoryBankError, match="One process owns"):
            open_bank(url)
    with open_bank(url) as bank:
        logged = bank.changes_since(0, limit=100_000)
        names = [event.payload.entity for event in logged if isinstance(event.payload, EntitySeen)]
        assert Counter(names) == Counter(f"{n}.{i}" for n in range(clients) for i in range(each))
        moves = [event.payload.expected_version for event in logged if isinstance(event.payload, RelationSet)]
        assert moves == list(range(clients * each))
        assert not bank.verify().problems


def link_pid(link):
    while True:
        try:
            return link.pid()
        except UnreachableError:
            time.sleep(0.05)


def wait_until(true):
    due_s = time.monotonic() + 60.0
    while not true():
        assert time.monotonic() < due_s
        time.sleep(0.01)


@pytest.mark.usefixtures("ray_session")
def test_ten_clients_of_twenty_events_a_second_lose_none_and_hear_soon(tmp_path):
    from embodied.memory.service.ray_service import Host, hosted

    clients, rate_hz, duration_s = 10, 20.0, 3.0
    late_s = []

    def log_event(number):
        outbox = Outbox(tmp_path / f"{number}.outbox", durable=False)
        with BankClient(link, outbox, writer=f"robot{number}") as client:
            start_s = time.monotonic() + number / rate_hz / clients
            for i in range(int(duration_s * rate_hz)):
                time.sleep(max(0.0, start_s + i / rate_hz - time.monotonic()))
                logged_s = time.monotonic()
                answer = client.post(seen(f"{number}.{i}"))
                answer.add_done_callback(lambda _, logged_s=logged_s: late_s.append(time.monotonic() - logged_s))

    with hosted(Host(f"sqlite:///{tmp_path / 'bank.db'}", name="loaded")) as link:
        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(log_event, range(clients)))
        assert link.head() == clients * duration_s * rate_hz
    assert len(late_s) == clients * duration_s * rate_hz
    assert sorted(late_s)[len(late_s) // 2] < 0.5  # A bound that a busy machine keeps; the bench measures.


@pytest.mark.usefixtures("ray_session")
def test_on_ray_refusals_keep_their_kind_and_a_bank_in_memory_has_no_owner(tmp_path):
    from embodied.memory.service.ray_service import Host, RayLink, hosted

    with hosted(Host(f"sqlite:///{tmp_path / 'bank.db'}", name="refusing")) as link, client_of(link) as client:
        assert client.retain().left == 0
        client.move("cup", "in", "sink")
        with pytest.raises(ConflictError, match="version is 1"):
            client.log(RelationSet("cup", "in", "shelf", expected_version=0))
        with pytest.raises(UnknownNameError):
            link.read(ReadCall("close"))
        lease = client.acquire("wash", "a", duration_s=60.0)
        with pytest.raises(ConflictError):
            client.acquire("wash", "b", duration_s=60.0)
        assert client.renew(lease, duration_s=60.0).epoch == 2
        assert client.subscribe(after_seq=0).poll()[0].payload.subject == "cup"
    with pytest.raises(UnreachableError):
        RayLink("refusing").head()
    with pytest.raises(ConfigError, match="file"), hosted(Host(":memory:", name="none")):
        pass
    (tmp_path / "broken.db").write_bytes(b"not a bank" * 500)
    with (
        pytest.raises(MemoryBankError, match="able to open"),
        hosted(Host(f"sqlite:///{tmp_path / 'broken.db'}", name="broken")),
    ):
        pass
