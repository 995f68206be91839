"""Springs, friction and catches on the joints of a scene, as PyBullet motors."""

from collections.abc import Mapping
from typing import Any

from embodied.errors import SceneError
from embodied.scenes.scene import Joint, Scene
from embodied.simulators.bullet.bodies import BodyHandle


class Mechanisms:
    """Drives every sliding or turning joint of a scene that no robot drives.

    The motors depend on the present joint positions alone, so a restored world goes on exactly as it did.
    """

    def __init__(self, bullet: Any, scene: Scene, handles: Mapping[str, BodyHandle], *, physics_hz: int) -> None:
        self._bullet = bullet
        moving = [joint for joint in scene.joints if joint.kind != "fixed"]
        self._joints: list[tuple[Joint, BodyHandle]] = [(joint, handles[joint.child]) for joint in moving]
        self._springs = [(joint, handle) for joint, handle in self._joints if joint.spring is not None]
        for joint, handle in self._springs:
            _require_stable(joint, scene.body(joint.child).mass_kg, physics_hz)
            bullet.setJointMotorControl2(handle.uid, handle.link, bullet.VELOCITY_CONTROL, force=0.0)

    def positions(self) -> dict[str, float]:
        """Returns the position of every moving joint by name, metres or radians."""
        return {joint.name: self._bullet.getJointState(handle.uid, handle.link)[0] for joint, handle in self._joints}

    def begin_period(self, held: frozenset[str]) -> None:
        """Sets friction and catches for one control period; a catch does not pull against a hand (`held`)."""
        bullet = self._bullet
        for joint, handle in self._joints:
            if joint.spring is not None:
                continue
            detent = joint.detent
            position = bullet.getJointState(handle.uid, handle.link)[0]
            caught = detent is not None and abs(position - detent.position) <= detent.capture
            if detent is not None and caught and joint.child not in held:
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
        bullet = self._bullet
        for joint, handle in self._springs:
            spring = joint.spring
            if spring is None:
                continue
            position, speed = bullet.getJointState(handle.uid, handle.link)[:2]
            force = -spring.stiffness * position - spring.damping * speed
            bullet.setJointMotorControl2(handle.uid, handle.link, bullet.TORQUE_CONTROL, force=force)


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
