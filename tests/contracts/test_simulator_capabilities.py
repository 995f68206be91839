"""Simulators that apply changes, place written states or know their floor plan; each rule catches what breaks it."""

from contextlib import suppress
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from embodied.errors import SimulationError, UnknownNameError
from embodied.geometry import Pose
from embodied.robots.assets import asset_root
from embodied.scenes.changes import BodyAttributes
from embodied.scenes.properties import Property
from embodied.scenes.scene import Body, Box, Camera, Part
from embodied.simulators.bullet import BulletConfig
from embodied.simulators.navigation import SceneNavigation
from embodied.testing import ContractError, check_simulator
from embodied.types import Command, PlaceBody, SetJoint
from tests.fakes import BLOCK_START, FLOATING, PERIOD_S, FakeSimulator, fake_scene
from tests.simulators.test_navigation import SCENE as FLAT

# The flat's walls and rooms around the tiny world's block, bins and drawer, with a lamp that can be on.
LAMP = Body("lamp", (Part(Box((0.1, 0.1, 0.1))),), Pose((1.5, 1.5, 1.0)), properties=(Property("on", value=False),))
TINY = fake_scene()
ROOM = (msgspec.structs.replace(body, name=f"flat_{body.name}") for body in FLAT.bodies if body.name != "floor")
SCENE = msgspec.structs.replace(TINY, bodies=(*TINY.bodies, *ROOM, LAMP), regions=FLAT.regions)
TAKES = [{"arm": Command(np.array(BLOCK_START), gripper=0.0)} for _ in range(9)]


def check(make):
    check_simulator(make, SCENE, commands=TAKES, models={"panda": FLOATING})


class Capable(FakeSimulator):
    """Can be placed, and knows its floor plan."""

    def reset(self, scene):
        super().reset(scene)
        self._plan = SceneNavigation(scene, asset_root())

    def place(self, state):
        if state.pose.keys() != self._place.keys() or state.robots.keys() != self._hand.keys():
            raise SimulationError("A state must be of the scene.")
        self._ticks = round(state.time_s / PERIOD_S)
        self._place = {name: np.array(pose.position_m) for name, pose in state.pose.items()}
        self._joint = dict(state.joint)
        self._attributes = BodyAttributes(state.properties, state.colours)
        for name, robot in state.robots.items():
            self._hand[name] = np.array(robot.joint_position_rad[:3])
            self._goal[name] = self._hand[name].copy()
            self._gripper[name], self._held[name] = robot.gripper, robot.end_effector().held

    def teleport(self, body, pose):
        if body not in self._place:
            raise UnknownNameError("A body must exist.", value=body)
        self._place[body] = np.array(pose.position_m)

    def is_free(self, point_m, *, radius_m):
        return self._space(radius_m).contains(point_m)

    def snap(self, point_m, *, radius_m):
        return self._space(radius_m).snap(point_m)

    def geodesic_m(self, start_m, goals_m, *, radius_m):
        return self._space(radius_m).distances_m(start_m, goals_m)

    def regions_of(self, point_m):
        return self._plan.regions(point_m)

    def _space(self, radius_m):
        return self._plan.space({name: Pose(tuple(map(float, at))) for name, at in self._place.items()}, radius_m)


def test_the_capable_tiny_world_keeps_the_contract():
    check(Capable)


def test_bullet_keeps_the_contract_in_a_flat_with_rooms():
    cameras = (Camera("eye", Pose((0.3, 0.0, 0.5)), 16, 12, mount="base"),)
    check_simulator(BulletConfig().build, msgspec.structs.replace(FLAT, cameras=cameras))


# --- Planted violations: changes --------------------------------------------------------------------------------------


class AppliesLater(Capable):
    def apply(self, changes):
        super().apply([change for change in changes if not isinstance(change, SetJoint)])


class LetsFall(Capable):
    def apply(self, changes):
        super().apply(changes)
        self._falling = [change.body for change in changes if isinstance(change, PlaceBody)]

    def advance(self, commands):
        super().advance(commands)
        for body in getattr(self, "_falling", ()):
            self._place[body][2] -= 0.01
        self._falling = []


class KeepsColours(Capable):
    def restore(self, saved):
        super().restore({name: value for name, value in saved.items() if name != "_attributes"})


class KeepsColoursForEver(Capable):
    def reset(self, scene):
        before = getattr(self, "_attributes", None)
        super().reset(scene)
        self._attributes = before or self._attributes


class AppliesHalf(Capable):
    def apply(self, changes):
        for change in changes:
            super().apply([change])


class IgnoresUnknown(Capable):
    def apply(self, changes):
        with suppress(UnknownNameError):
            super().apply(changes)


class TakesWhatIsHeld(Capable):
    def apply(self, changes):
        held, self._held = self._held, {}
        try:
            super().apply(changes)
        finally:
            self._held = held


# --- Planted violations: placing --------------------------------------------------------------------------------------


class ForgetsHeld(Capable):
    def place(self, state):
        super().place(state)
        self._held = dict.fromkeys(self._held)


class ForgetsColours(Capable):
    def place(self, state):
        super().place(replace(state, colours={}))


