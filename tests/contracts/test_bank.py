"""Banks and their clients keep their contract, and every rule of it catches those that break it."""

from contextlib import ExitStack

import msgspec
import pytest

from embodied.errors import MemoryBankError
from embodied.memory import BankClient, BankService, Outbox, open_bank
from embodied.testing import ContractError, check_bank
from tests.memory.links import socket_link


def test_a_bank_in_a_file_keeps_the_contract(tmp_path):
    check_bank(
        lambda: open_bank("sqlite:///bank.db", root=tmp_path),
        reopen=lambda: open_bank("sqlite:///bank.db", root=tmp_path),
    )


def test_a_bank_in_memory_keeps_the_contract():
    check_bank(lambda: open_bank(":memory:"))


def test_the_client_of_a_service_keeps_the_contract():
    with BankService(open_bank(":memory:")) as service:
        check_bank(
            lambda: BankClient(service, Outbox(None), writer="arm", timeout_s=20.0),
            reopen=lambda: BankClient(service, Outbox(None), writer="arm", timeout_s=20.0),
        )


def test_the_client_of_a_socket_keeps_the_contract():
    with BankService(open_bank(":memory:")) as service, socket_link(service) as link:
        check_bank(
            lambda: BankClient(link, Outbox(None), writer="arm", timeout_s=20.0),
            reopen=lambda: BankClient(link, Outbox(None), writer="arm", timeout_s=20.0),
        )


class Wrapped:
    """A sound bank, of which a variant changes something."""

    def __init__(self):
        self.bank = open_bank(":memory:")

    def __getattr__(self, name):
        return getattr(self.bank, name)


class CountsFromZero(Wrapped):
    def append(self, events):
        return [number - 1 for number in self.bank.append(events)]


class HeadBehind(Wrapped):
    @property
    def head(self):
        return self.bank.head - 1


class LateReads(Wrapped):
    def event(self, seq):
        return None if seq == self.bank.head or seq < 2 else self.bank.event(seq)


class LastIsFirst(Wrapped):
    def last_of_writer(self, writer):
        return (1, 1.0)


class Inventive(Wrapped):
    def where_is(self, entity, *, as_of_s=None):
        return self.bank.where_is("cup" if entity == "nothing of this name" else entity, as_of_s=as_of_s)


class NumbersAgain(Wrapped):
    def append(self, events):
        numbers = self.bank.append(events)
        return numbers[::-1] if numbers == [2, 1] else numbers


class RewritesAgain(Wrapped):
    again = False

    def append(self, events):
        numbers = self.bank.append(events)
        self.again = self.again or numbers == [2, 1]
        return numbers

    def changes_since(self, seq, *, wanted=None, limit=1000):
        found = self.bank.changes_since(seq, wanted=wanted, limit=limit)
        return found[::-1] if self.again else found


class RoundedTimes(Wrapped):
    def changes_since(self, seq, *, wanted=None, limit=1000):
        found = self.bank.changes_since(seq, wanted=wanted, limit=limit)
        return [msgspec.structs.replace(event, valid_time_s=round(event.valid_time_s / 3)) for event in found]


class ReceivedBackwards(Wrapped):
    def changes_since(self, seq, *, wanted=None, limit=1000):
        found = self.bank.changes_since(seq, wanted=wanted, limit=limit)
        return [msgspec.structs.replace(event, received_time_s=-float(event.seq)) for event in found]


class Lenient(Wrapped):
    def append(self, events):
        try:
            return self.bank.append(events)
        except MemoryBankError:
            return []


class RaisesValueError(Wrapped):
    def append(self, events):
        try:
            return self.bank.append(events)
        except MemoryBankError as error:
            raise ValueError(str(error)) from error


class NoConflicts(Wrapped):
    def append(self, events):
        try:
            return self.bank.append(events)
        except MemoryBankError as error:
            raise MemoryBankError(error.rule) from error


class KeepsTheGood(Wrapped):
    def append(self, events):
        try:
            return self.bank.append(events)
        except MemoryBankError:
            if isinstance(events, list):
                self.bank.append(events[0])
            raise


class GhostStays(Wrapped):
    def where_is(self, entity, *, as_of_s=None):
        return self.bank.where_is("cup" if entity == "ghost" else entity, as_of_s=as_of_s)


class NoPast(Wrapped):
    def where_is(self, entity, *, as_of_s=None):
        return self.bank.where_is(entity)


class LiveSnapshot(Wrapped):
    def snapshot(self, seq=None):
        return self.bank


class Silent(Wrapped):
    def subscribe(self, wanted=None, *, after_seq=None):
        return self.bank.subscribe(wanted, after_seq=self.bank.head)


class Everything(Wrapped):
    def subscribe(self, wanted=None, *, after_seq=None):
        return self.bank.subscribe(None, after_seq=after_seq)


class OneList(Wrapped):
    kept: tuple = ()

    def changes_since(self, seq, *, wanted=None, limit=1000):
        if not self.kept or (len(self.kept[0]) != self.bank.head and len(self.kept[0])):
            self.kept = (self.bank.changes_since(seq, wanted=wanted, limit=limit),)
        return self.kept[0]


class ClosesOnce(Wrapped):
    closed = False

    def close(self):
        self.bank.close()
        if self.closed:
            raise RuntimeError("already closed")
        self.closed = True


class NeverCloses(Wrapped):
    def close(self):
        pass


PLANTED = [
    ("numbers", CountsFromZero),
    ("numbers", HeadBehind),
    ("read_your_writes", LateReads),
    ("read_your_writes", LastIsFirst),
    ("read_your_writes", Inventive),
    ("idempotent", NumbersAgain),
    ("idempotent", RewritesAgain),
    ("clock", RoundedTimes),
    ("clock", ReceivedBackwards),
    ("refusals", Lenient),
    ("refusals", RaisesValueError),
    ("refusals", NoConflicts),
    ("refused_leaves_nothing", KeepsTheGood),
    ("refused_leaves_nothing", GhostStays),
    ("as_of", NoPast),
    ("as_of", LiveSnapshot),
    ("subscription", Silent),
    ("subscription", Everything),
    ("results_stay", OneList),
    ("close_twice", ClosesOnce),
    ("close_twice", NeverCloses),
]


@pytest.mark.parametrize(("rule", "broken"), PLANTED, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_bank_is_refused_by_the_rule_that_it_breaks(rule, broken):
    with ExitStack() as stack:

        def made():
            bank = broken()
            stack.callback(bank.bank.close)
            return bank

        with pytest.raises(ContractError) as caught:
            check_bank(made)
    assert caught.value.name == rule, caught.value


def test_a_bank_that_forgets_what_it_acknowledged_is_refused():
    with pytest.raises(ContractError) as caught:
        check_bank(lambda: open_bank(":memory:"), reopen=lambda: open_bank(":memory:"))
    assert caught.value.name == "reopen"
