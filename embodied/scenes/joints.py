"""Where the bodies of a scene stand for given joint positions, and which of them can move."""

from collections.abc import Mapping

import numpy as np

from embodied.geometry import Pose, compose, quaternion_from_axis_angle, vector3
from embodied.scenes.scene import Joint, Scene


def joint_motion(joint: Joint, position: float) -> Pose:
    """Returns the pose of a joint's child in the frame of `joint` at `position`, metres or radians."""
    along = np.multiply(joint.axis, position)
    if joint.kind == "prismatic":
        return Pose(vector3(along))
    return Pose(orientation=quaternion_from_axis_angle(along)) if joint.kind == "revolute" else Pose()


def body_poses(scene: Scene, roots: Mapping[str, Pose], positions: Mapping[str, float]) -> dict[str, Pose]:
    """Returns the world pose of every body of `scene`, in its order.

    `roots` are the poses of bodies that hang on no joint, by name, those of the scene where one is missing; `positions`
    are those of joints, metres or radians, the initial ones where one is missing.
    """
    above = {joint.child: joint for joint in scene.joints}
    found: dict[str, Pose] = {}

    def pose(name: str) -> Pose:
        if name not in found:
            joint = above.get(name)
            if joint is None:
                found[name] = roots.get(name) or scene.body(name).pose
            else:
                hinge = compose(pose(joint.parent), joint.pose)
                found[name] = compose(hinge, joint_motion(joint, positions.get(joint.name, joint.position)))
        return found[name]

    return {body.name: pose(body.name) for body in scene.bodies}


def movable_bodies(scene: Scene) -> frozenset[str]:
    """Returns the bodies that physics can move: all but those that hang on the world by fixed joints alone."""
    above = {joint.child: joint for joint in scene.joints}
    masses = {body.name: body.mass_kg for body in scene.bodies}

    def moves(name: str) -> bool:
        while name in above:
            if above[name].kind != "fixed":
                return True
            name = above[name].parent
        return masses[name] > 0.0

    return frozenset(name for name in masses if moves(name))
