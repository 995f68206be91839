"""The bank against a model that keeps a plain list of events and answers by looking through all of it."""

import math

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from embodied.errors import MemoryBankError
from embodied.geometry import Pose
from embodied.memory import (
    CONTAINMENT,
    AbsenceSeen,
    EntityMerged,
    EntitySeen,
    Event,
    Forgotten,
    MapPlaced,
    RelationEnded,
    RelationSet,
    Reopened,
    RobotReported,
    Watermark,
    Withdrawn,
    open_bank,
)
from tests.memory.model import PLAN, ROOM, SCAN, SITE, THINGS, CircleError, Model, world
from tests.memory.writers import contents_of

WRITERS = st.sampled_from(["ann", "bob", "cy"])
ONE_OF = st.sampled_from(THINGS)
HOLDERS = st.sampled_from(["box", "shelf", "ann", ROOM])
XS = st.integers(-4, 8).map(lambda quarters: quarters / 4)  # Sums of them are exact, so that borders are.
TIMES = st.integers(0, 8).map(float)
MAPS = st.sampled_from([SITE, SITE, SITE, SCAN, PLAN])


class BankAgainstModel(RuleBasedStateMachine):
    """Any interleaving of writers, retries, late, doubled and refused events."""

    def __init__(self):
        super().__init__()
        self.bank = open_bank(":memory:")
        self.model = Model()
        self.answers: list[tuple] = []
        for event in world():
            self.offer(event)

    def teardown(self):
        assert self.bank.verify().problems == ()
        self.bank.close()

    def event(self, writer, time_s, payload):
        return Event(writer, self.model.last(writer)[0] + 1, time_s, payload, robot=writer)

    def taken_s(self, writer, time_s):
        """The time, or the earliest one after it that a writer may still log."""
        return max(time_s, self.model.last(writer)[1], self.model.closed_s)

    def offer(self, event):
        if self.model.accepts(event):
            assert self.bank.append(event, as_site=True) == [len(self.model.events) + 1]
            self.model.take(event)
            return
        before = contents_of(self.bank)
        try:
            self.bank.append(event, as_site=True)
        except MemoryBankError:
            assert contents_of(self.bank) == before
        else:
            raise AssertionError(f"the bank took what the model refuses: {event}")

    @rule(writer=WRITERS, time_s=TIMES, thing=ONE_OF, x=XS, map_id=MAPS)
    def see(self, writer, time_s, thing, x, map_id):
        self.offer(self.event(writer, time_s, EntitySeen(thing, "toy", Pose((x, 0.0, 0.0)), map_id=map_id)))

    @rule(time_s=TIMES, x=XS, tool_x=st.none() | XS, map_id=MAPS)
    def go(self, time_s, x, tool_x, map_id):
        tool = None if tool_x is None else Pose((tool_x, 0.0, 0.0))
        self.offer(self.event("ann", time_s, RobotReported(Pose((x, 0.0, 0.0)), tool=tool, map_id=map_id)))

    @rule(writer=WRITERS, time_s=TIMES, x=XS, map_id=st.sampled_from([SCAN, PLAN]))
    def place_a_map(self, writer, time_s, x, map_id):
        self.offer(self.event(writer, self.taken_s(writer, time_s), MapPlaced(map_id, Pose((x, 0.0, 0.0)))))

    @rule(writer=WRITERS, time_s=TIMES, thing=ONE_OF)
    def miss(self, writer, time_s, thing):
        self.offer(self.event(writer, time_s, AbsenceSeen(thing, 0.5, 0.5)))

    @rule(
        writer=WRITERS, time_s=TIMES, thing=ONE_OF, predicate=st.sampled_from(CONTAINMENT), holder=HOLDERS,
        behind=st.sampled_from([0, 0, 0, 1, None]), over=st.sampled_from([False, False, True]),
    )  # fmt: skip
    def put(self, writer, time_s, thing, predicate, holder, behind, over):  # noqa: PLR0917
        version = self.model.parent(thing)[2]
        expected = None if behind is None or version < behind else version - behind
        kind = RelationEnded if over else RelationSet
        self.offer(self.event(writer, time_s, kind(thing, predicate, holder, expected_version=expected)))

    @rule(writer=WRITERS, thing=ONE_OF, time_s=TIMES)
    def take_out(self, writer, thing, time_s):
        predicate, holder, version, _ = self.model.parent(thing)
        if predicate:
            self.offer(self.event(writer, time_s, RelationEnded(thing, predicate, holder, version)))

    @rule(writer=WRITERS, thing=ONE_OF, predicate=st.sampled_from(CONTAINMENT), holder=HOLDERS, time_s=TIMES)
    def hold(self, writer, thing, predicate, holder, time_s):
        payload = RelationSet(thing, predicate, holder, expected_version=self.model.parent(thing)[2])
        self.offer(self.event(writer, self.taken_s(writer, time_s), payload))

    @rule(writer=WRITERS, thing=ONE_OF, into=ONE_OF, time_s=TIMES)
    def merge(self, writer, thing, into, time_s):
        self.offer(self.event(writer, self.taken_s(writer, time_s), EntityMerged(thing, into)))

    @rule(writer=st.sampled_from(["ann", "ann/late", "site/desk", "site/desk", "site/desk"]), data=st.data())
    def withdraw(self, writer, data):
        numbers = st.integers(3, len(self.model.events) + 1)
        seqs = data.draw(st.lists(numbers, min_size=1, max_size=3, unique=True))
        self.offer(self.event(writer, self.taken_s(writer, 0.0), Withdrawn(tuple(seqs))))
        self.answers = [answer for answer in self.answers if answer[1] is None]  # Also about a closed past.

    @precondition(lambda self: self.model.events)
    @rule(data=st.data())
    def send_again(self, data):
        number = data.draw(st.integers(1, len(self.model.events)))
        before = contents_of(self.bank)
        assert self.bank.append(self.model.events[number - 1], as_site=True) == [number]
        assert contents_of(self.bank) == before

    @rule(writer=WRITERS, times=st.lists(TIMES, min_size=2, max_size=3), thing=ONE_OF)
    def see_several_at_once(self, writer, times, thing):
        """One append of several events holds wholly or not at all."""
        number = self.model.last(writer)[0]
        events = [
            Event(writer, number + i, time_s, EntitySeen(thing, "toy", Pose((time_s, 0.0, 0.0))))
            for i, time_s in enumerate(times, 1)
        ]
        fits = sorted(times) == times and times[0] >= max(self.model.last(writer)[1], self.model.closed_s)
        before = contents_of(self.bank)
        try:
            numbers = self.bank.append(events)
        except MemoryBankError:
            assert not fits
            assert contents_of(self.bank) == before
        else:
            assert fits
            assert numbers == list(range(len(self.model.events) + 1, len(self.model.events) + 1 + len(events)))
            for event in events:
                self.model.take(event)

    @rule(time_s=TIMES, before_s=TIMES)
    def close_the_past(self, time_s, before_s):
        self.offer(self.event("site/clerk", time_s, Watermark(before_s)))
        for thing in THINGS:
            for tenth in range(1, 4):
                asked = self.model.closed_s - tenth / 4
                if asked > -1:
                    self.answers.append((thing, asked, self.bank.where_is(thing, as_of_s=asked)))

    @rule(time_s=TIMES, before_s=st.none() | TIMES)
    def reopen_the_past(self, time_s, before_s):
        self.offer(self.event("site/clerk", time_s, Reopened(before_s)))
        self.answers = [answer for answer in self.answers if answer[1] is None or answer[1] < self.model.closed_s]

    @rule()
    def make_the_projections_again(self):
        before = contents_of(self.bank)
        self.bank.rebuild()
        assert contents_of(self.bank) == before

    @rule()
    def hold_a_snapshot(self):
        held = self.bank.snapshot()
        self.answers.append((held, None, everything(held)))

    @invariant()
    def the_log_holds_what_was_accepted(self):
        found = self.bank.changes_since(0)
        assert [(e.writer, e.writer_seq, e.valid_time_s, e.payload) for e in found] == [
            (e.writer, e.writer_seq, e.valid_time_s, e.payload) for e in self.model.events
        ]
        assert [event.seq for event in found] == list(range(1, len(self.model.events) + 1))

    @invariant()
    def everything_is_where_the_model_says(self):
        for thing in (*THINGS, "ann"):
            for as_of_s in (None, 0.0, 3.0, 6.5):
                agree(self.bank, self.model, thing, as_of_s=as_of_s)

    @invariant()
    def everything_has_at_most_one_parent(self):
        for as_of_s in (None, 2.0, 5.0):
            known_s = math.inf if as_of_s is None else as_of_s
            things = sorted({self.model.root(thing, known_s) for thing in (*THINGS, "shelf")})
            asked = {thing: self.bank.where_is(thing, as_of_s=as_of_s) for thing in things}
            for holder in ("box", "shelf", "ann", ROOM):
                root = self.model.root(holder, known_s)
                expected = [thing for thing, there in asked.items() if there and there.parent == root]
                assert self.bank.contents(holder, as_of_s=as_of_s) == expected

    @invariant()
    def answers_about_a_closed_past_and_of_snapshots_never_change(self):
        for answer in self.answers:
            if isinstance(answer[0], str):
                thing, asked, found = answer
                assert self.bank.where_is(thing, as_of_s=asked) == found
            else:
                held, _, found = answer
                assert everything(held) == found


