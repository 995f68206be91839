"""No event, text or error of one robot ends its own sender, or affects the events of others."""

import threading
from concurrent.futures import Future
from contextlib import contextmanager
from types import SimpleNamespace
from typing import ClassVar

import msgspec
import pytest
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    GetTimeoutError,
    ObjectLostError,
    RayActorError,
    RayError,
    RaySystemError,
)

from embodied.errors import DataError, MemoryBankError, StorageError
from embodied.geometry import Pose
from embodied.memory import (
    BankClient,
    BankService,
    EntitySeen,
    EpisodeEnded,
    Event,
    Observed,
    Outbox,
    PlaceDefined,
    RobotRegistered,
    SkillSpec,
    ToolCalled,
    UnreachableError,
    encode_events,
    open_bank,
)
from embodied.memory.projections.projection import Projection
from embodied.memory.service import ray_service
from tests.memory.test_service import SlowBank

DEEP = 5_000
OBJECTS = '{"a":' * DEEP + "1" + "}" * DEEP
ARRAYS = '{"a":' + "[" * DEEP + "]" * DEEP + "}"


def event(payload, writer="poison", number=1):
    return Event(writer, number, 0.0, payload)


def packed(payload, **fields):
    """The bytes of one event with a payload that its class could not hold."""
    plain = {"writer": "poison", "writer_seq": 1, "valid_time_s": 0.0, "payload": payload, **fields}
    return msgspec.msgpack.encode([plain])


def nested(depth):
    """Bytes of arrays in arrays, which no encoder would write."""
    return b"\x91" * depth + b"\x01"


POISON = {
    "objects in the arguments of a tool": encode_events([event(ToolCalled("t", OBJECTS))]),
    "arrays in the arguments of a tool": encode_events([event(ToolCalled("t", ARRAYS))]),
    "objects in the schema of a skill": encode_events([event(RobotRegistered("r", "arm", (SkillSpec("s", OBJECTS),)))]),
    "an unknown field before the kind": packed({"x": msgspec.Raw(nested(DEEP)), "type": "observed"}),
    "an unknown field of the event": packed({"type": "observed", "evidence": ""}, extra=msgspec.Raw(nested(DEEP))),
    "arrays without an event": nested(100_000),
    "no message": b"\xc1 no message",
    "nothing": b"",
    "a map in place of a list": b"\x81\xa1a\x01",
    "a number beyond 64 bits with a sign": encode_events([event(EpisodeEnded("e", "ok", first_seq=2**63))]),
    "half of a surrogate pair": packed({"type": "observed", "evidence": msgspec.Raw(b"\xa3\xed\xa0\x80")}),
    "not a number": packed({"type": "observed", "evidence": "x"}, valid_time_s=float("nan")),
    "many names": encode_events([event(Observed("x", entities=tuple(f"e{i}" for i in range(100_000))))]),
    "many megabytes": encode_events([event(Observed("x" * 50_000_000))]),
}


@contextmanager
def busy(bank):
    """A service whose bank is held until `gate` opens, so that all that is submitted shares the next commit."""
    slow = SlowBank(bank)
    with BankService(slow) as service:
        first = service.submit([encode_events([event(Observed("first"), "first")])])
        assert slow.entered.wait(5.0)
        yield service, slow
        assert first.result(10.0) == [[1]]


@pytest.mark.parametrize("case", POISON)
def test_what_one_robot_wrote_badly_is_refused_and_the_others_in_the_same_commit_are_kept(case):
    with busy(open_bank(":memory:")) as (service, slow):
        before = service.submit([encode_events([event(Observed("before"), "a")])])
        poison = service.submit([POISON[case], encode_events([event(Observed("spared"), "poison", 2)])])
        after = service.submit([encode_events([event(Observed("after"), "b")])])
        slow.gate.set()
        refused, spared = poison.result(10.0)
        assert (before.result(10.0), spared, after.result(10.0)) == ([[2]], [3], [[4]])
        assert isinstance(refused, MemoryBankError)
        assert not isinstance(refused, StorageError), "it would be sent again for ever"
        assert refused.rule
        assert refused.remedy
        assert len(str(refused)) < 10_000


