"""No call of one client makes the others wait, and none that is too large for a link is repeated unchanged."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import pairwise

import pytest

from embodied.memory import (
    BankClient,
    BankService,
    ClientRights,
    Credentials,
    Event,
    EventFilter,
    Observed,
    Outbox,
    UnreachableError,
    add_credential,
    encode_events,
    open_bank,
)
from embodied.memory.queries.read_call import ReadCall
from embodied.memory.schema.codec import decode_events
from embodied.memory.service.client_threads import ClientThreads
from embodied.memory.service.sender import Sender
from embodied.memory.service.sending_size import LARGEST
from embodied.memory.service.service import SlowDownError
from embodied.memory.service.socket_calls import LONGEST_SLEEP_S
from embodied.memory.service.socket_link import SocketLink
from embodied.memory.service.socket_server import listening
from embodied.memory.service.socket_settings import SocketSettings


class NarrowLink:
    """A link to a service that takes no sending of more than `most` bytes, and counts those that come."""

    def __init__(self, service, most):
        self._service = service
        self.most = most
        self.sent = []

    def __getattr__(self, name):
        return getattr(self._service, name)

    def commit(self, groups):
        self.sent.append((sum(map(len, groups)), sum(len(decode_events(group)) for group in groups)))
        if self.sent[-1][0] > self.most:
            raise UnreachableError("The owner of the bank must answer.", value="no answer within 10 s")
        return self._service.commit(groups)


@pytest.fixture
def service():
    with BankService(open_bank(":memory:")) as service:
        yield service


def stored(tmp_path, parcels, content):
    """Returns the path of an outbox in which so many parcels wait."""
    outbox = Outbox(tmp_path / "arm.outbox", durable=False)
    away = NarrowLink(None, 0)
    client = BankClient(away, outbox, writer="arm", timeout_s=0.0)
    for _ in range(parcels):
        client.post([Event("", 0, 0.0, Observed(content))])
    client.close(timeout_s=0.0)
    return tmp_path / "arm.outbox"


def test_what_is_too_much_for_a_link_is_halved_until_it_arrives_and_grows_again(service, tmp_path, monkeypatch):
    path = stored(tmp_path, 200, "x" * 5_000)
    monkeypatch.setattr(Sender, "_pause", lambda *_: None)
    link = NarrowLink(service, 300_000)
    with closing(BankClient(link, Outbox(path, durable=False), writer="arm")) as client:
        client.flush(timeout_s=30.0)
    sizes = [size for size, _ in link.sent]
    assert service.head() == 200
    assert sizes[0] > link.most, "it tries with much"
    assert sizes[1] <= sizes[0] / 2 + 6_000
    assert any(later > earlier for earlier, later in pairwise(sizes)), "it grows again"
    assert sum(size > link.most for size in sizes) < 10


def test_no_sending_has_more_events_than_its_client_may_write_in_a_second(service, tmp_path):
    path = stored(tmp_path, 900, "x")
    link = NarrowLink(service, 10**9)
    with closing(BankClient(link, Outbox(path, durable=False), writer="arm")) as client:
        client.flush(timeout_s=30.0)
    assert max(events for _, events in link.sent) <= LARGEST[1] < SocketSettings().events_per_s


def test_a_client_that_is_asked_to_slow_down_waits_as_long_and_sends_the_same_again(service, monkeypatch):
    pauses, asked = [], []
    monkeypatch.setattr(Sender, "_pause", lambda _, pause_s: pauses.append(pause_s))

    class Busy(NarrowLink):
        def commit(self, groups):
            asked.append(list(groups))
            if len(asked) < 3:
                raise SlowDownError("A client must not write more than its allowance.", value=7.5)
            return self._service.commit(groups)

    with closing(BankClient(Busy(service, 0), Outbox(None), writer="arm")) as client:
        assert client.log(Observed("a")) == 1
    assert pauses == [7.5, 7.5]
    assert asked[0] == asked[1] == asked[2]


def test_answers_about_changes_are_asked_for_in_smaller_parts_where_they_do_not_arrive(monkeypatch):
    asked, link = [], SocketLink("ws://127.0.0.1:9")

    def call(_, method, *, most_bytes, **arguments):
        assert method == "changes" and arguments
        asked.append(most_bytes)
        if most_bytes > 300_000:
            raise UnreachableError("The owner of the bank must answer.", value="no answer within 10 s")
        return [], 0

    monkeypatch.setattr(SocketLink, "_call", call)
    for _ in range(2):
        with pytest.raises(UnreachableError):
            link.changes(EventFilter(), after_seq=0, wait_s=0.0)
    for _ in range(2):
        with pytest.raises(UnreachableError) if asked[-1] == 2**18 else ExitStack():
            link.changes(EventFilter(), after_seq=0, wait_s=0.0)
    assert asked == [2**20, 2**19, 2**18, 2**19]


def test_no_more_changes_are_read_than_are_asked_for(service, monkeypatch):
    service.commit([encode_events([Event("arm", 1 + one, 0.0, Observed("x" * 8_000)) for one in range(200)])])
    log = service._bank._log
    read, inner = [], log._event
    monkeypatch.setattr(log, "_event", lambda row: read.append(row) or inner(row))
    found, seq = [], 0
    while seq < 200:
        read.clear()
        events, seq = service.changes(EventFilter(), after_seq=seq, most_bytes=100_000)
        assert 0 < len(events) <= 13
        found += events
    assert [event.seq for event in found] == list(range(1, 201))


# --- Threads and slots ------------------------------------------------------------------------------------------------


def test_jobs_of_one_client_wait_in_its_own_queue_and_those_of_another_do_not():
    class Client:
        pass

    async def together():
        threads, gate, many, other = ClientThreads(4, each=2, name="test"), threading.Event(), Client(), Client()
        running = [asyncio.ensure_future(threads.run(many, gate.wait)) for _ in range(20)]
        answers = [await threads.run(other, lambda number=number: number) for number in range(3)]
        given_up = running[:2]
        for one in given_up:
            one.cancel()
        await asyncio.sleep(0)
        answers += [await threads.run(other, lambda: 3)]
        assert not any(one.done() and not one.cancelled() for one in running)
        gate.set()
        await asyncio.gather(*running, return_exceptions=True)
        threads.close()
        return answers

    assert asyncio.run(together()) == [0, 1, 2, 3]


def served_to(stack, service, path, *names, **limits):
    """Returns a function that opens a link of one of the clients."""
    tokens = {name: add_credential(path, ClientRights(name)) for name in names}
    settings = SocketSettings(port=0, **limits)
    server = stack.enter_context(listening(service, settings, credentials=Credentials(path)))
    return lambda name: stack.enter_context(closing(SocketLink(server.url, token=tokens[name])))


def test_leases_and_short_calls_of_all_are_answered_while_one_client_asks_as_much_as_it_can(
    service, tmp_path, monkeypatch
):
    gate, reading = threading.Event(), threading.Semaphore(0)

    def slow(_):
        reading.release()
        assert gate.wait(60.0)
        return "answer"

    monkeypatch.setattr(service, "read", slow)
    with ExitStack() as stack:
        link_of = served_to(stack, service, tmp_path / "clients.json", "busy", "robot")
        links = [link_of("busy") for _ in range(4)]
        askers = stack.enter_context(ThreadPoolExecutor(16))
        stack.callback(gate.set)
        asked = [askers.submit(link._call, "read", query="latest_s", call=ReadCall("latest_s")) for link in links * 4]
        assert reading.acquire(timeout=10.0) and reading.acquire(timeout=10.0)
        for name, link in (("robot", link_of("robot")), ("busy", links[0])):
            assert link.lease(f"job of {name}", name, duration_s=5.0, epoch=0).epoch == 1
            assert link.head() == service.head()
            assert link.last_of_writer(name) == (0, -float("inf"))
            assert link.clock()
        assert not reading.acquire(blocking=False), "two of its sixteen calls are in progress"
        assert not any(one.done() for one in asked)


def test_a_client_that_has_overdrawn_is_asked_to_slow_down_and_its_other_calls_are_answered(service, tmp_path):
    seen = [Event("flood", 1 + number, 0.0, Observed("x")) for number in range(101)]
    with ExitStack() as stack:
        link_of = served_to(stack, service, tmp_path / "clients.json", "flood", events_per_s=1.0, burst_events=1.0)
        link = link_of("flood")
        assert link.commit([encode_events(seen[:100])]) == [list(range(1, 101))]
        began_s = time.monotonic()
        with pytest.raises(SlowDownError, match="allowance") as asked:
            link.commit([encode_events(seen[100:])])
        assert time.monotonic() - began_s >= LONGEST_SLEEP_S, "one that ignores the refusal must not ask at once"
        assert asked.value.wait_s > 1.5
        assert link.lease("job", "flood", duration_s=5.0, epoch=0).epoch == 1
        assert link.head() == 101
