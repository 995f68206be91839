"""URDF files of the catalogue: composed from public ones, kept in the user's cache."""

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from xml.etree import ElementTree

from embodied.errors import MissingDependencyError, SceneError
from embodied.geometry import Vector3
from embodied.paths import cache_folder, write_cached
from embodied.robots.catalogue import BASE_DRIVE
from embodied.robots.robot import Arm, DifferentialDrive, RobotModel, RoundChassis
from embodied.robots.urdf import compose, load_urdf

CHASSIS_SIZE_M = (0.7, 0.4, 0.2)
CHASSIS_MASS_KG = 60.0
PEDESTAL_MASS_KG = 80.0
CASTER_RADIUS_M = 0.04


def asset_root() -> Path:
    """Returns the folder of the public robot files. Raises `MissingDependencyError` without pybullet."""
    try:
        import pybullet_data
    except ImportError as error:
        raise MissingDependencyError(
            "Robot files come with pybullet.", remedy="Install it: pip install pybullet."
        ) from error
    return Path(pybullet_data.getDataPath())


@lru_cache(maxsize=64)
def urdf_path(model: RobotModel, *, visuals: bool) -> Path:
    """Returns a URDF of `model` with absolute mesh paths, with low-poly visuals if `visuals` and without any otherwise.

    Raises `SceneError` for a malformed URDF and `PathError` for a mesh outside the asset root.
    """
    stock = _stored(model, compose_urdf(model))
    if visuals:
        from embodied.robots.meshes import write_low_poly_urdf

        return write_low_poly_urdf(stock)
    bare = ElementTree.fromstring(stock.read_bytes())  # noqa: S314 - our own file, written a line above
    for link in bare.iter("link"):
        for visual in link.findall("visual"):
            link.remove(visual)
    return _stored(model, bare)


@lru_cache(maxsize=64)
def collision_urdf_path(model: RobotModel) -> Path:
    """Returns a URDF of `model` without visuals, whose .obj meshes contain only vertices and faces.

    PyBullet reads all meshes again whenever it loads a robot. It loads these in three quarters of the time, and the
    collision shapes are bit-equal. Raises as `urdf_path` does.
    """
    bare = ElementTree.fromstring(urdf_path(model, visuals=False).read_bytes())  # noqa: S314 - our own file
    for mesh in bare.iter("mesh"):
        path = Path(mesh.get("filename", ""))
        if path.suffix.lower() == ".obj":
            mesh.set("filename", str(_kept(f"meshes/{path.stem}", ".obj", _points_and_faces(path.read_bytes()))))
    return _stored(model, bare)


@lru_cache(maxsize=64)
def stock_urdf_path(model: RobotModel) -> Path:
    """Returns a URDF of `model` with the visuals that its maker published."""
    return _stored(model, compose_urdf(model))


def compose_urdf(model: RobotModel) -> ElementTree.Element:
    """Returns the URDF of `model`: its joined files, or one arm, a base on wheels, or arms on wheels or a pedestal.

    Raises `SceneError` and `PathError` for files that cannot be used.
    """
    if model.source is not None:
        return compose(model.source)
    arms = [_arm_urdf(arm) for arm in model.arms]
    if model.drive is None and model.pedestal_size_m is None:
        if len(arms) != 1:
            raise SceneError("A robot must have one arm, wheels, or a pedestal.", value=model.name)
        return arms[0]
    if model.pedestal_size_m is None:
        round_drive = model.drive if isinstance(model.drive, DifferentialDrive) else None
        if model.chassis is not None and round_drive is not None:
            base = _round_urdf(model.name, model.chassis, round_drive)
        else:
            base = _wheels_urdf(wheels=round_drive is not None)
    else:
        base = _pedestal_urdf(model.pedestal_size_m)
    for arm, urdf in zip(model.arms, arms, strict=True):
        _mount(base, urdf, arm)
    return base


def _arm_urdf(arm: Arm) -> ElementTree.Element:
    """Returns the public URDF of an arm, its links and joints prefixed."""
    robot = load_urdf(asset_root(), arm.urdf)
    if arm.prefix:
        for element in (*robot.findall("link"), *robot.findall("joint")):
            element.set("name", arm.prefix + element.get("name", ""))
        for joint in robot.findall("joint"):
            for end in (*joint.findall("parent"), *joint.findall("child")):
                end.set("link", arm.prefix + end.get("link", ""))
    return robot


