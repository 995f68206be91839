"""A world as data: bodies, joints, regions, cameras and robots, with an exact JSON round trip."""

from collections import Counter
from collections.abc import Iterable
from typing import Literal, TypeVar

import msgspec
import numpy as np

from embodied.errors import SceneError, unknown_name
from embodied.geometry import Pose, Vector3
from embodied.scenes.checks import require_finite, require_name, require_positive
from embodied.scenes.properties import Property, PropertyColour, check_properties, require_colour
from embodied.scenes.region import Region
from embodied.types.events import Rgba

SCENE_VERSION = 2
READABLE_VERSIONS = (1, 2)  # 2 adds outlines and kinds of regions, links of cameras, and properties of bodies.


class Box(msgspec.Struct, frozen=True, tag="box", forbid_unknown_fields=True):
    """A cuboid centred on its frame, by edge lengths."""

    size_m: Vector3

    def __post_init__(self) -> None:
        require_positive("A box size", *self.size_m)


class Cylinder(msgspec.Struct, frozen=True, tag="cylinder", forbid_unknown_fields=True):
    """A cylinder centred on its frame, along z."""

    radius_m: float
    height_m: float

    def __post_init__(self) -> None:
        require_positive("A cylinder size", self.radius_m, self.height_m)


class Sphere(msgspec.Struct, frozen=True, tag="sphere", forbid_unknown_fields=True):
    """A ball centred on its frame."""

    radius_m: float

    def __post_init__(self) -> None:
        require_positive("A sphere radius", self.radius_m)


class Mesh(msgspec.Struct, frozen=True, tag="mesh", forbid_unknown_fields=True):
    """A triangle mesh: `file` is relative to the simulator's asset root; physics uses its convex hull."""

    file: str
    scale: Vector3 = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        require_positive("A mesh scale", *self.scale)


Shape = Box | Cylinder | Sphere | Mesh


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One shape of a body, at `pose` in the body's frame; `name` is for those that change their colour."""

    shape: Shape
    pose: Pose = Pose()
    rgba: Rgba = (0.7, 0.7, 0.7, 1.0)
    collides: bool = True
    visible: bool = True
    name: str = ""

    def __post_init__(self) -> None:
        require_colour(self.rgba)


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rigid body. `mass_kg` 0 fixes it to the world; a joint's child moves with its joint and needs a mass.

    `pose` is in the world frame; a joint's child leaves it at the identity, since its joint places it. `properties`
    have their initial values; of several `property_colours` that apply to a part, the last one holds.
    """

    name: str
    parts: tuple[Part, ...]
    pose: Pose = Pose()
    mass_kg: float = 0.0
    friction: float = 0.8
    category: str = ""
    graspable: bool = False
    properties: tuple[Property, ...] = ()
    property_colours: tuple[PropertyColour, ...] = ()

    def __post_init__(self) -> None:
        require_name("body", self.name)
        check_properties(self.name, (part.name for part in self.parts), self.properties, self.property_colours)
        if not self.parts:
            raise SceneError("A body must have at least one part.", value=self.name)
        require_finite(f"Mass and friction of body {self.name!r}", self.mass_kg, self.friction, minimum=0.0)


class Spring(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pushes a joint back to its zero: N/m (or N m/rad), and N s/m (or N m s/rad) of damping."""

    stiffness: float
    damping: float

    def __post_init__(self) -> None:
        require_finite("A spring", self.stiffness, self.damping, minimum=0.0)


class Detent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Snaps a joint to `position` with `force` (N or N m) once it comes within `capture` of it: a drawer's catch."""

    position: float
    capture: float
    force: float

    def __post_init__(self) -> None:
        require_finite("A detent position", self.position)
        require_positive("A detent's capture and force", self.capture, self.force)


class Joint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lets `child` slide or turn along `axis` of the frame `pose`, which is given in the parent's frame.

    `position`, `lower` and `upper` in metres or radians; `friction` in N or N m holds it where it is left.
    """

    name: str
    kind: Literal["prismatic", "revolute", "fixed"]
    parent: str
    child: str
    pose: Pose = Pose()
    axis: Vector3 = (0.0, 0.0, 1.0)
    lower: float = 0.0
    upper: float = 0.0
    position: float = 0.0
    friction: float = 0.0
    spring: Spring | None = None
    detent: Detent | None = None

    def __post_init__(self) -> None:
        require_name("joint", self.name)
        require_finite(f"Limits of joint {self.name!r}", self.lower, self.upper, self.position)
        require_finite(f"The friction of joint {self.name!r}", self.friction, minimum=0.0)
        if not self.lower <= self.position <= self.upper:
            raise SceneError(
                f"Joint {self.name!r} must start within its limits.", value=(self.lower, self.position, self.upper)
            )
        if abs(float(np.linalg.norm(self.axis)) - 1.0) > 1e-6:
            raise SceneError(f"The axis of joint {self.name!r} must have unit length.", value=self.axis)


class Camera(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pinhole camera; `pose` is in the world, or in a frame of the robot `mount`. x right, y down, z ahead.

    That frame is the frame of its link `link`; "" stands for its first tool frame, or for its base if it has no arm.
    """

    name: str
    pose: Pose
    width_px: int = 128
    height_px: int = 128
    fov_y_rad: float = 0.7
    mount: str | None = None
    link: str = ""

    def __post_init__(self) -> None:
        require_name("camera", self.name)
        if not (1 <= self.width_px <= 4096 and 1 <= self.height_px <= 4096):
            raise SceneError(
                f"Camera {self.name!r} must have 1 to 4096 pixels a side.", value=(self.width_px, self.height_px)
            )
        if self.link and self.mount is None:
            raise SceneError(f"Camera {self.name!r} must have a mount to be on its link.", value=self.link)
        if not 0.01 <= self.fov_y_rad <= 3.0:
            raise SceneError(f"Camera {self.name!r} must see 0.01 to 3 rad.", value=self.fov_y_rad)