def everything(view):
    """What a view says about all things, at some times, byte for byte."""
    times = (None, 0.0, 1.0, 3.5, 6.0)
    where = [view.where_is(thing, as_of_s=as_of_s) for thing in (*THINGS, "ann") for as_of_s in times]
    held = [view.contents(holder, as_of_s=as_of_s) for holder in ("box", "shelf", "ann", ROOM) for as_of_s in times]
    return repr((where, held, view.latest_s(), view.history("cup")))


TestBankAgainstModel = BankAgainstModel.TestCase
TestBankAgainstModel.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)  # fmt: skip


def agree(bank, model, thing, *, as_of_s=None):
    """Fails unless the bank answers about a thing what the model does."""
    until = math.inf if as_of_s is None else as_of_s
    predicate, holder, version, _ = model.parent(thing, as_of_s=until)
    found = bank.where_is(thing, as_of_s=as_of_s)
    if not model.is_known(thing, as_of_s=until):
        assert found is None
        return
    assert (found.version, math.isclose(found.existence, model.existence(thing, as_of_s=until))) == (version, True)
    try:
        origin, lies = model.answer(model.root(thing, until), until)
        logged = model.logged_room(holder, (0.0, 0), until, until)[0]
    except CircleError:
        return
    pose = found.map_pose if origin else found.pose
    assert (pose and pose.position_m[0], found.since_s, found.seq, found.map_id) == (lies.x, *lies.position, origin)
    assert (found.pose if origin else found.map_pose) is None
    model.origin = origin
    outside = lies.x is not None and model.outside(lies.x, until)
    in_room = lies.x is not None and model.in_room(lies.x, until)
    model.origin = SITE
    if holder == ROOM and outside:
        predicate, holder = "", ""
    assert (found.predicate, found.parent) == (predicate, holder)
    at_home = lies.x is not None and not origin
    assert found.place == (ROOM if in_room or (logged and not outside) else "home" * at_home)


