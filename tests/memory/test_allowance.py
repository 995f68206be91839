"""A client that floods a served bank is slowed down, and the others are not."""

import time

import pytest

from embodied.errors import ConflictError, MemoryBankError
from embodied.memory import BankService, ClientRights, Credentials, Role, add_credential, encode_events, open_bank
from embodied.memory.service.allowance import Allowance, weight
from embodied.memory.service.commit_queue import WaitingCommit
from embodied.memory.service.socket_calls import _charge
from embodied.memory.service.socket_link import SocketLink
from embodied.memory.service.socket_server import listening
from embodied.memory.service.socket_settings import SocketSettings
from tests.memory.test_socket_link import seen, served


def test_a_burst_is_free_and_a_flood_waits_for_what_it_has_overdrawn():
    allowance = Allowance(per_s=100.0, most=1_000.0, now_s=5.0)
    allowance.take(events=980, size_bytes=4096)
    assert allowance.wait_s(5.0) == 0.0
    allowance.take(events=190, size_bytes=0)
    assert allowance.wait_s(5.0) == 1.91
    assert allowance.wait_s(6.0) == 0.91
    assert allowance.wait_s(60.0) == 0.0
    allowance.take(events=990, size_bytes=0)
    assert allowance.wait_s(60.0) == 0.0, "no more is saved than a burst"
    allowance.take(events=90, size_bytes=0)
    assert allowance.wait_s(60.0) == 1.0


def test_a_flood_is_slowed_down_and_loses_nothing_while_another_client_is_answered_at_once():
    with served(events_per_s=500.0, burst_events=50.0) as server:
        flood, other = SocketLink(server.url), SocketLink(server.url)
        began_s = time.monotonic()
        results = [flood.commit([encode_events([seen(number)])])[0] for number in range(1, 21)]
        took_s = time.monotonic() - began_s
        assert results == [[number] for number in range(1, 21)]
        assert took_s >= (20 * 11 - 11 - 50) / 500.0, "twenty calls of one event cost 220"
        began_s = time.monotonic()
        assert other.commit([encode_events([seen(1, writer="other")])]) == [[21]]
        assert time.monotonic() - began_s < took_s / 2
        flood.close()
        other.close()


def test_connections_of_one_client_share_its_allowance_and_those_of_others_do_not(tmp_path):
    path = tmp_path / "clients.json"
    tokens = [add_credential(path, ClientRights(name, Role.ROBOT)) for name in ("flood", "flood_2")]
    settings = SocketSettings(port=0, events_per_s=100.0, burst_events=50.0)
    with (
        BankService(open_bank(":memory:")) as service,
        listening(service, settings, credentials=Credentials(path)) as server,
    ):
        first, second, other = (SocketLink(server.url, token=tokens[number]) for number in (0, 0, 1))
        first.commit([encode_events([seen(number, "flood") for number in range(1, 91)])])
        for link, writer, number, waits in ((other, "flood_2", 1, False), (second, "flood", 91, True)):
            began_s = time.monotonic()
            assert isinstance(link.commit([encode_events([seen(number, writer)])])[0], list)
            assert (time.monotonic() - began_s > 0.25) is waits, writer
        for link in (first, second, other):
            link.close()


def test_a_large_append_costs_more_than_its_events_in_parts():
    assert [weight(events) for events in (1, 50, 100, 200, 1_000)] == [1, 50, 200, 800, 20_000]


def test_no_commit_waits_so_long_that_its_link_gives_up():
    allowance = Allowance(per_s=100.0, most=1_000.0, now_s=0.0)
    allowance.take(events=weight(10_000), size_bytes=0)
    assert allowance.wait_s(0.0) == 5.0
    assert allowance.wait_s(6.0) == 0.0


def cost(results, rows, *, size=0):
    """Returns what a call with these results is charged, in events."""
    request = WaitingCommit([[]] * len(results), [size] * len(results))
    request.take_results(results, rows)
    allowance = Allowance(per_s=100.0, most=0.0, now_s=0.0)
    _charge(allowance, request)
    return allowance.wait_s(0.0) * 100.0


def test_refusals_cost_more_than_events_and_conflicts_cost_none():
    refusal, conflict = MemoryBankError("x", value=1), ConflictError("x", value=1)
    assert cost([[1, 2]], [8]) == pytest.approx(12)
    assert cost([refusal], [0]) == pytest.approx(60)
    assert cost([refusal, [1], refusal], [0, 4, 0]) == pytest.approx(111)
    assert cost([conflict], [0]) == pytest.approx(10)


def test_rows_cost_as_events_do_and_what_was_known_already_costs_the_call_alone():
    assert cost([[1, 2]], [200]) == pytest.approx(10 + 50)
    assert cost([[1, 2]], [400]) == pytest.approx(10 + weight(100))
    assert cost([[1] * 60], [0], size=10**6) == pytest.approx(10)
    assert cost([[1]], [4], size=40_960) == pytest.approx(10 + 1 + 10)
