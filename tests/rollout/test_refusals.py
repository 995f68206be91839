"""An episode goes on without what its bank refuses of it, unless its policy would lose a part of its memory."""

import json
import re
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest

from embodied.errors import MemoryBankError
from embodied.memory import (
    BankClient,
    BankService,
    Event,
    Outbox,
    PlaceDefined,
    RelationSet,
    SimulatedClock,
    UnreachableError,
    open_bank,
)
from embodied.rollout.bank_feed.belief_feed import BeliefConfig, BeliefFeed
from embodied.rollout.bank_feed.episode_feed import MemoryFeedConfig
from embodied.rollout.bank_feed.refusals import REFUSED, Refusals
from embodied.rollout.job import EpisodeJob
from embodied.rollout.worker import SimulatorWorker, WorkerConfig
from embodied.types import Decision, Moment, Outcome, Wait
from launch.schema import MemoryConfig
from tests.fakes import FakeControllerConfig, FakePolicy, FakeSimulator, FakeSimulatorConfig, FakeTask
from tests.rollout.test_site_clock import run

JOB = EpisodeJob("r", "e", "bin_block/strict", "p", seed=3)


class Noting(FakePolicy):
    """Stores a moment at each decision, of an embedding that all have."""

    value = 1.0

    def _decide(self, request):
        embedding = np.full(4, self.value, np.float32)
        return Decision((Wait(0.2),), moments=(Moment(embedding, None, "m", 0.0, (0.0, 0.0, 0.0), "arm", ""),))


class Fixed:
    """A config that gives one policy."""

    def __init__(self, policy):
        self.policy = policy

    def build(self):
        return self.policy


def logged_by_another_first(service, *, number):
    """Writes an event under the number that the feed's robot will give to one of its own."""
    event = Event("arm/r/p/e", number, 0.0, PlaceDefined("elsewhere", "site"))
    with BankClient(service, Outbox(None), writer="w") as client:
        client.append([event])


def worker_of(service, policy):
    memory = MemoryConfig(url="sqlite:///run.db").build(service)
    return SimulatorWorker(
        WorkerConfig(
            simulator=FakeSimulatorConfig(), controller=FakeControllerConfig(),
            tasks={"bin_block/strict": FakeTask()}, policies={"p": Fixed(policy)}, memory=memory,
        )
    )  # fmt: skip


def test_an_episode_goes_on_without_the_events_that_its_bank_refuses_and_counts_them(caplog):
    records, heads = [], []
    for number in (0, 4):
        with BankService(open_bank(":memory:", clock=SimulatedClock())) as service:
            if number:
                logged_by_another_first(service, number=number)
            worker = worker_of(service, Noting())
            records.append(worker.run(JOB).record)
            worker.close()
            heads.append(service._bank.head)
    plain, troubled = records
    refused = troubled.metrics[REFUSED]
    assert refused >= 4, "the first four, and what the end of an episode needs that has not begun"
    assert troubled.metrics == {**plain.metrics, REFUSED: refused}
    assert replace(troubled, metrics=plain.metrics, wall_s=plain.wall_s) == plain
    assert heads[1] == heads[0] - refused + 1
    rules = [one.getMessage() for one in caplog.records if "refuses" in one.getMessage()]
    kinds = ["episode_begun", "robot_registered", "place_defined", "robot_state", "episode_ended"]
    assert [re.search(r"an event \((\w+)\)", rule)[1] for rule in rules] == kinds, "each kind once"
    assert "The events of one writer must arrive in the order of their numbers. Got ('arm/r/p/e', 1)." in rules[0]
    assert rules[0].endswith("Its last one was 4: continue above it.")


def test_results_and_report_say_how_many_events_a_bank_has_refused(tmp_path, monkeypatch):
    append = BankClient.append

    def picky(client, events):
        if any(event.kind == "observed" for event in events):
            raise MemoryBankError("No observation is wanted here.", value="observed")
        return append(client, events)

    monkeypatch.setattr(BankClient, "append", picky)
    with BankService(open_bank(":memory:", clock=SimulatedClock())) as service:
        run(tmp_path / "out", service)
        observed = service._bank.history(kinds=("observed",))
    refused = json.loads((tmp_path / "out" / "results.json").read_text())["run"]["memory"]["refused"]
    assert refused > 0
    assert not observed
    text = f"The bank refused {refused} events; episodes went on without them."
    assert text in (tmp_path / "out" / "report.md").read_text()


def test_an_episode_is_invalid_where_its_bank_refuses_a_moment_of_its_policy():
    policy = Noting()
    policy.value = np.nan
    with BankService(open_bank(":memory:", clock=SimulatedClock())) as service:
        worker = worker_of(service, policy)
        record = worker.run(JOB).record
        worker.close()
    assert record.outcome is Outcome.INVALID
    assert record.reason.startswith("MemoryBankError: ")


def test_a_bank_out_of_reach_is_no_refusal():
    def unreachable(events):
        raise UnreachableError("The owner must answer.")

    refusals = Refusals(Mock(append=unreachable), lambda event: None)
    with pytest.raises(UnreachableError):
        refusals.append([Event("w", 1, 0.0, PlaceDefined("elsewhere", "site"))])
    assert refusals.count == 0


def test_belief_goes_on_from_what_another_writer_has_logged_of_a_thing():
    with open_bank(":memory:", clock=SimulatedClock()) as bank:
        feed = BeliefFeed(MemoryFeedConfig(), BeliefConfig(), bank, "site")
        episode, simulator = FakeTask().sample(3), FakeSimulator()
        simulator.reset(episode.scene)
        feed.on_begin(episode, simulator)

        def believe(predicate, parent):
            feed._log("arm", feed._containment.put("cup", predicate, parent))
            feed._flush()

        believe("on", "shelf")
        bank.append(Event("person", 1, feed.now_s, RelationSet("cup", "in", "drawer", expected_version=1)))
        believe("held_by", "arm")
        assert (feed.refused, feed._containment.parents["cup"]) == (1, ("in", "drawer"))
        believe("held_by", "arm")
        there = bank.where_is("cup")
        assert (there.predicate, there.parent, there.version, feed.refused) == ("held_by", "arm", 3, 1)
