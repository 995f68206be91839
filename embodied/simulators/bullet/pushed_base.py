"""A holonomic base in PyBullet: a chassis on casters without friction, pushed towards its commanded velocity."""

from typing import Any

import numpy as np

from embodied.robots.robot import HolonomicDrive

GAIN = 0.5  # Share of the velocity error that one physics step may make good.
GYRATION_M2 = 0.06  # Moment of inertia about the upright axis over mass, of a chassis of 0.7 by 0.4 m.


class PushedBase:
    """Pushes one robot by a bounded force and torque that depend on its present velocity alone.

    Nothing needs to be saved, and a wall, whose force is larger, stops the base.
    """

    def __init__(self, bullet: Any, uid: int, drive: HolonomicDrive) -> None:
        self._bullet = bullet
        self._uid = uid
        self._drive = drive
        links = range(-1, bullet.getNumJoints(uid))
        self._mass_kg = sum(bullet.getDynamicsInfo(uid, link)[0] for link in links)

    def push(self, velocity: np.ndarray, step_s: float) -> None:
        """Pushes for one physics step of `step_s`; `velocity` (3,) is forward and left in m/s, turning in rad/s."""
        bullet, drive = self._bullet, self._drive
        position, orientation = bullet.getBasePositionAndOrientation(self._uid)
        linear, angular = bullet.getBaseVelocity(self._uid)
        matrix = bullet.getMatrixFromQuaternion(orientation)
        ahead = np.array([matrix[0], matrix[3]]) / max(float(np.hypot(matrix[0], matrix[3])), 1e-9)
        wanted = velocity[0] * ahead + velocity[1] * np.array([-ahead[1], ahead[0]])
        force = GAIN * self._mass_kg / step_s * (wanted - linear[:2])
        force *= min(1.0, drive.force_n / max(float(np.hypot(*force)), 1e-9))
        torque = GAIN * GYRATION_M2 * self._mass_kg / step_s * (velocity[2] - angular[2])
        torque = float(np.clip(torque, -drive.torque_nm, drive.torque_nm))
        bullet.applyExternalForce(self._uid, -1, [*force.tolist(), 0.0], position, bullet.WORLD_FRAME)
        bullet.applyExternalTorque(self._uid, -1, (0.0, 0.0, torque), bullet.WORLD_FRAME)
