"""Looks at a table as robots do in rollouts, and compares the things found with the truth."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from embodied.geometry import Pose
from embodied.memory.perception import Change, ChangeKind, Known, Look, SceneTracker
from embodied.protocols import Simulator
from embodied.rollout.bank_feed.looking import Looking
from embodied.scenes.scene import Body, Box, Scene
from embodied.scenes.tabletop import ROBOT, on_table
from embodied.seeding import stream
from embodied.simulators.bullet import BulletSimulator
from launch.benchmarks.perception.scenes import AWAY, LID, LID_M, PARKED, most_pixels, sides_m, things

CAMERAS = ("front", "left_shoulder", "right_shoulder")
FOUND_M = 0.03  # Less than the distance between the middles of any two things.
OBLONG = 1.15  # Boxes with a smaller ratio of sides count as square.


@dataclass(frozen=True)
class Compared:
    """One visible thing against the truth: metres, radians.

    `yaw_rad` is the yaw error of its outline, None for shapes other than boxes; `crossed` is set if the shorter of two
    sides was taken for the longer.
    """

    found: bool
    centre_m: float = 0.0
    yaw_rad: float | None = None
    crossed: bool = False
    size_m: float = 0.0
    colour: bool = False


@dataclass(frozen=True)
class Missed:
    """The reports about one removed thing: while cameras looked elsewhere, while it was covered, once in sight.

    `wrongly` counts things that were present and were reported gone.
    """

    away: bool
    covered: bool
    in_sight: bool
    wrongly: int


class TrackedTable:
    """Looks at a loaded scene as robots do in a rollout: through one camera after another, with masks without names."""

    def __init__(self, simulator: Simulator, scene: Scene, *, seed: int) -> None:
        numbers = count(1)
        self.tracker = SceneTracker(lambda kind: f"{kind}-{next(numbers)}")
        self._simulator = simulator
        self._looking = Looking(scene, simulator, seed=seed)

    def looks(self, cameras: Sequence[str] = CAMERAS, *, time_s: float = 0.0) -> list[Look]:
        """Returns the current images of the cameras, in their order."""
        return self._looking.looks(ROBOT, cameras, self._simulator.state().robots, {}, time_s=time_s)

    def take_in(self, looks: Sequence[Look]) -> list[Change]:
        """Returns the changes by looks, after things were extended down to their support."""
        changes = []
        for look in looks:
            found = self.tracker.look(look)
            for change in found:
                if change.kind not in (ChangeKind.CONFIRMED, ChangeKind.GONE):
                    self.tracker.stand(self.tracker.things[change.name])
            changes += found
        return changes

    def see(self, cameras: Sequence[str] = CAMERAS, *, time_s: float) -> list[Change]:
        """Returns the changes by a look through each of the cameras."""
        return self.take_in(self.looks(cameras, time_s=time_s))

    def known(self) -> list[Known]:
        """Returns the known things, without surfaces."""
        return [one for one in self.tracker.things.values() if not (one.measured.surface or one.lost)]


def matched(scene: Scene, known: Collection[Known]) -> dict[str, Known]:
    """Returns, by body, the thing that is nearest to it and at most 3 cm away; nearest pairs come first."""
    pairs = sorted(
        (math.dist(thing.box.pose.position_m, body.pose.position_m), body.name, thing.name)
        for body in things(scene)
        for thing in known
    )
    by_name = {thing.name: thing for thing in known}
    found: dict[str, Known] = {}
    for distance_m, body, name in pairs:
        if distance_m <= FOUND_M and body not in found and by_name[name] not in found.values():
            found[body] = by_name[name]
    return found


def compare(scene: Scene, known: Collection[Known], visible: Collection[str]) -> list[Compared]:
    """Returns the errors of each of the `visible` things of a `scene` at rest; `known` are the things found."""
    found = matched(scene, known)
    return [_against(scene.body(name), found[name]) if name in found else Compared(found=False) for name in visible]


def remove_one(simulator: BulletSimulator, scene: Scene, seed: int, *, visible_px: int) -> Missed:
    """Returns the reports after a visible thing of a newly loaded `scene` is removed, look by look.

    The thing is drawn from `seed` among those with `visible_px` pixels in the `simulator`.
    """
    table = TrackedTable(simulator, scene, seed=seed)
    table.see(time_s=0.0)
    names = {body: thing.name for body, thing in matched(scene, table.known()).items()}
    images = simulator.observe(ROBOT, CAMERAS).images
    visible = sorted(name for name, pixels in most_pixels(scene, images).items() if pixels >= visible_px)
    removed = str(stream(seed, "removed").choice(visible))
    x, y, _ = scene.body(removed).pose.position_m
    simulator.teleport(removed, Pose((5.0, 0.0, 0.1)))
    away = table.see([AWAY], time_s=1.0)
    simulator.teleport(LID, on_table(x, y, height_m=LID_M / 2))
    covered = table.see(time_s=2.0)
    simulator.teleport(LID, PARKED)
    in_sight = table.see(time_s=3.0)
    gone = [{change.name for change in look if change.kind is ChangeKind.GONE} for look in (away, covered, in_sight)]
    name, others = names.pop(removed, ""), set(names.values())
    return Missed(*(name in found for found in gone), wrongly=sum(len(found & others) for found in gone))


def _against(body: Body, seen: Known) -> Compared:
    shape = body.parts[0].shape
    sides = sides_m(shape)
    yaw_rad, crossed = None, False
    if isinstance(shape, Box):
        off = seen.box.pose.yaw_rad - body.pose.yaw_rad - (0.0 if sides[0] >= sides[1] else np.pi / 2)
        yaw_rad = abs(_wrapped(off, np.pi / 2))
        oblong = max(sides[:2]) >= OBLONG * min(sides[:2])
        crossed = oblong and abs(_wrapped(off, np.pi)) > np.pi / 4
    error_m = np.subtract(seen.box.pose.position_m, body.pose.position_m)
    return Compared(
        found=True,
        centre_m=float(np.linalg.norm(error_m)),
        yaw_rad=yaw_rad,
        crossed=crossed,
        size_m=float(np.max(np.abs(np.sort(seen.box.size_m) - np.sort(sides)))),
        colour=seen.measured.colour.name == body.category,
    )


def _wrapped(angle_rad: float, period_rad: float) -> float:
    return angle_rad - round(angle_rad / period_rad) * period_rad
