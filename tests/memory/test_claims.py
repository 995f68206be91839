"""Effects under a stale lease stay in the log as claims, and no belief counts them."""

import time

import msgspec
import numpy as np
import pytest

from embodied.errors import ConflictError, MemoryBankError, StaleLeaseError
from embodied.evaluation.memory_pages import episode_page
from embodied.geometry import Pose
from embodied.memory import (
    BankClient,
    BankService,
    EntitySeen,
    Event,
    EventFilter,
    Interaction,
    Lease,
    LeaseOffice,
    Outbox,
    PlaceDefined,
    RelationEnded,
    RelationSet,
    RetentionConfig,
    RobotRegistered,
    RobotReported,
    SimulatedClock,
    SkillEnded,
    SkillSpec,
    SubtaskEnded,
    describe,
    open_bank,
    retain,
)

SQUARE = ((-9.0, -9.0), (9.0, -9.0), (9.0, 9.0), (-9.0, 9.0))
HERE = Pose((1.0, 0.0, 0.5))


class Site:
    """A bank with two robots, and an office whose clock the test turns."""

    def __init__(self, bank):
        self.bank, self.numbers = bank, {}
        self.office = LeaseOffice(bank)
        self.append("map", PlaceDefined("home", "site", polygon=SQUARE))
        for robot in ("a", "b"):
            self.append("map", RobotRegistered(robot, "cart", (SkillSpec("pick"),), speed_mps=1.0))
            self.append(robot, RobotReported(HERE), robot=robot)
        self.append("map", EntitySeen("tray", "tray", HERE))

    @property
    def now_s(self):
        return self.bank.clock().time_s

    @now_s.setter
    def now_s(self, time_s):
        self.bank.advance(time_s)

    def event(self, writer, payload, *, lease=None, **fields):
        self.numbers[writer] = number = self.numbers.get(writer, 0) + 1
        if lease is not None:
            fields = {"robot": lease.robot, "subtask": lease.subtask, "epoch": lease.epoch} | fields
        return Event(writer, number, self.now_s, payload, **fields)

    def append(self, writer, *payloads, **fields):
        return self.bank.append([self.event(writer, payload, **fields) for payload in payloads])

    def passed_on(self, subtask="serve"):
        """Returns a lease of robot a that has gone to b, and that of b."""
        stale = self.office.acquire(subtask, "a", duration_s=10.0)
        self.now_s += 20.0
        return stale, self.office.acquire(subtask, "b", duration_s=10.0)


@pytest.fixture
def site(tmp_path):
    with open_bank(f"sqlite:///{tmp_path / 'bank.db'}", clock=SimulatedClock(100.0)) as bank:
        yield Site(bank)


def effects(thing="cup", *, success=True):
    return (
        RelationSet(thing, "on", "tray"),
        Interaction("pick_place", thing, 1.0, 2.0, 3.0, 4.0, target="tray", success=success),
        SkillEnded("pick", success, "cup"),
    )


def beliefs(bank):
    """Returns what queries answer, without sequence numbers."""
    return (
        [
            (there := bank.where_is(name)) and (there.pose, there.parent, there.version)
            for name in ("cup", "jug", "tray")
        ],
        bank.contents("tray"),
        [one and one.payload for one in (bank.nth_interaction(number) for number in (1, -1))],
        [(one.robot, one.success) for one in bank.skill_candidates("pick", (1.0, 0.0, 0.5), context="cup")],
        bank.related("cup"),
    )


def sound(bank):
    return bank.verify().problems == () and (bank.rebuild(), bank.verify().problems)[1] == ()


