"""Scenes as GLB and as datasets of Habitat: what is read back has the volumes, colours, places and ids of the scene."""

import json
import math

import msgspec
import numpy as np
import pytest

from embodied.errors import PathError, SceneError
from embodied.geometry import Pose, quaternion_from_euler, transform_points
from embodied.robots.assets import asset_root
from embodied.scenes.export import GlbOptions, body_glb, export_habitat, scene_glb, y_up_pose, z_up_pose
from embodied.scenes.joints import body_poses
from embodied.scenes.meshing import triangulate
from embodied.scenes.scene import Body, Box, Cylinder, Joint, Mesh, Part, Scene, Sphere
from tests.scenes.glb_reader import Z_UP_FROM_Y_UP, read_glb

RED, BLUE, GREY = (0.8, 0.1, 0.1, 1.0), (0.1, 0.2, 0.9, 1.0), (0.5, 0.5, 0.5, 1.0)
FOR_HABITAT = GlbOptions(linear_colours=False)
TILTED = Pose((1.0, -2.0, 0.5), quaternion_from_euler(0.3, -0.4, 1.1))
LAMP = (
    Part(Cylinder(0.02, 0.5), Pose((0.0, 0.0, 0.25)), GREY),
    Part(Sphere(0.1), Pose((0.0, 0.0, 0.55)), RED),
    Part(Box((0.2, 0.1, 0.04)), Pose((0.05, 0.0, 0.0), quaternion_from_euler(0.0, 0.0, 0.7)), GREY),
    Part(Box((9.0, 9.0, 9.0)), rgba=BLUE, visible=False),
)
SCENE = Scene(
    "A Room",
    (
        Body("floor", (Part(Box((4.0, 6.0, 0.1)), rgba=GREY),), Pose((0.0, 0.0, -0.05)), category="floor"),
        Body("cabinet", (Part(Box((0.5, 0.4, 0.8)), rgba=BLUE),), Pose((1.5, 0.0, 0.4)), category="cabinet"),
        Body("drawer", (Part(Box((0.4, 0.3, 0.2)), rgba=RED),), mass_kg=1.0),
        Body("lamp_one", LAMP, TILTED, mass_kg=0.4, category="lamp"),
        Body("lamp_two", LAMP, Pose((0.0, 1.0, 0.0)), mass_kg=0.4, category="lamp"),
        Body("duck", (Part(Mesh("duck.obj", (0.1, 0.1, 0.2)), rgba=RED),), Pose((0.0, 0.0, 1.0)), mass_kg=0.1),
        Body("shadow", (Part(Box((1.0, 1.0, 1.0)), visible=False),), mass_kg=0.1),
    ),
    (
        Joint(
            "slide", "prismatic", "cabinet", "drawer", Pose((-0.1, 0.0, 0.2), quaternion_from_euler(0, 0, math.pi / 2)),
            (0.0, 1.0, 0.0), 0.0, 0.3, 0.25,
        ),
    ),
)  # fmt: skip


def volume(node):
    total = 0.0
    for surface in node.surfaces:
        corners = surface.vertices[surface.faces].astype(float)
        total += float(np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6)
    return total


def linear(value):
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def test_a_body_read_back_has_the_volume_and_the_outside_of_its_shapes():
    boxes = Body("boxes", (Part(Box((0.2, 0.3, 0.5)), TILTED), Part(Box((1.0, 0.1, 0.1)), rgba=RED)))
    (node,) = read_glb(body_glb(boxes))
    assert volume(node) == pytest.approx(0.03 + 0.01, rel=1e-6)
    (ball,) = read_glb(body_glb(Body("ball", (Part(Sphere(0.3)),))))
    assert 0.96 < volume(ball) / (4 / 3 * math.pi * 0.027) < 1.0
    for surface in (*node.surfaces, *ball.surfaces):
        assert np.linalg.norm(surface.normals, axis=1) == pytest.approx(1.0, abs=1e-6)
        corners = surface.vertices[surface.faces].astype(float)
        across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        outward = np.einsum("fi,fci->fc", across, surface.normals[surface.faces])
        assert (outward > 0.0).all(), "normals point to the side from which the corners run counter-clockwise"


def test_each_colour_is_one_material_and_invisible_parts_are_left_out():
    (shown,) = read_glb(body_glb(SCENE.body("lamp_one")))
    (kept,) = read_glb(body_glb(SCENE.body("lamp_one"), FOR_HABITAT))
    assert [one.colour for one in kept.surfaces] == [list(GREY), list(RED)]
    assert shown.surfaces[1].colour == pytest.approx([linear(0.8), linear(0.1), linear(0.1), 1.0])
    repainted = read_glb(body_glb(SCENE.body("lamp_one"), FOR_HABITAT, colours=[BLUE] * 4))
    assert [one.colour for one in repainted[0].surfaces] == [list(BLUE)]
    assert read_glb(body_glb(SCENE.body("shadow")))[0].surfaces == []


def test_every_vertex_of_a_scene_stands_where_the_scene_has_it():
    poses = body_poses(SCENE, {}, {})
    nodes = {node.name: node for node in read_glb(scene_glb(SCENE, GlbOptions(asset_root=asset_root())))}
    assert list(nodes) == [body.name for body in SCENE.bodies]
    for body in SCENE.bodies[:-1]:
        parts = [
            transform_points(part.pose.matrix, triangulate(part.shape, asset_root=asset_root()).vertices)
            for part in body.parts
            if part.visible
        ]
        wanted = transform_points(poses[body.name].matrix, np.concatenate(parts))
        found = nodes[body.name].world
        distances = np.linalg.norm(found[:, None] - wanted[None], axis=2)
        assert distances.min(axis=1).max() < 1e-6
        assert distances.min(axis=0).max() < 1e-6
        turn = Z_UP_FROM_Y_UP.T
        assert nodes[body.name].matrix[:3, :3] == pytest.approx(
            turn @ poses[body.name].matrix[:3, :3] @ turn.T, abs=1e-12
        )