def _stored(model: RobotModel, robot: ElementTree.Element) -> Path:
    return _kept(f"urdf/{model.name}", ".urdf", ElementTree.tostring(robot))


def _kept(name: str, suffix: str, content: bytes) -> Path:
    """Returns a file of `content` in the user's cache, named after its digest."""
    path = cache_folder() / f"{name}-{hashlib.sha256(content).hexdigest()[:16]}{suffix}"
    write_cached(path, content)
    return path


def _points_and_faces(obj: bytes) -> bytes:
    """Returns an OBJ file without normals, texture coordinates and materials; its parts stay apart."""
    kept = [line for line in obj.splitlines() if line.split(maxsplit=1)[:1] in ([b"v"], [b"f"], [b"g"], [b"o"])]
    lean = [re.sub(rb"/\S*", b"", line) if line.lstrip().startswith(b"f") else line for line in kept]
    return b"\n".join(lean) + b"\n"


def _wheels_urdf(*, wheels: bool) -> ElementTree.Element:
    """Returns a chassis on casters, with two driven wheels or none."""
    robot = ElementTree.Element("robot", name="differential_base" if wheels else "holonomic_base")
    length, width, height = CHASSIS_SIZE_M
    _add_link(robot, "base_link", mass_kg=None)
    chassis = _add_link(robot, "chassis", mass_kg=CHASSIS_MASS_KG)
    _add_box(chassis, CHASSIS_SIZE_M, rgba="0.25 0.28 0.33 1")
    _add_joint(robot, "chassis_joint", "fixed", "base_link", "chassis", f"0 0 {0.06 + height / 2 + 0.06}")
    if wheels:
        _add_wheels(robot, BASE_DRIVE)
    for name, x in (("front_caster", length / 2 - 0.06), ("rear_caster", 0.06 - length / 2)):
        for side, y in (("left", width / 2 - 0.06), ("right", 0.06 - width / 2)):
            caster = _add_link(robot, f"{name}_{side}", mass_kg=0.5)
            _add_sphere(caster, CASTER_RADIUS_M, rgba="0.5 0.5 0.5 1")
            _add_joint(
                robot, f"{name}_{side}_joint", "fixed", "base_link", f"{name}_{side}", f"{x} {y} {CASTER_RADIUS_M}"
            )
    return robot


def _round_urdf(name: str, chassis: RoundChassis, drive: DifferentialDrive) -> ElementTree.Element:
    """Returns a round chassis on two driven wheels and two casters, with a mast behind its middle."""
    robot = ElementTree.Element("robot", name=name)
    _add_link(robot, "base_link", mass_kg=None)
    body, mast = _add_link(robot, "chassis", mass_kg=40.0), _add_link(robot, "mast", mass_kg=1.0)
    _add_cylinder(body, chassis.radius_m, chassis.height_m, rgba="0.25 0.28 0.33 1")
    low = 0.5 * drive.wheel_radius_m
    _add_joint(robot, "chassis_joint", "fixed", "base_link", "chassis", f"0 0 {low + chassis.height_m / 2}")
    length = chassis.mast_m - low - chassis.height_m
    _add_cylinder(mast, 0.025, length, rgba="0.6 0.62 0.65 1")
    _add_joint(robot, "mast_joint", "fixed", "base_link", "mast", f"-0.06 0 {chassis.mast_m - length / 2}")
    _add_wheels(robot, drive)
    for end, sign in (("front", 1.0), ("rear", -1.0)):
        caster = _add_link(robot, f"{end}_caster", mass_kg=0.5)
        _add_sphere(caster, CASTER_RADIUS_M, rgba="0.5 0.5 0.5 1")
        x = sign * (chassis.radius_m - 0.06)
        _add_joint(robot, f"{end}_caster_joint", "fixed", "base_link", f"{end}_caster", f"{x} 0 {CASTER_RADIUS_M}")
    return robot