def test_effects_under_a_lease_that_another_robot_has_taken_over_are_kept_and_counted_by_no_belief(site):
    stale, newest = site.passed_on()
    before = beliefs(site.bank)
    with pytest.raises(StaleLeaseError, match=r"in the log as claims") as caught:
        site.append("a", *effects(), lease=stale)
    assert not isinstance(caught.value, ConflictError), "a conflict would be tried again"
    assert caught.value.value == tuple(range(site.bank.head - 2, site.bank.head + 1))
    assert beliefs(site.bank) == before
    claims = [site.bank.event(seq) for seq in caught.value.value]
    assert [event.payload for event in claims] == list(effects())
    assert all(event.claimed and (event.subtask, event.epoch) == ("serve", 1) for event in claims)
    assert [event.claimed for event in site.bank.history("cup")] == [True, True]
    assert describe(claims[0]) == "claimed under lease 1 on serve: cup on tray"
    site.append("b", *effects(), lease=newest)
    assert beliefs(site.bank) != before
    assert not site.bank.event(site.bank.head).claimed
    assert site.bank.where_is("cup").version == 1
    assert sound(site.bank)
    assert beliefs(site.bank.snapshot(claims[-1].seq)) == before


def test_an_effect_that_comes_after_the_end_of_its_lease_counts_as_long_as_no_robot_has_taken_the_subtask(site):
    lease = site.office.acquire("serve", "a", duration_s=10.0)
    site.now_s = 500.0
    site.append("a", *effects(), lease=lease)
    assert site.bank.contents("tray") == ["cup"]


def test_a_renewal_makes_the_epoch_before_stale(site):
    first = site.office.acquire("serve", "a", duration_s=10.0)
    second = site.office.renew(first, duration_s=10.0)
    with pytest.raises(StaleLeaseError):
        site.append("a", RelationSet("cup", "on", "tray"), lease=first)
    site.append("a", RelationSet("cup", "on", "tray"), lease=second)
    assert [event.claimed for event in site.bank.history("cup")] == [True, False]


@pytest.mark.parametrize(
    "lease", [Lease("serve", "b", 1, 0.0), Lease("serve", "a", 2, 0.0), Lease("cook", "a", 1, 0.0)], ids=repr
)
def test_another_robots_lease_one_that_was_not_granted_and_that_of_an_unknown_subtask_make_claims(site, lease):
    site.office.acquire("serve", "a", duration_s=10.0)
    with pytest.raises(StaleLeaseError):
        site.append("x", RelationSet("cup", "on", "tray"), lease=lease)
    assert site.bank.contents("tray") == []


def test_effects_of_a_subtask_that_has_ended_are_claims_and_those_before_the_end_in_one_append_count(site):
    lease = site.office.acquire("serve", "a", duration_s=10.0)
    site.append("a", *effects(), SubtaskEnded("serve", "success", epoch=1), lease=lease)
    assert site.bank.contents("tray") == ["cup"]
    with pytest.raises(StaleLeaseError):
        site.append("a", RelationEnded("cup", "on", "tray"), lease=lease)
    assert site.bank.contents("tray") == ["cup"]
    with pytest.raises(ConflictError, match="ended"):
        site.office.acquire("serve", "b", duration_s=10.0)


def test_sightings_and_own_states_are_welcome_under_a_stale_lease_and_confirm_what_was_claimed(site):
    stale, newest = site.passed_on()
    with pytest.raises(StaleLeaseError):
        site.append("a", RelationSet("cup", "on", "tray"), lease=stale)
    assert site.bank.where_is("cup") is None
    site.append("a", RobotReported(Pose((4.0, 0.0, 0.0))), EntitySeen("cup", "cup", HERE), lease=stale)
    assert site.bank.where_is("a").pose.position_m == (4.0, 0.0, 0.0)
    assert site.bank.where_is("cup").pose == HERE
    site.append("b", RelationSet("cup", "on", "tray", expected_version=0), lease=newest)
    assert site.bank.contents("tray") == ["cup"]


def test_a_claim_needs_no_version_and_stays_beside_what_contradicts_it(site):
    stale, _ = site.passed_on()
    site.append("b", RelationSet("cup", "held_by", "b"), robot="b")
    with pytest.raises(StaleLeaseError):
        site.append("a", RelationSet("cup", "on", "tray"), RelationSet("tray", "in", "cup"), lease=stale)
    with pytest.raises(StaleLeaseError):
        site.append("a", RelationSet("cup", "on", "tray", expected_version=77), lease=stale)
    assert (site.bank.where_is("cup").parent, site.bank.where_is("cup").version) == ("b", 1)


