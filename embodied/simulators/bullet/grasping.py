"""Grasping: both fingers touch, then the body is attached; it is let go when the gripper opens."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from embodied.geometry import Pose, compose, invert
from embodied.scenes.scene import Scene
from embodied.simulators.bullet.bodies import BodyHandle
from embodied.simulators.bullet.robot import BulletRobot, EndEffectorLinks

FREE_FORCE_N = 400.0
CLOSING_BELOW = 0.5  # Opening target under which the fingers count as closing.
JOINTED_FORCE_N = 150.0  # A drawer may slip in the gripper rather than wrench the arm.


Holder = tuple[str, str]  # A robot and one of its end effectors, by name.


@dataclass(frozen=True)
class Grip:
    """A body in a gripper: `child_in_hand` is the body's inertial frame in that of the link that carries the tool."""

    body: str
    child_in_hand: Pose


class Grasping:
    """Attaches what all fingers of a closing gripper touch, as RLBench does, and detaches it on opening.

    Several grippers may hold one body, as in a hand-over: each is attached to it until it opens.
    """

    def __init__(self, bullet: Any, scene: Scene, handles: Mapping[str, BodyHandle]) -> None:
        self._bullet = bullet
        self._handles = handles
        self._jointed = {joint.child for joint in scene.joints}
        self._graspable = {
            (handles[body.name].uid, handles[body.name].link): body.name for body in scene.bodies if body.graspable
        }
        self.grips: dict[Holder, Grip] = {}
        self._constraints: dict[Holder, int] = {}

    @property
    def held(self) -> frozenset[str]:
        """The bodies that are held."""
        return frozenset(grip.body for grip in self.grips.values())

    @property
    def held_by(self) -> dict[Holder, str]:
        """The held body by end effector; empty grippers are absent."""
        return {holder: grip.body for holder, grip in self.grips.items()}

    def pending(self, robots: Iterable[BulletRobot]) -> list[tuple[BulletRobot, str]]:
        """Returns the end effectors that may grasp or release in this period: `update` does nothing to the others."""
        return [
            (robot, name)
            for robot in robots
            for name, links in robot.end_effectors.items()
            if links.finger_links
            and (
                name not in robot.targets.fingers_m
                if (robot.name, name) in self.grips
                else robot.targets.gripper[name] < CLOSING_BELOW
            )
        ]

    def update(self, robot: BulletRobot, end_effector: str) -> None:
        """Attaches or releases for one end effector of `pending`; called after every physics step."""
        if (robot.name, end_effector) in self.grips:
            if end_effector not in robot.targets.fingers_m:
                self.release(robot, end_effector)
            return
        if robot.targets.gripper[end_effector] >= CLOSING_BELOW:
            return
        links = robot.end_effectors[end_effector]
        touched = self._touched_by_all_fingers(robot, links)
        if touched is not None:
            self.hold(robot, end_effector, touched)
            robot.freeze_fingers(end_effector)

    def release(self, robot: BulletRobot, end_effector: str) -> None:
        """Lets go of what an end effector of `robot` holds, if anything."""
        grip = self.grips.pop((robot.name, end_effector), None)
        if grip is not None:
            self._bullet.removeConstraint(self._constraints.pop((robot.name, end_effector)))
            self._let_collide(robot, end_effector, grip.body, collide=True)

    def hold(self, robot: BulletRobot, end_effector: str, body: str) -> None:
        """Attaches `body` to an end effector of `robot` where both are now."""
        links = robot.end_effectors[end_effector]
        self._attach(robot, end_effector, Grip(body, self._child_in_hand(robot, links, body)))

    def restore(self, grips: Mapping[Holder, Grip], robots: Mapping[str, BulletRobot]) -> None:
        """Makes the attachments equal to `grips`."""
        for name, end_effector in list(self.grips):
            self.release(robots[name], end_effector)
        for (name, end_effector), grip in grips.items():
            self._attach(robots[name], end_effector, grip)

    def _touched_by_all_fingers(self, robot: BulletRobot, links: EndEffectorLinks) -> str | None:
        common = set(self._graspable)
        for link in links.finger_links:
            points = self._bullet.getContactPoints(robot.uid, -1, link)
            common &= {(point[2], point[4]) for point in points if point[9] > 0.0}  # 9: normal force, N
            if not common:
                return None
        return min(self._graspable[key] for key in common)

    def _attach(self, robot: BulletRobot, end_effector: str, grip: Grip) -> None:
        bullet, handle, links = self._bullet, self._handles[grip.body], robot.end_effectors[end_effector]
        jointed = grip.body in self._jointed
        in_hand, in_child = grip.child_in_hand, Pose()
        if jointed:  # Joined at the finger tips by a ball, so that the joint and not the gripper decides the angle.
            tip = self._tip_in_hand(robot, links)
            in_hand, in_child = Pose(tip.position_m), Pose(compose(invert(grip.child_in_hand), tip).position_m)
        constraint = bullet.createConstraint(
            robot.uid,
            links.tool_link,
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
        self._let_collide(robot, end_effector, grip.body, collide=False)
        self.grips[robot.name, end_effector] = grip
        self._constraints[robot.name, end_effector] = constraint

    def _child_in_hand(self, robot: BulletRobot, links: EndEffectorLinks, body: str) -> Pose:
        hand = self._bullet.getLinkState(robot.uid, links.tool_link, computeForwardKinematics=1)
        return compose(invert(Pose(hand[0], hand[1])), self._inertial_pose(body))

    def _tip_in_hand(self, robot: BulletRobot, links: EndEffectorLinks) -> Pose:
        dynamics = self._bullet.getDynamicsInfo(robot.uid, links.tool_link)
        return compose(invert(Pose(dynamics[3], dynamics[4])), links.arm.tool_in_link)

    def _inertial_pose(self, body: str) -> Pose:
        handle = self._handles[body]
        if handle.link < 0:
            return Pose(*self._bullet.getBasePositionAndOrientation(handle.uid))
        state = self._bullet.getLinkState(handle.uid, handle.link, computeForwardKinematics=1)
        return Pose(state[0], state[1])

    def _let_collide(self, robot: BulletRobot, end_effector: str, body: str, *, collide: bool) -> None:
        # Fingers that press on what is already attached would fight the constraint and shake.
        handle, links = self._handles[body], robot.end_effectors[end_effector]
        for link in (links.tool_link, *links.finger_links):
            self._bullet.setCollisionFilterPair(robot.uid, handle.uid, link, handle.link, int(collide))
