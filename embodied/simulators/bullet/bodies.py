"""Realises the bodies and joints of a scene as PyBullet multibodies."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embodied.errors import SceneError
from embodied.paths import confined
from embodied.scenes.scene import Body, Box, Cylinder, Joint, Mesh, Part, Scene, Sphere
from embodied.simulators.bullet.native_paths import native_path

# PyBullet's `useMaximalCoordinates=0` bodies count links from 0; the base is -1.
BASE = -1


@dataclass(frozen=True)
class BodyHandle:
    """The handle of a body in PyBullet: `link` is -1 for a base. `joint` names the scene joint that carries it."""

    uid: int
    link: int
    joint: str | None


def create_bodies(bullet: Any, scene: Scene, *, asset_root: Path, visuals: bool) -> dict[str, BodyHandle]:
    """Creates every body of `scene` in the client `bullet`, in scene order; returns their handles by name.

    Meshes lie in `asset_root`; with `visuals` bodies have visual shapes. Raises `PathError` for a mesh outside its
    root, `SceneError` for a mesh of another format.
    """
    handles: dict[str, BodyHandle] = {}
    children = {joint.child: joint for joint in scene.joints}
    shapes = _ShapeFactory(bullet, asset_root, visuals=visuals)
    for body in scene.bodies:
        if body.name in children:
            continue
        tree = _descend(scene, body.name)
        handles.update(_create_tree(bullet, scene, body, tree, shapes))
    return handles


def links_by_body(handles: Mapping[str, BodyHandle]) -> dict[int, tuple[list[str], list[int]]]:
    """Returns, by PyBullet body, the names and indices of those handles that are links and not bases."""
    grouped: dict[int, tuple[list[str], list[int]]] = {}
    for name, handle in handles.items():
        if handle.link >= 0:
            names, links = grouped.setdefault(handle.uid, ([], []))
            names.append(name)
            links.append(handle.link)
    return grouped


def _descend(scene: Scene, root: str) -> list[Joint]:
    """Returns the joints below `root`, parents before children."""
    ordered: list[Joint] = []
    frontier = [root]
    while frontier:
        parent = frontier.pop(0)
        below = [joint for joint in scene.joints if joint.parent == parent]
        ordered += below
        frontier += [joint.child for joint in below]
    return ordered


def _create_tree(
    bullet: Any, scene: Scene, root: Body, joints: list[Joint], shapes: "_ShapeFactory"
) -> dict[str, BodyHandle]:
    kinds = {"prismatic": bullet.JOINT_PRISMATIC, "revolute": bullet.JOINT_REVOLUTE, "fixed": bullet.JOINT_FIXED}
    links = {root.name: BASE} | {joint.child: index for index, joint in enumerate(joints)}
    members = [scene.body(joint.child) for joint in joints]
    uid = bullet.createMultiBody(
        baseMass=root.mass_kg,
        baseCollisionShapeIndex=shapes.collision(root),
        baseVisualShapeIndex=shapes.visual(root),
        basePosition=root.pose.position_m,
        baseOrientation=root.pose.orientation,
        linkMasses=[body.mass_kg for body in members],
        linkCollisionShapeIndices=[shapes.collision(body) for body in members],
        linkVisualShapeIndices=[shapes.visual(body) for body in members],
        linkPositions=[joint.pose.position_m for joint in joints],
        linkOrientations=[joint.pose.orientation for joint in joints],
        linkInertialFramePositions=[(0.0, 0.0, 0.0)] * len(joints),
        linkInertialFrameOrientations=[(0.0, 0.0, 0.0, 1.0)] * len(joints),
        linkParentIndices=[links[joint.parent] + 1 for joint in joints],
        linkJointTypes=[kinds[joint.kind] for joint in joints],
        linkJointAxis=[joint.axis for joint in joints],
    )
    if uid < 0:
        raise SceneError("PyBullet must accept the body.", value=root.name, remedy="Check its parts and mass.")
    handles = {root.name: BodyHandle(uid, BASE, None)}
    for joint, body in zip(joints, members, strict=True):
        handles[body.name] = BodyHandle(uid, links[body.name], joint.name)
    for body in [root, *members]:
        bullet.changeDynamics(uid, links[body.name], lateralFriction=body.friction, linearDamping=0, angularDamping=0)
    for joint in joints:
        if joint.kind != "fixed":
            link = links[joint.child]
            bullet.changeDynamics(uid, link, jointLowerLimit=joint.lower, jointUpperLimit=joint.upper, jointDamping=0)
            bullet.resetJointState(uid, link, joint.position)
    return handles


class _ShapeFactory:
    """Builds compound shapes; equal bodies do not share shapes, since PyBullet frees shapes with their body."""

    def __init__(self, bullet: Any, asset_root: Path, *, visuals: bool) -> None:
        self._bullet = bullet
        self._asset_root = asset_root
        self._visuals = visuals

    def collision(self, body: Body) -> int:
        parts = [part for part in body.parts if part.collides]
        if not parts:
            return -1
        columns = self._columns(parts)
        return self._bullet.createCollisionShapeArray(
            collisionFramePositions=[part.pose.position_m for part in parts],
            collisionFrameOrientations=[part.pose.orientation for part in parts],
            **columns,
        )

    def visual(self, body: Body) -> int:
        parts = [part for part in body.parts if part.visible]
        if not parts or not self._visuals:
            return -1
        columns = self._columns(parts)
        return self._bullet.createVisualShapeArray(
            visualFramePositions=[part.pose.position_m for part in parts],
            visualFrameOrientations=[part.pose.orientation for part in parts],
            rgbaColors=[part.rgba for part in parts],
            **columns,
        )

    def _columns(self, parts: list[Part]) -> dict[str, list[Any]]:
        bullet = self._bullet
        columns: dict[str, list[Any]] = {
            "shapeTypes": [],
            "halfExtents": [],
            "radii": [],
            "lengths": [],
            "fileNames": [],
            "meshScales": [],
        }
        for part in parts:
            shape = part.shape
            half, radius, length, file, scale = (1.0, 1.0, 1.0), 1.0, 1.0, "", (1.0, 1.0, 1.0)
            if isinstance(shape, Box):
                kind, half = bullet.GEOM_BOX, tuple(edge / 2 for edge in shape.size_m)
            elif isinstance(shape, Sphere):
                kind, radius = bullet.GEOM_SPHERE, shape.radius_m
            elif isinstance(shape, Cylinder):
                kind, radius, length = bullet.GEOM_CYLINDER, shape.radius_m, shape.height_m
            else:
                kind, file, scale = bullet.GEOM_MESH, str(self._mesh(shape)), shape.scale
            for name, value in zip(columns, (kind, half, radius, length, file, scale), strict=True):
                columns[name].append(value)
        return columns

    def _mesh(self, mesh: Mesh) -> Path:
        path = confined(self._asset_root, mesh.file)
        if path.suffix.lower() not in {".obj", ".stl"}:
            raise SceneError("A mesh must be an OBJ or STL file.", value=mesh.file)
        return native_path(path)
