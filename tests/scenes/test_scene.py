"""A scene as data: exact JSON, and every inconsistency named."""

import itertools
import json
import math
import string

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embodied.errors import SceneError, UnknownNameError
from embodied.geometry import Pose, quaternion
from embodied.scenes.scene import (
    Body,
    Box,
    Camera,
    Cylinder,
    Detent,
    Joint,
    Mesh,
    Part,
    Region,
    RobotPlacement,
    Scene,
    Sphere,
    Spring,
)

names = st.text(string.ascii_letters + string.digits + "_é-", min_size=1, max_size=8)
numbers = st.floats(-1e6, 1e6, allow_subnormal=False)
positive = st.floats(1e-6, 1e6)
axes = st.sampled_from([(1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 1.0)])
orientations = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: sum(map(abs, q)) > 0.1).map(quaternion)
poses = st.builds(Pose, st.tuples(numbers, numbers, numbers), orientations)
sizes = st.tuples(positive, positive, positive)
shapes = st.one_of(
    st.builds(Box, sizes),
    st.builds(Cylinder, positive, positive),
    st.builds(Sphere, positive),
    st.builds(Mesh, names, sizes),
)
colours = st.tuples(*[st.floats(0, 1)] * 4)
parts = st.builds(Part, shapes, poses, colours, st.booleans(), st.booleans())


@st.composite
def scenes(draw) -> Scene:
    """Bodies in chains of joints, and one of everything else, under names drawn without repetition."""
    pool = iter(draw(st.lists(names, min_size=9, max_size=9, unique=True)))
    body_names = [next(pool) for _ in range(3)]
    linked = draw(st.booleans())
    bodies = [
        Body(
            name,
            tuple(draw(st.lists(parts, min_size=1, max_size=3))),
            Pose() if linked and index else draw(poses),
            draw(positive),
            draw(st.floats(0, 10)),
            draw(st.text(max_size=5)),
            draw(st.booleans()),
        )
        for index, name in enumerate(body_names)
    ]
    joints = [
        Joint(
            next(pool),
            draw(st.sampled_from(["prismatic", "revolute", "fixed"])),
            parent,
            child,
            draw(poses),
            draw(axes),
            lower=-1.5,
            upper=2.0,
            position=draw(st.floats(-1.5, 2.0)),
            friction=draw(st.floats(0, 9)),
            spring=draw(st.none() | st.builds(Spring, st.floats(0, 1e4), st.floats(0, 1e3))),
            detent=draw(st.none() | st.builds(Detent, numbers, positive, positive)),
        )
        for parent, child in (itertools.pairwise(body_names) if linked else ())
    ]
    robot = RobotPlacement(
        next(pool),
        "panda",
        draw(poses),
        draw(st.none() | st.lists(numbers, max_size=7).map(tuple)),
        draw(st.floats(0, 1)),
    )
    camera = Camera(next(pool), draw(poses), draw(st.integers(1, 512)), 64, draw(st.floats(0.01, 3.0)), robot.name)
    return Scene(
        "drawn", tuple(bodies), tuple(joints), (Region(next(pool), draw(poses), draw(sizes)),), (camera,), (robot,)
    )


@settings(deadline=None, max_examples=50)
@given(scenes())
def test_json_gives_back_an_equal_scene(scene):
    text = scene.to_json()
    assert Scene.from_json(text) == scene
    assert Scene.from_json(text).to_json() == text


def box(name: str, **changes) -> Body:
    return Body(name, (Part(Box((0.1, 0.1, 0.1))),), mass_kg=1.0, **changes)