class Unforeseen(Projection):
    """A projection in which one entity always raises an unexpected error."""

    schema = "CREATE TABLE IF NOT EXISTS trap (seq INTEGER PRIMARY KEY);"
    tables = ("trap",)

    def __init__(self, error, where):
        self.error = error
        self.where = where

    def check(self, tables, event):
        self._raise_at("check", event)

    def apply(self, tables, event):
        tables.write("INSERT INTO trap VALUES (?)", event.seq)
        self._raise_at("apply", event)

    def _raise_at(self, where, event):
        if where == self.where and event.payload.evidence == "poison":
            raise self.error


def trapped(error, where):
    bank = open_bank(":memory:")
    trap = Unforeseen(error, where)
    bank._log.projections = (*bank._log.projections, trap)
    bank._log.tables.db.execute(trap.schema)
    return bank


@pytest.mark.parametrize("where", ["check", "apply"])
@pytest.mark.parametrize(
    "error",
    [ZeroDivisionError("x"), RecursionError("x"), KeyError("x"), AttributeError("x"), OverflowError("x"),
     UnicodeError("x"), AssertionError("x"), NotImplementedError("x"), StopIteration("x")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_an_unexpected_error_refuses_one_batch_and_leaves_nothing_of_it(error, where, caplog):
    with trapped(error, where) as bank:
        batches = [[event(Observed("a"), "a")], [event(Observed("half")), event(Observed("poison"), number=2)]]
        first, refused, last = bank.append_batches([*batches, [event(Observed("b"), "b")]])
        assert (first, last) == ([1], [2])
        assert isinstance(refused, MemoryBankError)
        assert type(error).__name__ in str(refused)
        assert type(error).__name__ in caplog.text, "the traceback belongs into the log of the owner"
        assert [event.payload.evidence for event in bank.changes_since(0)] == ["a", "b"]
        assert bank._log.tables.select("SELECT seq FROM trap") == [(1,), (2,)]
        with pytest.raises(MemoryBankError, match="can process"):
            bank.append(event(Observed("poison")))
        assert bank.append(event(Observed("poison again"))) == [3]


def test_damage_that_one_event_meets_refuses_it_alone(caplog):
    with trapped(DataError("Every event must be readable.", value=7, remedy="Verify the file."), "check") as bank:
        refused, kept = bank.append_batches([[event(Observed("poison"))], [event(Observed("b"), "b")]])
        assert kept == [1]
        assert isinstance(refused, MemoryBankError)
        assert "Verify the file" in str(refused)
    assert "damaged" in caplog.text


@pytest.mark.parametrize("error", [MemoryError(), OSError(24, "Too many open files")], ids=repr)
def test_what_the_machine_lacks_is_tried_again(error):
    with trapped(error, "check") as bank:
        again, kept = bank.append_batches([[event(Observed("poison"))], [event(Observed("b"), "b")]])
        assert kept == [1]
        assert isinstance(again, StorageError)


def test_an_error_of_a_whole_commit_is_given_to_the_request_that_causes_it():
    class Touchy(SlowBank):
        def append_batches(self, batches, **options):
            self.entered.set()
            self.gate.wait(10.0)
            if any(one.payload.evidence == "poison" for batch in batches for one in batch):
                raise ZeroDivisionError
            return self._bank.append_batches(batches, **options)

    bank = Touchy(open_bank(":memory:"))
    with BankService(bank) as service:
        service.submit([encode_events([event(Observed("first"), "first")])])
        assert bank.entered.wait(5.0)
        good = service.submit([encode_events([event(Observed("good"), "good")])])
        poison = service.submit([encode_events([event(Observed("poison"))])])
        late = service.submit([encode_events([event(Observed("late"), "late")])])
        bank.gate.set()
        assert (good.result(5.0), late.result(5.0)) == ([[2]], [[3]])
        with pytest.raises(ZeroDivisionError):
            poison.result(5.0)


def test_a_call_that_its_client_gives_up_does_not_fail_the_others_of_its_commit():
    with busy(open_bank(":memory:")) as (service, slow):
        given_up = service.submit([encode_events([event(Observed("a"), "a")])])
        other = service.submit([encode_events([event(Observed("b"), "b")])])
        assert not given_up.cancel()
        slow.gate.set()
        assert other.result(5.0) == [[3]]


# --- Senders ----------------------------------------------------------------------------------------------------------


class Surprising:
    """A link that raises errors, or returns unexpected answers, before it works."""

    def __init__(self, service, *surprises):
        self._service = service
        self.surprises = list(surprises)

    def __getattr__(self, name):
        return getattr(self._service, name)

    def commit(self, groups):
        surprise = self.surprises.pop(0) if self.surprises else None
        if isinstance(surprise, BaseException):
            raise surprise
        return self._service.commit(groups) if surprise is None else surprise(self._service.commit(groups))


SURPRISES = {
    "connection": ConnectionError("the cluster went away"),
    "reset": ConnectionResetError(104, "reset"),
    "timeout": TimeoutError(),
    "runtime": RuntimeError("can't start new thread"),
    "memory": MemoryError(),
    "recursion": RecursionError("maximum recursion depth exceeded"),
    "value": ValueError("bad frame"),
    "key": KeyError("x"),
    "bank closed": MemoryBankError("A memory bank must be open."),
    "damaged": DataError("The file must be intact."),
    "no answer": lambda _: None,
    "too few answers": lambda results: results[:-1],
    "too many answers": lambda results: [*results, [99]],
}


@pytest.mark.parametrize("case", SURPRISES)
def test_a_surprise_of_the_link_is_tried_again_and_nothing_is_lost_or_doubled(case, caplog):
    with BankService(open_bank(":memory:")) as service:
        link = Surprising(service, *[SURPRISES[case]] * 3)
        with BankClient(link, Outbox(None), writer="arm", timeout_s=10.0) as client:
            assert client.log(Observed("during")) == 1
            assert not link.surprises
            assert client.log(Observed("after")) == 2
        assert [event.payload.evidence for event in service.read(every_change())] == ["during", "after"]
    assert caplog.text.count("could not be sent") <= 1, "one line for the same problem again and again"


def every_change():
    from embodied.memory import ReadCall

    return ReadCall("changes_since", (0,), {"limit": 100_000})


def test_after_a_surprise_fewer_parcels_are_sent_at_once_so_that_one_of_them_stops_only_itself():
    class Fragile(Surprising):
        down = True

        def commit(self, groups):
            if self.down:
                raise UnreachableError("The owner must answer.", value="down")
            if len(groups) > 1 and any(b"poison" in group for group in groups):
                raise RuntimeError("too much for one call")
            return self._service.commit(groups)

    with BankService(open_bank(":memory:")) as service:
        link = Fragile(service)
        with BankClient(link, Outbox(None), writer="arm", timeout_s=20.0) as client:
            answers = [client.post(event(Observed("poison" if i == 5 else f"e{i}"), "arm", i + 1)) for i in range(20)]
            link.down = False
            assert [answer.result(20.0) for answer in answers] == [[i + 1] for i in range(20)]


@pytest.mark.parametrize("case", ["objects in the arguments of a tool", "objects in the schema of a skill"])
def test_a_robot_hears_that_its_event_is_refused_and_goes_on_also_after_a_restart(case, tmp_path):
    (poison,) = msgspec.msgpack.Decoder(list[Event]).decode(POISON[case])
    with BankService(open_bank(":memory:")) as service:
        for life in range(2):
            with BankClient(service, Outbox(tmp_path / "outbox"), writer="arm", timeout_s=5.0) as client:
                with pytest.raises(MemoryBankError, match="nested at most"):
                    client.log(poison.payload)
                client.log(Observed(f"life {life}"))
        assert [event.payload.evidence for event in service.read(every_change())] == ["life 0", "life 1"]


@pytest.mark.parametrize(
    "error",
    [RayError("x"), RaySystemError("x"), ActorDiedError(), ActorUnavailableError("x", None), GetTimeoutError("x"),
     ObjectLostError("00" * 28, None, ""), OSError(104, "reset"), ValueError("no actor"), ConnectionError("gone")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_whatever_ray_raises_means_that_the_owner_is_not_reached_and_it_is_looked_up_again(monkeypatch, error):
    class Ray:
        asked = 0
        raised: ClassVar = [error]

        @staticmethod
        def is_initialized():
            return True

        @classmethod
        def get_actor(cls, name, namespace):
            cls.asked += 1
            return SimpleNamespace(head=SimpleNamespace(remote=lambda: 7))

        @classmethod
        def get(cls, answer, timeout):
            if cls.raised:
                raise cls.raised.pop()
            return answer

    monkeypatch.setattr(ray_service, "ray", Ray)
    link = ray_service.RayLink("bank")
    with pytest.raises(UnreachableError):
        link.head()
    assert link.head() == 7
    assert Ray.asked == 1 + isinstance(error, RayActorError)


def test_a_link_of_a_process_that_has_left_ray_does_not_start_a_cluster(monkeypatch):
    monkeypatch.setattr(ray_service.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray_service.ray, "get_actor", lambda *_, **__: pytest.fail("it would start Ray"))
    with pytest.raises(UnreachableError, match="connected to Ray"):
        ray_service.RayLink("bank").head()


def test_an_answer_that_its_caller_cancels_does_not_end_the_sender():
    with BankService(open_bank(":memory:")) as service, BankClient(service, Outbox(None), writer="arm") as client:
        for i in range(20):
            client.post(event(Observed(f"e{i}"), "arm", i + 1)).cancel()
        client.flush(timeout_s=10.0)
        assert client.log(Observed("after")) == 21


def test_a_callback_that_fails_does_not_end_the_sender():
    def fails(_: Future):
        raise RuntimeError("the caller's own error")

    with BankService(open_bank(":memory:")) as service, BankClient(service, Outbox(None), writer="arm") as client:
        client.post(event(Observed("a"), "arm", 0)).add_done_callback(fails)
        assert client.log(Observed("after")) == 2


# --- Commits bounded in bytes -----------------------------------------------------------------------------------------


def test_a_commit_is_bounded_in_bytes_and_others_have_their_turn():
    bank = open_bank(":memory:")
    written, inner = [], bank.append_batches

    def measured(batches, **options):
        written.append([len(one.payload.evidence) for batch in batches for one in batch])
        return inner(batches, **options)

    bank.append_batches = measured
    # Texts of one event are bounded, so many events of the largest size make the bytes here.
    many = [encode_events([event(Observed("x" * 60_000), "big", 1 + i * 20 + j) for j in range(20)]) for i in range(40)]
    with busy(bank) as (service, slow):
        big = service.submit(many)
        small = service.submit([encode_events([event(Observed("small"), "small")])])
        slow.gate.set()
        assert [len(numbers) for numbers in big.result(30.0)] == [20] * 40
        ((seq,),) = small.result(10.0)
    assert max(map(sum, written)) <= 4 * 2**20
    assert len(written) >= 12
    assert seq < 200, "it did not wait for the rest of the large request"


def test_one_append_larger_than_a_commit_is_still_whole():
    with BankService(open_bank(":memory:")) as service:
        (numbers,) = service.commit([encode_events([event(Observed("x" * 60_000), "big", 1 + i) for i in range(400)])])
        assert numbers == list(range(1, 401))
        assert service.commit([]) == []


def test_threads_of_the_service_outlive_a_storm_of_poison():
    with BankService(open_bank(":memory:")) as service:
        answers = []

        def storm(name):
            answers.append(service.commit([*POISON.values()][:9]))
            answers.append(service.commit([encode_events([event(EntitySeen("cup", "cup", Pose()), name)])]))

        threads = [threading.Thread(target=storm, args=(f"w{i}",)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(isinstance(results[0], list) for results in answers) == 8
        assert service.head() == 8


def test_a_place_with_many_corners_is_refused_at_once():
    corners = tuple((float(i), float(i % 2)) for i in range(3_000))
    with open_bank(":memory:") as bank:
        bank.append(event(PlaceDefined("site", "site")))
        with pytest.raises(MemoryBankError, match=r"not have more than 500 corners\. Got '3000 corners'"):
            bank.append(event(PlaceDefined("room", "region", "site", corners), number=2))
