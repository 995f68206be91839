"""Habitat-Sim: kinematic robots, pixels and navigation meshes of Habitat, in a process and environment of its own."""

import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from embodied.errors import CommandError, SimulationError, unknown_name
from embodied.geometry import Pose
from embodied.robots.assets import asset_root
from embodied.robots.commands import proprio
from embodied.scenes.scene import Scene
from embodied.simulators.habitat.floor import HabitatFloor
from embodied.simulators.habitat.kinematic import KinematicInstant, KinematicWorld
from embodied.simulators.habitat.pixels import HabitatPixels, described_camera
from embodied.simulators.habitat.place import DrawnPlace, PlacedThing
from embodied.simulators.placed_state import check_names, placed_attributes
from embodied.simulators.remote import RemoteWorker
from embodied.simulators.rendering.pixels import VisibleState
from embodied.simulators.world import WorldConfig
from embodied.types import Command, Observation, WorldChange, WorldState


class HabitatSimulator:
    """One world in Habitat. Its state lives here, Habitat draws it: a worker that dies costs an episode, not a run.

    Args:
        world: The rates and the folder of mesh files.
        start: Makes a worker, whenever one is needed.
        base_radius_m: As in `HabitatConfig`, and so are the others.
        dataset: Path of the dataset of the place, "" for none.
        place: The scene in it, or path of a GLB, "" for an empty place.
    """

    def __init__(
        self,
        world: WorldConfig,
        start: Callable[[], RemoteWorker],
        *,
        base_radius_m: float = 0.25,
        dataset: str = "",
        place: str = "",
    ) -> None:
        self._period_s = world.control_period_s
        self._radius_m = base_radius_m
        self._assets = Path(world.asset_root) if world.asset_root else asset_root()
        self._folder = tempfile.TemporaryDirectory(prefix="embodied-habitat-")
        self._place = DrawnPlace(start, Path(self._folder.name), dataset=dataset, scene=place)
        self._finalizer = weakref.finalize(self, _free, self._place, self._folder)
        self._build(Scene("empty"))

    def open(self) -> None:
        """Starts the worker. Raises `ConfigError`, `MissingDependencyError` and `OutageError`."""
        self._facts = self._place.worker.facts

    @property
    def control_period_s(self) -> float:
        """Simulated seconds that one `advance` covers."""
        return self._period_s

    @property
    def renderer(self) -> str:
        """The renderer, with the version that the other environment reports."""
        facts = self._place.worker.facts
        return f"habitat: habitat-sim {facts['habitat']} on the CPU, Python {facts['python']}"

    @property
    def things(self) -> tuple[PlacedThing, ...]:
        """What the place of the dataset holds, () in an empty place."""
        self._place.enter()
        return self._place.things

    def reset(self, scene: Scene) -> None:
        """Builds `scene` anew, at time 0; a scene that cannot be built leaves the empty world.

        Raises `SceneError`, `UnknownNameError`, `PathError`.
        """
        self._build(Scene("empty"))
        self._build(scene)

    def advance(self, commands: Mapping[str, Command]) -> None:
        """Runs one control period; robots without a command keep their last targets.

        Raises `UnknownNameError` or `CommandError` before anything moves, `OutageError` where a base drives and the
        worker has died.
        """
        if not isinstance(commands, Mapping):
            raise CommandError("Commands must be a mapping from robot names.", value=type(commands).__name__)
        self._world.check(commands)
        held = {grip.body for robot in self._now.robots.values() for grip in robot.grips.values()}
        around = self._world.poses(self._now)
        far = Pose((0.0, 0.0, 1e3))  # What a robot holds is not in its way.
        still = {name: far if name in held else pose for name, pose in around.items()}
        self._set(
            self._world.advanced(self._now, commands, lambda point: self._floor.is_free(still, point, self._radius_m))
        )

    def apply(self, changes: Sequence[WorldChange]) -> None:
        """Makes changes that no robot causes, in their order; a placed body stays where it is put.

        Raises `UnknownNameError` and `EventError` before anything changes.
        """
        self._set(self._world.changed(self._now, changes))

    def observe(self, robot: str, cameras: Sequence[str] | None = None) -> Observation:
        """Returns what `robot` perceives now through `cameras`: None for all, () for no pixels."""
        if robot not in self._world.robots:
            raise unknown_name("robot of the scene", robot, self._world.robots)
        wanted = [camera.name for camera in self._scene.cameras] if cameras is None else cameras
        links = {name: one.links(self._now.robots[name]) for name, one in self._world.robots.items()} if wanted else {}
        state = self._state.robots[robot]
        return Observation(
            robot=robot,
            images=self._pixels.render(wanted, VisibleState(self._state, links)) if wanted else {},
            proprio=proprio(self._world.robots[robot].model, state),
            gripper=next((one.gripper for one in state.end_effectors.values()), 0.0),
            time_s=self._state.time_s,
        )

    def state(self) -> WorldState:
        """Returns the true state."""
        return self._state

    def save(self) -> tuple[Scene, KinematicInstant, WorldState]:
        """Returns a handle on the present instant, valid until the next reset."""
        return self._scene, self._now, self._state

    def restore(self, saved: tuple[Scene, KinematicInstant, WorldState]) -> None:
        """Returns to a saved instant: the same commands then give the same states, bit for bit."""
        if saved[0] is not self._scene:
            raise SimulationError(
                "A saved instant must belong to the present reset.", remedy="Save again after the reset."
            )
        _, self._now, self._state = saved

    def teleport(self, body: str, pose: Pose) -> None:
        """Puts a free body at `pose`. Raises `UnknownNameError`, `SceneError` and `EventError`, as `teleported`."""
        self._set(self._world.teleported(self._now, body, pose))

    def place(self, state: WorldState) -> None:
        """Makes the world stand as in `state`, which may come from another process or another simulator.

        Raises `SimulationError` where names do not fit the scene.
        """
        ends = {name: robot.model.end_effectors for name, robot in self._world.robots.items()}
        check_names(state, [body.name for body in self._scene.bodies], ends, self._now.joints)
        attributes = placed_attributes(state, self._now.attributes, [body.name for body in self._scene.bodies])
        self._now = replace(self._world.placed(state), attributes=attributes)
        self._state = state

    def is_free(self, point_m: Sequence[float], *, radius_m: float) -> bool:
        """Returns whether a base of `radius_m` at (x, y) touches nothing."""
        return self._floor.is_free(self._state.pose, point_m, radius_m)

    def snap(self, point_m: Sequence[float], *, radius_m: float) -> tuple[float, float] | None:
        """Returns the free place nearest to (x, y): itself where it is free, None where nothing is."""
        return self._floor.snap(self._state.pose, point_m, radius_m)

    def geodesic_m(
        self, start_m: Sequence[float], goals_m: Sequence[Sequence[float]], *, radius_m: float
    ) -> tuple[float, ...]:
        """Returns the length of the shortest way from (x, y) to each goal (x, y), infinite where there is none."""
        return self._floor.distances_m(self._state.pose, start_m, goals_m, radius_m)

    def regions_of(self, point_m: Sequence[float]) -> tuple[str, ...]:
        """Returns the names of the regions that hold the point (x, y, z), smallest first."""
        return self._floor.regions(point_m)

    def close(self) -> None:
        """Ends the worker and removes its files; calling it twice is harmless."""
        self._finalizer()

    def _build(self, scene: Scene) -> None:
        self._world = KinematicWorld(scene, self._assets, self._period_s)
        self._place.leave([described_camera(camera) for camera in scene.cameras])
        models = {placed.model: self._world.robots[placed.name].model for placed in scene.robots}
        folder = Path(self._folder.name)
        self._pixels = HabitatPixels(self._place, scene, models, folder=folder, assets=self._assets)
        self._floor = HabitatFloor(self._place, scene, folder=folder, assets=self._assets)
        self._scene = scene
        self._set(self._world.start())

    def _set(self, now: KinematicInstant) -> None:
        self._now, self._state = now, self._world.state(now)


def _free(place: DrawnPlace, folder: "tempfile.TemporaryDirectory[str]") -> None:
    place.close()
    folder.cleanup()
