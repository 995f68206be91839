"""Whose events are committed next: every client has its turn, however much another has sent."""

from collections import Counter

import pytest

from embodied.errors import MemoryBankError, StorageError
from embodied.geometry import Pose
from embodied.memory import BankService, EntitySeen, Event, Observed, SkillEnded, Withdrawn, encode_events, open_bank
from embodied.memory.schema.limits import LARGEST_COMMIT, LARGEST_COMMIT_BYTES, LARGEST_COMMIT_ROWS
from embodied.memory.schema.row_estimate import estimated_rows
from embodied.memory.service.commit_queue import CommitQueue, WaitingCommit
from tests.memory.test_service import SlowBank


def asked(*counts, size=0):
    """Returns a request with groups of so many events, each of `size` bytes."""
    return WaitingCommit([[None] * count for count in counts], [size] * len(counts))


def queued(**requests):
    """Returns a queue with the requests of each client, in this order."""
    queue = CommitQueue()
    for client, own in requests.items():
        for request in own:
            queue.add(client, request)
    return queue


def commits(queue, requests, most=1_000):
    """Takes all; returns for each commit the events of each client, and answers the requests."""
    owner = {id(request): client for client, own in requests.items() for request in own}
    found = []
    while (taken := queue.take()) and len(found) < most:
        found.append(Counter())
        for request, part in taken:
            found[-1][owner[id(request)]] += sum(map(len, part))
            request.take_results([[0] for _ in part])
    return found


