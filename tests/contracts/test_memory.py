"""Neural memories keep their contract, and every rule of it catches those that break it."""

import pytest
import torch

from embodied.testing import ContractError
from policies.memory.contract import Memory, chosen
from policies.testing import check_memory
from tests.policies.memory.kinds import KINDS, made


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_memory_keeps_the_contract(kind):
    check_memory(lambda: made(kind))


class LastSlot(Memory):
    """Remembers the mean of the last moment; it keeps the contract, and those below break it."""

    def __init__(self):
        super().__init__(dim=4, slot_dim=4, tokens=2)

    def init_state(self, batch, *, device="cpu"):
        return {"slot": torch.zeros(batch, 4), "full": torch.zeros(batch, dtype=torch.bool)}

    def read(self, state, query, time):
        return state["slot"][:, None].expand_as(query).clone(), state["full"].float()[:, None]

    def fuse(self, query, read, state):
        return query + read

    def write(self, state, written, time, mask):
        return chosen(mask, {"slot": written.mean(1), "full": torch.ones_like(mask)}, state)


class Grows(LastSlot):
    def write(self, state, written, time, mask):
        after = super().write(state, written, time, mask)
        return {**after, "slot": torch.cat([after["slot"], written[:, 0]], 1)[:, : 4 + int(time.min())]}

    def read(self, state, query, time):
        return super().read({**state, "slot": state["slot"][:, :4]}, query, time)


class Doubles(LastSlot):
    def init_state(self, batch, *, device="cpu"):
        return {"slot": torch.zeros(batch, 4).double(), "full": torch.zeros(batch, dtype=torch.bool)}


class BatchLast(LastSlot):
    def init_state(self, batch, *, device="cpu"):
        return {"slot": torch.zeros(4, batch), "full": torch.zeros(batch, dtype=torch.bool)}


class ReadsOnes(LastSlot):
    def read(self, state, query, time):
        return torch.ones_like(query), state["full"].float()[:, None]


class ShiftsQuery(LastSlot):
    def fuse(self, query, read, state):
        return query + read + 1e-6


class WritesState(LastSlot):
    def write(self, state, written, time, mask):
        state["slot"] *= 1.5
        return super().write(state, written, time, mask)


class WritesQuery(LastSlot):
    def fuse(self, query, read, state):
        query += read
        return query


class Draws(LastSlot):
    def fuse(self, query, read, state):
        return query + read * torch.rand(1)


class Keeps(LastSlot):
    calls = 0

    def read(self, state, query, time):
        self.calls += 1
        read, attention = super().read(state, query, time)
        return read * self.calls, attention


class AttendsTwice(LastSlot):
    def read(self, state, query, time):
        read, attention = super().read(state, query, time)
        return read, torch.cat([attention, attention], 1)


class AttendsBelow(LastSlot):
    def read(self, state, query, time):
        read, attention = super().read(state, query, time)
        return read, torch.cat([2 * attention, -attention], 1)


class IgnoresMask(LastSlot):
    def write(self, state, written, time, mask):
        return super().write(state, written, time, torch.ones_like(mask))


class AddsMask(LastSlot):
    def write(self, state, written, time, mask):
        share = mask.float()[:, None]
        return {
            "slot": state["slot"] * (1 - share) + written.mean(1) * share,
            "full": state["full"] | mask,
        }


class ResetsAll(LastSlot):
    def reset(self, state, done):
        return self.init_state(len(done))


class ResetsNothing(LastSlot):
    def reset(self, state, done):
        return state


class UnrollsBackwards(LastSlot):
    def unroll(self, query, written, time, first, valid, *, detach_writes=False):
        return super().unroll(query, written.flip(1), time, first, valid)


class ForgetsFirst(LastSlot):
    def unroll(self, query, written, time, first, valid, *, detach_writes=False):
        fused, attention, state = super().unroll(query, written, time, first, valid)
        return fused, attention, {**state, "slot": torch.zeros_like(state["slot"])}


class MixesRows(LastSlot):
    def fuse(self, query, read, state):
        return query + read * read.abs().mean()


class CentresRows(LastSlot):
    def write(self, state, written, time, mask):
        return super().write(state, written - written.mean(0, keepdim=True), time, mask)


class OwnScale(LastSlot):
    made = 0

    def __init__(self):
        super().__init__()
        type(self).made += 1
        self.scale = float(self.made)

    def read(self, state, query, time):
        read, attention = super().read(state, query, time)
        return read * self.scale, attention


PLANTED = [
    ("state_layout", Grows),
    ("state_layout", Doubles),
    ("state_layout", BatchLast),
    ("empty", ReadsOnes),
    ("empty", ShiftsQuery),
    ("read_only_inputs", WritesState),
    ("read_only_inputs", WritesQuery),
    ("determinism", Draws),
    ("determinism", Keeps),
    ("attention", AttendsTwice),
    ("attention", AttendsBelow),
    ("masked_writes", IgnoresMask),
    ("masked_writes", AddsMask),
    ("reset", ResetsAll),
    ("reset", ResetsNothing),
    ("unroll", UnrollsBackwards),
    ("unroll", ForgetsFirst),
    ("batch", MixesRows),
    ("batch", CentresRows),
    ("save_restore", OwnScale),
]


def test_the_memory_that_is_broken_below_keeps_the_contract():
    check_memory(LastSlot)


@pytest.mark.parametrize(("rule", "broken"), PLANTED, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_memory_is_refused_by_the_rule_that_it_breaks(rule, broken):
    with pytest.raises(ContractError) as caught:
        check_memory(broken)
    assert caught.value.name == rule, caught.value
