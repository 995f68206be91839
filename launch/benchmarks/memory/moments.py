"""Generates a week of a site for the memory benchmark: clustered moments, sightings of objects, and queries."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from embodied.geometry import Pose
from embodied.memory import EntitySeen, Event, MomentStored, Query
from embodied.seeding import stream

DAY_S = 86_400.0
WEEK_S = 7 * DAY_S
CLUSTERS = 200
SITE_M = (40.0, 25.0)
MODEL_ID = "bench"
SPREAD = 0.6  # Length of a moment's own part, that of its cluster being 1: cosines within a cluster are about 0.75.
OBSERVERS = 10


@dataclass(frozen=True, eq=False)
class Moments:
    """Columns of N moments in the order of time: (N, D) unit float32, seconds, metres, number of the robot."""

    embedding: np.ndarray
    time_s: np.ndarray
    x: np.ndarray
    y: np.ndarray
    robot: np.ndarray

    def __len__(self) -> int:
        return len(self.time_s)


@dataclass(frozen=True, eq=False)
class BenchmarkQuery:
    """A query of the benchmark: closed ranges of time (s) and of x and y (m), and a robot, or None for any."""

    embedding: np.ndarray
    time_s: tuple[float, float]
    x: tuple[float, float]
    y: tuple[float, float]
    robot: int | None
    filtered: bool

    def query(self, top_k: int) -> Query:
        """Returns it as a query of the bank."""
        if not self.filtered:
            return Query(embedding=self.embedding, model_id=MODEL_ID, top_k=top_k)
        (left, right), (bottom, top) = self.x, self.y
        return Query(
            embedding=self.embedding,
            model_id=MODEL_ID,
            time_s=self.time_s,
            region=((left, bottom), (right, bottom), (right, top), (left, top)),
            robot=None if self.robot is None else robot_name(self.robot),
            top_k=top_k,
        )


def robot_name(number: int) -> str:
    """Returns the name of a robot."""
    return f"robot_{number}"


def make_moments(count: int, dimensions: int, *, robots: int, seed: int) -> Moments:
    """Returns `count` moments of `dimensions` of `robots` at random times of a week and random places.

    Each is one of 200 cluster centres plus a part of its own, drawn from `seed`.
    """
    random = stream(seed, "moments")
    centres = _unit(random.normal(size=(CLUSTERS, dimensions)))
    own = random.normal(size=(count, dimensions), scale=SPREAD / np.sqrt(dimensions))
    return Moments(
        embedding=_unit(centres[random.integers(CLUSTERS, size=count)] + own).astype(np.float32),
        time_s=np.sort(random.uniform(0.0, WEEK_S, size=count)),
        x=random.uniform(0.0, SITE_M[0], size=count),
        y=random.uniform(0.0, SITE_M[1], size=count),
        robot=random.integers(robots, size=count),
    )


def make_queries(moments: Moments, count: int, *, filtered: bool, share: float, seed: int) -> list[BenchmarkQuery]:
    """Returns queries near stored `moments`, `count` of them, drawn from `seed`.

    With `filtered` each has a filter, which admits `share` of the time, `share` of the area, and one robot.
    """
    random = stream(seed, "questions", str(filtered))
    side = np.sqrt(share)
    found = []
    for _ in range(count):
        like = moments.embedding[random.integers(len(moments))]
        wanted = _unit(like + random.normal(size=len(like), scale=SPREAD / np.sqrt(len(like))))
        start_s = random.uniform(0.0, (1.0 - share) * WEEK_S)
        left, bottom = (random.uniform(0.0, (1.0 - side) * length) for length in SITE_M)
        found.append(
            BenchmarkQuery(
                embedding=wanted.astype(np.float32),
                time_s=(float(start_s), float(start_s + share * WEEK_S)),
                x=(float(left), float(left + side * SITE_M[0])),
                y=(float(bottom), float(bottom + side * SITE_M[1])),
                robot=int(random.integers(moments.robot.max() + 1)),
                filtered=filtered,
            )
        )
    return found


def moment_events(moments: Moments, *, batch: int) -> Iterator[list[Event]]:
    """Yields the moments as events, `batch` at a time; each robot writes its own."""
    for start in range(0, len(moments), batch):
        yield [_moment_event(moments, i) for i in range(start, min(start + batch, len(moments)))]


def sighting_events(count: int, things: int, *, seed: int) -> list[Event]:
    """Returns `count` sightings of `things` in turn, at random times and places, by separate observers.

    They are drawn from `seed`.
    """
    random = stream(seed, "sightings")
    times = np.sort(random.uniform(0.0, WEEK_S, size=count))
    places = random.uniform((0.0, 0.0, 0.0), (*SITE_M, 1.5), size=(count, 3))
    return [
        Event(
            writer=f"observer_{i % OBSERVERS}",
            writer_seq=i // OBSERVERS + 1,
            valid_time_s=float(times[i]),
            payload=EntitySeen(thing_name(i % things), "thing", Pose(tuple(places[i].tolist()))),
        )
        for i in range(count)
    ]


def thing_name(number: int) -> str:
    """Returns the name of a thing that observers see."""
    return f"thing_{number}"


def _moment_event(moments: Moments, i: int) -> Event:
    robot = robot_name(int(moments.robot[i]))
    payload = MomentStored(
        episode=f"day_{int(moments.time_s[i] // DAY_S)}",
        model_id=MODEL_ID,
        embedding=moments.embedding[i].tobytes(),
        position_m=(float(moments.x[i]), float(moments.y[i]), 0.0),
    )
    # The numbers of a robot may have gaps, but must ascend.
    return Event(writer=robot, writer_seq=i + 1, valid_time_s=float(moments.time_s[i]), payload=payload, robot=robot)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