def test_a_robot_is_in_the_next_commit_beside_a_client_that_has_sent_a_thousand_appends():
    requests = {"drain": [asked(*[1] * 1_000)], "robot": [asked(1)]}
    first, *rest = commits(queued(**requests), requests)
    assert first == {"drain": LARGEST_COMMIT // 2, "robot": 1}
    assert all(one == {"drain": LARGEST_COMMIT} for one in rest[:-1])
    assert sum(one["drain"] for one in (first, *rest)) == 1_000


def test_clients_have_equal_shares_of_a_commit():
    requests = {f"drain {number}": [asked(*[1] * 60)] for number in range(4)}
    assert [set(one.values()) for one in commits(queued(**requests), requests)] == [{25}, {25}, {10}]


def test_calls_of_one_client_keep_their_order_and_share_a_commit():
    first, second, third = asked(1), asked(2, 2), asked(3)
    queue = queued(robot=[first, second, third])
    assert [request for request, _ in queue.take()] == [first, second, third]


def test_a_large_append_is_committed_alone_and_never_twice_in_a_row_while_others_wait():
    requests = {f"flood {number}": [asked(200) for _ in range(3)] for number in range(2)}
    requests |= {f"robot {number}": [asked(1)] for number in range(3)}
    queue = queued(**requests)
    found = []
    for _ in range(6):
        taken = queue.take()
        found.append([sum(map(len, part)) for _, part in taken])
        for request, part in taken:
            request.take_results([[0] for _ in part])
        for number in range(3):  # The robots go on.
            queue.add(f"robot {number}", asked(1))
    assert found[::2] == [[200]] * 3
    assert found[1::2] == [[1] * 6] * 3, "between two large ones all that waits of the robots"


def test_large_appends_of_several_clients_take_turns():
    requests = {f"flood {number}": [asked(200) for _ in range(3)] for number in range(3)}
    found = [next(iter(one)) for one in commits(queued(**requests), requests)]
    assert found == [f"flood {number}" for number in range(3)] * 3


def test_many_bytes_are_shared_as_many_events_are():
    eighth = LARGEST_COMMIT_BYTES // 8
    requests = {"images": [asked(*[1] * 40, size=eighth)], "robot": [asked(1, size=500)]}
    found = commits(queued(**requests), requests)
    assert found[0] == {"images": 4, "robot": 1}
    assert max(one["images"] for one in found) == 8


def test_a_client_behind_a_hundred_others_waits_for_one_commit_only():
    requests = {f"robot {number}": [asked(*[1] * 5)] for number in range(LARGEST_COMMIT + 20)}
    first, second, *_ = commits(queued(**requests), requests)
    assert len(first) == LARGEST_COMMIT
    assert set(requests) - set(first) <= set(second)


def test_the_rest_of_a_request_that_an_error_has_answered_is_not_committed():
    request = asked(*[1] * 150)
    queue = queued(robot=[request, asked(1)])
    queue.take()
    request.answer.set_exception(StorageError("The disk of a memory bank must be readable and writable.", value="full"))
    ((_, part),) = queue.take()
    assert len(part) == 1
    assert len(queue) == 0


# --- Through the service ----------------------------------------------------------------------------------------------


def written(writer, number, count=1):
    seen = EntitySeen("cup", "cup", Pose())
    return encode_events([Event(writer, number + one, 0.0, seen) for one in range(count)])


def test_a_robot_does_not_wait_for_the_flood_that_was_there_before_it():
    bank = SlowBank(open_bank(":memory:"))
    with BankService(bank) as service:
        service.submit([written("first", 1)])
        assert bank.entered.wait(5.0)
        floods = [service.request([written("flood", 1 + 200 * call, 200)], turn="flood").answer for call in range(5)]
        robot = service.request([written("robot", 1)], turn="robot").answer
        bank.gate.set()
        (numbers,) = robot.result(10.0)
        assert numbers == [1 + 200 + 1], "after one append of the flood, which cannot be divided"
        assert [len(flood.result(10.0)[0]) for flood in floods] == [200] * 5


TOO_LONG = encode_events([Event("r", 1, 0.0, Observed("x" * 70_000))])


@pytest.mark.parametrize("content", [b"no events", written("r", 1)[:-1], TOO_LONG])
def test_what_cannot_be_written_is_refused_while_the_disk_is_busy(content):
    bank = SlowBank(open_bank(":memory:"))
    with BankService(bank) as service:
        first = service.submit([written("first", 1)])
        assert bank.entered.wait(5.0)
        (refusal,) = service.submit([content]).result(5.0)
        assert isinstance(refusal, MemoryBankError)
        assert not first.done()
        bank.gate.set()


# --- Rows -------------------------------------------------------------------------------------------------------------


def test_groups_that_are_expected_to_write_many_rows_are_in_small_commits_and_take_turns():
    many = WaitingCommit([[None]] * 6, [0] * 6, [LARGEST_COMMIT_ROWS // 2] * 6)
    huge = WaitingCommit([[None]] * 2, [0] * 2, [LARGEST_COMMIT_ROWS * 9] * 2)
    requests = {"names": [many], "withdrawals": [huge], "robot": [asked(*[1] * 5)]}
    found = commits(queued(**requests), requests)
    assert [one["names"] for one in found[:2]] == [1, 0]
    assert found[1] == {"withdrawals": 1}, "alone, as no commit can divide it"
    assert found[0]["robot"] == 5
    assert [one for one in found if one["withdrawals"]] == [{"withdrawals": 1}] * 2
    assert all(one["names"] <= 2 for one in found)


def test_what_a_commit_had_no_rows_left_for_comes_first_in_the_next_one():
    costly, robot, last = asked(1, 1, 1), asked(1), asked(1)
    queue = queued(costly=[costly], robot=[robot], last=[last])
    taken = queue.take()
    assert [request for request, _ in taken] == [costly, robot, last]
    costly.take_results([[1]], [10**6])
    queue.put_back(taken)
    assert [(request, len(part)) for request, part in queue.take()] == [(robot, 1), (last, 1), (costly, 2)]
    assert costly.rows == [10**6]


@pytest.mark.parametrize(
    ("payload", "least"),
    [
        (Observed("x"), 1),
        (Observed("x", entities=tuple(f"n{one}" for one in range(1_000))), 1_000),
        (Withdrawn(tuple(range(1, 101))), 5_000),
    ],
)
def test_rows_are_estimated_from_the_event_alone(payload, least):
    assert least <= estimated_rows([Event("r", 1, 0.0, payload)]) <= 600 * least


def rows_of_commits(bank):
    """Returns a list to which the rows of each commit are added."""
    written, inner = [], bank.append_batches

    def measured(batches, **options):
        before = bank._log.tables.db.total_changes
        try:
            return inner(batches, **options)
        finally:
            written.append(bank._log.tables.db.total_changes - before)

    bank.append_batches = measured
    return written


def test_a_flood_of_names_is_committed_a_few_appends_at_a_time():
    bank = open_bank(":memory:")
    written = rows_of_commits(bank)
    names = [tuple(f"n{event}_{one}" for one in range(500)) for event in range(20)]
    groups = [encode_events([Event("r", 1 + n, 0.0, Observed("x", entities=own))]) for n, own in enumerate(names)]
    with BankService(bank) as service:
        request = service.request(groups)
        assert request.answer.result(30.0) == [[n] for n in range(1, 21)]
    assert max(written) <= LARGEST_COMMIT_ROWS + 2_000
    assert sum(request.rows) == sum(written)


def test_withdrawals_that_count_many_runs_again_end_their_commit(monkeypatch):
    bank = open_bank(":memory:")
    bank.append([Event("r", n, 0.0, SkillEnded(skill="pick", success=True), robot="r") for n in range(1, 1_201)])
    monkeypatch.setattr("embodied.memory.service.service.estimated_rows", lambda _: 1)
    written = rows_of_commits(bank)
    groups = [encode_events([Event("r", 1_201 + n, 0.0, Withdrawn((1 + n,)))]) for n in range(5)]
    with BankService(bank) as service:
        assert service.submit(groups).result(30.0) == [[1_201 + n] for n in range(5)]
    assert len(written) == 5, "one a commit: each counts a thousand runs again"
