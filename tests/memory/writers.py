"""What the tests of the memory bank share: writers who number their events."""

from collections import defaultdict
from contextlib import contextmanager

import numpy as np

from embodied.geometry import Pose
from embodied.memory import (
    EntitySeen,
    Event,
    MomentStored,
    PlaceDefined,
    RelationEnded,
    RelationSet,
    RobotReported,
    open_bank,
)

SQUARE = ((0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 4.0))
CORNER = ((0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 2.0))


class EventFactory:
    """Numbers the events of each writer; a refused event must be taken back, so that its number is used again."""

    def __init__(self):
        self.numbers = defaultdict(int)

    def event(self, payload, time_s=0.0, writer="panda", **fields):
        self.numbers[writer] += 1
        return Event(writer, self.numbers[writer], time_s, payload, **fields)

    def seen(self, entity, x=0.0, time_s=0.0, writer="panda", **fields):
        return self.event(EntitySeen(entity, "cube", Pose((x, 0.0, 0.0)), **fields), time_s, writer)

    def state(self, robot, x=0.0, time_s=0.0, **fields):
        return self.event(RobotReported(Pose((x, 0.0, 0.0)), **fields), time_s, robot, robot=robot)

    def put(self, subject, predicate, thing, expected=None, *, time_s=0.0, writer="panda"):
        return self.event(RelationSet(subject, predicate, thing, expected_version=expected), time_s, writer)

    def moment(self, *, episode="e", time_s=0.0, size=4, model="m", writer="panda", entities=(), axis=0):
        stored = MomentStored(episode, model, unit(size, axis), (0.0, 0.0, 0.0), entities=entities)
        return self.event(stored, time_s, writer, robot=writer)


def unit(size, axis=0):
    vector = np.zeros(size, "<f4")
    vector[axis] = 1.0
    return vector.tobytes()


def home():
    """A site and a room in its corner."""
    return [
        PlaceDefined("home", "site", polygon=SQUARE),
        PlaceDefined("kitchen", "region", "home", CORNER),
    ]


@contextmanager
def furnished(factory, **settings):
    """Opens a bank that knows the home: 4 x 4 m with a kitchen in its corner, 2 x 2 m."""
    with open_bank(":memory:", **settings) as bank:
        bank.append([factory.event(place, 0.0, "map") for place in home()])
        yield bank


def x_of(bank, name, **asked):
    found = bank.where_is(name, **asked)
    return None if found.pose is None else found.pose.position_m[0]


def hand(factory, x, time_s, robot="kuka", *, base=0.5):
    payload = RobotReported(Pose((base, 0.0, 0.0)), tool=Pose((x, 0.0, 0.0)))
    return factory.event(payload, time_s, robot, robot=robot)


def end(factory, subject, predicate, thing, time_s):
    return factory.event(RelationEnded(subject, predicate, thing), time_s)


def contents_of(bank):
    """Everything in the tables of a bank, to see that nothing changed."""
    rows = bank._log.tables.select
    names = [name for (name,) in rows("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
    return {name: rows(f"SELECT * FROM {name}") for name in names}
