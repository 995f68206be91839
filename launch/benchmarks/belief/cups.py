"""Two cups swap places under a lid: identical cups must become ambiguous, cups of two colours must be re-identified."""

import math
from dataclasses import dataclass, replace

import numpy as np

from embodied.errors import SimulationError
from embodied.geometry import Pose
from embodied.memory import Bank, EntitySeen, EventFilter, SimulatedClock, open_bank
from embodied.memory.perception import NAMED_RGB
from embodied.protocols import Simulator, Teleportable
from embodied.rollout.bank_feed.belief_feed import BeliefConfig, BeliefFeed
from embodied.rollout.bank_feed.episode_feed import MemoryFeedConfig
from embodied.scenes.scene import Body, Box, Cylinder, Part
from embodied.scenes.tabletop import on_table, tabletop_scene
from embodied.seeding import stream
from embodied.types import Choice, Episode, Limits, Progress

PERIOD_S = 0.05
COVERED_S, SWAPPED_S, OPEN_S, END_S = 1.0, 3.0, 5.0, 7.0
CUP_RADIUS_M, CUP_HEIGHT_M = 0.03, 0.08
LID_M = (0.30, 0.36, 0.16)
LID_PARKED = (0.45, -0.30)
FOUND_M = 0.02


@dataclass(frozen=True)
class Cup:
    """The bank's final belief about one cup: its distance from the truth, and the other cups it may be."""

    error_m: float
    candidates: tuple[str, ...]


def hidden_swap(simulator: Simulator, seed: int, *, colours: tuple[str, str], swap: bool) -> tuple[Cup, Cup]:
    """Returns the final beliefs about two cups of `colours` that were under a lid for 4 s.

    With `swap` they changed places there; `seed` places them. Raises `SimulationError` unless the `simulator` can place
    things.
    """
    if not isinstance(simulator, Teleportable):
        raise SimulationError("Cups can change places in a simulator that is `Teleportable` alone.")
    draw = stream(seed, "cups")
    x, y = draw.uniform((0.15, 0.0), (0.30, 0.20))
    places = [on_table(x, y + side * 0.07, height_m=CUP_HEIGHT_M / 2) for side in (-1, 1)]
    episode = _episode(seed, places, colours)
    simulator.reset(episode.scene)
    truth = dict(zip(("cup_0", "cup_1"), places, strict=True))
    with open_bank(":memory:", clock=SimulatedClock()) as bank:
        feed = BeliefFeed(MemoryFeedConfig(), BeliefConfig(), bank, "cups")
        feed.on_begin(episode, simulator)
        names = {cup: _named(bank, pose) for cup, pose in truth.items()}
        for period in range(1, round(END_S / PERIOD_S) + 1):
            time_s = period * PERIOD_S
            if math.isclose(time_s, COVERED_S):
                simulator.teleport("lid", on_table(x, y, height_m=LID_M[2] / 2))
            if math.isclose(time_s, SWAPPED_S) and swap:
                truth = dict(zip(("cup_1", "cup_0"), places, strict=True))
                for cup, pose in truth.items():
                    simulator.teleport(cup, pose)
            if math.isclose(time_s, OPEN_S):
                simulator.teleport("lid", on_table(*LID_PARKED, height_m=LID_M[2] / 2))
            feed.on_step(replace(simulator.state(), time_s=time_s), Progress())
        feed.settle()
        first, second = (_answer(bank, names[cup], truth[cup]) for cup in ("cup_0", "cup_1"))
        return first, second


def _answer(bank: Bank, name: str, true: Pose) -> Cup:
    there = bank.where_is(name)
    if there is None or there.pose is None:
        return Cup(math.inf, ())
    return Cup(math.dist(there.pose.position_m, true.position_m), there.candidates)


def _named(bank: Bank, pose: Pose) -> str:
    """Returns the name of the thing first seen within 2 cm of a pose, "" for none."""
    for event in bank.changes_since(0, wanted=EventFilter(kinds=("entity_seen",)), limit=1000):
        seen = event.payload
        if isinstance(seen, EntitySeen) and math.dist(seen.pose.position_m, pose.position_m) <= FOUND_M:
            return seen.entity
    return ""


def _episode(seed: int, places: list[Pose], colours: tuple[str, str]) -> Episode:
    cups = [
        Body(
            f"cup_{number}",
            (Part(Cylinder(CUP_RADIUS_M, CUP_HEIGHT_M), rgba=(*NAMED_RGB[colour], 1.0)),),
            place,
            mass_kg=0.1,
            category="cup",
        )
        for number, (place, colour) in enumerate(zip(places, colours, strict=True))
    ]
    lid = Body("lid", (Part(Box(LID_M)),), on_table(*LID_PARKED, height_m=LID_M[2] / 2), mass_kg=0.1, category="lid")
    return Episode(
        id=f"cups/{seed}",
        task="cups",
        tier="",
        variant=0,
        seed=seed,
        split="test",
        instruction="watch the cups",
        scene=tabletop_scene("cups", bodies=[*cups, lid]),
        goal=Choice(("cup_0", "cup_1"), "cup_0"),
        limits=Limits(sim_time_s=END_S),
    )


def summary(pairs: list[tuple[Cup, Cup]]) -> dict[str, object]:
    """Returns how many cups have the right position under their name, and how many are marked as possibly the other."""
    cups = [cup for pair in pairs for cup in pair]
    return {
        "cups": len(cups),
        "placed_by_name": sum(cup.error_m <= FOUND_M for cup in cups),
        "may_be_the_other": sum(bool(cup.candidates) for cup in cups),
        "worst_error_m": round(float(np.max([cup.error_m for cup in cups])), 4),
    }
