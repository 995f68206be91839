"""Optional capabilities of simulators, as `check_simulator` checks them: changes, placing, navigation."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from embodied.errors import EventError, SimulationError, UnknownNameError
from embodied.geometry import Pose
from embodied.protocols import Navigable, Simulator
from embodied.scenes.changes import moved_bodies
from embodied.scenes.scene import Scene
from embodied.testing.contract import Leaves, Rule, leaves, read_only
from embodied.testing.played_world import PlayedWorld
from embodied.types import (
    PlaceBody,
    SetColour,
    SetJoint,
    SetProperty,
    WorldChange,
    WorldState,
    world_from_json,
    world_to_json,
)

CHANGES = Rule("changes", "`apply` must show its changes at once; a placed body stays throughout the next period.")
CHANGES_RESTORE = Rule("changes_restored", "`restore` and `reset` must undo what `apply` has changed since.")
CHANGES_REFUSED = Rule(
    "changes_refused", "`apply` must refuse what does not fit the scene or moves a held body, before anything changes."
)
TELEPORT = Rule("teleport", "`teleport` must put a free body at the pose, and refuse unknown bodies.")
PLACE = Rule("place", "`place` must make a new world stand as in a written state: the same facts and the same images.")
PLACE_GOES_ON = Rule("place_goes_on", "After `place` the clock must go on from the time of the placed state.")
PLACE_REFUSED = Rule("place_refused", "`place` must refuse the state of another scene, before anything changes.")
SNAP = Rule("snap", "`snap` must return a free place: the point itself where it is free, else one of the nearest.")
GEODESIC = Rule(
    "geodesic",
    "Ways must be 0 to oneself, as long there as back, never shorter than the air line or longer than a detour.",
)
BLOCKED = Rule("geodesic_blocked", "Ways must be infinite where one end is not free, or where none leads there.")
REGIONS = Rule("regions", "`regions_of` must name the regions that hold a point, those within others first.")
PLAN = Rule("floor_plan", "Asking for places and ways must move nothing.")
RADIUS_M = 0.25
POINTS = 40  # That are tried, and of these so many that are free:
FREE_POINTS = 6
SLACK_M, SLACK_SHARE = 0.05, 0.02  # By how much the lengths of ways may be off.
NEAREST_SLACK_M = 0.15


def check_changes(world: PlayedWorld, simulator: Simulator) -> None:
    """Raises `ContractError` unless `apply` applies changes that no robot causes, or refuses them as a whole."""
    unknown = (SetColour("no such body", (1.0, 0.0, 0.0, 1.0)), SetJoint("no such joint", 0.0))
    with CHANGES:
        simulator.reset(world.scene)
        before, saved = leaves(simulator.state()), simulator.save()
        changes = _changes(world.scene, simulator.state().held.values())
        simulator.apply(changes)
        _require_changed(simulator.state(), changes)
        after = _frames(world, simulator)
        simulator.advance({})
        for change in changes:
            if isinstance(change, PlaceBody):
                CHANGES.require_same("the pose after a period", change.pose, simulator.state().pose[change.body])
    with CHANGES_RESTORE:
        simulator.restore(saved)
        CHANGES_RESTORE.require_same("states before `apply` and after `restore`", before, simulator.state())
        simulator.apply(changes)
        CHANGES_RESTORE.require_same("images of the changed world", after, _frames(world, simulator))
        simulator.reset(world.scene)
        CHANGES_RESTORE.require_same("states before `apply` and after `reset`", before, simulator.state())
    for change in unknown:
        CHANGES_REFUSED.require_refusal(
            f"{change}", lambda sent=change: simulator.apply([*changes, sent]), UnknownNameError
        )
        CHANGES_REFUSED.require_same("states before and after a refusal", before, simulator.state())
    for command in [*world.commands, {}]:
        _check_held(world.scene, simulator)
        simulator.advance(command)


def check_teleporting(world: PlayedWorld, first: Simulator, second: Simulator) -> None:
    """Raises `ContractError` unless what `first` offers of `Teleportable` puts things where they are wanted.

    A capability that it lacks is not checked. Both are simulators of `world`. States of `first` are placed in `second`,
    which has a different history.
    """
    teleport, place = getattr(first, "teleport", None), getattr(second, "place", None)
    if teleport is not None:
        _check_teleport(world, first, teleport)
    if place is not None:
        _check_place(world, first, second, place)


def check_navigation(world: PlayedWorld, simulator: Simulator) -> None:
    """Raises `ContractError` unless a simulator that is `Navigable` knows its floor plan."""
    if not isinstance(simulator, Navigable):
        return
    simulator.reset(world.scene)
    before = leaves(simulator.state())
    points = _points(world.scene)
    with SNAP:
        standing = [point for point in points if simulator.is_free(point, radius_m=RADIUS_M)]
        snapped = [_check_snap(simulator, point, standing) for point in points]
    free = sorted({point for point in snapped if point is not None})[:: max(1, len(set(snapped)) // FREE_POINTS)]
    with GEODESIC:
        _check_ways(simulator, free[:FREE_POINTS])
    with BLOCKED:
        blocked = [point for point in points if point not in standing]
        _check_blocked(simulator, free[:FREE_POINTS], blocked[:FREE_POINTS])
    with REGIONS:
        _check_regions(world.scene, simulator)
    PLAN.require_same("states before and after", before, simulator.state())


def _changes(scene: Scene, held: Iterable[str | None]) -> list[WorldChange]:
    """Returns a change of each kind that the scene and what is `held` allow: a colour, a property, a joint, a pose."""
    jointed = {joint.child for joint in scene.joints}
    found: list[WorldChange] = [SetColour(body.name, (0.9, 0.1, 0.6, 1.0)) for body in scene.bodies[:1]]
    found += [
        SetProperty(body.name, one.name, not one.value)
        for body in scene.bodies
        for one in body.properties
        if isinstance(one.value, bool)
    ][:1]
    found += [
        SetJoint(joint.name, joint.lower + 0.75 * (joint.upper - joint.lower))
        for joint in scene.joints
        if joint.kind != "fixed"
    ][:1]
    free = [body.name for body in scene.bodies if body.mass_kg > 0.0 and body.name not in jointed]
    found += [PlaceBody(name, Pose((0.4, -0.3, 1.6))) for name in free[:1]]
    return [change for change in found if moved_bodies(change, scene).isdisjoint(held)]


def _require_changed(state: WorldState, changes: Sequence[WorldChange]) -> None:
    for change in changes:
        match change:
            case SetColour():
                found, wanted = state.colours.get(change.body), {"": change.rgba}
            case SetProperty():
                found, wanted = state.properties[change.body].get(change.property), change.value
            case SetJoint():
                found, wanted = state.joint[change.joint], change.position
            case PlaceBody():
                found, wanted = state.pose[change.body], change.pose
        CHANGES.require_same(f"{change} in the state", wanted, found, tolerance=1e-9)


def _check_held(scene: Scene, simulator: Simulator) -> None:
    """Checks that what a robot holds now is not moved by a change."""
    state = simulator.state()
    joints = {joint.child: joint for joint in scene.joints}
    for body in filter(None, state.held.values()):
        change: WorldChange = PlaceBody(body, Pose((0.0, 0.0, 2.0)))
        if body in joints:
            change = SetJoint(joints[body].name, joints[body].upper)
        CHANGES_REFUSED.require_refusal(
            f"{change} of what is held", lambda one=change: simulator.apply([one]), EventError
        )
        CHANGES_REFUSED.require_same("states before and after a refusal", state, simulator.state())


def _check_teleport(world: PlayedWorld, simulator: Simulator, teleport: Callable[[str, Pose], None]) -> None:
    simulator.reset(world.scene)
    changes = _changes(world.scene, simulator.state().held.values())
    free = [one.body for one in changes if isinstance(one, PlaceBody)]
    if free:
        with TELEPORT:
            wanted = Pose((0.3, -0.2, 1.5))
            teleport(free[0], wanted)
            found = simulator.state().pose[free[0]]
            TELEPORT.require_same("the pose and that wanted", wanted, found, tolerance=1e-6)
    TELEPORT.require_refusal("an unknown body", lambda: teleport("no such body", Pose()), UnknownNameError)


def _check_place(world: PlayedWorld, first: Simulator, second: Simulator, place: Callable[[WorldState], None]) -> None:
    with PLACE:
        first.reset(world.scene)
        second.reset(world.scene)
        moments = [_moment(world, first)]
        for number, command in enumerate(world.commands):
            if number == len(world.commands) // 2:
                changes = _changes(world.scene, first.state().held.values())
                first.apply([one for one in changes if not isinstance(one, PlaceBody)])
                moments.append(_moment(world, first))
            first.advance(command)
        moments.append(_moment(world, first))
        for state, frames in reversed(moments):
            for how, written in _written(state).items():
                place(written)
                PLACE.require_same(f"a state and that placed ({how})", _facts(state), _facts(second.state()))
                PLACE.require_same(f"images of a state and of what was placed ({how})", frames, _frames(world, second))
    with PLACE_GOES_ON:
        second.advance({})
        expected_s = moments[0][0].time_s + second.control_period_s
        if abs(second.state().time_s - expected_s) > 1e-6:
            raise PLACE_GOES_ON.broken(f"{second.state().time_s} s, not {expected_s} s")
    before = leaves(second.state())
    state = moments[-1][0]
    missing = dict(list(state.pose.items())[1:])
    for what, other in (("bodies", replace(state, pose=missing)), ("robots", replace(state, robots={}, held={}))):
        PLACE_REFUSED.require_refusal(f"a state without some {what}", lambda one=other: place(one), SimulationError)
        PLACE_REFUSED.require_same("states before and after a refusal", before, second.state())


def _moment(world: PlayedWorld, simulator: Simulator) -> tuple[WorldState, Leaves]:
    return simulator.state(), _frames(world, simulator)


def _written(state: WorldState) -> dict[str, WorldState]:
    """Returns a state, and its copies after encoding as JSON and as msgpack."""
    packed = msgspec.msgpack.encode(state, enc_hook=lambda array: array.tolist())
    unpacked = msgspec.msgpack.decode(packed, type=WorldState, dec_hook=lambda _, values: np.array(values, dtype=float))
    return {"as it is": read_only(state), "from JSON": world_from_json(world_to_json(state)), "from msgpack": unpacked}


def _facts(state: WorldState) -> Leaves:
    """Returns the numbers and names of a state, independent of the types of its mappings."""
    return leaves(world_from_json(world_to_json(state)))


def _frames(world: PlayedWorld, simulator: Simulator) -> Leaves:
    """Returns copies of all that the cameras show."""
    robots = [robot.name for robot in world.scene.robots[:1]]  # All robots see through the same cameras.
    return leaves({name: simulator.observe(name).images for name in robots})


def _points(scene: Scene) -> list[tuple[float, float]]:
    """Returns points (x, y) all over the scene: at its robots and regions, and between its outermost bodies."""
    at = [robot.base.position_m[:2] for robot in scene.robots]
    at += [region.pose.position_m[:2] for region in scene.regions]
    corners = at + [body.pose.position_m[:2] for body in scene.bodies if body.pose != Pose()]
    low, high = np.min(corners, axis=0) - 0.5, np.max(corners, axis=0) + 0.5
    drawn = np.random.default_rng(5).uniform(low, high, (POINTS, 2))
    return [(float(x), float(y)) for x, y in [*at, *drawn]]


def _check_snap(
    simulator: Navigable, point: tuple[float, float], free: Sequence[tuple[float, float]]
) -> tuple[float, float] | None:
    place = simulator.snap(point, radius_m=RADIUS_M)
    if place is None:
        if free:
            raise SNAP.broken(f"no place near {point}, though {free[0]} is free")
        return None
    x, y = (float(value) for value in place)
    if not simulator.is_free((x, y), radius_m=RADIUS_M):
        raise SNAP.broken(f"{point} was snapped to {(x, y)}, which is not free")
    again = simulator.snap((x, y), radius_m=RADIUS_M)
    SNAP.require_same(f"{(x, y)} and what it is snapped to", (x, y), again and tuple(map(float, again)))
    if point in free:
        SNAP.require_same(f"{point}, which is free, and what it is snapped to", point, (x, y))
    nearest_m = min((float(np.hypot(one[0] - point[0], one[1] - point[1])) for one in free), default=np.inf)
    if np.hypot(x - point[0], y - point[1]) > nearest_m + NEAREST_SLACK_M:
        raise SNAP.broken(f"{point} was snapped to {(x, y)}, though a place at {nearest_m:.2f} m is free")
    return x, y


def _check_ways(simulator: Navigable, free: Sequence[tuple[float, float]]) -> None:
    ways = np.array([simulator.geodesic_m(point, free, radius_m=RADIUS_M) for point in free])
    if ways.shape != (len(free), len(free)) or np.isnan(ways).any() or (ways < 0.0).any():
        raise GEODESIC.broken(f"lengths {ways.tolist()} between {list(free)}")
    for i, j in itertools.product(range(len(free)), repeat=2):
        air_m = float(np.hypot(free[i][0] - free[j][0], free[i][1] - free[j][1]))
        if ways[i, j] < air_m - 1e-6 or (i == j and ways[i, j] > 1e-9):
            raise GEODESIC.broken(f"{ways[i, j]} m from {free[i]} to {free[j]}, which are {air_m:.3f} m apart")
        if not _not_longer(ways[i, j], ways[j, i]):
            raise GEODESIC.broken(f"{ways[i, j]} m from {free[i]} to {free[j]}, but {ways[j, i]} m back")
        for k in range(len(free)):
            if not _not_longer(ways[i, j], ways[i, k] + ways[k, j]):
                raise GEODESIC.broken(f"{ways[i, j]} m from {free[i]} to {free[j]}, but less by {free[k]}")


def _not_longer(length_m: float, other_m: float) -> bool:
    return bool(np.isinf(other_m) or length_m <= other_m * (1.0 + SLACK_SHARE) + SLACK_M)


def _check_blocked(
    simulator: Navigable, free: Sequence[tuple[float, float]], blocked: Sequence[tuple[float, float]]
) -> None:
    for point in blocked:
        there, back = (
            simulator.geodesic_m(free[0], [point], radius_m=RADIUS_M) if free else (np.inf,),
            simulator.geodesic_m(point, list(free), radius_m=RADIUS_M),
        )
        if not np.isinf([*there, *back]).all():
            raise BLOCKED.broken(f"{there} m and {back} m to and from {point}, which is not free")


def _check_regions(scene: Scene, simulator: Navigable) -> None:
    for inner in scene.regions:
        point = inner.pose.position_m
        holding = [region for region in scene.regions if region.holds(point)]
        found = list(simulator.regions_of(point))
        if sorted(found) != sorted(region.name for region in holding):
            raise REGIONS.broken(f"{found} at {point}, where the scene has {[region.name for region in holding]}")
        sizes = [float(np.prod(scene.region(name).size_m)) for name in found]
        if sizes != sorted(sizes):
            raise REGIONS.broken(f"{found} at {point}, which have {sizes} cubic metres")
    far_m = (1e4, 1e4, 1e4)
    if simulator.regions_of(far_m):
        raise REGIONS.broken(f"{simulator.regions_of(far_m)} at {far_m}")
