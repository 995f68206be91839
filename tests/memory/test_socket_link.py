"""The socket link: its answers are those of the bank itself, and nothing that a client sends harms the others."""

import itertools
import math
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing, contextmanager

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from embodied.access import Access
from embodied.codec import encode
from embodied.errors import ConfigError, ConflictError, MemoryBankError, NumberTakenError
from embodied.geometry import Pose
from embodied.memory import (
    QUERIES,
    BankClient,
    BankService,
    EntitySeen,
    EpisodeBegun,
    Event,
    EventFilter,
    Interaction,
    Lease,
    MapPlaced,
    Outbox,
    Query,
    ReadCall,
    RelationSet,
    RetentionConfig,
    RobotRegistered,
    SimulatedClock,
    SkillSpec,
    UnreachableError,
    Withdrawn,
    encode_events,
    open_bank,
)
from embodied.memory.service import messages
from embodied.memory.service.socket_link import SocketLink
from embodied.memory.service.socket_server import AddressError, listening
from embodied.memory.service.socket_settings import PATH, SocketSettings
from tests.memory.links import socket_link
from tests.memory.writers import EventFactory, home, unit
from tests.serving.clients import made_certificate, needs_openssl

TOKEN = "a-token-of-some-length"
EAST = np.array([1.0, 0.0, 0.0, 0.0], np.float32)
ASKED = {
    "recall": [((Query(),), {}), ((Query(EAST, "m", entities=("cup",), time_s=(-9.0, 9.0), region="kitchen"),), {})],
    "where_is": [(("cup",), {}), (("nothing",), {}), (("panda",), {"as_of_s": 0.5})],
    "contents": [(("tray",), {}), (("kitchen",), {"as_of_s": 1.0})],
    "related": [(("cup",), {})],
    "places": [((), {})],
    "map_placing": [(("panda/1",), {}), (("panda/1",), {"as_of_s": 1.0})],
    "latest_s": [((), {})],
    "names": [((), {})],
    "history": [(("cup",), {}), ((), {"kinds": ["interaction"], "limit": -1}), (("cup",), {"from_s": -np.inf})],
    "changes_since": [((0,), {}), ((2,), {"wanted": EventFilter(entities=("cup",)), "limit": 2})],
    "skill_candidates": [(("pick", (0.0, 0.0, 0.0)), {}), (("pick", np.zeros(3)), {"max_age_s": 0.5})],
    "why": [((9,), {}), ((99,), {})],
    "withdrawn_by": [((13,), {}), ((99,), {})],
    "nth_interaction": [((1,), {}), ((-1,), {"entity": "cup"}), ((7,), {})],
    "similar_episodes": [((EAST, "m"), {}), ((EAST, "n"), {"top_k": 1})],
    "event": [((1,), {}), ((99,), {})],
}


def events():
    factory = EventFactory()
    yield [factory.event(place) for place in home()]
    skills = RobotRegistered("panda", "panda", (SkillSpec("pick"),))
    yield [factory.event(skills, robot="panda"), factory.state("panda", time_s=0.5)]
    yield [factory.seen("cup", 1.0, 1.0), factory.put("cup", "on", "tray", time_s=1.0), factory.seen("tray", 1.1, 1.5)]
    moved = Interaction("pick_place", "cup", 1.0, 1.2, 1.4, 1.6, "kitchen", "tray")
    yield [factory.event(moved, 2.0, robot="panda", cause=cause) for cause in ((3, 5), (8,))]
    yield [factory.put("cup", "near", "sink", time_s=2.5)]
    yield [factory.event(EpisodeBegun("e", "wash", "m", unit(4)), 3.0)]
    yield [factory.moment(entities=("cup",), time_s=3.0), factory.moment(time_s=4.0, axis=1)]
    yield [factory.event(Withdrawn((13,), "another episode's"), 5.0)]
    yield [factory.event(MapPlaced("panda/1", Pose((1.0, 2.0, 0.0))), 6.0)]


@pytest.fixture(scope="module")
def service():
    with BankService(open_bank(":memory:", clock=SimulatedClock(1e6))) as made:
        for batch in events():
            assert isinstance(made.commit([encode_events(batch)])[0], list)
        yield made


