"""Changes of a PyBullet world that no robot causes: bodies that follow a path, joints, properties and colours."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from embodied.geometry import Pose
from embodied.scenes.changes import BodyAttributes, check_effect, check_not_held
from embodied.scenes.scene import Scene
from embodied.simulators.bullet.bodies import BodyHandle
from embodied.simulators.placed_state import placed_attributes
from embodied.types import PlaceBody, SetJoint, WorldChange, WorldState


class Changes:
    """Applies changes to the world of one scene. `attributes` and `placed` are its whole state; both can be saved."""

    def __init__(self, bullet: Any, scene: Scene, handles: Mapping[str, BodyHandle]) -> None:
        self._bullet = bullet
        self._scene = scene
        self._handles = handles
        self.attributes = BodyAttributes.of(scene)
        self.placed: Mapping[str, Pose] = {}  # Bodies that stay at a pose throughout the next control period.

    def apply(self, changes: Sequence[WorldChange], *, held: Collection[str]) -> None:
        """Makes `changes` in their order; `held` are the bodies that robots hold.

        Raises `UnknownNameError` and `EventError` before anything changes.
        """
        for change in changes:
            check_effect(self._scene, change)
            check_not_held(change, self._scene, held)
        self.attributes = self.attributes.changed(changes)
        self.placed = {**self.placed, **{one.body: one.pose for one in changes if isinstance(one, PlaceBody)}}
        self.keep_placed()
        for change in changes:
            if isinstance(change, SetJoint):
                handle = self._handles[self._scene.joint(change.joint).child]
                self._bullet.resetJointState(handle.uid, handle.link, change.position)

    def place(self, state: WorldState) -> None:
        """Takes properties and colours from a written state; no body is kept at a pose.

        Raises `SimulationError` where its properties are not those of the scene; then nothing has changed.
        """
        self.attributes = placed_attributes(state, self.attributes, self._handles)
        self.placed = {}

    def keep_placed(self) -> None:
        """Puts the placed bodies back to their poses, at rest; called after every physics step."""
        bullet = self._bullet
        for name, pose in self.placed.items():
            uid = self._handles[name].uid
            bullet.resetBasePositionAndOrientation(uid, pose.position_m, pose.orientation)
            bullet.resetBaseVelocity(uid, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))

    def release(self) -> None:
        """Returns the placed bodies to physics, at the end of a control period."""
        if self.placed:
            self.placed = {}
