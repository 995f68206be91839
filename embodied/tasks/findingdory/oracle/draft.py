"""One draft of a day: the agent carries objects, visits receptacles, and ends where distances differ."""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from embodied.geometry import Pose
from embodied.scenes.house import House, HouseObject, Surface
from embodied.tasks.findingdory.day import PickAndPlace, lived_poses
from embodied.tasks.findingdory.home_map import HomeMap
from embodied.tasks.findingdory.oracle.agenda import Agenda
from embodied.tasks.findingdory.oracle.agent import OracleAgent
from embodied.tasks.findingdory.oracle.config import DayConfig
from embodied.tasks.findingdory.oracle.ends import FarthestThings
from embodied.tasks.findingdory.oracle.placing import free_pose
from embodied.tasks.findingdory.predicates import LEAST_SHARE
from embodied.tasks.findingdory.steps import FRAMES, PICK, PLACE, WAIT

REACH_STEPS = (6, 14)  # Of a place, until the object stands on the surface.
VISIT_STEPS = (4, 9)
DISTINCT_STEPS = 5  # By which durations differ at least: over a minute of the clock.
ROOM_MARGIN_STEPS = 12
END_MARGIN_M = 0.25
VISIT_LIKELY = 0.5


class Abandoned(Exception):  # noqa: N818
    """A draft that does not become a valid day, with the reason."""


@dataclass(frozen=True, eq=False)
class Draft:
    """What an agent lived through: rows by step, and the interactions."""

    agent: OracleAgent
    interactions: tuple[PickAndPlace, ...]