@pytest.fixture(scope="module")
def link(service):
    with socket_link(service) as made:
        yield made


@contextmanager
def served(*, port=0, access=Access(), **limits):  # noqa: B008 - a frozen value
    with (
        BankService(open_bank(":memory:")) as service,
        listening(service, SocketSettings(port=port, **limits), access) as server,
    ):
        yield server


def port_of(server):
    return int(server.url.rpartition(":")[2])


def seen(number, writer="arm", entity="cup"):
    return Event(writer, number, 0.0, EntitySeen(entity, "cup", Pose()))


def same(ours, theirs):
    """Returns whether two answers are equal, types included, arrays by their content."""
    if type(ours) is not type(theirs):
        return False
    if isinstance(ours, np.ndarray):
        return ours.dtype == theirs.dtype and np.array_equal(ours, theirs, equal_nan=ours.dtype.kind == "f")
    if isinstance(ours, list | tuple):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if hasattr(ours, "__dataclass_fields__"):
        return all(same(getattr(ours, name), getattr(theirs, name)) for name in ours.__dataclass_fields__)
    return ours == theirs or (ours != ours and theirs != theirs)  # noqa: PLR0124 - NaN


# --- Answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_is_answered_as_by_the_bank_itself_and_with_the_same_types(service, link, query):
    answers = []
    for arguments, options in ASKED[query]:
        for seq in (None, 7):
            call = ReadCall(query, arguments, options, seq)
            answers.append(service.read(call))
            assert same(answers[-1], link.read(call)), call
    assert any(answer not in (None, []) for answer in answers), "the query must have found something"


def test_an_answer_that_differs_would_be_noticed():
    assert not same([(1.0, "a")], [(1, "a")])
    assert not same([np.zeros(3, np.float32)], [np.zeros(3)])
    assert not same(Lease("wash", "arm", 1, 0.0), Lease("wash", "arm", 2, 0.0))
    assert same([float("nan")], [float("nan")])


def test_each_group_of_a_commit_gets_its_own_numbers_or_its_own_error(service, link):
    stale = Event("hand", 1, 0.0, RelationSet("cup", "in", "sink", expected_version=77))
    good = [seen(1, "hand"), seen(2, "hand")]
    head = service.head()
    sent = [encode_events(good), encode_events([stale]), b"garbage", encode_events([]), encode_events(good)]
    numbers, conflict, unread, nothing, again = link.commit(sent)
    assert numbers == again == [head + 1, head + 2]
    assert nothing == []
    assert type(conflict) is NumberTakenError
    assert type(unread) is MemoryBankError
    (mine,) = service.commit([encode_events([stale])])
    assert (str(mine), mine.rule, mine.remedy) == (str(conflict), conflict.rule, conflict.remedy)


def test_leases_and_their_conflicts_cross(service, link):
    lease = link.lease("wash", "panda", duration_s=60.0, epoch=0)
    assert lease == Lease("wash", "panda", 1, lease.expires_s)
    with pytest.raises(ConflictError) as far:
        link.lease("wash", "kuka", duration_s=60.0, epoch=0)
    with pytest.raises(ConflictError) as near:
        service.lease("wash", "kuka", duration_s=60.0)
    assert far.value.rule == near.value.rule
    assert link.retain(RetentionConfig()) == service.retain(RetentionConfig())
    assert link.last_of_writer("nobody") == (0, -float("inf"))


def test_an_answer_about_changes_is_cut_where_it_would_be_too_large_and_goes_on_there(monkeypatch):
    monkeypatch.setattr(messages, "MOST_EVENT_BYTES", 2_000)
    with BankService(open_bank(":memory:")) as service, socket_link(service) as link:
        service.commit([encode_events([seen(number) for number in range(1, 101)])])
        found, seq = [], 0
        while seq < 100:
            events, seq = link.changes(EventFilter(), after_seq=seq, wait_s=0.0)
            assert 0 < len(events) < 50
            found += events
        assert [event.seq for event in found] == list(range(1, 101))


