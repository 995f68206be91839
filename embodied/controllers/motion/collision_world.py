"""Collision checks of a robot at one instant, with margins (pinocchio, coal)."""

import coal  # pyright: ignore[reportMissingImports]  # Lies behind a .pth file.
import numpy as np
import pinocchio as pin  # pyright: ignore[reportMissingImports]  # Lies behind a .pth file.

from embodied.controllers.motion.shapes import (
    Solid,
    body_solids,
    finger_joints,
    moving_joints,
    robot_solids,
    self_pairs,
)
from embodied.robots.catalogue import robot_model
from embodied.robots.kinematics import configuration, joint_transforms, kinematics, transform_from_pose
from embodied.scenes.scene import Scene
from embodied.types import RobotState, WorldState


class CollisionWorld:
    """The solids around and of `robot`, frozen at `state`; only one arm and what it holds move.

    `end_effector` names that arm, "" for the only one; other arms of the robot are obstacles where they are. Checked
    are links against bodies and other robots, links against each other, and a held body against everything but the
    gripper that holds it. A held body that hangs on a joint, such as a drawer, is left out: the joint guides it. Each
    pair has a margin, 0 at first: it collides where it is closer than that, in metres; negative margins allow overlap.
    """

    def __init__(
        self, scene: Scene, robot: str, state: WorldState, *, end_effector: str = "", assets: str = ""
    ) -> None:
        self._scene, self._robot = scene, robot
        self._assets = assets
        self._moving = kinematics(robot_model(scene.robot(robot).model), end_effector)
        self._tree = self._moving.tree
        self._see(state)
        held = self._held
        links = list(robot_solids(self._moving.robot))
        obstacles = self._bodies(state, held) + self._other_robots(state)
        self._guided = held in {joint.child for joint in scene.joints}
        load = [] if held is None or self._guided else self._load(held, state)
        self._solids = links + obstacles + load
        self._pairs = self._all_pairs(len(links), len(obstacles), len(load))
        geometry = pin.GeometryModel()
        for index, solid in enumerate(self._solids):
            geometry.addGeometryObject(pin.GeometryObject(str(index), solid.joint, solid.placement, solid.shape))
        for first, second in self._pairs:
            geometry.addCollisionPair(pin.CollisionPair(first, second))
        self._geometry = geometry
        self._checks = _fresh_checks(geometry)
        self._scratch = self._tree.createData()
        # `free` skips pairs whose boxes, grown by their margins, are disjoint: the answers are the same.
        self._nearby = pin.BroadPhaseManager_DynamicAABBTreeCollisionManager(self._tree, geometry, self._checks)

    def renew(self, state: WorldState) -> bool:
        """Freezes everything at another state; returns False, and changes nothing, where the arm holds another body.

        Margins are kept. Answers are the same, bit for bit, as those of a new `CollisionWorld`.
        """
        if state.robots[self._robot].end_effector(self._moving.arm.name).held != self._held:
            return False
        self._see(state)
        load = [] if self._held is None or self._guided else self._load(self._held, state)
        solids = self._bodies(state, self._held) + self._other_robots(state) + load
        for index, solid in enumerate(solids, start=len(self._solids) - len(solids)):
            self._geometry.geometryObjects[index].placement = solid.placement
        return True

    def _see(self, state: WorldState) -> None:
        self._state = state.robots[self._robot]
        self._held = self._state.end_effector(self._moving.arm.name).held
        self._base_from_world = transform_from_pose(self._state.base).inverse()
        self._configuration = configuration(self._moving.robot, self._state.joint_position_rad, _openings(self._state))

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The links, bodies or robots of each pair, in the order of `distances`."""
        return [(self._solids[first].owner, self._solids[second].owner) for first, second in self._pairs]

    def distances(self, joints_rad: np.ndarray) -> np.ndarray:
        """Returns the gap of every pair in metres at `joints_rad` (J,), negative for overlap."""
        self._place(joints_rad)
        pin.updateGeometryPlacements(self._tree, self._scratch, self._geometry, self._checks, self._configuration)
        pin.computeDistances(self._geometry, self._checks)
        return np.array([result.min_distance for result in self._checks.distanceResults])

    def set_margins(self, margins_m: np.ndarray) -> None:
        """Sets the distance below which each pair collides."""
        for request, margin in zip(self._checks.collisionRequests, margins_m.tolist(), strict=True):
            request.security_margin = margin

    def free(self, joints_rad: np.ndarray) -> bool:
        """Returns whether no pair collides at `joints_rad` (J,)."""
        self._place(joints_rad)
        return not pin.computeCollisions(self._tree, self._scratch, self._nearby, self._configuration, True)

    def deepest_collision(self, joints_rad: np.ndarray) -> str:
        """Returns the deepest collision at `joints_rad` (J,), such as `panda_hand with cabinet`, or ""."""
        if self.free(joints_rad):
            return ""
        margins = [request.security_margin for request in self._checks.collisionRequests]
        return " with ".join(self.pairs[int(np.argmin(self.distances(joints_rad) - margins))])

    def _place(self, joints_rad: np.ndarray) -> None:
        self._configuration[self._moving.configuration_index] = joints_rad

    def _bodies(self, state: WorldState, held: str | None) -> list[Solid]:
        solids = []
        for body in self._scene.bodies:
            if body.name != held:
                at = self._base_from_world * transform_from_pose(state.pose[body.name])
                solids += [
                    Solid(part.owner, part.shape, 0, at * part.placement) for part in body_solids(body, self._assets)
                ]
        return solids

    def _other_robots(self, state: WorldState) -> list[Solid]:
        solids = []
        for other in self._scene.robots:
            if other.name != self._robot:
                model, there = robot_model(other.model), state.robots[other.name]
                at = self._base_from_world * transform_from_pose(there.base)
                joints = joint_transforms(model, configuration(model, there.joint_position_rad, _openings(there)))
                solids += [
                    Solid(other.name, link.shape, 0, at * joints[link.joint] * link.placement)
                    for link in robot_solids(model)
                ]
        return solids

    def _load(self, held: str, state: WorldState) -> list[Solid]:
        tool = self._moving.tool_transform(self._state.joint_position_rad[self._moving.columns])
        joint_from_world = self._moving.joint_from_tool * tool.inverse() * self._base_from_world
        at = joint_from_world * transform_from_pose(state.pose[held])
        joint = self._moving.tool_joint
        return [
            Solid(part.owner, part.shape, joint, at * part.placement)
            for part in body_solids(self._scene.body(held), self._assets)
        ]

    def _all_pairs(self, links: int, obstacles: int, load: int) -> list[tuple[int, int]]:
        model, end_effector = self._moving.robot, self._moving.arm.name
        movers = moving_joints(model, end_effector)
        moving_links = [index for index in range(links) if self._solids[index].joint in movers]
        hand = self._moving.tool_joint
        near = {hand, self._tree.parents[hand]}
        near |= finger_joints(model, end_effector)
        arm = [index for index in range(links) if self._solids[index].joint not in near]
        loads = range(links + obstacles, links + obstacles + load)
        return [
            *self_pairs(model, end_effector),
            *((link, links + obstacle) for link in moving_links for obstacle in range(obstacles)),
            *((links + obstacle, part) for obstacle in range(obstacles) for part in loads),
            *((link, part) for link in arm for part in loads),
        ]


def _openings(state: RobotState) -> dict[str, float]:
    return {name: min(1.0, max(0.0, one.gripper)) for name, one in state.end_effectors.items()}


def _fresh_checks(geometry: pin.GeometryModel) -> pin.GeometryData:
    """Returns query data whose answers depend on nothing but the question.

    By default pinocchio starts each query from the last one's result, which changes last digits, and asks coal for
    no contacts, in which case coal has missed overlaps of aligned boxes.
    """
    checks = geometry.createData()
    overlap, gap = coal.CollisionRequest(), coal.DistanceRequest()
    overlap.enable_contact = True
    overlap.gjk_initial_guess = gap.gjk_initial_guess = coal.GJKInitialGuess.BoundingVolumeGuess
    overlaps, gaps = checks.collisionRequests, checks.distanceRequests
    for index in range(len(geometry.collisionPairs)):
        overlaps[index], gaps[index] = overlap, gap
    return checks