def document() -> dict:
    scene = Scene(
        "small",
        (box("base"), box("lid")),
        (Joint("hinge", "revolute", "base", "lid", upper=1.0),),
        cameras=(Camera("eye", Pose()),),
    )
    return json.loads(scene.to_json())


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("bodies", 0, "mass_kg"), "heavy", "$.bodies[0].mass_kg"),
        (("bodies", 1, "parts", 0, "shape", "size_m"), [1, 2], "$.bodies[1].parts[0].shape.size_m"),
        (("bodies", 0, "parts", 0, "shape", "type"), "cone", "$.bodies[0].parts[0].shape"),
        (("joints", 0, "kind"), "screw", "$.joints[0].kind"),
        (("cameras", 0, "width_px"), 0, "$.cameras[0]"),
        (("bodies", 0, "pose", "orientation"), [0, 0, 0, 2], "$.bodies[0].pose"),
        (("bodies", 0, "parts", 0, "rgba"), [0, 0, 0, 7], "$.bodies[0].parts[0]"),
        (("joints", 0, "position"), 3.0, "$.joints[0]"),
        (("joints", 0, "axis"), [1, 1, 0], "$.joints[0]"),
        (("bodies", 0, "name"), "two words", "$.bodies[0]"),
        (("bodies", 0, "parts"), [], "$.bodies[0]"),
        (("bodies", 0, "colour"), "red", "colour"),
        (("version",), 3, "version"),
    ],
)
def test_malformed_json_is_refused_by_its_path(path, value, named):
    broken = document()
    place = broken
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(SceneError) as refused:
        Scene.from_json(json.dumps(broken))
    assert named in str(refused.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": 3}', "nonsense"])
def test_what_is_not_a_scene_is_refused(text):
    with pytest.raises(SceneError, match="well-formed JSON"):
        Scene.from_json(text)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused(value):
    text = json.dumps(document()).replace('"mass_kg": 1.0', f'"mass_kg": {value}', 1)
    assert value in text
    with pytest.raises(SceneError):
        Scene.from_json(text)


def test_a_name_used_twice_is_refused_whatever_it_names():
    with pytest.raises(SceneError, match="unique"):
        Scene("twice", (box("a"), box("a")))
    with pytest.raises(SceneError, match="unique"):
        Scene("twice", (box("a"),), regions=(Region("a", Pose(), (1.0, 1.0, 1.0)),))


def test_joints_in_a_ring_are_refused():
    around = (Joint("j", "fixed", "a", "b"), Joint("k", "fixed", "b", "c"), Joint("l", "fixed", "c", "a"))
    with pytest.raises(SceneError, match="ring"):
        Scene("ring", (box("a"), box("b"), box("c")), around)
    with pytest.raises(SceneError, match="ring"):
        Scene("ring", (box("a"),), (Joint("j", "fixed", "a", "a"),))


def test_a_child_with_two_parents_is_refused():
    joints = (Joint("j", "fixed", "a", "c"), Joint("k", "fixed", "b", "c"))
    with pytest.raises(SceneError, match="at most one parent"):
        Scene("orphanage", (box("a"), box("b"), box("c")), joints)


def test_a_joint_to_nothing_is_refused():
    with pytest.raises(SceneError, match="bodies of the scene"):
        Scene("loose", (box("a"),), (Joint("j", "fixed", "a", "missing"),))


def test_a_joint_child_with_a_pose_or_without_mass_is_refused():
    joint = (Joint("j", "fixed", "a", "b"),)
    with pytest.raises(SceneError, match="identity pose"):
        Scene("misplaced", (box("a"), box("b", pose=Pose((1.0, 0.0, 0.0)))), joint)
    weightless = Body("b", (Part(Sphere(0.1)),))
    with pytest.raises(SceneError, match="must have a mass"):
        Scene("weightless", (box("a"), weightless), joint)


def test_a_camera_mounted_on_nothing_is_refused():
    with pytest.raises(SceneError, match="mounted on a robot"):
        Scene("floating", cameras=(Camera("eye", Pose(), mount="ghost"),))


L_SHAPE = ((0.0, 0.0), (4.0, 0.0), (4.0, 2.0), (2.0, 2.0), (2.0, 5.0), (0.0, 5.0))


def test_a_room_holds_what_stands_on_its_outline_between_its_heights():
    room = Region.on_ground("kitchen", L_SHAPE, kind="room", heights_m=(0.0, 2.5))
    assert (room.size_m, room.kind) == ((4.0, 5.0, 2.5), "room")
    assert [room.holds(point) for point in ((1.0, 4.0, 1.0), (3.0, 1.0, 0.1), (1.0, 1.0, 2.4))] == [True] * 3
    assert [room.holds(point) for point in ((3.0, 4.0, 1.0), (1.0, 1.0, 2.6), (-0.1, 1.0, 1.0))] == [False] * 3
    turned = msgspec.structs.replace(room, pose=Pose(room.pose.position_m, (0.0, 0.0, 1.0, 0.0)))
    assert turned.holds((3.0, 4.0, 1.0))
    assert not turned.holds((1.0, 0.5, 1.0))
    scene = Scene("home", (box("a"),), regions=(room,))
    assert Scene.from_json(scene.to_json()) == scene


def test_a_region_without_outline_is_its_box():
    region = Region(
        "shelf", Pose((1.0, 0.0, 1.0), (0.0, 0.0, math.sin(math.pi / 4), math.cos(math.pi / 4))), (2.0, 1.0, 0.2)
    )
    assert region.holds((1.4, 0.9, 1.05))
    assert not region.holds((1.9, 0.4, 1.05))


@pytest.mark.parametrize(
    "outline",
    [
        ((0.0, 0.0), (2.0, 2.0), (2.0, 0.0), (0.0, 2.0)),  # Edges cross.
        ((0.0, 0.0), (1.0, 0.0), (2.0, 0.0)),  # No area.
        ((0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (2.0, -1.0)),  # An edge runs back along the one before.
        ((0.0, 0.0), (2.0, 0.0), (1.0, 1.0), (2.0, 0.0), (0.0, 2.0)),  # A corner twice.
        ((0.0, 0.0), (1.0, 1.0)),
    ],
)
def test_an_outline_that_is_no_simple_polygon_is_refused(outline):
    with pytest.raises(SceneError, match="simple polygon"):
        Region.on_ground("room", outline, kind="room", heights_m=(0.0, 2.0))


def test_an_outline_outside_its_box_and_an_unknown_kind_are_refused():
    with pytest.raises(SceneError, match="within its size"):
        Region("room", Pose(), (1.0, 1.0, 1.0), "room", ((0.0, 0.0), (2.0, 0.0), (0.0, 0.4)))
    text = Scene("home", regions=(Region("a", Pose(), (1.0, 1.0, 1.0)),)).to_json()
    with pytest.raises(SceneError, match="kind"):
        Scene.from_json(text.replace('"place"', '"rooom"'))


def test_scenes_of_version_1_are_read_and_written_as_the_present_one():
    region = {"name": "bin", "pose": {"position_m": [0, 0, 0], "orientation": [0, 0, 0, 1]}, "size_m": [1, 1, 1]}
    old = {"name": "old", "version": 1, "regions": [region]}
    scene = Scene.from_json(json.dumps(old))
    assert scene == Scene("old", regions=(Region("bin", Pose(), (1.0, 1.0, 1.0)),))
    assert json.loads(scene.to_json())["version"] == 2


def test_a_camera_on_a_link_needs_a_robot():
    with pytest.raises(SceneError, match="must have a mount"):
        Camera("eye", Pose(), link="head")


def test_things_are_found_by_name_and_unknown_names_get_a_hint():
    scene = Scene.from_json(json.dumps(document()))
    assert scene.body("lid").name == "lid"
    assert scene.joint("hinge").child == "lid"
    with pytest.raises(UnknownNameError, match="Did you mean 'lid'"):
        scene.body("lidd")


def test_instance_ids_count_bodies_then_robots_from_one():
    scene = Scene("ids", (box("a"), box("b")), robots=(RobotPlacement("r", "panda"),))
    assert scene.instance_ids() == {"a": 1, "b": 2, "r": 3}