def test_an_answer_that_does_not_fit_is_refused_and_the_link_goes_on(service, link, monkeypatch):
    monkeypatch.setattr(messages, "ANSWER", messages.CodecLimits(message_bytes=10_000))
    monkeypatch.setattr(messages, "encode_events", lambda _: bytes(20_000))
    monkeypatch.setitem(messages._EVENTS, messages.answer_kind("read", "why"), (lambda _: bytes(20_000), None))
    with pytest.raises(MemoryBankError, match="fit into one message"):
        link.read(ReadCall("why", (9,)))
    assert link.head() == service.head()


# --- Waiting ----------------------------------------------------------------------------------------------------------


def test_many_clients_may_wait_for_changes_while_others_write_and_read():
    with served(readers=2) as server, ExitStack() as stack:
        links = [stack.enter_context(closing(SocketLink(server.url))) for _ in range(3)]
        found = []

        def wait(link):
            found.append(link.changes(EventFilter(), after_seq=0, wait_s=4.0)[1])

        threads = [threading.Thread(target=wait, args=(links[i % 3],)) for i in range(30)]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        begun_s = time.monotonic()
        assert links[0].head() == 0
        assert links[1].commit([encode_events([seen(1)])]) == [[1]]
        for thread in threads:
            thread.join(5.0)
        assert found == [1] * 30
        assert time.monotonic() - begun_s < 3.0, "they must have been notified"


def test_nothing_new_is_an_answer_too_once_the_time_is_over(service, link):
    begun_s = time.monotonic()
    assert link.changes(EventFilter(), after_seq=service.head(), wait_s=0.2) == ([], service.head())
    assert 0.1 < time.monotonic() - begun_s < 3.0


# --- Hostile and broken clients ---------------------------------------------------------------------------------------


def call_body(method, arguments):
    return encode({"method": method, "arguments": arguments})


@pytest.mark.parametrize(
    "message",
    [
        "text",
        b"",
        b"short",
        messages.numbered(1, b""),
        messages.numbered(1, b"\xc1"),
        messages.numbered(1, encode(3)),
        messages.numbered(1, call_body("pickle", {})),
        messages.numbered(1, call_body("__class__", {})),
        messages.numbered(1, call_body("head", {"x": 1})),
        messages.numbered(1, call_body("head", 3)),
        messages.numbered(1, call_body("commit", {"groups": "abc"})),
        messages.numbered(1, call_body("commit", {"groups": (1, None)})),
        messages.numbered(1, call_body("commit", {"groups": ({"a": 1},)})),
        messages.numbered(1, call_body("read", {"call": 1})),
        messages.numbered(1, call_body("read", {"call": {"class": "ReadCall", "name": ("a",)}})),
        messages.numbered(1, call_body("read", {"call": {"class": "ReadCall", "name": "why", "arguments": 3}})),
        messages.numbered(1, call_body("read", {"call": {"class": "ReadCall", "name": "why", "options": {"self": 3}}})),
        messages.numbered(1, call_body("read", {"call": {"class": "Popen", "args": ("true",)}})),
        messages.numbered(1, call_body("read", {"call": {"class": "Query", "unknown": 1}})),
        messages.numbered(1, call_body("read", {"call": {"class": "int", "hexadecimal": "zz"}})),
        messages.numbered(1, call_body("changes", {"wanted": 1, "after_seq": "x", "wait_s": None})),
        messages.numbered(1, call_body("changes", {"wanted": {"class": "EventFilter"}, "after_seq": 0, "wait_s": ()})),
        messages.numbered(1, call_body("lease", {"subtask": 1, "robot": (), "duration_s": "x", "epoch": None})),
        messages.numbered(1, call_body("lease", {"subtask": "a", "robot": "b", "duration_s": 1.0, "epoch": "c"})),
        messages.numbered(1, call_body("retain", {"config": None})),
        messages.numbered(1, call_body("retain", {"config": {"class": "RetentionConfig", "keyframes": "x"}})),
        messages.numbered(1, call_body("last_of_writer", {"writer": ()})),
        messages.numbered(1, b"\x81\xa1a" * 5_000 + b"\x01"),
    ],
)  # fmt: skip
def test_a_malformed_message_is_answered_with_an_error_or_ends_its_own_connection_alone(service, link, message):
    with connect(link._url + PATH, compression=None) as raw:
        raw.send(message)
        try:
            number, body = messages.split(raw.recv(timeout=10.0))
            assert number == 1
            with pytest.raises(Exception, match="Got") as caught:
                messages.decode_answer(body, "head")
            assert caught.value.rule
        except ConnectionClosed:
            assert isinstance(message, str) or len(message) < messages.NUMBER.size
    assert link.head() == service.head()