def test_a_drawer_stands_as_far_out_as_its_joint_starts():
    drawer = {node.name: node for node in read_glb(scene_glb(SCENE, GlbOptions(asset_root=asset_root())))}["drawer"]
    # The joint's y axis is the world's -x: 1.5 - 0.1 - 0.25 along x, 0.4 + 0.2 along z.
    assert drawer.world.mean(axis=0) == pytest.approx((1.15, 0.0, 0.6), abs=1e-6)
    assert np.ptp(drawer.world, axis=0) == pytest.approx((0.3, 0.4, 0.2), abs=1e-6)


def test_nodes_carry_instance_ids_and_a_semantic_mesh_marks_its_vertices():
    ids = SCENE.instance_ids()
    for node in read_glb(scene_glb(SCENE, GlbOptions(asset_root=asset_root(), marked=True))):
        assert node.extras == {"instance_id": ids[node.name], "category": SCENE.body(node.name).category}
        for surface in node.surfaces:
            assert surface.ids is not None
            assert surface.id_colours is not None
            assert set(surface.ids.tolist()) == {ids[node.name]}
            assert set(map(tuple, surface.id_colours.tolist())) == {(0, 0, ids[node.name], 255)}


def test_the_frames_of_habitat_are_turned_there_and_back_exactly():
    there = y_up_pose(TILTED)
    assert there.position_m == (1.0, 0.5, 2.0)
    assert z_up_pose(there.position_m, there.orientation) == TILTED
    forward = np.array([0.0, 0.0, -1.0])  # Habitat's forward is our y.
    assert Z_UP_FROM_Y_UP @ forward == pytest.approx([0.0, 1.0, 0.0])


def test_a_dataset_has_every_movable_body_once_with_its_own_id(tmp_path):
    folder = tmp_path / "room"
    dataset = export_habitat(SCENE, folder, asset_root=asset_root())
    config = json.loads(dataset.config.read_text())
    for kind in ("stages", "objects", "scene_instances"):
        assert list(folder.glob(config[kind]["paths"][".json"][0])), kind
    instance = json.loads((folder / "scenes" / f"{dataset.scene}.scene_instance.json").read_text())
    poses, found = body_poses(SCENE, {}, {}), {}
    for entry in instance["object_instances"]:
        (path,) = folder.glob(f"objects/{entry['template_name']}.object_config.json")
        described = json.loads(path.read_text())
        name = described["user_defined"]["name"]
        w, x, y, z = entry["rotation"]
        placed = z_up_pose(entry["translation"], (x, y, z, w))
        assert np.allclose(placed.matrix, poses[name].matrix, atol=1e-12)
        assert (described["COM"], described["compute_COM_from_shape"]) == ([0, 0, 0], False)
        assert described["semantic_id"] == dataset.instances[name] == SCENE.instance_ids()[name]
        found[name] = (entry["motion_type"], described["render_asset"])
        (node,) = read_glb((path.parent / described["render_asset"]).read_bytes())
        assert node.matrix == pytest.approx(np.eye(4))
    assert {name: kind for name, (kind, _) in found.items()} == {
        "drawer": "KINEMATIC", "lamp_one": "DYNAMIC", "lamp_two": "DYNAMIC", "duck": "DYNAMIC"
    }  # fmt: skip
    assert found["lamp_one"][1] == found["lamp_two"][1] != found["duck"][1]
    assert Scene.from_json((folder / "scenes" / f"{dataset.scene}.json").read_bytes()) == SCENE


def test_the_stage_is_the_fixed_bodies_and_its_semantics_name_all(tmp_path):
    dataset = export_habitat(SCENE, tmp_path, asset_root=asset_root())
    stage = json.loads((tmp_path / "stages" / f"{dataset.scene}.stage_config.json").read_text())
    plain, marked = (read_glb((tmp_path / "stages" / stage[f"{kind}_asset"]).read_bytes())
                     for kind in ("render", "semantic"))  # fmt: skip
    assert [node.name for node in plain] == [node.name for node in marked] == ["floor", "cabinet"]
    assert [node.surfaces[0].ids[0] for node in marked] == [1, 2]
    header, *rows = (tmp_path / "stages" / stage["semantic_descriptor_filename"]).read_text().splitlines()
    assert header == "HM3D Semantic Annotations"
    assert rows[0] == '1,000001,"floor",0'
    assert len(rows) == len(SCENE.bodies)


def test_the_same_scene_gives_the_same_files(tmp_path):
    for name in ("one", "two"):
        export_habitat(SCENE, tmp_path / name, asset_root=asset_root())
    one, two = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("one", "two")
    )
    assert one == two


def test_a_folder_with_files_and_a_scene_without_bodies_are_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(PathError, match="empty or new"):
        export_habitat(SCENE, tmp_path, asset_root=asset_root())
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(SceneError, match="bodies"):
        export_habitat(Scene("empty"), tmp_path / "new")
    with pytest.raises(PathError):
        export_habitat(SCENE, tmp_path / "without meshes")
    broken = msgspec.structs.replace(SCENE, bodies=(Body("gone", (Part(Mesh("no such file.obj")),)),), joints=())
    with pytest.raises(PathError, match="must exist"):
        export_habitat(broken, tmp_path / "broken", asset_root=asset_root())
