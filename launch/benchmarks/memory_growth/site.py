"""A site whose log can be made of any length: robots that drive, look around, carry things, and remember moments."""

from collections.abc import Iterator
from itertools import islice

import numpy as np

from embodied.geometry import Pose, quaternion_from_yaw
from embodied.memory import (
    Bank,
    EntitySeen,
    Event,
    Interaction,
    MomentStored,
    Payload,
    PlaceDefined,
    RelationEnded,
    RelationSet,
    RobotRegistered,
    RobotReported,
    SkillEnded,
    SkillSpec,
)
from embodied.seeding import stream

BATCH = 1000
HOT, RARE, MODEL = "hot_thing", "rare_thing", "model"
RARE_SIGHTINGS = 20
DIMENSIONS = 16
STEP_S = 0.05
# Of a hundred events of a robot, so many are its state, sightings of things, sightings of the hot thing, and moments;
# the last six carry a thing.
STATES, SIGHTINGS, HOT_SIGHTINGS, MOMENTS = 62, 20, 10, 2


def fill(bank: Bank, events: int, *, robots: int, things: int, seed: int) -> None:
    """Appends to `bank` so many `events` of so many `robots` and `things`, in batches; a `seed` gives one log."""
    random = stream(seed, "memory growth")
    skills = (SkillSpec("pick_place"),)
    pending = [Event("map", 1, 0.0, PlaceDefined("site", "site", polygon=_square(-1.0, 50.0)))]
    pending += [
        Event("map", 2 + i, 0.0, RobotRegistered(f"robot_{i}", "cart", skills, speed_mps=1.0)) for i in range(robots)
    ]
    streams = [_robot(number, things, random) for number in range(robots)]
    numbers = [0] * robots
    rare, count = 0, len(pending)
    while count < events:
        robot = count % robots
        time_s = STEP_S * (count // robots)
        if count >= (rare + 0.5) * events / RARE_SIGHTINGS:
            rare += 1
            pending.append(Event("watch", rare, time_s, EntitySeen(RARE, "box", _pose(random)), robot="watch"))
        else:
            numbers[robot] += 1
            name = f"robot_{robot}"
            pending.append(Event(name, numbers[robot], time_s, next(streams[robot]), robot=name, task=f"shift_{robot}"))
        count += 1
        if len(pending) >= BATCH:
            bank.append(pending)
            pending = []
    bank.append(pending)


def _robot(number: int, things: int, random: np.random.Generator) -> Iterator[Payload]:
    """Yields the events of one robot without end, from anywhere in its first round; it carries a thing of its own."""
    own, turn = f"own_{number}", 0
    skipped = int(random.integers(STATES + SIGHTINGS + HOT_SIGHTINGS + MOMENTS))
    while True:
        yield from islice(_round(number, things, random), skipped, None)
        skipped = 0
        yield RelationSet(own, "held_by", f"robot_{number}", expected_version=4 * turn)
        yield RelationEnded(own, "held_by", f"robot_{number}", expected_version=4 * turn + 1)
        yield RelationSet(own, "on", f"shelf_{turn % 7}", expected_version=4 * turn + 2)
        yield RelationEnded(own, "on", f"shelf_{turn % 7}", expected_version=4 * turn + 3)
        began_s = 5.0 * turn
        yield Interaction("pick_place", own, began_s, began_s + 1.0, began_s + 3.0, began_s + 4.0)
        yield SkillEnded("pick_place", success=bool(random.integers(2)), context="box", duration_s=4.0)
        turn += 1


def _round(number: int, things: int, random: np.random.Generator) -> Iterator[Payload]:
    """Yields what a robot reports, sees and remembers before it carries its thing."""
    for _ in range(STATES):
        yield RobotReported(_pose(random), battery=float(round(random.uniform(0.2, 1.0), 3)), status="driving")
    for _ in range(SIGHTINGS):
        yield EntitySeen(f"thing_{int(random.integers(things))}", "box", _pose(random), confidence=0.9)
    for _ in range(HOT_SIGHTINGS):
        yield EntitySeen(HOT, "box", _pose(random), confidence=0.9)
    for _ in range(MOMENTS):
        vector = random.standard_normal(DIMENSIONS).astype("<f4")
        x_m, y_m, _ = _pose(random).position_m
        vector /= np.linalg.norm(vector)
        yield MomentStored(f"shift_{number}", MODEL, vector.tobytes(), (x_m, y_m, 0.0))


def _pose(random: np.random.Generator) -> Pose:
    x_m, y_m, yaw_rad = random.uniform((0.0, 0.0, -np.pi), (40.0, 25.0, np.pi))
    return Pose((round(float(x_m), 3), round(float(y_m), 3), 0.0), quaternion_from_yaw(float(yaw_rad)))


def _square(low_m: float, high_m: float) -> tuple[tuple[float, float], ...]:
    return (low_m, low_m), (high_m, low_m), (high_m, high_m), (low_m, high_m)