def test_a_client_that_does_not_read_its_answers_is_disconnected_and_no_other_one_waits(service):
    settings = SocketSettings(port=0, send_s=0.5, ping_s=60.0)
    with (
        listening(service, settings) as server,
        closing(SocketLink(server.url)) as link,
        connect(server.url + PATH, compression=None, max_queue=1, ping_interval=None, close_timeout=0.1) as deaf,
    ):
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        body = messages.encode_call("read", {"call": ReadCall("history", ("cup",))})

        def flood():
            try:
                for number in itertools.count(1):
                    deaf.send(messages.numbered(number, body))
            except (ConnectionClosed, OSError):
                pass

        flooding = threading.Thread(target=flood, daemon=True)
        flooding.start()
        late_s = []
        while flooding.is_alive() and len(late_s) < 500:
            begun_s = time.monotonic()
            assert link.head() == service.head()
            late_s.append(time.monotonic() - begun_s)
            time.sleep(0.02)
        flooding.join(1.0)
        assert not flooding.is_alive(), "it must be disconnected"
        assert sorted(late_s)[len(late_s) // 2] < 0.25


def test_a_connection_whose_other_end_is_gone_is_noticed(service):
    with listening(service, SocketSettings(port=0, ping_s=0.2)) as server:
        host, port = server.url.removeprefix("ws://").split(":")
        with socket.create_connection((host, int(port))) as gone:
            key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            gone.sendall(
                f"GET {PATH} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}\r\n".encode()
            )
            assert b"101" in gone.recv(1024)
            assert wait_until(lambda: server._callers)
            assert wait_until(lambda: not server._callers), "it answers no ping"


def wait_until(condition, timeout_s=5.0):
    due_s = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < due_s:
        time.sleep(0.01)
    return condition()


def test_a_call_ends_in_time_when_the_owner_hangs(service):
    with socket.create_server(("127.0.0.1", 0)) as silent:  # It accepts connections, and never answers.
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}"
        begun_s = time.monotonic()
        with closing(SocketLink(url, timeout_s=0.3)) as link, pytest.raises(UnreachableError, match="no answer within"):
            link.head()
        assert time.monotonic() - begun_s < 2.0


# --- Access -----------------------------------------------------------------------------------------------------------


def test_a_client_needs_the_token_and_one_that_is_refused_waits():
    with served(access=Access(token=TOKEN)) as server:
        with closing(SocketLink(server.url, token=TOKEN)) as link:
            assert link.head() == 0
        for wrong in ("", "another-token-altogether"):
            with closing(SocketLink(server.url, token=wrong)) as link:
                with pytest.raises(UnreachableError, match="401") as caught:
                    link.head()
                assert TOKEN not in str(caught.value)
                with pytest.raises(UnreachableError):
                    link.commit([encode_events([seen(1)])])


