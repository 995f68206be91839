"""Springs, friction and catches on the joints of a scene, as PyBullet motors."""

from collections.abc import Mapping
from typing import Any

from embodied.errors import SceneError
from embodied.scenes.scene import Joint, Scene, Spring
from embodied.simulators.bullet.bodies import BodyHandle, links_by_body


class Mechanisms:
    """Drives every sliding or turning joint of a scene that no robot drives.

    The motors depend on the present joint positions alone, so a restored world continues exactly as before.
    """

    def __init__(self, bullet: Any, scene: Scene, handles: Mapping[str, BodyHandle], *, physics_hz: int) -> None:
        self._bullet = bullet
        moving = [joint for joint in scene.joints if joint.kind != "fixed"]
        self._joints: list[tuple[Joint, BodyHandle]] = [(joint, handles[joint.child]) for joint in moving]
        self._zero = {joint.name: 0.0 for joint in moving}
        self._linked = links_by_body({joint.name: handle for joint, handle in self._joints})
        self._held_by_friction = [(joint, handle) for joint, handle in self._joints if joint.spring is None]
        self._caught: dict[str, bool] = {}
        self._springs: list[tuple[BodyHandle, Spring]] = []
        for joint, handle in self._joints:
            if joint.spring is not None:
                _require_stable(joint, scene.body(joint.child).mass_kg, physics_hz)
                bullet.setJointMotorControl2(handle.uid, handle.link, bullet.VELOCITY_CONTROL, force=0.0)
                self._springs.append((handle, joint.spring))

    def positions(self) -> dict[str, float]:
        """Returns the position of every moving joint by name, metres or radians."""
        positions = self._zero.copy()  # In scene order.
        for uid, (names, links) in self._linked.items():
            for name, state in zip(names, self._bullet.getJointStates(uid, links), strict=True):
                positions[name] = state[0]
        return positions

    def place(self, positions: Mapping[str, float]) -> None:
        """Puts every moving joint at its position by name, m or rad, at rest."""
        for joint, handle in self._joints:
            self._bullet.resetJointState(handle.uid, handle.link, positions[joint.name])

    def begin_period(self, held: frozenset[str]) -> None:
        """Sets friction and catches for one control period; a catch does not pull against a gripper (`held`).

        Motors keep what they were set to, so only those that change are set.
        """
        bullet = self._bullet
        for joint, handle in self._held_by_friction:
            detent = joint.detent
            caught = False
            if detent is not None and joint.child not in held:
                position = bullet.getJointState(handle.uid, handle.link)[0]
                caught = abs(position - detent.position) <= detent.capture
            if self._caught.get(joint.name) is caught:
                continue
            self._caught[joint.name] = caught
            if detent is not None and caught:
                bullet.setJointMotorControl2(
                    handle.uid,
                    handle.link,
                    bullet.POSITION_CONTROL,
                    targetPosition=detent.position,
                    positionGain=0.05,
                    force=detent.force,
                )
            else:
                bullet.setJointMotorControl2(
                    handle.uid, handle.link, bullet.VELOCITY_CONTROL, targetVelocity=0.0, force=joint.friction
                )

    def push_springs(self) -> None:
        """Applies the spring forces of one physics step."""
        read, drive, torque = (
            self._bullet.getJointState,
            self._bullet.setJointMotorControl2,
            self._bullet.TORQUE_CONTROL,
        )
        for handle, spring in self._springs:
            position, speed, _, _ = read(handle.uid, handle.link)
            force = -spring.stiffness * position - spring.damping * speed
            drive(handle.uid, handle.link, torque, 0.0, 0.0, force)  # Neither a position nor a velocity.


def _require_stable(joint: Joint, mass_kg: float, physics_hz: int) -> None:
    # Springs are stepped explicitly: beyond 2 the oscillation grows (semi-implicit Euler); 1 leaves a margin.
    spring = joint.spring
    if spring is not None and joint.kind == "prismatic":
        growth = (spring.damping + spring.stiffness / physics_hz) / (physics_hz * mass_kg)
        if growth > 1.0:
            raise SceneError(
                f"The spring of joint {joint.name!r} must be soft enough for {physics_hz} physics steps a second: "
                "(damping + stiffness / rate) / (rate * mass) <= 1.",
                value=round(growth, 2),
                remedy="Lower the stiffness or damping, or raise the mass or the rate.",
            )