TRAVELS = st.tuples(
    st.sampled_from(
        ["see", "see", "scan", "put", "put", "put", "put", "end", "go", "reach", "roam", "miss", "merge", "back", "map"]
    ),
    st.sampled_from([0.0, 0.0, 1.0]), st.sampled_from([0.0, 0.0, 0.0, 2.0]), ONE_OF, HOLDERS,
    st.sampled_from(CONTAINMENT), XS,
)  # fmt: skip


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(TRAVELS, min_size=8, max_size=24))
def test_wherever_things_are_carried_the_bank_believes_what_the_model_does(travels):
    """Much happens at one time or late, and mostly to one thing in another: random runs seldom come to that.

    A writer that logs something late logs nothing else.
    """
    model, time_s, answers = Model(), 0.0, {}
    with open_bank(":memory:") as bank:
        for event in world():
            bank.append(event, as_site=True)
            model.take(event)
        for what, pause_s, late_s, thing, holder, predicate, x in travels:
            time_s += pause_s
            writer = f"ann/{len(model.events)}" if late_s else "ann"
            held, pose = model.parent(thing), Pose((x, 0.0, 0.0))
            payload = {
                "see": EntitySeen(thing, "toy", pose),
                "put": RelationSet(thing, predicate, holder, expected_version=held[2]),
                "end": RelationEnded(thing, *held[:2]) if held[0] else None,
                "scan": EntitySeen(thing, "toy", pose, map_id=SCAN),
                "roam": RobotReported(pose, tool=pose, map_id=SCAN),
                "map": MapPlaced(PLAN if thing == "ball" else SCAN, pose),
                "go": RobotReported(pose),
                "reach": RobotReported(Pose(), tool=pose),
                "miss": AbsenceSeen(thing, 0.5, 0.5),
                "merge": EntityMerged(thing, holder) if holder in THINGS else EntityMerged("box", thing),
                "back": Withdrawn((max(4, len(model.events) - int(8 * abs(x))),)),
            }[what]
            if payload is None:
                continue
            event = Event(writer, model.last(writer)[0] + 1, max(0.0, time_s - late_s), payload, robot="ann")
            if model.accepts(event):
                bank.append(event, as_site=True)
                model.take(event)
            if what == "back" and len(answers) < 2:
                answers[len(model.events)] = everything(bank)
        for thing in (*THINGS, "ann"):
            for as_of_s in (None, *map(float, range(int(time_s) + 1))):
                agree(bank, model, thing, as_of_s=as_of_s)
        for seq, answer in answers.items():
            assert everything(bank.snapshot(seq)) == answer
        assert not model.gone or bank.verify().problems == ()