def test_a_stale_outcome_in_one_append_with_its_effects_loses_none_of_them(site):
    stale, newest = site.passed_on()
    with pytest.raises(StaleLeaseError):
        site.append("a", *effects(), SubtaskEnded("serve", "success", epoch=1), lease=stale)
    assert [event.kind for event in site.bank.history("a")][-1] == "subtask_ended"
    site.append("b", SubtaskEnded("serve", "success", epoch=2), lease=newest)
    assert sound(site.bank)


def test_claims_of_one_batch_do_not_touch_the_batches_beside_it(site):
    stale, newest = site.passed_on()
    batches = [
        [
            site.event("a", RelationSet("cup", "on", "tray"), lease=stale),
            site.event("a", EntitySeen("jug", "jug", HERE)),
        ],
        [site.event("b", RelationSet("jug", "on", "tray"), lease=newest)],
    ]
    claimed, counted = site.bank.append_batches(batches)
    assert isinstance(claimed, StaleLeaseError)
    assert counted == [site.bank.head]
    assert site.bank.contents("tray") == ["jug"]
    assert site.bank.event(site.bank.head - 1).payload == EntitySeen("jug", "jug", HERE)


def test_a_claim_that_is_sent_again_gives_the_same_answer_and_is_stored_once(site):
    stale, _ = site.passed_on()
    event = site.event("a", RelationSet("cup", "on", "tray"), lease=stale)
    answers = []
    for _ in range(2):
        with pytest.raises(StaleLeaseError) as caught:
            site.bank.append(event)
        answers.append(caught.value.value)
    assert answers[0] == answers[1] == (site.bank.head,)
    with pytest.raises(MemoryBankError, match="number twice"):
        site.bank.append(msgspec.structs.replace(event, epoch=2))


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"subtask": "serve"}, "subtask and the epoch"),
        ({"epoch": 1}, "subtask and the epoch"),
        ({"subtask": "serve", "epoch": -1}, "subtask and the epoch"),
        ({"subtask": "serve", "epoch": 2**63}, "subtask and the epoch"),
        ({"subtask": "serve", "epoch": True}, "numbers whole"),
        ({"subtask": None, "epoch": 1}, "must be text"),
        ({"subtask": "s" * 1_001, "epoch": 1}, "1000 characters"),
        ({"subtask": "serve", "epoch": 1, "robot": ""}, "name the robot"),
        ({"claimed": True}, "bank itself"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_event_names_its_lease_wholly_or_not_at_all(site, fields, rule):
    head = site.bank.head
    with pytest.raises(MemoryBankError, match=rule):
        site.append("a", EntitySeen("cup", "cup", HERE), **{"robot": "a"} | fields)
    with pytest.raises(MemoryBankError, match="same epoch"):
        site.append("c", SubtaskEnded("serve", "done", epoch=2), robot="a", subtask="serve", epoch=1)
    assert site.bank.head == head


def test_a_client_learns_of_its_claims_keeps_nothing_back_and_goes_on(site):
    with BankService(site.bank) as service, BankClient(service, Outbox(None), writer="a/1") as client:
        lease = client.acquire("serve", "a", duration_s=1e-3)
        client.move("cup", "on", "tray", lease=lease)
        renewed = client.renew(lease, duration_s=1e-3)
        assert client.where_is("cup").parent == "tray"
        site.now_s = 1e9
        site.office.acquire("serve", "b", duration_s=10.0)
        event = Event("a/2", 0, 200.0, RelationEnded("cup", "on", "tray"), "a", subtask="serve", epoch=renewed.epoch)
        unread = client.post(event)
        with pytest.raises(StaleLeaseError):
            client.log(SkillEnded("pick", success=True), lease=renewed)
        with pytest.raises(StaleLeaseError):
            unread.result(5.0)
        with pytest.raises(StaleLeaseError):
            client.move("cup", "held_by", "a", lease=renewed)
        assert client.contents("tray") == ["cup"]
        assert client.laid_aside() == []
        events = client.changes_since(0, wanted=EventFilter(kinds=("relation_set", "relation_ended")))
        assert [event.claimed for event in events] == [False, True, True]
        assert client.log(EntitySeen("jug", "jug", HERE)) == client.head()


class SlowLink:
    """Commits late, so that a renewal can overtake what was written before it."""

    def __init__(self, service):
        self._service = service

    def __getattr__(self, name):
        return getattr(self._service, name)

    def commit(self, groups):
        time.sleep(0.1)
        return self._service.commit(groups)


def test_a_renewal_waits_for_what_was_written_before_it(site):
    with BankService(site.bank) as service, BankClient(SlowLink(service), Outbox(None), writer="a/1") as client:
        lease = client.acquire("serve", "a", duration_s=60.0)
        written = client.post(Event("", 0, 0.0, RelationSet("cup", "on", "tray"), "a", subtask="serve", epoch=1))
        client.renew(lease, duration_s=60.0)
        assert written.result(5.0) == [client.head() - 1]
        assert client.contents("tray") == ["cup"]


def test_of_a_thousand_random_effects_exactly_those_under_the_newest_lease_count(tmp_path):
    draw = np.random.default_rng(20)
    with (
        open_bank(":memory:", clock=SimulatedClock(100.0)) as bank,
        open_bank(":memory:", clock=SimulatedClock(100.0)) as other,
    ):
        site, plain = Site(bank), Site(other)
        granted, ended, stale = {}, set(), 0
        for _ in range(1_000):
            site.now_s = plain.now_s = site.now_s + 100.0  # Every earlier lease is over.
            subtask, robot = f"task {draw.integers(12)}", str(draw.choice(["a", "b"]))
            if draw.random() < 0.15 and subtask not in ended:
                epoch = bank.newest_lease(subtask)[0] + 1
                granted[subtask] = site.office.acquire(subtask, robot, duration_s=50.0)
                assert granted[subtask].epoch == epoch
            newest = granted.get(subtask, Lease(subtask, robot, 0, 0.0))
            lease = Lease(subtask, robot, int(draw.integers(1, 8)), 0.0) if draw.random() < 0.5 else newest
            if not lease.epoch:
                continue
            thing = str(draw.choice(["cup", "jug"]))
            there = bank.where_is(thing)
            moved = RelationSet(thing, "on", "tray", expected_version=0 if there is None else there.version)
            payloads = [moved, *effects(thing, success=bool(draw.random() < 0.5))[1:]]
            if draw.random() < 0.03:
                payloads.append(SubtaskEnded(subtask, "done", epoch=lease.epoch))
            counts = (lease.robot, lease.epoch) == (newest.robot, newest.epoch) and subtask not in ended
            if counts:
                site.append("x", *payloads, lease=lease)
                kept = payloads[:3] + [msgspec.structs.replace(one, epoch=0) for one in payloads[3:]]
                plain.append("x", *kept, robot=lease.robot)
                ended |= {subtask} if len(payloads) > 3 else set()
            else:
                stale += 1
                with pytest.raises(StaleLeaseError):
                    site.append("x", *payloads, lease=lease)
        assert min(stale, 1_000 - stale) > 200
        assert beliefs(bank) == beliefs(other)
        assert sound(bank)


def test_claims_survive_their_owner_and_retention_counts_only_what_is_believed(tmp_path):
    url = f"sqlite:///{tmp_path / 'bank.db'}"
    with open_bank(url, clock=SimulatedClock(100.0)) as bank:
        site = Site(bank)
        stale, _ = site.passed_on()
        site.append("b", RelationSet("cup", "on", "tray"), robot="b", task="shift")
        with pytest.raises(StaleLeaseError):
            site.append("a", *effects(), lease=stale, task="shift")
        before = beliefs(bank)
    with open_bank(url, clock=SimulatedClock(100.0)) as bank:
        retain(bank, RetentionConfig(fresh_s=0.0, observations=0))
        assert beliefs(bank) == before
        assert [event.claimed for event in bank.history("cup")] == [False, True, True]
        page = episode_page(bank, "shift")
        assert page.dealt_with == ()
        assert any("claimed under lease" in row.text for row in page.rows)
        assert sound(bank)
