"""Reads URDF files and joins several into one robot; meshes must lie below a root folder."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from embodied.errors import PathError, RobotModelError, SceneError, unknown_name
from embodied.paths import confined
from embodied.robots.robot import UrdfPart, UrdfSource
from embodied.robots.urdf_numbers import MOMENTS, check_numbers, number

MAX_URDF_BYTES = 4 << 20
LIGHT_MASS_KG = 0.001
_LIGHT_INERTIA = 1e-6  # kg m^2
_KEPT = ("link", "joint", "material")
_KINDS = ("fixed", "revolute", "continuous", "prismatic")
_PACKAGE = "package://"


@dataclass(frozen=True)
class UrdfMimic:
    """A joint that follows another one: its position is `multiplier` times that of `joint` plus `offset`."""

    joint: str
    multiplier: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class UrdfJoint:
    """One joint of a URDF; limits in m or rad, m/s or rad/s, N or N m, None where the file has none."""

    name: str
    kind: str
    parent: str
    child: str
    lower: float | None
    upper: float | None
    velocity: float | None
    effort: float | None
    mimic: UrdfMimic | None


def parse_xml(text: bytes, name: str) -> ElementTree.Element:
    """Returns the root element; prefixes of vendors such as `drake:` need no declaration.

    Raises `SceneError`, naming the file `name`, for malformed XML and for a document that declares a type or entities.
    """
    builder, parser = ElementTree.TreeBuilder(), expat.ParserCreate()

    def refuse(*declared: object) -> None:
        raise SceneError("A URDF must not declare entities.", value=name, remedy=f"Remove {declared[0]!r}.")

    def start(tag: str, attributes: dict[str, str]) -> None:
        builder.start(tag, {name: value for name, value in attributes.items() if not name.startswith("xmlns")})

    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(text, True)
        return builder.close()
    except (expat.ExpatError, AssertionError) as error:
        raise SceneError(f"A URDF must be well-formed XML: {error}.", value=name) from error


def load_urdf(root: Path, file: str) -> ElementTree.Element:
    """Reads the URDF `file` below `root` and makes its mesh paths absolute.

    A mesh is looked for beside the URDF; `package://NAME/PATH` also in the folders from there up to the root, as
    NAME/PATH, and as PATH in a folder called NAME. Raises `SceneError` for a file that is too large or no URDF,
    `PathError` for paths that leave `root` or are missing.
    """
    path = confined(root, file)
    if path.stat().st_size > MAX_URDF_BYTES:
        raise SceneError(f"A URDF must have at most {MAX_URDF_BYTES} bytes.", value=file)
    robot = parse_xml(path.read_bytes(), file)
    if robot.tag != "robot" or robot.find("link") is None:
        raise SceneError("A URDF must hold one <robot> with links.", value=file)
    for mesh in robot.iter("mesh"):
        mesh.set("filename", str(_mesh_file(root, path, mesh.get("filename", ""))))
    for link in robot.iter("link"):
        for contact in link.findall("contact"):
            link.remove(contact)  # The simulator sets friction, and contact anchors carry hidden state.
    return robot


def _mesh_file(root: Path, urdf: Path, uri: str) -> Path:
    base = root.resolve()
    folder = urdf.parent.relative_to(base).as_posix()
    relative = uri.removeprefix(_PACKAGE)
    places = [f"{folder}/{relative}"]
    if uri.startswith(_PACKAGE):
        package, _, rest = relative.partition("/")
        for above in [above for above in urdf.parents if above.is_relative_to(base)]:
            inside = above.relative_to(base).as_posix()
            places += [f"{inside}/{relative}", *([f"{inside}/{rest}"] if package == above.name else [])]
    elif "://" in uri:
        raise PathError(
            f"A mesh of {urdf.name} must be a path or a package:// address.",
            value=uri,
            remedy=f"Put the file below {base.name}/ and name it by its path.",
        )
    found = [place for place in places if (base / place).is_file()]
    return confined(base, found[0] if found else places[0])


def compose(source: UrdfSource) -> ElementTree.Element:
    """Returns the URDF of several joined parts, without vendor elements, in which every link has a mass.

    A link without mass weighs 1 g: simulators would make it 1 kg, or fix it to the world. Joints of `source.locked` are
    fixed at 0; joints of `source.bounds` have these limits, also where they are continuous. Raises `RobotModelError`
    where the parts do not make one tree, and as `load_urdf` does.
    """
    whole = ElementTree.Element("robot", name="robot")
    for index, part in enumerate(source.parts):
        try:
            urdf = load_urdf(Path(source.root), part.file)
        except (SceneError, PathError) as error:
            raise RobotModelError(f"The URDF {part.file!r}: {error.rule}", value=error.value) from error
        _clean(urdf)
        _prefix(urdf, part)
        links = link_names(whole)
        root_link = root_of(urdf, part.file)
        whole.extend(urdf)
        if index:
            _mount(whole, part, root_link, links)
    _require_unique(whole)
    bounds = {name: (lower, upper) for name, lower, upper in source.bounds}
    for joint in whole.findall("joint"):
        _settle(joint, source.locked, bounds)
    root_of(whole, "the joined parts")
    check_numbers(whole)
    return whole


def link_names(robot: ElementTree.Element) -> tuple[str, ...]:
    """Returns the names of all links in the order of the URDF."""
    return tuple(link.get("name", "") for link in robot.findall("link"))


def joints_of(robot: ElementTree.Element) -> dict[str, UrdfJoint]:
    """Returns the joints by name.

    Raises `RobotModelError` for kinds other than fixed, revolute, continuous and prismatic, and malformed numbers.
    """
    joints = {}
    for element in robot.findall("joint"):
        limit, mimic = element.find("limit"), element.find("mimic")
        given = {} if limit is None else limit.attrib
        bounds = {key: number(element, given[key]) for key in ("lower", "upper", "velocity", "effort") if key in given}
        follows = None
        if mimic is not None:
            multiplier, offset = (number(element, mimic.get(key, default)) for key, default in
                                  (("multiplier", "1"), ("offset", "0")))  # fmt: skip
            follows = UrdfMimic(mimic.get("joint", ""), multiplier, offset)
        kind = element.get("type", "")
        if kind not in _KINDS:
            raise RobotModelError(
                f"Joint {element.get('name')!r} must be of a kind that can be simulated.",
                value=kind,
                remedy=f"Make it one of: {', '.join(_KINDS)}.",
            )
        name, ends = element.get("name", ""), [_end(element, end) for end in ("parent", "child")]
        values = [bounds.get(key) for key in ("lower", "upper", "velocity", "effort")]
        joints[name] = UrdfJoint(name, kind, *ends, *values, follows)  # type: ignore[arg-type]
    return joints


def root_of(robot: ElementTree.Element, name: str) -> str:
    """Returns the root link.

    Raises `RobotModelError`, naming the file `name`, for joints to missing links, and for links that are not one tree.
    """
    links = link_names(robot)
    children = Counter()
    for joint in robot.findall("joint"):
        for end in ("parent", "child"):
            if _end(joint, end) not in links:
                raise RobotModelError(f"Joint {joint.get('name')!r} of {name} must connect links that exist.",
                                      value=_end(joint, end), remedy="Correct the URDF.")  # fmt: skip
        children[_end(joint, "child")] += 1
    roots = [link for link in links if link not in children]
    if len(roots) != 1 or any(count > 1 for count in children.values()):
        raise RobotModelError(
            f"The links of {name} must make one tree.",
            value=roots or sorted(child for child, count in children.items() if count > 1),
            remedy="Give every link but one exactly one joint that carries it.",
        )
    return roots[0]


def chain_to(joints: Iterable[UrdfJoint], link: str) -> list[UrdfJoint]:
    """Returns the joints from the root to `link`, in this order."""
    above = {joint.child: joint for joint in joints}
    chain: list[UrdfJoint] = []
    while link in above and len(chain) <= len(above):
        chain.insert(0, above[link])
        link = above[link].parent
    return chain


def _clean(urdf: ElementTree.Element) -> None:
    """Removes vendor attributes and all elements but links, joints and materials; gives massless links a small mass."""
    for element in list(urdf):
        if element.tag not in _KEPT:
            urdf.remove(element)
    for element in urdf.iter():
        for attribute in [name for name in element.attrib if ":" in name]:
            del element.attrib[attribute]
    for link in urdf.findall("link"):
        mass = link.find("inertial/mass")
        if mass is None or number(link, mass.get("value")) <= 0.0:
            for inertial in link.findall("inertial"):
                link.remove(inertial)
            _make_light(link)
        inertia = link.find("inertial/inertia")
        if inertia is None or any(inertia.get(moment) is None for moment in MOMENTS):
            raise RobotModelError(
                "A link with a mass must have an <inertia> of six moments.",
                value=link.get("name"),
                remedy="Add it to the URDF, or remove its <inertial>: it then weighs 1 g.",
            )
    for limit in urdf.iterfind("joint/limit"):
        for key in ("velocity", "effort"):  # URDF requires them; those of fingers come from the gripper.
            limit.set(key, limit.get(key, "0"))


def _valid_name(name: str) -> bool:
    return 0 < len(name) <= 100 and name.isascii() and all(letter.isalnum() or letter in "_-." for letter in name)


def _make_light(link: ElementTree.Element) -> None:
    inertial = ElementTree.SubElement(link, "inertial")
    ElementTree.SubElement(inertial, "origin", xyz="0 0 0", rpy="0 0 0")
    ElementTree.SubElement(inertial, "mass", value=str(LIGHT_MASS_KG))
    moments = {axis: str(_LIGHT_INERTIA) if axis[1] == axis[2] else "0" for axis in MOMENTS}
    ElementTree.SubElement(inertial, "inertia", moments)


def _prefix(urdf: ElementTree.Element, part: UrdfPart) -> None:
    """Prefixes all names. They become file names too, so only letters, digits and a few signs are allowed."""
    prefix = part.prefix
    for element in (*urdf.findall("link"), *urdf.findall("joint")):
        name = prefix + element.get("name", "")
        if not _valid_name(name):
            raise RobotModelError(
                f"A {element.tag} of {part.file} must have a name of at most 100 letters, digits, '_', '-' and '.'.",
                value=name,
                remedy="Rename it, or change the `prefix`.",
            )
        element.set("name", name)
    for joint in urdf.findall("joint"):
        for end in (*joint.findall("parent"), *joint.findall("child")):
            end.set("link", prefix + end.get("link", ""))
        for mimic in joint.findall("mimic"):
            mimic.set("joint", prefix + mimic.get("joint", ""))


def _mount(whole: ElementTree.Element, part: UrdfPart, root_link: str, links: tuple[str, ...]) -> None:
    if part.parent not in links:
        raise unknown_name(f"link that carries {part.file!r}", part.parent, links)
    joint = ElementTree.SubElement(whole, "joint", name=f"{root_link}_mount", type="fixed")
    ElementTree.SubElement(joint, "parent", link=part.parent)
    ElementTree.SubElement(joint, "child", link=root_link)
    xyz, rpy = (" ".join(map(str, values)) for values in (part.position_m, part.rpy_rad))
    ElementTree.SubElement(joint, "origin", xyz=xyz, rpy=rpy)


def _require_unique(whole: ElementTree.Element) -> None:
    for kind in ("link", "joint"):
        counts = Counter(element.get("name", "") for element in whole.findall(kind))
        twice = sorted(name for name, count in counts.items() if count > 1)
        if twice:
            raise RobotModelError(
                f"The {kind}s of the joined parts must have different names.",
                value=twice,
                remedy="Give one of the parts a `prefix`.",
            )


def _settle(joint: ElementTree.Element, locked: tuple[str, ...], bounds: Mapping[str, tuple[float, float]]) -> None:
    name = joint.get("name", "")
    if name in locked:
        joint.set("type", "fixed")
    elif name in bounds:
        joint.set("type", "revolute")
        limit = joint.find("limit")
        limit = ElementTree.SubElement(joint, "limit") if limit is None else limit
        limit.attrib |= dict(zip(("lower", "upper"), map(str, bounds[name]), strict=True))
        for key in ("velocity", "effort"):
            limit.set(key, limit.get(key, "0"))


def _end(joint: ElementTree.Element, end: str) -> str:
    element = joint.find(end)
    return "" if element is None else element.get("link", "")
