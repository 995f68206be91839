"""Measures how fast PyBullet alone steps the scenes of a benchmark, in one process and in several at once.

Workers share memory bandwidth, caches and clock speed. The speed of several bare processes relative to one is therefore
an upper bound for several workers.
"""

import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from embodied.errors import SimulationError
from embodied.robots.assets import asset_root
from embodied.scenes.scene import Scene
from embodied.simulators.bullet.bodies import create_bodies
from embodied.simulators.bullet.client import connect
from embodied.simulators.bullet.robot import BulletRobot
from embodied.simulators.bullet.simulator import SOLVER_ITERATIONS
from embodied.simulators.world import WorldConfig

START_TIMEOUT_S = 120.0
SWING_STEPS = 120  # Every arm reverses after this number of steps.
SWING_RADPS = 0.2
WARM_UP_STEPS = 500


@dataclass(frozen=True)
class _Motors:
    uid: int
    joints: list[int]
    torques_nm: list[float]


def steps_per_s(scenes: Sequence[Scene], world: WorldConfig, *, steps: int, processes: int) -> float:
    """Returns physics steps per second of wall time, of all `processes` together.

    Each process makes `steps` steps in each of `scenes` with the rates of `world`, in which every arm swings; they
    begin together. Raises `SimulationError` if one of them fails.
    """
    context = multiprocessing.get_context("spawn")
    start, seconds = context.Barrier(processes), context.SimpleQueue()
    started = [
        context.Process(target=_step, args=(list(scenes), world, steps, start, seconds), daemon=True)
        for _ in range(processes)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()
    if any(process.exitcode for process in started):
        raise SimulationError(
            "A process of bare physics must end without an error.", value=[one.exitcode for one in started]
        )
    return processes * steps * len(scenes) / max(seconds.get() for _ in started)


def _step(
    scenes: Sequence[Scene], world: WorldConfig, steps: int, start: Barrier, seconds: "SimpleQueue[float]"
) -> None:
    clients = [_built(scene, world) for scene in scenes]
    for client in clients:
        _run(*client, WARM_UP_STEPS)
    start.wait(START_TIMEOUT_S)
    started_s = time.perf_counter()
    for client in clients:
        _run(*client, steps)
    seconds.put(time.perf_counter() - started_s)


def _built(scene: Scene, world: WorldConfig) -> tuple[Any, list[_Motors]]:
    """Returns a world with `scene`, and the motors of its robots."""
    bullet = connect()
    bullet.setGravity(0.0, 0.0, -world.gravity_mps2)
    bullet.setPhysicsEngineParameter(
        fixedTimeStep=1.0 / world.physics_hz, numSolverIterations=SOLVER_ITERATIONS, deterministicOverlappingPairs=1
    )
    robots = [BulletRobot(bullet, placement, visuals=False) for placement in scene.robots]
    root = Path(world.asset_root) if world.asset_root else asset_root()
    create_bodies(bullet, scene, asset_root=root, visuals=False)
    return bullet, [_motors(bullet, robot.uid) for robot in robots]


def _motors(bullet: Any, robot: int) -> _Motors:
    infos = [bullet.getJointInfo(robot, joint) for joint in range(bullet.getNumJoints(robot))]
    turning = [info for info in infos if info[2] == bullet.JOINT_REVOLUTE]
    return _Motors(robot, [info[0] for info in turning], [info[10] for info in turning])


def _run(bullet: Any, robots: Sequence[_Motors], steps: int) -> None:
    for step in range(steps):
        if step % SWING_STEPS == 0:
            speed = SWING_RADPS if step // SWING_STEPS % 2 == 0 else -SWING_RADPS
            for robot in robots:
                bullet.setJointMotorControlArray(
                    robot.uid,
                    robot.joints,
                    bullet.VELOCITY_CONTROL,
                    targetVelocities=[speed] * len(robot.joints),
                    forces=robot.torques_nm,
                )
        bullet.stepSimulation()
