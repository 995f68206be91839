"""Recall of moments: the index in memory gives exactly what a naive search through the log gives."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embodied.errors import MemoryBankError
from embodied.geometry import Pose
from embodied.memory import (
    EntityMerged,
    EntitySeen,
    Event,
    Forgotten,
    MomentStored,
    Order,
    Payload,
    PlaceDefined,
    Query,
    Recalled,
    SimulatedClock,
    open_bank,
)
from embodied.memory.queries import moment_matrix, moment_search
from embodied.memory.queries.containment_history import Instant
from embodied.memory.queries.map_frames import MapFrames
from embodied.memory.queries.moment_search import MomentIndex, inside_polygon_many
from embodied.memory.queries.similarity import most_similar
from embodied.memory.schema.places import inside_polygon
from embodied.memory.storage.bank_file import PROJECTIONS, open_tables
from embodied.memory.storage.log import EventLog
from embodied.seeding import stream

SQUARE = ((0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 2.0))
PLACES = {"table": SQUARE}


class Site:
    """A bank in memory with its index, and every moment that was written, for the naive search."""

    def __init__(self) -> None:
        tables = open_tables(None)
        self.log = EventLog(tables, PROJECTIONS, clock=SimulatedClock(8e9))
        self.index = MomentIndex(tables)
        self.written: dict[int, Event] = {}
        self._counts: dict[str, int] = {}

    def write(self, time_s: float, payload: Payload, *, robot: str = "panda") -> int:
        writer = f"{robot}/{len(self._counts)}"  # A writer per event, so that times may come in any order.
        self._counts[writer] = 1
        event = Event(writer=writer, writer_seq=1, valid_time_s=time_s, payload=payload, robot=robot)
        (seq,) = self.log.append([event], as_site=True)
        if isinstance(payload, MomentStored):
            self.written[seq] = event
        return seq

    def moment(self, time_s: float, embedding: Sequence[float], *, robot: str = "panda", **fields: object) -> int:
        vector = np.asarray(embedding, "<f4")
        payload = {"episode": "e", "model_id": "clip", "position_m": (1.0, 1.0, 0.0), "embedding": vector.tobytes()}
        return self.write(time_s, MomentStored(**{**payload, **fields}), robot=robot)  # type: ignore[arg-type]

    def forget(self, *seqs: int) -> int:
        seqs = tuple(sorted(seqs))
        for seq in seqs:
            del self.written[seq]
        return self.write(0.0, Forgotten(reason="old", ranges=tuple((seq, seq) for seq in seqs), count=len(seqs)))

    def recall(self, query: Query, **view: int) -> list[Recalled]:
        return self.index.recall(query, resolve_region=PLACES.__getitem__, maps=self.maps(), **view)

    def maps(self) -> MapFrames:
        return MapFrames(self.log, Instant(self.log.head, math.inf))

    def seqs(self, query: Query, **view: int) -> list[int]:
        return [found.seq for found in self.recall(query, **view)]


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.log.tables.db.close()


def towards(*angles_deg: float) -> np.ndarray:
    """Returns the unit vector in the plane at an angle; the cosine of two is that of their difference."""
    return np.array([[math.cos(math.radians(a)), math.sin(math.radians(a))] for a in angles_deg], np.float32)[0]


def test_moments_come_back_as_they_were_logged_the_most_alike_first(site: Site) -> None:
    tokens = np.arange(6, dtype="<f4")
    site.moment(1.0, towards(90))
    near = site.moment(
        2.0, towards(10), robot="kuka", episode="e7", tokens=tokens.tobytes(), token_count=3,
        entities=("mug", "cup"), position_m=(0.1, 0.2, 0.3),
    )  # fmt: skip
    first, second = site.recall(Query(embedding=towards(0), model_id="clip"))
    assert first.seq == near
    assert first.similarity == pytest.approx(math.cos(math.radians(10)), abs=1e-6)
    assert second.similarity == pytest.approx(0.0, abs=1e-6)
    moment = first.moment
    assert np.array_equal(moment.embedding, towards(10))
    assert np.array_equal(moment.tokens, tokens.reshape(3, 2))  # type: ignore[arg-type]
    assert (moment.time_s, moment.robot, moment.episode, moment.model_id) == (2.0, "kuka", "e7", "clip")
    assert (moment.position_m, moment.entities) == ((0.1, 0.2, 0.3), ("mug", "cup"))
    assert second.moment.tokens is None


def test_equally_alike_moments_are_ordered_by_their_numbers(site: Site) -> None:
    logged = [site.moment(9.0 - i, towards(5)) for i in range(6)]
    assert site.seqs(Query(embedding=towards(0), model_id="clip", top_k=4)) == logged[:4]


def test_without_an_embedding_time_orders_and_similarity_is_not_a_number(site: Site) -> None:
    late, early, other = site.moment(5.0, towards(0)), site.moment(1.0, towards(0)), site.moment(5.0, towards(0))
    assert site.seqs(Query(order=Order.OLDEST)) == [early, late, other]
    assert site.seqs(Query(order=Order.NEWEST)) == [other, late, early]
    assert site.seqs(Query(order=Order.OLDEST, top_k=2)) == [early, late]
    assert site.seqs(Query(order=Order.NEWEST, top_k=1)) == [other]
    assert site.seqs(Query()) == [other, late, early]
    assert all(math.isnan(found.similarity) for found in site.recall(Query()))


def test_with_an_embedding_the_most_alike_are_chosen_and_then_sorted_by_time(site: Site) -> None:
    site.moment(3.0, towards(80))
    newer, older = site.moment(2.0, towards(1)), site.moment(1.0, towards(2))
    asked = Query(embedding=towards(0), model_id="clip", top_k=2)
    assert site.seqs(replace(asked, order=Order.OLDEST)) == [older, newer]
    assert site.seqs(replace(asked, order=Order.NEWEST)) == [newer, older]


def test_every_filter_holds(site: Site) -> None:
    other = {
        "time": site.moment(99.0, towards(0)),
        "robot": site.moment(5.0, towards(0), robot="kuka"),
        "episode": site.moment(5.0, towards(0), episode="f"),
        "place": site.moment(5.0, towards(0), position_m=(2.1, 1.0, 0.0)),
        "entity": site.moment(5.0, towards(0), entities=("cup",)),
        "label": site.moment(5.0, towards(0), entities=("mug",), labels=("blue",)),
    }
    right = site.moment(5.0, towards(0), entities=("mug", "cup"), labels=("red",))
    everything = {*other.values(), right}
    for query, left_out in (
        (Query(time_s=(5.0, 6.0)), {other["time"]}),
        (Query(robot="panda"), {other["robot"]}),
        (Query(episode="e"), {other["episode"]}),
        (Query(region="table"), {other["place"]}),
        (Query(region=SQUARE), {other["place"]}),
        (Query(entities=("mug", "nobody")), everything - {right, other["label"]}),
        (Query(text_labels=("red",)), everything - {right}),
        (Query(kinds=("moment_stored",)), set()),
        (Query(robot="never heard of"), everything),
        (Query(entities=("never heard of",)), everything),
        (Query(model_id="never heard of"), everything),
    ):
        assert set(site.seqs(query)) == everything - left_out, query
    together = Query(
        embedding=towards(0), model_id="clip", time_s=(0.0, 6.0), region="table", robot="panda", episode="e",
        entities=("mug",), text_labels=("red",),
    )  # fmt: skip
    assert site.seqs(together) == [right]


def test_models_are_never_mixed(site: Site) -> None:
    clip, dino = site.moment(1.0, towards(0)), site.moment(2.0, [0.0, 0.0, 1.0], model_id="dino")
    assert site.seqs(Query(embedding=towards(0), model_id="clip")) == [clip]
    assert site.seqs(Query(embedding=np.array([0.0, 0.0, 1.0]), model_id="dino")) == [dino]
    assert site.seqs(Query(order=Order.OLDEST)) == [clip, dino]


def test_late_moments_are_found_in_their_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moment_matrix, "CHEAP_MOVE", 4)
    logged = {float(t): site.moment(float(t), towards(t)) for t in range(100, 140)}
    assert len(site.index) == 40
    logged[50.0] = site.moment(50.0, towards(50))  # Too far back to be moved at once: it waits in the tail.
    logged[200.0] = site.moment(200.0, towards(20))
    rows = site.index._models[site.log.tables.names.find("clip")]  # type: ignore[index]
    asked = Query(order=Order.OLDEST, top_k=99)
    assert site.seqs(asked) == [logged[t] for t in sorted(logged)]
    assert rows.ordered == 40
    assert site.seqs(replace(asked, time_s=(50.0, 101.0))) == [logged[50.0], logged[100.0], logged[101.0]]
    assert site.seqs(Query(embedding=towards(50), model_id="clip", top_k=1)) == [logged[50.0]]
    for t in range(60, 66):
        logged[float(t)] = site.moment(float(t), towards(t))
    assert site.seqs(replace(asked, time_s=(60.0, 100.0))) == [logged[t] for t in (60.0, 61, 62, 63, 64, 65, 100)]
    assert rows.ordered == len(logged)
    assert np.all(np.diff(rows["time_s"]) >= 0)


def test_room_grows_by_doubling() -> None:
    rows, rooms = moment_matrix.MomentMatrix(1), set()
    for i in range(5000):
        row = {name: np.array([i]) for name in moment_matrix.COLUMNS}
        rows.add(row, np.array([[i]], np.float32))
        rooms.add(len(rows._embeddings))
    assert len(rooms) == 4
    assert rows["seq"].tolist() == rows["embeddings"][:, 0].tolist() == list(range(5000))


def test_a_view_of_the_past_sees_no_later_moment(site: Site) -> None:
    first = site.moment(1.0, towards(30))
    site.moment(0.5, towards(0))
    asked = Query(embedding=towards(0), model_id="clip", top_k=1)
    assert site.seqs(asked, up_to_seq=first) == [first]
    assert site.seqs(asked) != [first]
    assert site.seqs(Query(), up_to_seq=0) == []


def test_what_was_forgotten_is_not_recalled(site: Site) -> None:
    logged = [site.moment(float(t), towards(t), entities=("mug",)) for t in range(5)]
    only = site.moment(9.0, [0.0, 0.0, 1.0], model_id="dino")
    assert len(site.seqs(Query())) == 6
    site.forget(logged[1], logged[3], only)
    asked = Query(order=Order.OLDEST, entities=("mug",))
    assert site.seqs(asked) == [logged[0], logged[2], logged[4]]
    assert site.seqs(Query(order=Order.OLDEST)) == [logged[0], logged[2], logged[4]]
    assert [list(seqs) for seqs in site.index._tags["entity"]._seqs.values()] == [[logged[0], logged[2], logged[4]]]
    assert len(site.index) == 3
    again = site.moment(2.5, towards(0), entities=("mug",))
    assert site.seqs(asked) == [logged[0], logged[2], again, logged[4]]
    fresh = MomentIndex(site.log.tables).recall(asked, resolve_region=PLACES.__getitem__, maps=site.maps())
    assert fresh[2].seq == again


def test_the_bank_recalls_an_entity_under_all_its_names_and_from_its_places() -> None:
    square = PlaceDefined("table", "region", "hall", polygon=SQUARE)
    stored = MomentStored("e", "clip", towards(0).tobytes(), (1.0, 1.0, 0.0), entities=("box_7",))
    with open_bank(":memory:") as bank:
        for number, payload in enumerate((PlaceDefined("hall", "site"), square, stored), 1):
            bank.append(Event("panda", number, float(number), payload, robot="panda"))
        by_name = Query(entities=("mug",))
        assert bank.recall(by_name) == []
        (merged,) = bank.append(Event("panda", 4, 4.0, EntityMerged("box_7", into="mug"), robot="panda"))
        assert [found.seq for found in bank.recall(by_name)] == [3]
        assert [found.seq for found in bank.recall(Query(entities=("box_7",), region="table"))] == [3]
        assert bank.snapshot(merged - 1).recall(by_name) == []
        with pytest.raises(MemoryBankError, match="region"):
            bank.recall(Query(region="hall"))
        with pytest.raises(MemoryBankError, match="region"):
            bank.recall(Query(region="nowhere"))


def test_a_bank_is_loaded_in_pieces_as_it_was_logged(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moment_search, "LOADED_AT_ONCE", 3)
    logged = [site.moment(float(t), towards(t), labels=("red",)) for t in range(10)]
    site.write(20.0, EntitySeen("mug", "mug", Pose()))
    assert site.seqs(Query(order=Order.OLDEST, text_labels=("red",), top_k=99)) == logged
    assert site.seqs(Query(embedding=towards(7), model_id="clip", top_k=1)) == [logged[7]]
    assert [list(seqs) for seqs in site.index._tags["label"]._seqs.values()] == [logged]


@pytest.mark.parametrize(
    ("query", "rule"),
    [
        (Query(embedding=np.ones(2), model_id="clip"), "unit length"),
        (Query(embedding=np.array([math.nan, 1.0]), model_id="clip"), "unit length"),
        (Query(embedding=np.array([1.0, 0.0, 0.0]), model_id="clip"), "the size of its model's"),
        (Query(embedding=np.eye(2), model_id="clip"), "vector"),
        (Query(embedding=np.array([1, 0]), model_id="clip"), "floating-point"),
        (Query(embedding=towards(0)), "must name the model"),
        (Query(top_k=0), "top_k"),
        (Query(top_k=True), "top_k"),
        (Query(order="sideways"), "order"),  # type: ignore[arg-type]
        (Query(time_s=(2.0, 1.0)), "interval"),
        (Query(time_s=(math.nan, 1.0)), "interval"),
        (Query(region=SQUARE[:2]), "region must not be empty"),
        (Query(region=(SQUARE[0], SQUARE[2], SQUARE[1], SQUARE[3])), "must not"),
        (Query(region=((0.0, math.inf), *SQUARE[1:])), "finite"),
        (Query(kinds=("interaction",)), "Only moments"),
        (Query(kinds=("thought",)), "kind"),
    ],
)
def test_invalid_queries_are_refused_with_rule_value_and_remedy(site: Site, query: Query, rule: str) -> None:
    site.moment(1.0, towards(0))
    with pytest.raises(MemoryBankError, match=rule) as refused:
        site.recall(query)
    assert refused.value.value is not None


@given(
    points=st.lists(st.tuples(st.integers(-4, 12), st.integers(-4, 12)), min_size=1),
    polygon=st.sampled_from(
        [SQUARE, SQUARE[::-1], ((0.0, 0.0), (8.0, 0.0), (8.0, 8.0), (4.0, 3.0), (0.0, 8.0)), ((0, 0), (7, 1), (3, 5))]
    ),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_many_points_are_in_a_polygon_when_each_of_them_is(
    points: list[tuple[int, int]], polygon: tuple[tuple[float, float], ...]
) -> None:
    x, y = np.array(points, np.float64).T / 2
    assert inside_polygon_many(polygon, x, y).tolist() == [inside_polygon(polygon, *p) for p in zip(x, y, strict=True)]


@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 300),
    dimensions=st.sampled_from([1, 3, 64, 384]),
    top_k=st.integers(1, 40),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_most_alike_are_exact_among_near_ties_and_in_any_company(
    seed: int, count: int, dimensions: int, top_k: int
) -> None:
    random = stream(seed, "near ties")
    centre = random.normal(size=dimensions)
    vectors = centre + 1e-6 * random.integers(-2, 3, size=(count, dimensions))  # float32 cannot order these.
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    query = (centre / np.linalg.norm(centre)).astype(np.float32)
    rows = np.flatnonzero(random.random(count) < random.choice([0.05, 0.5, 1.0]))
    best, similarity = most_similar(vectors, rows, query, seq=np.arange(count), top_k=top_k)
    alone = [most_similar(vectors, np.array([row]), query, seq=np.arange(count), top_k=1)[1][0] for row in rows]
    order = sorted(zip(alone, rows, strict=True), key=lambda pair: (-pair[0], pair[1]))[:top_k]
    assert list(zip(similarity, best, strict=True)) == order
    exact = [math.fsum((vectors[row].astype(float) * query.astype(float)).tolist()) for row in best]
    assert similarity == pytest.approx(exact, abs=1e-13)


@dataclass(frozen=True)
class Observing:
    """One moment of a random history: everything small, so that filters and ties meet."""

    time_s: float
    angle: int
    robot: str
    x: float
    entities: tuple[str, ...]
    model_id: str


names = st.lists(st.sampled_from("abc"), max_size=2, unique=True).map(tuple)
histories = st.lists(
    st.builds(
        Observing, st.integers(0, 9).map(float), st.integers(0, 5), st.sampled_from(["r1", "r2"]),
        st.integers(0, 4).map(float), names, st.sampled_from(["clip", "dino"]),
    ),
    max_size=12,
)  # fmt: skip
queries = st.builds(
    Query,
    embedding=st.none() | st.integers(0, 5).map(lambda angle: towards(30 * angle)),
    model_id=st.just("clip"),
    text_labels=names,
    time_s=st.none() | st.tuples(st.integers(0, 9), st.integers(0, 9)).map(lambda pair: tuple(sorted(pair))),
    region=st.sampled_from([None, "table"]),
    robot=st.sampled_from([None, "r1", "r3"]),
    entities=names,
    top_k=st.integers(1, 4),
    order=st.sampled_from(Order),
)


@given(first=histories, second=histories, query=queries, data=st.data())
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_recall_equals_a_naive_search_after_any_history(
    first: list[Observing], second: list[Observing], query: Query, data: st.DataObject
) -> None:
    site = Site()
    for part in (first, second):
        for logged in part:
            site.moment(
                logged.time_s, towards(30 * logged.angle), robot=logged.robot, position_m=(logged.x, 1.0, 0.0),
                entities=logged.entities, labels=logged.entities, model_id=logged.model_id,
            )  # fmt: skip
        assert site.seqs(query) == naive(site.written.items(), query)
        gone = data.draw(st.sets(st.sampled_from(sorted(site.written)))) if site.written else set()
        if gone:
            site.forget(*gone)
    up_to_seq = data.draw(st.integers(0, site.log.head))
    known = [(seq, event) for seq, event in site.written.items() if seq <= up_to_seq]
    assert site.seqs(query, up_to_seq=up_to_seq) == naive(known, query)
    site.log.tables.db.close()


def naive(logged: object, query: Query) -> list[int]:
    """Looks at every moment, one by one, in plain Python."""
    found = []
    for seq, event in logged:  # type: ignore[attr-defined]
        payload = event.payload
        if (
            payload.model_id == query.model_id
            and (query.time_s is None or query.time_s[0] <= event.valid_time_s <= query.time_s[1])
            and (query.region is None or inside_polygon(SQUARE, *payload.position_m[:2]))
            and (query.robot is None or query.robot == event.robot)
            and (not query.entities or set(query.entities) & set(payload.entities))
            and (not query.text_labels or set(query.text_labels) & set(payload.labels))
        ):
            cosine = 0.0
            if query.embedding is not None:
                pairs = zip(np.frombuffer(payload.embedding, "<f4").tolist(), query.embedding.tolist(), strict=True)
                cosine = math.fsum(a * b for a, b in pairs)
            found.append(SimpleNamespace(seq=seq, time_s=event.valid_time_s, cosine=cosine))
    sign = 1 if query.order is Order.OLDEST else -1
    if query.embedding is not None:
        found = sorted(found, key=lambda one: (-one.cosine, one.seq))[: query.top_k]
    if query.embedding is None or query.order is not Order.SIMILARITY:
        found.sort(key=lambda one: (sign * one.time_s, sign * one.seq))
    return [one.seq for one in found[: query.top_k]]