@st.composite
def stories(draw):
    """Sightings of several writers, each in its own order of time; all times differ."""
    count = draw(st.integers(1, 12))
    times = draw(st.permutations(range(count)))
    writers = draw(st.lists(WRITERS, min_size=count, max_size=count))
    logged = {}
    for writer in set(writers):
        mine = sorted(time_s for time_s, who in zip(times, writers, strict=True) if who == writer)
        logged[writer] = [
            Event(writer, number, float(t), EntitySeen(f"thing_{t % 2}", "toy", Pose((float(t), 0.0, 0.0))))
            for number, t in enumerate(mine, 1)
        ]
    return logged, draw(st.permutations(writers)), draw(st.permutations(writers)), draw(st.sets(st.integers(0, count)))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(stories())
def test_the_order_in_which_writers_arrive_and_retries_make_no_difference_to_what_was_where(story):
    logged, first, second, retried = story
    answers = []
    for order, retries in ((first, set()), (second, retried)):
        left = {writer: iter(events) for writer, events in logged.items()}
        with open_bank(":memory:") as bank:
            for number, writer in enumerate(order):
                event = next(left[writer])
                bank.append(event, as_site=True)
                if number in retries:
                    bank.append([event, logged[writer][0]])
            found = [bank.where_is(f"thing_{i}", as_of_s=t / 2) for i in (0, 1) for t in range(26)]
            answers.append([(one.pose, one.since_s) if one else None for one in found])
    assert answers[0] == answers[1]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(2, 15), st.data())
def test_forgetting_any_sightings_leaves_a_bank_as_if_they_had_never_been(count, data):
    gone = data.draw(st.sets(st.integers(1, count)))
    with open_bank(":memory:") as bank, open_bank(":memory:") as other:
        for number in range(1, count + 1):
            event = Event("eye", number, float(number), EntitySeen("cup", "toy", Pose((float(number), 0.0, 0.0))))
            bank.append(event)
            if number not in gone:
                other.append(event)
        ranges = tuple((number, number) for number in sorted(gone))
        bank.append(Event("clerk", 1, 0.0, Forgotten("test", ranges, len(gone))), as_site=True)
        for time_s in range(count + 2):
            mine, theirs = (one.where_is("cup", as_of_s=float(time_s)) for one in (bank, other))
            assert (mine and (mine.pose, mine.since_s)) == (theirs and (theirs.pose, theirs.since_s))
        assert bank.verify().problems == ()
        before = contents_of(bank)
        bank.rebuild()
        assert contents_of(bank) == before


def test_the_model_refuses_what_it_should():
    model = Model()
    model.take(Event("ann", 1, 5.0, RelationSet("cup", "in", "box", expected_version=0)))
    assert not model.accepts(Event("ann", 2, 4.0, EntitySeen("cup", "toy", Pose())))
    assert not model.accepts(Event("bob", 1, 0.0, RelationSet("box", "in", "cup", expected_version=0)))
