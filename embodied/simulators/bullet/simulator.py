"""PyBullet: the default simulator. Runs headless in this process, bit for bit the same for the same commands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from embodied.errors import CommandError, ConfigError, EmbodiedError, SceneError, SimulationError, unknown_name
from embodied.geometry import Pose
from embodied.robots.assets import asset_root
from embodied.robots.commands import check_command, proprio
from embodied.scenes.changes import BodyAttributes
from embodied.scenes.scene import Scene
from embodied.simulators.attachment import Attachments, Grip, Holder
from embodied.simulators.bullet.bodies import BodyHandle, create_bodies
from embodied.simulators.bullet.changes import Changes
from embodied.simulators.bullet.client import connect
from embodied.simulators.bullet.grasping import BulletGrasping
from embodied.simulators.bullet.mechanisms import Mechanisms
from embodied.simulators.bullet.pixels import BulletPixels
from embodied.simulators.bullet.placing import check_placed, place_bodies
from embodied.simulators.bullet.robot import BulletRobot, Targets
from embodied.simulators.bullet.state_reader import StateReader
from embodied.simulators.navigation import SceneNavigation
from embodied.simulators.placed_state import check_names
from embodied.simulators.rendering.choice import RendererChoice
from embodied.simulators.world import WorldConfig
from embodied.types import Command, Observation, WorldChange, WorldState

SOLVER_ITERATIONS = 50


@dataclass(kw_only=True)
class BulletConfig:
    """PyBullet: the shared settings of its world, what makes the pixels, and the threads of a software renderer.

    Attributes:
        renderer: of the images: opengl, tiny (PyBullet's own) or auto (opengl where it starts)
        render_threads: threads of a software renderer, that of the simulator included
    """

    world: WorldConfig = field(default_factory=WorldConfig)
    renderer: RendererChoice = RendererChoice.auto
    render_threads: int = 1

    def check(self) -> None:
        """Raises `ConfigError` for values out of range."""
        self.world.check()
        if self.render_threads < 1:
            raise ConfigError("simulator.render_threads must be at least 1.", value=self.render_threads)

    def build(self) -> "BulletSimulator":
        """Returns the simulator. Raises `ConfigError` or `MissingDependencyError`."""
        self.check()
        return BulletSimulator(self)


@dataclass(frozen=True, eq=False)
class SavedInstant:
    """The state that `restore` needs; valid until the next reset."""

    bullet_state: int
    generation: int
    state: WorldState
    targets: Mapping[str, Targets]
    previous_rad: Mapping[str, np.ndarray]
    grips: Mapping[Holder, Grip]
    parting: Mapping[Holder, str]
    attributes: BodyAttributes
    placed: Mapping[str, Pose]


class BulletSimulator:
    """One PyBullet world, rebuilt at every reset so that no episode leaves a trace in the next."""

    def __init__(self, config: BulletConfig) -> None:
        self._world = config.world
        self._bullet = connect()
        self._assets = Path(config.world.asset_root) if config.world.asset_root else asset_root()
        self._pixels = BulletPixels(self._bullet, config.renderer, self._assets, threads=config.render_threads)
        self._generation = 0
        self._open = True
        self._scene = Scene("empty")
        self._forget()

    @property
    def control_period_s(self) -> float:
        """Simulated seconds that one `advance` covers."""
        return self._world.control_period_s

    @property
    def renderer(self) -> str:
        """The renderer."""
        return self._pixels.name

    def reset(self, scene: Scene) -> None:
        """Builds `scene` anew, at time 0; a scene that cannot be built leaves the empty world.

        Raises `SceneError`, `UnknownNameError`, `PathError`.
        """
        bullet = self._bullet
        bullet.resetSimulation()
        self._scene = Scene("empty")
        self._generation += 1
        self._forget()
        try:
            self._build(scene)
        except EmbodiedError:
            bullet.resetSimulation()
            self._forget()
            raise
        self._scene = scene
        self._state = self._read_state()

    def advance(self, commands: Mapping[str, Command]) -> None:
        """Runs one control period; robots without a command keep their last targets.

        Raises `UnknownNameError` or `CommandError` before anything moves, `SimulationError` afterwards.
        """
        if not isinstance(commands, Mapping):
            raise CommandError("Commands must be a mapping from robot names.", value=type(commands).__name__)
        for name, command in commands.items():
            check_command(name, self._robot(name).model, command)
        for name, command in commands.items():
            self._robots[name].aim(command)
        self._mechanisms.begin_period(self._attachments.held)
        robots = list(self._robots.values())
        for robot in robots:
            robot.begin_period(self._previous_rad[robot.name], self._world.substeps, self.control_period_s)
        grasping = self._attachments.pending(self._holders)
        for substep in range(self._world.substeps):
            for robot in robots:
                robot.drive_motors(substep)
            self._mechanisms.push_springs()
            self._bullet.stepSimulation()
            self._changes.keep_placed()
            for holder in grasping:
                self._attachments.update(holder)
        for name, robot in self._robots.items():
            self._previous_rad[name] = robot.targets.joint_position_rad
            robot.release_error = {}  # It applies to one period: bodies released later are not displaced by it.
        self._grasping.part()
        self._changes.release()
        self._periods += 1
        self._state = self._read_state()

    def apply(self, changes: Sequence[WorldChange]) -> None:
        """Makes changes that no robot causes, in their order; a placed body stays there throughout the next `advance`.

        Raises `UnknownNameError` and `EventError` before anything changes.
        """
        self._changes.apply(changes, held=self._attachments.held)
        if self._changes.placed:
            self._reader.recheck()
        self._state = self._read_state()

    def observe(self, robot: str, cameras: Sequence[str] | None = None) -> Observation:
        """Returns what `robot` perceives now through `cameras`: None for all, () for no pixels."""
        body = self._robot(robot)
        state = self._state.robots[robot]
        wanted = [camera.name for camera in self._scene.cameras] if cameras is None else cameras
        images = self._pixels.render(self._scene, wanted, self._handles, self._robots, self._state) if wanted else {}
        return Observation(
            robot=robot,
            images=images,
            proprio=proprio(body.model, state),
            gripper=next((one.gripper for one in state.end_effectors.values()), 0.0),
            time_s=self._state.time_s,
        )

    def state(self) -> WorldState:
        """Returns the true state."""
        return self._state

    def save(self) -> SavedInstant:
        """Returns a handle on the present instant, valid until the next reset."""
        self._bullet.performCollisionDetection()  # PyBullet does not undo contacts that it only finds after a save.
        return SavedInstant(
            bullet_state=self._bullet.saveState(),
            generation=self._generation,
            state=self._state,
            targets={name: robot.targets for name, robot in self._robots.items()},
            previous_rad=dict(self._previous_rad),
            grips=self._attachments.grips,
            parting=dict(self._grasping.parting),
            attributes=self._changes.attributes,
            placed=self._changes.placed,
        )

    def restore(self, saved: SavedInstant) -> None:
        """Returns to a saved instant: the same commands then give the same states, bit for bit."""
        if saved.generation != self._generation:
            raise SimulationError(
                "A saved instant must belong to the present reset.", remedy="Save again after the reset."
            )
        self._attachments.restore({})
        self._bullet.restoreState(stateId=saved.bullet_state)
        self._attachments.restore(saved.grips)
        self._grasping.restore_parting(saved.parting)
        for name, robot in self._robots.items():
            robot.targets = saved.targets[name]
        self._changes.attributes, self._changes.placed = saved.attributes, saved.placed
        self._reader.recheck()
        self._previous_rad = dict(saved.previous_rad)
        self._periods = round(saved.state.time_s * self._world.control_hz)
        self._read_state()  # So that the reader has the present poses.
        self._state = saved.state

    def teleport(self, body: str, pose: Pose) -> None:
        """Puts a free body at `pose`, at rest. Raises `UnknownNameError`, `SceneError` for a body that is not free."""
        if body not in self._handles:
            raise unknown_name("body", body, self._handles)
        handle = self._handles[body]
        if handle.link >= 0 or self._scene.body(body).mass_kg == 0.0:
            raise SceneError(
                "Only a free body can be put elsewhere.", value=body, remedy="Move its joint, or its root."
            )
        self._bullet.resetBasePositionAndOrientation(handle.uid, pose.position_m, pose.orientation)
        self._bullet.resetBaseVelocity(handle.uid, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
        self._state = self._read_state()

    def place(self, state: WorldState) -> None:
        """Makes the world stand as in `state`, which may come from another process; no physics is run.

        Bodies and mechanisms are at rest, robots hold what they held, motors keep everything in place. Raises
        `SimulationError` where names do not fit the scene, or where the world cannot be at rest in that state.
        """
        ends = {name: robot.end_effectors for name, robot in self._robots.items()}
        check_names(state, self._handles, ends, self._mechanisms.positions())
        self._changes.place(state)
        self._attachments.restore({})
        place_bodies(self._bullet, state, self._handles, self._state)
        self._mechanisms.place(state.joint)
        for name, robot in self._robots.items():
            robot.place(state.robots[name])
            for end_effector, one in state.robots[name].end_effectors.items():
                if one.held is not None:
                    self._attachments.hold((name, end_effector), one.held)
        self._reader.recheck()
        self._previous_rad = {name: robot.targets.joint_position_rad for name, robot in self._robots.items()}
        self._periods = round(state.time_s * self._world.control_hz)
        check_placed(state, self._read_state())
        self._state = state  # Contacts included, which PyBullet knows only once it has moved.

    def is_free(self, point_m: Sequence[float], *, radius_m: float) -> bool:
        """Returns whether a base of `radius_m` at (x, y) touches nothing."""
        return self._navigation.space(self._state.pose, radius_m).contains(point_m)

    def snap(self, point_m: Sequence[float], *, radius_m: float) -> tuple[float, float] | None:
        """Returns the free place nearest to (x, y): itself where it is free, None where nothing is."""
        return self._navigation.space(self._state.pose, radius_m).snap(point_m)

    def geodesic_m(
        self, start_m: Sequence[float], goals_m: Sequence[Sequence[float]], *, radius_m: float
    ) -> tuple[float, ...]:
        """Returns the length of the shortest way from (x, y) to each goal (x, y), infinite where there is none."""
        return self._navigation.space(self._state.pose, radius_m).distances_m(start_m, goals_m)

    def regions_of(self, point_m: Sequence[float]) -> tuple[str, ...]:
        """Returns the names of the regions that hold the point (x, y, z), smallest first."""
        return self._navigation.regions(point_m)

    def close(self) -> None:
        """Frees the world; calling it twice is harmless."""
        if self._open:
            self._open = False
            self._pixels.close()
            self._bullet.disconnect()

    def _forget(self) -> None:
        self._handles: dict[str, BodyHandle] = {}
        self._robots: dict[str, BulletRobot] = {}
        self._previous_rad: dict[str, np.ndarray] = {}
        self._grasping = BulletGrasping(self._bullet, Scene("empty"), {}, {})
        self._attachments = Attachments(self._grasping)
        self._holders: list[Holder] = []
        self._mechanisms = Mechanisms(self._bullet, Scene("empty"), {}, physics_hz=self._world.physics_hz)
        self._changes = Changes(self._bullet, Scene("empty"), {})
        self._reader = StateReader(self._bullet, Scene("empty"), {}, {}, self._mechanisms)
        self._navigation = SceneNavigation(Scene("empty"), self._assets)
        self._periods = 0
        self._state = WorldState(0.0, {}, {}, frozenset(), {}, {})

    def _build(self, scene: Scene) -> None:
        bullet = self._bullet
        bullet.setGravity(0.0, 0.0, -self._world.gravity_mps2)
        bullet.setPhysicsEngineParameter(
            fixedTimeStep=1.0 / self._world.physics_hz,
            numSolverIterations=SOLVER_ITERATIONS,
            deterministicOverlappingPairs=1,
        )
        visuals = self._pixels.needs_bullet_visuals
        for placement in scene.robots:
            self._robots[placement.name] = BulletRobot(bullet, placement, visuals=visuals)
        self._handles = create_bodies(bullet, scene, asset_root=self._assets, visuals=visuals)
        self._previous_rad = {name: robot.targets.joint_position_rad for name, robot in self._robots.items()}
        self._grasping = BulletGrasping(bullet, scene, self._handles, self._robots)
        self._attachments = Attachments(self._grasping)
        self._holders = [(name, one) for name, robot in self._robots.items() for one in robot.end_effectors]
        self._mechanisms = Mechanisms(bullet, scene, self._handles, physics_hz=self._world.physics_hz)
        self._changes = Changes(bullet, scene, self._handles)
        self._reader = StateReader(bullet, scene, self._handles, self._robots, self._mechanisms)
        self._navigation = SceneNavigation(scene, self._assets)
        self._pixels.forget()

    def _robot(self, name: str) -> BulletRobot:
        if name not in self._robots:
            raise unknown_name("robot of the scene", name, self._robots)
        return self._robots[name]

    def _read_state(self) -> WorldState:
        return self._reader.read(
            self._periods / self._world.control_hz, self._attachments.held_by, self._changes.attributes
        )