def _add_wheels(robot: ElementTree.Element, drive: DifferentialDrive) -> None:
    """Adds the driven wheels of `drive` to a base."""
    for side, sign in (("left", 1.0), ("right", -1.0)):
        wheel = _add_link(robot, f"{side}_wheel", mass_kg=2.0)
        _add_cylinder(wheel, drive.wheel_radius_m, 0.05, rgba="0.1 0.1 0.1 1")
        joint = _add_joint(
            robot,
            f"{side}_wheel_joint",
            "continuous",
            "base_link",
            f"{side}_wheel",
            f"0 {sign * drive.track_m / 2} {drive.wheel_radius_m}",
        )
        joint.find("origin").set("rpy", "-1.57079632679 0 0")  # type: ignore[union-attr]
        ElementTree.SubElement(joint, "axis", xyz="0 0 1")


def _pedestal_urdf(size_m: Vector3) -> ElementTree.Element:
    robot = ElementTree.Element("robot", name="pedestal")
    _add_link(robot, "base_link", mass_kg=None)
    pedestal = _add_link(robot, "pedestal", mass_kg=PEDESTAL_MASS_KG)
    _add_box(pedestal, size_m, rgba="0.25 0.28 0.33 1")
    _add_joint(robot, "pedestal_joint", "fixed", "base_link", "pedestal", f"0 0 {size_m[2] / 2}")
    return robot


def _mount(base: ElementTree.Element, urdf: ElementTree.Element, arm: Arm) -> None:
    children = {joint.find("child").get("link") for joint in urdf.iter("joint")}  # type: ignore[union-attr]
    roots = [link.get("name", "") for link in urdf.iter("link") if link.get("name") not in children]
    base.extend([element for element in urdf if element.tag in ("link", "joint", "material")])
    at = " ".join(map(str, arm.mount_m))
    _add_joint(base, f"{arm.prefix}mount_joint", "fixed", "base_link", roots[0], at)


def _add_link(robot: ElementTree.Element, name: str, *, mass_kg: float | None) -> ElementTree.Element:
    link = ElementTree.SubElement(robot, "link", name=name)
    inertial = ElementTree.SubElement(link, "inertial")
    ElementTree.SubElement(inertial, "origin", xyz="0 0 0", rpy="0 0 0")
    mass = 0.1 if mass_kg is None else mass_kg
    ElementTree.SubElement(inertial, "mass", value=str(mass))
    moment = str(mass * 0.02)
    ElementTree.SubElement(inertial, "inertia", ixx=moment, ixy="0", ixz="0", iyy=moment, iyz="0", izz=moment)
    return link


def _add_joint(robot: ElementTree.Element, *names: str) -> ElementTree.Element:
    name, kind, parent, child, xyz = names
    joint = ElementTree.SubElement(robot, "joint", name=name, type=kind)
    ElementTree.SubElement(joint, "parent", link=parent)
    ElementTree.SubElement(joint, "child", link=child)
    ElementTree.SubElement(joint, "origin", xyz=xyz, rpy="0 0 0")
    return joint


def _add_box(link: ElementTree.Element, size_m: tuple[float, float, float], *, rgba: str) -> None:
    _add_shape(link, "box", {"size": " ".join(map(str, size_m))}, rgba)


def _add_cylinder(link: ElementTree.Element, radius_m: float, length_m: float, *, rgba: str) -> None:
    _add_shape(link, "cylinder", {"radius": str(radius_m), "length": str(length_m)}, rgba)


def _add_sphere(link: ElementTree.Element, radius_m: float, *, rgba: str) -> None:
    _add_shape(link, "sphere", {"radius": str(radius_m)}, rgba)


def _add_shape(link: ElementTree.Element, shape: str, sizes: dict[str, str], rgba: str) -> None:
    for kind in ("visual", "collision"):
        element = ElementTree.SubElement(link, kind)
        ElementTree.SubElement(ElementTree.SubElement(element, "geometry"), shape, sizes)
        if kind == "visual":
            material = ElementTree.SubElement(element, "material", name=f"{link.get('name')}_{shape}")
            ElementTree.SubElement(material, "color", rgba=rgba)
