"""Each client writes under its own names, and what is reserved is written by the site alone."""

import json
import stat
import threading
import time
from contextlib import ExitStack, closing

import pytest

from embodied.access import Access
from embodied.errors import ConfigError, ConflictError, MemoryBankError, NotPermittedError, UnknownNameError
from embodied.geometry import Pose
from embodied.memory import (
    BankClient,
    BankService,
    ClientRights,
    Credentials,
    EntitySeen,
    Event,
    Forgotten,
    LeaseGranted,
    Outbox,
    ReadCall,
    RetentionConfig,
    RobotRegistered,
    Role,
    SimulatedClock,
    SubtaskEnded,
    UnreachableError,
    Watermark,
    Withdrawn,
    add_credential,
    encode_events,
    open_bank,
    read_credentials,
    remove_credential,
)
from embodied.memory.schema.limits import MOST_SKIPPED
from embodied.memory.service.socket_link import SocketLink
from embodied.memory.service.socket_server import SocketServer, listening
from embodied.memory.service.socket_settings import SocketSettings

LARGEST = 2**63 - 1
CLIENTS = (
    ClientRights("panda", writers=("arm",), robots=("panda_left",)),
    ClientRights("kuka"),
    ClientRights("operator", Role.SITE),
    ClientRights("screen", Role.READER),
)


def seen(writer, number=1, time_s=0.0, **fields):
    return Event(writer, number, time_s, EntitySeen("cup", "cup", Pose()), **fields)


class Site:
    """A served bank, the tokens of its clients, and links to it."""

    def __init__(self, folder, stack):
        self.path = folder / "clients.json"
        self.tokens = {client.name: add_credential(self.path, client) for client in CLIENTS}
        self.bank = open_bank(":memory:")
        self.service = stack.enter_context(BankService(self.bank))
        self.stack = stack
        settings = SocketSettings(port=0)
        self.server = stack.enter_context(listening(self.service, settings, credentials=Credentials(self.path)))
        self.links = {name: self.link(token) for name, token in self.tokens.items()}

    def link(self, token):
        return self.stack.enter_context(closing(SocketLink(self.server.url, token=token, timeout_s=5.0)))

    def commit(self, name, *events):
        """Commits each event as a group of its own, and returns the results."""
        return self.links[name].commit([encode_events([event]) for event in events])


@pytest.fixture
def site(tmp_path):
    with ExitStack() as stack:
        yield Site(tmp_path, stack)


# --- Writers and robots -----------------------------------------------------------------------------------------------


def test_a_client_writes_under_its_own_names_and_what_it_writes_as_another_(site):
    own = ["panda", "panda/late", "panda/again-1f", "arm", "arm/left"]
    foreign = ["kuka", "kuka/late", "pandas", "pan", "armoured", "Panda", "panda_left", "operator", "panda/../kuka"]
    results = site.commit("panda", *(seen(writer) for pair in zip(own, foreign, strict=False) for writer in pair))
    assert results[::2] == [[1], [2], [3], [4], [5]]
    assert all(isinstance(result, NotPermittedError) for result in results[1::2])
    assert "under its own names" in str(results[1])
    assert "'kuka'" in str(results[1])
    refused = site.commit("panda", *(seen(writer) for writer in foreign[:-1]))
    assert all(isinstance(result, NotPermittedError) for result in refused)
    assert {event.writer for event in site.bank.changes_since(0)} == set(own)


def test_no_client_silences_another_by_a_large_number_or_uses_its_numbers(site):
    assert site.commit("kuka", seen("kuka")) == [[1]]
    attacks = [seen("kuka", LARGEST), seen("kuka", 2), seen("kuka", 1), seen("site/leases", LARGEST)]
    assert all(isinstance(result, NotPermittedError) for result in site.commit("panda", *attacks))
    assert site.commit("kuka", seen("kuka", 2)) == [[2]]
    assert site.links["kuka"].lease("wash", "kuka", duration_s=5.0, epoch=0).epoch == 1


def test_a_client_does_not_write_for_the_robot_of_another(site):
    events = [seen(f"panda/{robot}", robot=robot) for robot in ("panda", "panda_left", "kuka")]
    own, left, foreign = site.commit("panda", *events)
    assert (own, left) == ([1], [2])
    assert isinstance(foreign, NotPermittedError)
    assert "another's robot" in str(foreign)