class ForgetsJoints(Capable):
    def place(self, state):
        super().place(replace(state, joint=self._joint))


class ForgetsTime(Capable):
    def place(self, state):
        super().place(replace(state, time_s=self.time_s))


class LooksOld(Capable):
    """What it shows depends on more than its state, though it saves that too."""

    def reset(self, scene):
        super().reset(scene)
        self._age = 0

    def advance(self, commands):
        super().advance(commands)
        self._age += 1

    def save(self):
        return {**super().save(), "_age": self._age}

    def _image(self, name):
        image = super()._image(name)
        image.rgb[:] += np.uint8(self._age)
        return image


class StandsStill(Capable):
    def place(self, state):
        super().place(state)
        self._placed = True

    def reset(self, scene):
        self._placed = False
        super().reset(scene)

    def advance(self, commands):
        super().advance(commands)
        self._ticks -= self._placed


class PlacesAnything(Capable):
    def place(self, state):
        full = {**{name: Pose(tuple(map(float, at))) for name, at in self._place.items()}, **state.pose}
        super().place(replace(state, pose=full))


class MovesBeforeItRefuses(Capable):
    def place(self, state):
        self._joint = {"slide": 0.123} if len(state.pose) < len(self._place) else self._joint
        super().place(state)


# --- Planted violations: navigation -----------------------------------------------------------------------------------


class SnapsNowhere(Capable):
    def snap(self, point_m, *, radius_m):
        return tuple(point_m)


class SnapsOn(Capable):
    def snap(self, point_m, *, radius_m):
        place = super().snap((point_m[0] + 0.1, point_m[1]), radius_m=radius_m)
        return place and (float(place[0]), float(place[1]))


class SnapsFar(Capable):
    def snap(self, point_m, *, radius_m):
        return point_m if self.is_free(point_m, radius_m=radius_m) else super().snap((1.5, 1.0), radius_m=radius_m)


class GivesUp(Capable):
    def snap(self, point_m, *, radius_m):
        return tuple(point_m) if self.is_free(point_m, radius_m=radius_m) else None


class Uphill(Capable):
    def geodesic_m(self, start_m, goals_m, *, radius_m):
        lengths = super().geodesic_m(start_m, goals_m, radius_m=radius_m)
        return tuple(
            length * (1.5 if goal[1] > start_m[1] else 1.0) for length, goal in zip(lengths, goals_m, strict=True)
        )


class Shortcuts(Capable):
    def geodesic_m(self, start_m, goals_m, *, radius_m):
        return tuple(0.7 * length for length in super().geodesic_m(start_m, goals_m, radius_m=radius_m))


class Squares(Capable):
    def geodesic_m(self, start_m, goals_m, *, radius_m):
        return tuple(length + length**2 for length in super().geodesic_m(start_m, goals_m, radius_m=radius_m))


class StartsWithAStep(Capable):
    def geodesic_m(self, start_m, goals_m, *, radius_m):
        return tuple(length + 0.01 for length in super().geodesic_m(start_m, goals_m, radius_m=radius_m))


class GoesThroughWalls(Capable):
    def geodesic_m(self, start_m, goals_m, *, radius_m):
        return tuple(float(np.hypot(goal[0] - start_m[0], goal[1] - start_m[1])) for goal in goals_m)


class LargestFirst(Capable):
    def regions_of(self, point_m):
        return super().regions_of(point_m)[::-1]


class KnowsRoomsAlone(Capable):
    def regions_of(self, point_m):
        return super().regions_of(point_m)[:1]


class WalksWhenAsked(Capable):
    def geodesic_m(self, start_m, goals_m, *, radius_m):
        self._hand["arm"][0] += 1e-6
        return super().geodesic_m(start_m, goals_m, radius_m=radius_m)


PLANTED = [
    ("changes", AppliesLater),
    ("changes", LetsFall),
    ("changes_restored", KeepsColours),
    ("changes_restored", KeepsColoursForEver),
    ("changes_refused", AppliesHalf),
    ("changes_refused", IgnoresUnknown),
    ("changes_refused", TakesWhatIsHeld),
    ("place", ForgetsHeld),
    ("place", ForgetsColours),
    ("place", ForgetsJoints),
    ("place", ForgetsTime),
    ("place", LooksOld),
    ("place_goes_on", StandsStill),
    ("place_refused", PlacesAnything),
    ("place_refused", MovesBeforeItRefuses),
    ("snap", SnapsNowhere),
    ("snap", SnapsOn),
    ("snap", SnapsFar),
    ("snap", GivesUp),
    ("geodesic", Uphill),
    ("geodesic", Shortcuts),
    ("geodesic", Squares),
    ("geodesic", StartsWithAStep),
    ("geodesic_blocked", GoesThroughWalls),
    ("regions", LargestFirst),
    ("regions", KnowsRoomsAlone),
    ("floor_plan", WalksWhenAsked),
]


@pytest.mark.parametrize(("rule", "broken"), PLANTED, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_capability_is_refused_by_the_rule_that_it_breaks(rule, broken):
    with pytest.raises(ContractError) as caught:
        check(broken)
    assert caught.value.name == rule, caught.value
    assert caught.value.remedy
