"""Grasping: both fingers touch, then the body is attached; it is let go when the gripper opens."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from embodied.geometry import Pose, compose, invert
from embodied.scenes.scene import Scene
from embodied.simulators.bullet.bodies import BodyHandle
from embodied.simulators.bullet.robot import BulletRobot

FREE_FORCE_N = 400.0
CLOSING_BELOW = 0.5  # Opening target under which the fingers count as closing.
JOINTED_FORCE_N = 150.0  # A drawer may slip in the hand rather than wrench the arm.


@dataclass(frozen=True)
class Grip:
    """A body in a hand: `child_in_hand` is the body's inertial frame in that of the hand link."""

    body: str
    child_in_hand: Pose


class Grasping:
    """Attaches what both fingers of a closing gripper touch, as RLBench does, and detaches it on opening."""

    def __init__(self, bullet: Any, scene: Scene, handles: Mapping[str, BodyHandle]) -> None:
        self._bullet = bullet
        self._handles = handles
        self._jointed = {joint.child for joint in scene.joints}
        self._graspable = {
            (handles[body.name].uid, handles[body.name].link): body.name for body in scene.bodies if body.graspable
        }
        self.grips: dict[str, Grip] = {}
        self._constraints: dict[str, int] = {}

    @property
    def held(self) -> dict[str, str]:
        """The held body by robot name; robots with empty hands are absent."""
        return {robot: grip.body for robot, grip in self.grips.items()}

    def pending(self, robots: Iterable[BulletRobot]) -> list[BulletRobot]:
        """Returns the robots that may grasp or release in this period: `update` changes nothing for the others."""
        return [
            robot
            for robot in robots
            if robot.finger_links
            and (robot.targets.fingers_m is None if robot.name in self.grips else robot.targets.gripper < CLOSING_BELOW)
        ]

    def update(self, robot: BulletRobot) -> None:
        """Attaches or releases for one robot of `pending`; called after every physics step."""
        if robot.name in self.grips:
            if robot.targets.fingers_m is None:
                self.release(robot)
            return
        if robot.targets.gripper >= CLOSING_BELOW:
            return
        touched = self._touched_by_all_fingers(robot)
        if touched is not None and touched not in self.held.values():
            self._attach(robot, Grip(touched, self._child_in_hand(robot, touched)))
            robot.freeze_fingers()

    def release(self, robot: BulletRobot) -> None:
        """Lets go of what `robot` holds, if anything."""
        grip = self.grips.pop(robot.name, None)
        if grip is not None:
            self._bullet.removeConstraint(self._constraints.pop(robot.name))
            self._let_collide(robot, grip.body, collide=True)

    def restore(self, grips: Mapping[str, Grip], robots: Mapping[str, BulletRobot]) -> None:
        """Makes the attachments equal to `grips`."""
        for name in list(self.grips):
            self.release(robots[name])
        for name, grip in grips.items():
            self._attach(robots[name], grip)

    def _touched_by_all_fingers(self, robot: BulletRobot) -> str | None:
        common = set(self._graspable)
        for link in robot.finger_links:
            points = self._bullet.getContactPoints(robot.uid, -1, link)
            common &= {(point[2], point[4]) for point in points if point[9] > 0.0}  # 9: normal force, N
            if not common:
                return None
        return min(self._graspable[key] for key in common)

    def _attach(self, robot: BulletRobot, grip: Grip) -> None:
        bullet, handle = self._bullet, self._handles[grip.body]
        jointed = grip.body in self._jointed
        in_hand, in_child = grip.child_in_hand, Pose()
        if jointed:  # Joined at the finger tips by a ball, so that the joint and not the hand decides the angle.
            tip = self._tip_in_hand(robot)
            in_hand, in_child = Pose(tip.position_m), Pose(compose(invert(grip.child_in_hand), tip).position_m)
        constraint = bullet.createConstraint(
            robot.uid,
            robot.tool_link,
            handle.uid,
            handle.link,
            bullet.JOINT_POINT2POINT if jointed else bullet.JOINT_FIXED,
            (0.0, 0.0, 0.0),
            in_hand.position_m,
            in_child.position_m,
            in_hand.orientation,
            in_child.orientation,
        )
        bullet.changeConstraint(constraint, maxForce=JOINTED_FORCE_N if jointed else FREE_FORCE_N)
        self._let_collide(robot, grip.body, collide=False)
        self.grips[robot.name] = grip
        self._constraints[robot.name] = constraint

    def _child_in_hand(self, robot: BulletRobot, body: str) -> Pose:
        hand = self._bullet.getLinkState(robot.uid, robot.tool_link, computeForwardKinematics=1)
        return compose(invert(Pose(hand[0], hand[1])), self._inertial_pose(body))

    def _tip_in_hand(self, robot: BulletRobot) -> Pose:
        dynamics = self._bullet.getDynamicsInfo(robot.uid, robot.tool_link)
        tool = robot.model.arm.tool_in_link if robot.model.arm is not None else Pose()
        return compose(invert(Pose(dynamics[3], dynamics[4])), tool)

    def _inertial_pose(self, body: str) -> Pose:
        handle = self._handles[body]
        if handle.link < 0:
            return Pose(*self._bullet.getBasePositionAndOrientation(handle.uid))
        state = self._bullet.getLinkState(handle.uid, handle.link, computeForwardKinematics=1)
        return Pose(state[0], state[1])

    def _let_collide(self, robot: BulletRobot, body: str, *, collide: bool) -> None:
        # Fingers that press on what is already attached would fight the constraint and shake.
        handle = self._handles[body]
        for link in [robot.tool_link, *robot.finger_links]:
            self._bullet.setCollisionFilterPair(robot.uid, handle.uid, link, handle.link, int(collide))