def test_a_client_does_not_withdraw_what_another_wrote_under_a_name_that_begins_like_its_own():
    alice, bob = (ClientRights(name, writers=(f"fleet/{name}",)) for name in ("alice", "bob"))
    operator = ClientRights("operator", Role.SITE)
    with BankService(open_bank(":memory:")) as service:
        [[seq]] = service.commit([encode_events([seen("fleet/bob")])], bob)

        def withdrawn(client, writer, *seqs):
            return service.commit([encode_events([Event(writer, 1, 1.0, Withdrawn(seqs, "wrong"))])], client)[0]

        for numbers in [(seq,), (seq + 1,)]:  # The second would be a guess at what bob writes next.
            refusal = withdrawn(alice, "fleet/alice", *numbers)
            assert isinstance(refusal, NotPermittedError)
            assert "withdraw only events" in str(refusal)
        assert service._bank.where_is("cup") is not None
        assert withdrawn(bob, "fleet/bob/desk", seq) == [seq + 1]
        [[again]] = service.commit([encode_events([seen("fleet/bob", 2)])], bob)
        assert withdrawn(operator, "site/desk", again) == [again + 1]
        assert service._bank.where_is("cup") is None


def test_a_client_neither_registers_anothers_robot_nor_ends_what_another_may_lease(site):
    card = RobotRegistered("kuka", "scrap")
    end = SubtaskEnded("wash", "done")
    attacks = [Event("panda", 1, 0.0, card, robot="panda"), Event("panda", 1, 0.0, card)]
    attacks.append(Event("panda", 1, 0.0, end, robot="panda"))
    refusals = site.commit("panda", *attacks)
    assert all(isinstance(refusal, NotPermittedError) for refusal in refusals)
    assert ["own robots" in str(one) or "under a lease" in str(one) for one in refusals] == [True] * 3
    lease = site.links["kuka"].lease("wash", "kuka", duration_s=5.0, epoch=0)
    time_s = site.links["kuka"].clock().time_s
    ended = Event("kuka", 2, time_s, SubtaskEnded("wash", "done", epoch=lease.epoch), robot="kuka")
    assert site.commit("kuka", Event("kuka", 1, 0.0, card, robot="kuka"), ended) == [[2], [3]]