class DayDraft:
    """Lives `agenda` with `agent`, drawing with `rng`. `judged` is the map of the whole home, nothing closed."""

    def __init__(
        self, agent: OracleAgent, agenda: Agenda, judged: HomeMap, config: DayConfig, rng: np.random.Generator
    ) -> None:
        self._agent = agent
        self._agenda = agenda
        self._judged = judged
        self._config = config
        self._rng = rng
        self._house: House = judged.house
        self._receptacles = {one.name: one for one in self._house.receptacles}
        self._interactions: list[PickAndPlace] = []
        self._visited: list[str] = []
        # With so many steps at a place, one of the 96 frames of the day is surely among them.
        self._dwell = int(np.clip(np.ceil((220 * agenda.count + 300) / FRAMES) + 3, 15, 40))

    def live(self) -> Draft:
        """Lives the day. Raises `Abandoned` where it would not be valid."""
        count = 0
        for item in self._agenda.objects:
            if count == self._agenda.count:
                break
            while self._rng.random() < VISIT_LIKELY or self._early(count):
                if not self._visit():
                    break
            count += self._carry(item)
        if count < self._config.interactions[0]:
            raise Abandoned(f"only {count} objects could be carried")
        while self._agent.steps < self._config.steps[0] and self._visit():
            pass
        self._separate_rooms()
        self._end()
        if not self._config.steps[0] <= self._agent.steps <= self._config.steps[1]:
            raise Abandoned(f"it took {self._agent.steps} steps")
        return Draft(self._agent, tuple(self._interactions))

    def _early(self, count: int) -> bool:
        """Returns whether the day would be too short without more visits."""
        left = self._agenda.count - count
        return self._agent.steps + 150 * left < self._config.steps[0] and len(self._visited) < len(self._receptacles)

    def _visit(self) -> bool:
        """Visits a receptacle that was not visited yet, untouched ones and those with twins first; False for none."""
        touched = {one.category for one in self._agenda.objects[: self._agenda.count]}
        twins = [one for one in self._house.objects if one.category in touched and one not in self._agenda.objects]
        by_receptacle = {one.receptacle: one for one in twins}
        names = [
            one.name
            for one in self._house.receptacles
            if one.room != self._agenda.closed and one.name not in self._visited
        ]
        if not names or self._agent.steps > self._config.steps[1] - 400:
            return False
        wanted = [name for name in names if name in self._agenda.untouched or name in by_receptacle] or names
        name = wanted[int(self._rng.integers(len(wanted)))]
        self._visited.append(name)
        twin = by_receptacle.get(name)
        surface = self._receptacles[name].surfaces[0]
        at = surface.pose.position_m if twin is None else self._agent.object_poses[twin.name].position_m
        if self._agent.visit(name, at, thing=twin.name if twin else ""):
            self._agent.stay(int(self._rng.integers(*VISIT_STEPS)), WAIT, manipulates=False)
        return True

    def _carry(self, item: HouseObject) -> bool:
        """Carries `item` elsewhere; returns whether that was possible."""
        agent, rng = self._agent, self._rng
        if not agent.visit(item.receptacle, agent.object_poses[item.name].position_m, thing=item.name):
            return False
        pick_start = agent.steps
        agent.stay(self._dwell + int(rng.integers(20)), PICK, manipulates=True)
        agent.take(item.name)
        carry_start = agent.steps
        agent.stay(1, PICK, manipulates=True)
        receptacle, surface, pose = self._bring(item)
        place_start = agent.steps
        agent.stay(int(rng.integers(*REACH_STEPS)), PLACE, manipulates=True)
        agent.release(pose)
        agent.stay(self._dwell + int(rng.integers(12)), PLACE, manipulates=True)
        others = [one.place_end - one.pick_start for one in self._interactions]
        while any(abs(agent.steps - 1 - pick_start - other) < DISTINCT_STEPS for other in others):
            agent.stay(1, PLACE, manipulates=True)
        steps = (pick_start, carry_start, place_start, agent.steps - 1)
        places = (item.receptacle, item.surface, receptacle, surface.name)
        self._interactions.append(PickAndPlace(item.name, *places, pose, *steps))
        return True

    def _bring(self, item: HouseObject) -> tuple[str, Surface, Pose]:
        """Drives with `item` to a receptacle; returns it, its surface, and where the item fits on it."""
        possible = [
            (one, surface)
            for one in self._house.receptacles
            if one.room != self._agenda.closed
            and one.name not in self._agenda.untouched
            and one.name != item.receptacle
            for surface in one.surfaces
        ]
        poses = self._agent.object_poses
        for index in self._rng.permutation(len(possible)).tolist():
            receptacle, surface = possible[index]
            for _ in range(2):
                pose = free_pose(self._rng, self._house, surface, item, poses)
                if pose is not None and self._agent.place_at(receptacle.name, pose):
                    return receptacle.name, surface, pose
        raise Abandoned(f"{item.name} fits nowhere")

    def _separate_rooms(self) -> None:
        """Waits where the agent is, if that makes one room the one in which it was longest by a margin."""
        here = self._judged.room_at(self._agent.follower.at)
        ranked = self._rooms().most_common(2)
        if len(ranked) == 2 and here in (ranked[0][0], ranked[1][0]):
            other = ranked[1][1] if here == ranked[0][0] else ranked[0][1]
            missing = other + ROOM_MARGIN_STEPS + 25 - self._rooms()[here]
            if 0 < missing <= 60:
                self._agent.stay(missing, WAIT, manipulates=False)

    def _rooms(self) -> Counter[int]:
        return Counter(self._judged.room_at(pose) for pose in self._agent.poses)

    def _end(self) -> None:
        """Drives to where the farthest thing of every kind is farthest by a margin."""
        things = FarthestThings(self._judged, self._interactions, self._agent.object_poses, self._seen())
        for point in things.end_points(self._rng, self._agent.home_map):
            if not self._agent.drive(point, within_m=0.3):
                continue
            margin_m = things.margin_m(self._agent.follower.at)
            ranked = [count for _, count in self._rooms().most_common(2)]
            if margin_m >= END_MARGIN_M and (len(ranked) == 1 or ranked[0] - ranked[1] >= ROOM_MARGIN_STEPS):
                return
        raise Abandoned("no end pose has unique farthest things")

    def _seen(self) -> frozenset[str]:
        """Returns the receptacles that were seen so far, by every third step."""
        agent, view = self._agent, self._agent.view
        lived = (np.array(agent.poses), np.array(agent.held))
        initial = {body.name: body.pose for body in self._house.scene.bodies if body.name in agent.object_poses}
        found: set[str] = set()
        for step in range(0, agent.steps, 3):
            objects = lived_poses(self._house, initial, self._interactions, lived, step)
            found |= {name for name, share in view.shares(lived[0][step], objects).items() if share >= LEAST_SHARE}
        return frozenset(found & self._receptacles.keys())