@needs_openssl
def test_with_a_certificate_the_link_is_encrypted_and_others_are_not_trusted(tmp_path):
    certificate, key = made_certificate(tmp_path)
    with served(access=Access(TOKEN, certificate, key)) as server:
        assert server.url.startswith("wss:")
        with closing(SocketLink(server.url, token=TOKEN, certificate=certificate.read_text())) as link:
            assert link.commit([encode_events([seen(1)])]) == [[1]]
        with closing(SocketLink(server.url, token=TOKEN)) as link, pytest.raises(UnreachableError, match="certificate"):
            link.head()
        plain = server.url.replace("wss:", "ws:")
        with closing(SocketLink(plain, token=TOKEN, timeout_s=2.0)) as link, pytest.raises(UnreachableError):
            link.head()


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("http://127.0.0.1:8100", "ws://"),
        ("ws://127.0.0.1", "port"),
        ("ws://127.0.0.1:port", "port"),
        ("ws://127.0.0.1:8100/path", "alone"),
        ("ws://user:secret@127.0.0.1:8100", "apart"),
        ("ws://bank.example:8100", "encrypted"),
    ],
)
def test_a_url_that_cannot_be_used_or_would_reveal_something_is_refused(url, match):
    with pytest.raises(ConfigError, match=match) as caught:
        SocketLink(url)
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(SocketLink("ws://127.0.0.1:8100", token="secret"))


def test_an_address_that_is_taken_is_refused():
    with served() as server, pytest.raises(AddressError, match="in use"), served(port=port_of(server)):
        pass


# --- Processes --------------------------------------------------------------------------------------------------------


def test_the_link_imports_neither_ray_nor_torch_nor_the_simulator():
    script = (
        "import sys\n"
        "from embodied.memory import BankClient, Outbox\n"
        "from embodied.memory.service.socket_link import SocketLink\n"
        "client = BankClient(SocketLink('ws://127.0.0.1:9'), Outbox(None), writer='arm')\n"
        "client.close(timeout_s=0.0)\n"
        "print(sorted({'ray', 'torch', 'pybullet', 'hydra'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_a_client_goes_on_by_itself_when_the_owner_returns_at_its_address():
    with served() as server:
        port = port_of(server)
        link = SocketLink(server.url)
        client = BankClient(link, Outbox(None), writer="arm", timeout_s=10.0)
        client.append(seen(1))
    with closing(link), closing(client):
        waiting = [client.post(seen(number)) for number in (2, 3)]
        time.sleep(0.2)
        assert not any(answer.done() for answer in waiting)
        with served(port=port):
            assert [answer.result(10.0) for answer in waiting] == [[1], [2]]


def test_a_call_beside_the_close_of_its_link_is_answered_or_unreachable_and_never_hangs():
    with served() as server:
        link, stop, odd = SocketLink(server.url, timeout_s=2.0), threading.Event(), []

        def call():
            while not stop.is_set():
                try:
                    link.head()
                except UnreachableError:
                    pass
                except BaseException as error:
                    odd.append(error)

        callers = [threading.Thread(target=call, daemon=True) for _ in range(4)]
        for caller in callers:
            caller.start()
        for _ in range(300):
            link.close()
            time.sleep(0.002)
        stop.set()
        for caller in callers:
            caller.join(5.0)
        assert not any(caller.is_alive() for caller in callers)
        assert odd == []
        link.close()


def test_a_call_that_comes_after_the_end_of_a_connection_is_not_scheduled():
    with served() as server:
        link = SocketLink(server.url)
        assert link.head() == 0
        channel = link._channel
        channel.close()
        with pytest.raises(UnreachableError, match="closed"):
            channel.call(messages.encode_call("head", {}), 1.0)
        link._channel = None


def test_a_forked_child_has_a_connection_of_its_own(service, link):
    assert link.head() == service.head()
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write_end, str(link.head()).encode())
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert int(os.read(read_end, 10)) == service.head()
    assert link.head() == service.head()


@pytest.mark.parametrize("token", ["a-token-of-enough-characters\n", "two words of a token", "t\u00f6ken"])
def test_a_token_that_no_header_can_hold_is_refused_at_once_and_not_shown(token):
    with pytest.raises(ConfigError, match="printable ASCII") as caught:
        SocketLink("ws://127.0.0.1:9", token=token)
    assert token.strip() not in str(caught.value)


@pytest.mark.parametrize("settings", [{"timeout_s": math.nan}, {"timeout_s": 0.0}, {"timeout_s": "x"}, {"url": 5}])
def test_settings_of_a_link_are_checked_when_it_is_made(settings):
    with pytest.raises(ConfigError):
        SocketLink(**{"url": "ws://127.0.0.1:9", **settings})