def test_credentials_that_are_added_at_the_same_time_are_all_kept(tmp_path):
    path, start = tmp_path / "clients.json", threading.Barrier(6)

    def add(name):
        start.wait()
        add_credential(path, ClientRights(name))

    threads = [threading.Thread(target=add, args=(f"robot_{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.name for one in read_credentials(path)) == [f"robot_{number}" for number in range(6)]


def test_one_group_of_two_writers_is_refused_as_a_whole(site):
    mixed = encode_events([seen("panda"), seen("kuka")])
    (refused,) = site.links["panda"].commit([mixed])
    assert isinstance(refused, NotPermittedError)
    assert site.bank.head == 0


def test_a_client_is_informed_of_a_refusal_and_goes_on(site):
    with BankClient(site.links["panda"], Outbox(None), writer="panda", timeout_s=5.0) as client:
        with pytest.raises(NotPermittedError, match="own names"):
            client.append(seen("kuka", 0))
        client.append(seen("panda", 0))
        assert client.last_of_writer("panda") == (1, 0.0)
        assert client.last_of_writer("kuka") == (0, -float("inf"))


def test_readers_read_and_write_nothing(site):
    site.commit("panda", seen("panda"))
    screen = site.links["screen"]
    assert screen.read(ReadCall("where_is", ("cup",))).entity == "cup"
    assert screen.head() == 1
    (refused,) = site.commit("screen", seen("screen"))
    assert isinstance(refused, NotPermittedError)
    with pytest.raises(NotPermittedError):
        screen.lease("wash", "screen", duration_s=5.0, epoch=0)
    with pytest.raises(NotPermittedError):
        screen.retain(RetentionConfig())
    assert site.bank.head == 1


def test_what_a_dead_program_wrote_as_another_is_laid_aside_and_the_rest_is_sent(site, tmp_path):
    outbox = Outbox(tmp_path / "panda.outbox")
    outbox.adopt("kuka", 0)
    outbox.adopt("panda", 0)
    for writer in ("kuka", "panda"):
        outbox.add([seen(writer, 0)])
    outbox.close()
    outbox = Outbox(tmp_path / "panda.outbox")
    with BankClient(site.links["panda"], outbox, writer="panda", timeout_s=5.0) as client:
        client.flush()
        (aside,) = client.laid_aside()
    assert aside.events[0].writer == "kuka"
    assert "own names" in aside.reason
    assert [event.writer for event in site.bank.changes_since(0)] == ["panda"]


# --- What is reserved -------------------------------------------------------------------------------------------------

RESERVED = {
    "a removal": Forgotten("bad", ((1, 1),), 1),
    "a lease": LeaseGranted("wash", 1, 9.0),
    "a closed past": Watermark(0.0),
}


@pytest.mark.parametrize("payload", RESERVED.values(), ids=RESERVED)
def test_what_is_reserved_is_refused_for_robots_and_in_the_owners_own_program(site, payload):
    event = Event("panda", 1, 0.0, payload, robot="panda")
    (refused,) = site.commit("panda", event)
    assert isinstance(refused, NotPermittedError)
    (without,) = site.service.commit([encode_events([event])])
    assert isinstance(without, NotPermittedError)
    with pytest.raises(NotPermittedError, match="Only the site"):
        site.bank.append(event)
    assert site.bank.head == 0


@pytest.mark.parametrize("writer", ["site/leases", "site/clock", "retention", "retention/1"])
def test_reserved_writers_are_refused_for_robots_and_in_the_owners_own_program(site, writer):
    (refused,) = site.commit("panda", seen(writer))
    assert isinstance(refused, NotPermittedError)
    (without,) = site.service.commit([encode_events([seen(writer)])])
    assert isinstance(without, NotPermittedError)
    with pytest.raises(NotPermittedError, match="reserved for it"):
        site.bank.append(seen(writer))
    assert site.bank.append(seen(writer), as_site=True) == [1]


def test_the_site_closes_the_past_and_asks_the_owner_for_removals_and_leases(site):
    site.commit("panda", *(seen("panda", number, float(number)) for number in range(1, 9)))
    assert site.commit("operator", Event("site/clock", 1, 1.0, Watermark(0.5)), seen("operator", 1, 1.0)) == [[9], [10]]
    owners = [Event("operator", 2, 1.0, payload) for payload in (RESERVED["a removal"], RESERVED["a lease"])]
    owners += [seen("site/leases"), seen("retention"), seen("panda", 9, 9.0)]
    assert all(isinstance(result, NotPermittedError) for result in site.commit("operator", *owners))
    assert site.links["operator"].lease("wash", "panda", duration_s=5.0, epoch=0).epoch == 1
    assert sum(site.links["operator"].retain(RetentionConfig()).forgotten.values()) > 0
    assert site.bank.event(site.bank.head).writer == "retention"


def test_robots_lease_for_themselves_and_do_not_remove(site):
    panda, kuka = site.links["panda"], site.links["kuka"]
    lease = panda.lease("wash", "panda", duration_s=60.0, epoch=0)
    assert panda.lease("dry", "panda_left", duration_s=60.0, epoch=0).robot == "panda_left"
    with pytest.raises(NotPermittedError, match="its own robots"):
        kuka.lease("wash", "panda", duration_s=1.0, epoch=lease.epoch)
    with pytest.raises(ConflictError):
        kuka.lease("wash", "kuka", duration_s=1.0, epoch=0)
    with pytest.raises(NotPermittedError, match="role `site`"):
        panda.retain(RetentionConfig())


def test_a_jump_that_would_leave_a_writer_few_numbers_is_refused_and_a_gap_is_not():
    with open_bank(":memory:") as bank:
        assert bank.append(seen("panda", 7)) == [1]
        for number in (LARGEST, 7 + MOST_SKIPPED + 1):
            with pytest.raises(MemoryBankError, match=r"must not skip more.*continue above it"):
                bank.append(seen("panda", number))
        with pytest.raises(MemoryBankError, match="must not skip"):
            bank.append(seen("kuka", LARGEST))
        assert bank.append(seen("panda", 7 + MOST_SKIPPED)) == [2]
        assert bank.append(seen("panda", 8 + MOST_SKIPPED)) == [3]


# --- Tokens -----------------------------------------------------------------------------------------------------------


def refused_at_once(link):
    with pytest.raises(UnreachableError, match="401"):
        link.head()


def test_without_a_token_of_a_client_nothing_is_answered(site):
    for token in ("", "wrong" * 8, site.tokens["panda"][:-1], json.loads(site.path.read_text())[0]["token_sha256"]):
        refused_at_once(site.link(token))


def wait_until(condition, timeout_s=5.0):
    due_s = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < due_s:
        time.sleep(0.05)
    return condition()


def is_refused(link):
    try:
        link.head()
    except UnreachableError:
        return True
    return False


def test_a_revoked_client_is_refused_on_its_open_connection_too_and_the_others_go_on(site):
    panda, kuka = site.links["panda"], site.links["kuka"]
    assert (panda.head(), kuka.head()) == (0, 0)
    remove_credential(site.path, "panda")
    assert wait_until(lambda: is_refused(panda))
    refused_at_once(panda)
    assert kuka.head() == 0
    again = add_credential(site.path, CLIENTS[0])
    assert wait_until(lambda: not is_refused(site.link(again)))
    refused_at_once(panda)


def test_a_change_of_the_file_that_cannot_be_used_stops_no_robot(site, caplog):
    site.path.write_text("[{]")
    time.sleep(0.6)
    assert site.links["panda"].head() == 0
    assert site.link(site.tokens["kuka"]).head() == 0
    assert "stay as they were" in caplog.text


def test_two_programs_with_one_name_lose_and_double_nothing(site):
    """Such as a copied robot: both count the same numbers, and the bank keeps the events of both apart."""
    first, second = (site.link(site.tokens["panda"]) for _ in range(2))
    with (
        BankClient(first, Outbox(None), writer="panda", timeout_s=5.0) as one,
        BankClient(second, Outbox(None), writer="panda", timeout_s=5.0) as other,
    ):
        for number in range(20):
            for client, name in ((one, "a"), (other, "b")):
                client.log(EntitySeen(f"{name}.{number}", "cup", Pose()))
    names = [event.payload.entity for event in site.bank.changes_since(0)]
    assert sorted(names) == sorted(f"{name}.{number}" for name in "ab" for number in range(20))


def test_a_client_has_few_connections_at_once_and_the_newest_counts(site):
    links = [site.link(site.tokens["kuka"]) for _ in range(6)]
    assert [link.head() for link in links] == [0] * 6
    assert wait_until(lambda: len(site.server._callers) <= 4)
    assert links[-1].head() == 0


def test_the_clock_of_simulated_time_is_advanced_by_the_site_alone(tmp_path):
    path, settings = tmp_path / "clients.json", SocketSettings(port=0)
    tokens = {client.name: add_credential(path, client) for client in CLIENTS}
    with BankService(open_bank(":memory:", clock=SimulatedClock())) as service:
        with listening(service, settings, credentials=Credentials(path)) as server:
            for name in ("panda", "screen"):
                with (
                    closing(SocketLink(server.url, token=tokens[name])) as link,
                    pytest.raises(NotPermittedError, match="driver of a run"),
                ):
                    link.advance(5.0)
            with closing(SocketLink(server.url, token=tokens["operator"])) as link:
                assert link.advance(5.0) == 5.0
        with (
            listening(service, settings) as server,
            closing(SocketLink(server.url)) as link,
            BankClient(link, Outbox(None), writer="panda") as client,
        ):
            with pytest.raises(NotPermittedError, match="driver of a run"):
                client.advance(9.0)
            assert client.clock().time_s == 5.0
            assert service.advance(7.0) == client.clock().time_s == 7.0


# --- The file ---------------------------------------------------------------------------------------------------------


def test_the_file_is_private_and_holds_digests_alone(site):
    assert stat.S_IMODE(site.path.stat().st_mode) == 0o600
    content = site.path.read_text()
    assert not [token for token in site.tokens.values() if token in content]
    assert [one.client for one in read_credentials(site.path)] == list(CLIENTS)
    site.path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_credentials(site.path)


@pytest.mark.parametrize(
    ("client", "match"),
    [
        (ClientRights(""), "must have a name"),
        (ClientRights("site"), "reserved"),
        (ClientRights("retention"), "reserved"),
        (ClientRights("panda/left"), "without '/'"),
        (ClientRights("other", writers=("site/leases",)), "reserved"),
        (ClientRights("other", writers=("panda/left",)), "same names"),
        (ClientRights("arm"), "same names"),
        (ClientRights("other", Role.ANYONE), "role"),
        (ClientRights("robot "), "Write 'robot'"),
        (ClientRights("cafe\u0301"), "NFC"),
        (ClientRights("other", writers=("x" * 1001,)), "1000 letters"),
        (ClientRights("other", robots=("arm\u200b",)), "Write 'arm'"),
        (ClientRights("other", Role.DRIVER), "role"),
    ],
)
def test_clients_that_could_write_as_another_are_refused(site, client, match):
    before = site.path.read_text()
    with pytest.raises(ConfigError, match=match):
        add_credential(site.path, client)
    assert site.path.read_text() == before


@pytest.mark.parametrize(
    "content", ["", "{}", "[1]", '[{"name": "a"}]', '[{"name": "a", "token_sha256": "x"}]', "\xff"]
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path, content):
    path = tmp_path / "clients.json"
    path.touch(mode=0o600)
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ConfigError):
        Credentials(path)
    with pytest.raises(ConfigError):
        Credentials(tmp_path / "none.json")


def test_an_unknown_client_cannot_be_removed(site):
    with pytest.raises(UnknownNameError, match="panda"):
        remove_credential(site.path, "pando")


def test_other_machines_need_tls_whatever_the_tokens(site):
    for access in (Access(), Access(token="a-token-of-some-length")):
        for credentials in (None, Credentials(site.path)):
            settings = SocketSettings(host="0.0.0.0", port=0)
            with pytest.raises(ConfigError, match="token and TLS"):
                SocketServer(site.service, settings, access, credentials)
