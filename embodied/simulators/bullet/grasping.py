"""Grasped bodies in PyBullet: what fingers touch, and the constraints that join bodies to end effectors."""

from collections.abc import Mapping
from typing import Any

from embodied.geometry import Pose, compose, invert, multiply_quaternions, quaternion_from_yaw
from embodied.scenes.scene import Scene
from embodied.simulators.attachment import CLOSING_BELOW, Grip, GripperTarget, Holder
from embodied.simulators.bullet.bodies import BodyHandle
from embodied.simulators.bullet.robot import BulletRobot, EndEffectorLinks

FREE_FORCE_N = 400.0
CLEAR_M = 0.001  # A displaced body counts as apart from a gripper beyond this distance.
JOINTED_FORCE_N = 150.0  # A drawer may slip in the gripper rather than wrench the arm.


class BulletGrasping:
    """The constraints by which end effectors hold bodies; implements `attachment.GraspingWorld`.

    A free body that is released with an error (see `Command.release_error`) is displaced at once. It may then overlap
    the open fingers, so it is `parting`, by end effector: the two do not collide until they are apart.
    """

    def __init__(
        self, bullet: Any, scene: Scene, handles: Mapping[str, BodyHandle], robots: Mapping[str, BulletRobot]
    ) -> None:
        self._bullet = bullet
        self._handles = handles
        self._robots = robots
        self._jointed = {joint.child for joint in scene.joints}
        self._graspable = {
            (handles[body.name].uid, handles[body.name].link): body.name for body in scene.bodies if body.graspable
        }
        self._constraints: dict[Holder, int] = {}
        self._bodies: dict[Holder, str] = {}
        self.parting: dict[Holder, str] = {}

    def gripper_target(self, holder: Holder) -> GripperTarget | None:
        """Returns the present target of the fingers, None for an end effector without fingers."""
        robot, end_effector = self._robots[holder[0]], holder[1]
        if not robot.end_effectors[end_effector].finger_links:
            return None
        targets = robot.targets
        return GripperTarget(targets.gripper[end_effector], end_effector in targets.fingers_m)

    def touched_by_all_fingers(self, holder: Holder) -> frozenset[str]:
        """Returns the graspable bodies that press on every finger."""
        robot = self._robots[holder[0]]
        common = set(self._graspable)
        for link in robot.end_effectors[holder[1]].finger_links:
            points = self._bullet.getContactPoints(robot.uid, -1, link)
            common &= {(point[2], point[4]) for point in points if point[9] > 0.0}  # 9: normal force, N
            if not common:
                break
        return frozenset(self._graspable[key] for key in common)

    def body_in_link(self, holder: Holder, body: str) -> Pose:
        """Returns the inertial frame of `body` in that of the link that carries the tool, now."""
        robot = self._robots[holder[0]]
        link = self._bullet.getLinkState(
            robot.uid, robot.end_effectors[holder[1]].tool_link, computeForwardKinematics=1
        )
        return compose(invert(Pose(link[0], link[1])), self._inertial_pose(body))

    def attach(self, holder: Holder, grip: Grip) -> None:
        """Joins the body to the end effector at `grip.body_in_link`."""
        bullet, handle, robot = self._bullet, self._handles[grip.body], self._robots[holder[0]]
        links = robot.end_effectors[holder[1]]
        jointed = grip.body in self._jointed
        in_hand, in_child = grip.body_in_link, Pose()
        if (
            jointed
        ):  # A ball joint at the finger tips, so that the body's joint and not the gripper determines the angle.
            tip = self._tip_in_hand(robot, links)
            in_hand, in_child = Pose(tip.position_m), Pose(compose(invert(grip.body_in_link), tip).position_m)
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
        self._let_collide(robot, links, grip.body, collide=False)
        self._constraints[holder], self._bodies[holder] = constraint, grip.body
        self.parting.pop(holder, None)

    def detach(self, holder: Holder, grip: Grip) -> None:
        """Ends the joint of `attach`."""
        robot = self._robots[holder[0]]
        self._bullet.removeConstraint(self._constraints.pop(holder))
        del self._bodies[holder]
        error = robot.release_error.get(holder[1])
        if error is None or grip.body in self._jointed or grip.body in self._bodies.values():
            self._let_collide(robot, robot.end_effectors[holder[1]], grip.body, collide=True)
        else:
            self._displace(self._handles[grip.body], error)
            self.parting[holder] = grip.body

    def part(self) -> None:
        """Lets displaced bodies collide again with the grippers that released them, once they are apart or close."""
        for holder, body in list(self.parting.items()):
            robot, handle = self._robots[holder[0]], self._handles[body]
            links = robot.end_effectors[holder[1]]
            apart = not any(
                self._bullet.getClosestPoints(robot.uid, handle.uid, CLEAR_M, link, handle.link) for link in links.links
            )
            if apart or robot.targets.gripper[holder[1]] < CLOSING_BELOW:
                self._let_collide(robot, links, body, collide=True)
                del self.parting[holder]

    def restore_parting(self, parting: Mapping[Holder, str]) -> None:
        """Makes `parting` what it was at a saved instant."""
        for holder, body in self.parting.items():
            robot = self._robots[holder[0]]
            self._let_collide(robot, robot.end_effectors[holder[1]], body, collide=True)
        self.parting = dict(parting)
        for holder, body in self.parting.items():
            robot = self._robots[holder[0]]
            self._let_collide(robot, robot.end_effectors[holder[1]], body, collide=False)

    def _displace(self, handle: BodyHandle, error: tuple[float, float, float]) -> None:
        """Puts a free body at rest, shifted in world x and y (m) and turned about its own upright axis (rad)."""
        (x_m, y_m, z_m), orientation = self._bullet.getBasePositionAndOrientation(handle.uid)
        turned = multiply_quaternions(quaternion_from_yaw(error[2]), orientation)
        self._bullet.resetBasePositionAndOrientation(handle.uid, (x_m + error[0], y_m + error[1], z_m), turned)
        self._bullet.resetBaseVelocity(handle.uid, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))

    def freeze_fingers(self, holder: Holder) -> None:
        """Keeps the fingers where they are until the gripper is asked to open."""
        self._robots[holder[0]].freeze_fingers(holder[1])

    def _tip_in_hand(self, robot: BulletRobot, links: EndEffectorLinks) -> Pose:
        dynamics = self._bullet.getDynamicsInfo(robot.uid, links.tool_link)
        return compose(invert(Pose(dynamics[3], dynamics[4])), links.arm.tool_in_link)

    def _inertial_pose(self, body: str) -> Pose:
        handle = self._handles[body]
        if handle.link < 0:
            return Pose(*self._bullet.getBasePositionAndOrientation(handle.uid))
        state = self._bullet.getLinkState(handle.uid, handle.link, computeForwardKinematics=1)
        return Pose(state[0], state[1])

    def _let_collide(self, robot: BulletRobot, links: EndEffectorLinks, body: str, *, collide: bool) -> None:
        # Fingers that press on an attached body would work against the constraint and shake.
        handle = self._handles[body]
        for link in links.links:
            self._bullet.setCollisionFilterPair(robot.uid, handle.uid, link, handle.link, int(collide))