class RobotPlacement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A robot of the catalogue, standing at `base`; None starts it in its home configuration."""

    name: str
    model: str
    base: Pose = Pose()
    joint_position_rad: tuple[float, ...] | None = None
    gripper: float = 1.0

    def __post_init__(self) -> None:
        require_name("robot", self.name)
        if "/" in self.name:
            raise SceneError("The name of a robot must have no slash.", value=self.name)
        require_finite(f"Joints of robot {self.name!r}", *(self.joint_position_rad or ()))
        if not 0.0 <= self.gripper <= 1.0:
            raise SceneError(f"The gripper opening of robot {self.name!r} must lie in [0, 1].", value=self.gripper)


class Scene(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One world. Names are unique over bodies, joints, regions, cameras and robots together.

    Raises `SceneError` for names used twice, joints or cameras that refer to nothing, a child with two parents,
    and joints in a ring.
    """

    name: str
    bodies: tuple[Body, ...] = ()
    joints: tuple[Joint, ...] = ()
    regions: tuple[Region, ...] = ()
    cameras: tuple[Camera, ...] = ()
    robots: tuple[RobotPlacement, ...] = ()
    version: int = SCENE_VERSION

    def __post_init__(self) -> None:
        if self.version not in READABLE_VERSIONS:
            raise SceneError(f"A scene must be of version {SCENE_VERSION} or older.", value=self.version)
        msgspec.structs.force_setattr(self, "version", SCENE_VERSION)  # Older versions only lack newer fields.
        _check_names(self)
        _check_joints(self)
        for camera in self.cameras:
            if camera.mount is not None and camera.mount not in {robot.name for robot in self.robots}:
                raise SceneError(f"Camera {camera.name!r} must be mounted on a robot.", value=camera.mount)

    def body(self, name: str) -> Body:
        """Returns the body called `name`. Raises `UnknownNameError`."""
        return _find("body", name, self.bodies)

    def joint(self, name: str) -> Joint:
        """Returns the joint called `name`. Raises `UnknownNameError`."""
        return _find("joint", name, self.joints)

    def region(self, name: str) -> Region:
        """Returns the region called `name`. Raises `UnknownNameError`."""
        return _find("region", name, self.regions)

    def camera(self, name: str) -> Camera:
        """Returns the camera called `name`. Raises `UnknownNameError`."""
        return _find("camera", name, self.cameras)

    def robot(self, name: str) -> RobotPlacement:
        """Returns the robot called `name`. Raises `UnknownNameError`."""
        return _find("robot", name, self.robots)

    def instance_ids(self) -> dict[str, int]:
        """Returns the id of every body, then every robot, in instance images: from 1; 0 is the background."""
        return {named.name: index for index, named in enumerate([*self.bodies, *self.robots], start=1)}

    def to_json(self) -> str:
        """Returns the scene as JSON; `from_json` gives back an equal scene."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2).decode()

    @staticmethod
    def from_json(text: str | bytes) -> "Scene":
        """Reads a scene. Raises `SceneError` naming the path of whatever is malformed, unknown or inconsistent."""
        try:
            return msgspec.json.decode(text, type=Scene)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise SceneError(
                "A scene must be well-formed JSON of the documented fields.",
                value=str(error),
                remedy="Compare with `Scene.to_json()` of a valid scene.",
            ) from error


_Named = TypeVar("_Named", Body, Joint, Region, Camera, RobotPlacement)


def _check_names(scene: Scene) -> None:
    named = [*scene.bodies, *scene.joints, *scene.regions, *scene.cameras, *scene.robots]
    twice = [name for name, count in Counter(thing.name for thing in named).items() if count > 1]
    if twice:
        raise SceneError("Names in a scene must be unique.", value=twice, remedy="Rename all but one of each.")


def _check_joints(scene: Scene) -> None:
    bodies = {body.name: body for body in scene.bodies}
    parent: dict[str, str] = {}
    for joint in scene.joints:
        for name in (joint.parent, joint.child):
            if name not in bodies:
                raise SceneError(f"Joint {joint.name!r} must connect bodies of the scene.", value=name)
        if joint.child in parent:
            raise SceneError("A body must have at most one parent joint.", value=joint.child)
        if bodies[joint.child].pose != Pose():
            raise SceneError(
                "A joint's child must have the identity pose.",
                value=joint.child,
                remedy="Its place is the joint's pose.",
            )
        if bodies[joint.child].mass_kg <= 0.0:
            raise SceneError("A joint's child must have a mass.", value=joint.child)
        parent[joint.child] = joint.parent
    for start in bodies:
        seen, above = {start}, parent.get(start)
        while above is not None:
            if above in seen:
                raise SceneError("Joints must not form a ring.", value=sorted(seen))
            seen.add(above)
            above = parent.get(above)


def _find(kind: str, name: str, items: Iterable[_Named]) -> _Named:
    for item in items:
        if item.name == name:
            return item
    raise unknown_name(kind, name, (item.name for item in items))
