"""A world that moves by kinematics: one immutable instant follows from another, bit for bit the same.

Nothing falls or collides. A closing gripper takes the graspable body at its tool, an opening one lets it sink to what
is below, and a base stops where the floor plan ends.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from embodied.errors import EventError, SceneError, unknown_name
from embodied.geometry import Pose, compose, invert, multiply_quaternions, quaternion_from_yaw
from embodied.robots.commands import check_command
from embodied.scenes.changes import BodyAttributes, check_effect, check_not_held
from embodied.scenes.joints import body_poses
from embodied.scenes.meshing import triangulate
from embodied.scenes.scene import Mesh, Scene
from embodied.simulators.attachment import CLOSING_BELOW, Grip
from embodied.simulators.habitat.bodies import graspable_at, settled, width_across
from embodied.simulators.habitat.robot import KinematicRobot, RobotInstant
from embodied.types import Command, PlaceBody, SetJoint, WorldChange, WorldState, held_bodies

IsFree = Callable[[tuple[float, float]], bool]


@dataclass(frozen=True, eq=False)
class KinematicInstant:
    """The whole world after `periods`: poses of bodies that hang on no joint, joints, robots, and attributes."""

    periods: int
    roots: Mapping[str, Pose]
    joints: Mapping[str, float]
    robots: Mapping[str, RobotInstant]
    attributes: BodyAttributes


class KinematicWorld:
    """The rules of one `scene`; mesh files are in `assets`. Raises `SceneError`, `UnknownNameError`, `PathError`."""

    def __init__(self, scene: Scene, assets: Path, period_s: float) -> None:
        self.scene = scene
        self.robots = {placed.name: KinematicRobot(placed) for placed in scene.robots}
        self._assets = assets
        self._period_s = period_s
        self._children = {joint.child for joint in scene.joints}
        for body in scene.bodies:
            for part in body.parts:
                if isinstance(part.shape, Mesh):
                    triangulate(part.shape, asset_root=assets)

    def start(self) -> KinematicInstant:
        """Returns the world as the scene has it."""
        return KinematicInstant(
            periods=0,
            roots={body.name: body.pose for body in self.scene.bodies if body.name not in self._children},
            joints={joint.name: joint.position for joint in self.scene.joints if joint.kind != "fixed"},
            robots={name: robot.start() for name, robot in self.robots.items()},
            attributes=BodyAttributes.of(self.scene),
        )

    def poses(self, now: KinematicInstant) -> dict[str, Pose]:
        """Returns the world pose of every body."""
        return body_poses(self.scene, now.roots, now.joints)

    def state(self, now: KinematicInstant) -> WorldState:
        """Returns the true state. Contacts are those of robots with what they hold."""
        robots = {name: robot.state(now.robots[name]) for name, robot in self.robots.items()}
        touching = {
            (min(name, grip.body), max(name, grip.body))
            for name, robot in now.robots.items()
            for grip in robot.grips.values()
        }
        return WorldState(
            time_s=now.periods * self._period_s,
            pose=self.poses(now),
            joint=dict(now.joints),
            contact=frozenset(touching),
            held=held_bodies(robots),
            robots=robots,
            properties=now.attributes.properties,
            colours=now.attributes.colours,
        )

    def check(self, commands: Mapping[str, Command]) -> None:
        """Raises `UnknownNameError` and `CommandError` for what cannot be commanded."""
        for name, command in commands.items():
            if name not in self.robots:
                raise unknown_name("robot of the scene", name, self.robots)
            check_command(name, self.robots[name].model, command)

    def advanced(self, now: KinematicInstant, commands: Mapping[str, Command], is_free: IsFree) -> KinematicInstant:
        """Returns the world one control period after `now`, under checked `commands`; `is_free` as in `moved`."""
        robots, released = {}, []
        for name, robot in self.robots.items():
            command = commands.get(name, Command())
            aimed = robot.aimed(now.robots[name], command)
            opened = [
                one for one in aimed.grips if aimed.aims[one] > now.robots[name].aims[one]
            ]  # A target that grows is what lets go, as in the other simulators.
            for one in opened:
                released.append((aimed.grips[one].body, (command.release_error or {}).get(one)))
            robots[name] = robot.moved(_without(aimed, opened), self._period_s, is_free)
        after = replace(now, periods=now.periods + 1, robots=robots)
        after = self._carried(after)
        for body, error in released:
            after = self._let_go(after, body, error)
        for name, command in commands.items():
            if command.gripper is not None:
                after = self._grasped(after, name)
        return after

    def changed(self, now: KinematicInstant, changes: Sequence[WorldChange]) -> KinematicInstant:
        """Returns `now` after `changes`, in their order. Raises `UnknownNameError` and `EventError` before any."""
        held = [grip.body for robot in now.robots.values() for grip in robot.grips.values()]
        for change in changes:
            check_effect(self.scene, change)
            check_not_held(change, self.scene, held)
        roots, joints = dict(now.roots), dict(now.joints)
        for change in changes:
            if isinstance(change, PlaceBody):
                roots[change.body] = change.pose
            elif isinstance(change, SetJoint):
                joints[change.joint] = change.position
        return replace(now, roots=roots, joints=joints, attributes=now.attributes.changed(changes))

    def teleported(self, now: KinematicInstant, body: str, pose: Pose) -> KinematicInstant:
        """Returns `now` with a free `body` at `pose`. Raises `UnknownNameError`, `SceneError` and `EventError`."""
        if self.scene.body(body).mass_kg == 0.0 or body in self._children:
            raise SceneError(
                "Only a free body can be put elsewhere.", value=body, remedy="Move its joint, or its root."
            )
        if any(grip.body == body for robot in now.robots.values() for grip in robot.grips.values()):
            raise EventError("A body that a robot holds must not be put elsewhere.", value=body)
        return replace(now, roots={**now.roots, body: pose})

    def placed(self, state: WorldState) -> KinematicInstant:
        """Returns the instant of a written `state` of this scene, whose names must fit."""
        return KinematicInstant(
            periods=round(state.time_s / self._period_s),
            roots={name: pose for name, pose in state.pose.items() if name not in self._children},
            joints=dict(state.joint),
            robots={name: robot.placed(state.robots[name], state.pose) for name, robot in self.robots.items()},
            attributes=BodyAttributes(state.properties, state.colours),
        )

    def _carried(self, now: KinematicInstant) -> KinematicInstant:
        """Returns `now` with held bodies at their grippers; of several that hold one, the first in the scene leads."""
        roots = dict(now.roots)
        for name, robot in reversed(list(now.robots.items())):
            for end_effector, grip in robot.grips.items():
                roots[grip.body] = compose(self.robots[name].tool(robot, end_effector), grip.body_in_link)
        return replace(now, roots=roots)

    def _let_go(self, now: KinematicInstant, body: str, error: tuple[float, float, float] | None) -> KinematicInstant:
        held = {grip.body for robot in now.robots.values() for grip in robot.grips.values()}
        if body in held:
            return now
        roots = dict(now.roots)
        if error is not None:
            (x_m, y_m, z_m), orientation = roots[body].position_m, roots[body].orientation
            turned = multiply_quaternions(quaternion_from_yaw(error[2]), orientation)
            roots[body] = Pose((x_m + error[0], y_m + error[1], z_m), turned)
        poses = body_poses(self.scene, roots, now.joints)
        roots[body] = settled(self.scene, poses, body, assets=self._assets, floating=held)
        return replace(now, roots=roots)

    def _grasped(self, now: KinematicInstant, name: str) -> KinematicInstant:
        """Returns `now` with the bodies that closing grippers of robot `name` take."""
        robot, model = now.robots[name], self.robots[name].model
        poses = self.poses(now)
        grips, touching = dict(robot.grips), dict(robot.touching)
        for end_effector, aim in robot.aims.items():
            gripper = model.end_effector(end_effector).gripper
            if gripper is None or end_effector in grips or aim >= CLOSING_BELOW:
                continue
            tool = self.robots[name].tool(robot, end_effector)
            taken = [grip.body for grip in grips.values()]
            body = graspable_at(self.scene, poses, np.asarray(tool.position_m), assets=self._assets, without=taken)
            if body is not None:
                grips[end_effector] = Grip(body, compose(invert(tool), poses[body]))
                width_m = width_across(self.scene.body(body), grips[end_effector].body_in_link, assets=self._assets)
                touching[end_effector] = min(robot.openings[end_effector], width_m / 2 / gripper.stroke_m)
        return replace(now, robots={**now.robots, name: replace(robot, grips=grips, touching=touching)})


def _without(robot: RobotInstant, end_effectors: Sequence[str]) -> RobotInstant:
    """Returns `robot` with nothing in these end effectors."""
    grips = {name: grip for name, grip in robot.grips.items() if name not in end_effectors}
    touching = {name: opening for name, opening in robot.touching.items() if name not in end_effectors}
    return replace(robot, grips=grips, touching=touching)
