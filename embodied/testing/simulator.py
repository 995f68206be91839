"""The contract of simulators: `check_simulator`."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from embodied.errors import CommandError, EmbodiedError, UnknownNameError
from embodied.protocols import Simulator
from embodied.robots.catalogue import robot_model
from embodied.robots.robot import RobotModel
from embodied.scenes.scene import RobotPlacement, Scene
from embodied.testing.capabilities import check_changes, check_navigation, check_teleporting
from embodied.testing.contract import Leaves, Rule, global_random, leaves, read_only
from embodied.testing.played_world import Commands, PlayedWorld, usual_commands
from embodied.testing.world_values import require_observation, require_state
from embodied.types import Command

ABSENT = "no robot of this name"

DETERMINISM = Rule("determinism", "A second instance must reach the same states, bit for bit.", "Seed all randomness.")
RESET = Rule("reset_forgets", "After a reset the same commands must lead to the same states, bit for bit, as before.")
CLOCK = Rule("clock", "Time must be 0 after a reset and grow by `control_period_s` with every `advance`.")
STATE = Rule("state_units", "A state must hold what its scene declares, finite and in the documented units.")
OBSERVATION = Rule("observation_units", "An observation must have the declared cameras, shapes, dtypes and layout.")
OBSERVE = Rule("observe_moves_nothing", "Observing must not change what happens next.")
INPUTS = Rule("read_only_inputs", "A simulator must neither write to what it is given nor keep it.", "Copy the arrays.")
RESULTS = Rule("results_stay", "States and observations that were returned must not change later.", "Return copies.")
RESTORE = Rule("save_restore", "After `restore` the same commands must lead to the same states, bit for bit.")
REFUSALS = Rule("refusals", "What is malformed must raise the documented error.")
UNMOVED = Rule("refused_moves_nothing", "A refused command must not move or change anything.")
SCENES = Rule("bad_scene", "A scene that cannot be built must be refused, and the next one must be built as ever.")
CLOSE = Rule("close_twice", "Closing a simulator twice must be harmless.")


def check_simulator(
    make: Callable[[], Simulator],
    scene: Scene,
    *,
    commands: Commands | None = None,
    models: Mapping[str, RobotModel] | None = None,
) -> None:
    """Raises `ContractError`, which names the first broken rule, unless `make()` gives sound simulators.

    `scene` is one that it can load. An outside package calls it in its tests, with a scene that has robots, free
    bodies, joints and cameras::

        from embodied.testing import check_simulator
        check_simulator(MyConfig().build, my_scene)

    `commands` are played one mapping a period, by default small joint and base motions of every robot; `models` holds
    the models of robots that are not of the catalogue, by their names. A simulator that is `Teleportable` or
    `Navigable` is checked for that too, the latter best in a scene with walls and regions.
    """
    known = {placed.model: robot_model(placed.model) for placed in scene.robots if placed.model not in (models or {})}
    known |= dict(models or {})
    world = PlayedWorld(make, scene, commands or usual_commands(scene, known), known)
    first, second = make(), make()
    try:
        baseline = _check_determinism(world, first, second)
        _check_values(world, first)
        _check_inputs(world, first, baseline)
        _check_restore(world, first)
        _check_refusals(world, first)
        _check_scenes(world, first, baseline)
        check_changes(world, first)
        check_teleporting(world, first, second)
        check_navigation(world, first)
    finally:
        with CLOSE:
            for simulator in (first, first, second, second):
                simulator.close()


def _check_determinism(world: PlayedWorld, first: Simulator, second: Simulator) -> list[Leaves]:
    with DETERMINISM:
        with global_random(1):
            baseline = world.play(first)
        with global_random(2):
            DETERMINISM.require_same("states of two instances", baseline, world.play(second))
    with RESET:
        RESET.require_same("states after a second reset", baseline, world.play(first))
    with OBSERVE:
        OBSERVE.require_same("states with and without observing", baseline, world.play(second, observing=True))
    return baseline


def _check_values(world: PlayedWorld, simulator: Simulator) -> None:
    with CLOCK:
        period_s = simulator.control_period_s
        if not (np.isfinite(period_s) and period_s > 0.0):
            raise CLOCK.broken(f"control_period_s = {period_s}")
    with RESULTS:
        simulator.reset(world.scene)
        names = [robot.name for robot in world.scene.robots]
        kept: list[tuple[object, Leaves]] = []
        for number, command in enumerate([{}, *world.commands]):
            if number:
                simulator.advance(command)
            state = simulator.state()
            if abs(state.time_s - number * period_s) > 1e-6:
                raise CLOCK.broken(f"{state.time_s} s after {number} periods of {period_s} s")
            require_state(STATE, world.scene, state, world.models)
            if not number:
                kept.append((state, leaves(state)))
                kept += [(seen, leaves(seen)) for seen in (simulator.observe(name) for name in names)]
        for value, before in kept:
            RESULTS.require_same("a returned value before and after", before, value)
    for name in names:
        _check_observations(world, simulator, name)


def _check_observations(world: PlayedWorld, simulator: Simulator, robot: str) -> None:
    with OBSERVATION:
        cameras = [camera.name for camera in world.scene.cameras]
        state = simulator.state()
        for wanted in (None, (), cameras[:1]):
            expected = cameras if wanted is None else wanted
            seen = simulator.observe(robot, wanted)
            if sorted(seen.images) != sorted(expected) or seen.robot != robot:
                raise OBSERVATION.broken(f"asked {robot!r} for {wanted}, got {seen.robot!r} and {list(seen.images)}")
            require_observation(OBSERVATION, world.scene, seen, state, world.model(robot))
    REFUSALS.require_refusal("an unknown camera", lambda: simulator.observe(robot, ("no camera",)), UnknownNameError)
    REFUSALS.require_refusal("an unknown robot", lambda: simulator.observe(ABSENT), UnknownNameError)


def _check_inputs(world: PlayedWorld, simulator: Simulator, baseline: list[Leaves]) -> None:
    with INPUTS:
        simulator.reset(world.scene)
        INPUTS.require_same("states at read-only commands", baseline, world.go_on(simulator, read_only(world.commands)))
        handed = [{name: _writable(command) for name, command in period.items()} for period in world.commands]
        before = leaves(handed)
        simulator.reset(world.scene)
        states = [leaves(simulator.state())]
        for command in handed:
            simulator.advance(command)
            states.append(leaves(simulator.state()))
            INPUTS.require_same("commands before and after", before, handed)
        INPUTS.require_same("states", baseline, states)
        expected = world.go_on(simulator, [{}, {}])
        simulator.reset(world.scene)
        for command in handed:
            simulator.advance(command)
        for command in handed[-1].values():
            for part in (command.joint_position_rad, command.base_velocity):
                if isinstance(part, np.ndarray):
                    part[:] += 0.01
        INPUTS.require_same("states after a command was changed", expected, world.go_on(simulator, [{}, {}]))


def _writable(command: Command) -> Command:
    joints, base = command.joint_position_rad, command.base_velocity
    copied = np.array(joints) if isinstance(joints, np.ndarray) else joints
    return replace(command, joint_position_rad=copied, base_velocity=None if base is None else np.array(base))


def _check_restore(world: PlayedWorld, simulator: Simulator) -> None:
    with RESTORE:
        middle = len(world.commands) // 2
        rest = [{}, *world.commands[middle:]]  # Without a command the last one stays in effect.
        simulator.reset(world.scene)
        world.go_on(simulator, world.commands[:middle])
        expected = world.go_on(simulator, rest)
        simulator.reset(world.scene)
        world.go_on(simulator, world.commands[:middle])
        saved = simulator.save()
        RESTORE.require_same("states with and without `save`", expected, world.go_on(simulator, rest))
        for _ in range(2):
            simulator.restore(saved)
            RESTORE.require_same("states after `restore`", expected, world.go_on(simulator, rest))


def _check_refusals(world: PlayedWorld, simulator: Simulator) -> None:
    simulator.reset(world.scene)
    good, afterwards = world.commands[-1], [{}, {}, *world.commands]
    expected = world.go_on(simulator, afterwards)
    simulator.reset(world.scene)
    for what, command in _malformed(world):
        REFUSALS.require_refusal(what, lambda sent=command: simulator.advance({**good, **sent}), CommandError)
    absent = {**good, ABSENT: Command()}
    REFUSALS.require_refusal("an unknown robot", lambda: simulator.advance(absent), UnknownNameError, CommandError)
    with UNMOVED:
        UNMOVED.require_same("states with and without refused commands", expected, world.go_on(simulator, afterwards))


def _malformed(world: PlayedWorld) -> list[tuple[str, Mapping[str, Command]]]:
    """Returns commands that must be refused, with what is wrong; each comes after good ones of the other robots."""
    found: list[tuple[str, Mapping[str, Command]]] = []
    for placed in world.scene.robots:
        model, name = world.model(placed.name), placed.name
        if model.arms:
            size = len(model.joints)
            found.append(("joint targets that are NaN", {name: Command(np.full(size, np.nan))}))
            found.append(("joint targets of the wrong shape", {name: Command(np.zeros(size + 1))}))
        if len(model.arms) == 1 and model.arms[0].gripper is not None:
            found.append(("a gripper opening of 1.5", {name: Command(gripper=1.5)}))
            found.append(("a gripper opening that is NaN", {name: Command(gripper=float("nan"))}))
        wrong_base = np.zeros(2) if model.drive is None else np.full(len(model.drive.velocity_limits), np.nan)
        found.append(("a base velocity that is NaN, or without wheels", {name: Command(base_velocity=wrong_base)}))
    return found


def _check_scenes(world: PlayedWorld, simulator: Simulator, baseline: list[Leaves]) -> None:
    unknown = Scene("unknown robot", robots=(RobotPlacement("robot", "no robot model"),))
    SCENES.require_refusal("a robot of an unknown model", lambda: simulator.reset(unknown), EmbodiedError)
    with SCENES:
        SCENES.require_same("states after a refused scene", baseline, world.play(simulator))
