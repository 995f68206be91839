import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from embodied.errors import ConfigError, MissingDependencyError, SceneError
from embodied.geometry import (
    Pose,
    intrinsics_matrix,
    invert,
    look_at,
    points_from_depth,
    quaternion_from_euler,
    transform_points,
)
from embodied.scenes.meshing import triangulate
from embodied.scenes.scene import Body, Box, Camera, Cylinder, Part, RobotPlacement, Scene, Shape, Sphere
from embodied.scenes.surfaces import shaded_surface
from embodied.simulators.bullet import BulletConfig
from embodied.simulators.bullet.bodies import create_bodies
from embodied.simulators.bullet.client import connect
from embodied.simulators.rendering.choice import RendererChoice
from embodied.simulators.rendering.gl_context import SOFTWARE_THREADS, create_context
from embodied.simulators.rendering.opengl import CameraView, OpenGLRenderer, Visual
from embodied.simulators.rendering.tiny import TinyRenderer
from embodied.types import CameraImage

# Looks along world x from the origin; image right is world -y, image down is world -z.
FORWARD = look_at((0.0, 0.0, 0.0), (1.0, 0.0, 0.0))
BLUE = (0.1, 0.2, 0.9, 1.0)


@pytest.fixture(scope="module")
def renderer() -> Iterator[OpenGLRenderer]:
    made = OpenGLRenderer()
    yield made
    made.close()


def visual(shape: Shape, node: int, instance: int, rgba: tuple[float, float, float, float] = BLUE) -> Visual:
    mesh = triangulate(shape)
    return Visual(node, mesh.vertices, mesh.faces, rgba, instance)


def view(name: str = "camera", pose: Pose = FORWARD, width_px: int = 64, height_px: int = 48) -> CameraView:
    return CameraView(name, width_px, height_px, 0.9, pose.matrix)


def matrices(*poses: Pose) -> np.ndarray:
    return np.stack([pose.matrix for pose in poses])


def pixels(camera: CameraView, points_m: np.ndarray) -> np.ndarray:
    seen = transform_points(np.linalg.inv(camera.world_from_camera), points_m)
    at = seen @ intrinsics_matrix(camera.width_px, camera.height_px, camera.fov_y_rad).T
    return at[..., :2] / at[..., 2:]


def assert_equal(left: CameraImage, right: CameraImage) -> None:
    for field in ("rgb", "depth_m", "instance", "intrinsics", "world_from_camera"):
        assert np.array_equal(getattr(left, field), getattr(right, field)), field


# --- Where pixels fall ------------------------------------------------------------------------------------------------


@dataclass
class OneBox:
    size_m: tuple[float, float, float] = (0.2, 0.5, 0.3)
    centre_m: tuple[float, float, float] = (1.6, 0.231, 0.117)

    def expected(self, camera: CameraView) -> np.ndarray:
        """The pixels whose centres see the near face, from pinhole geometry alone."""
        distance = self.centre_m[0] - self.size_m[0] / 2
        rays = points_from_depth(
            np.full((camera.height_px, camera.width_px), distance),
            intrinsics_matrix(camera.width_px, camera.height_px, camera.fov_y_rad),
        )
        across, up = -rays[..., 0] - self.centre_m[1], -rays[..., 1] - self.centre_m[2]
        return (np.abs(across) < self.size_m[1] / 2) & (np.abs(up) < self.size_m[2] / 2)


def test_the_near_face_of_a_box_has_its_exact_outline_depth_and_instance(renderer: OpenGLRenderer) -> None:
    box, camera = OneBox(), view(width_px=96, height_px=60)
    renderer.load([visual(Box(box.size_m), 0, 7)])
    image = renderer.render(matrices(Pose(box.centre_m)), [camera])["camera"]
    face = box.expected(camera)
    assert 100 < face.sum() < 2000
    near = np.abs(image.depth_m - 1.5) < 1e-5
    assert np.array_equal(near, face)
    assert image.instance is not None
    assert (image.instance[face] == 7).all()
    assert set(np.unique(image.instance)) == {0, 7}
    assert (image.depth_m[image.instance == 0] == 0).all()
    assert (image.rgb.dtype, image.depth_m.dtype, image.instance.dtype) == (np.uint8, np.float32, np.int32)
    assert image.rgb.shape == (60, 96, 3)
    assert image.intrinsics == pytest.approx(intrinsics_matrix(96, 60, 0.9))


def test_tiny_renderer_sees_the_same_outline_depth_and_instance() -> None:
    box, camera = OneBox(), view(width_px=96, height_px=60)
    bullet = connect()
    try:
        body = Body("box", (Part(Box(box.size_m)),), Pose(box.centre_m))
        handles = create_bodies(bullet, Scene("one", bodies=(body,)), asset_root=Path(), visuals=True)
        image = TinyRenderer(bullet, {(handles["box"].uid, -1): 7}).render([camera])["camera"]
    finally:
        bullet.disconnect()
    face = box.expected(camera)
    assert np.array_equal(np.abs(image.depth_m - 1.5) < 1e-3, face)
    assert image.instance is not None
    assert (image.instance[face] == 7).all()
    assert (image.depth_m[image.instance == 0] == 0).all()


def test_points_from_the_depth_of_a_tilted_board_lie_in_its_plane(renderer: OpenGLRenderer) -> None:
    board = Pose((1.2, 0.1, 0.0), quaternion_from_euler(0.3, 0.9, 0.2))
    camera = view(pose=look_at((-0.2, 0.4, 0.5), (1.2, 0.1, 0.0)))
    renderer.load([visual(Box((0.8, 0.8, 0.001)), 0, 1)])
    image = renderer.render(board.matrix[None], [camera])["camera"]
    points = transform_points(image.world_from_camera, points_from_depth(image.depth_m, image.intrinsics))
    seen = points[image.depth_m > 0]
    local = transform_points(invert(board).matrix, seen)
    assert len(seen) > 300
    assert np.abs(local[:, 2]).max() < 0.0006


def test_bodies_are_seen_at_the_projections_of_their_centres_from_every_camera(renderer: OpenGLRenderer) -> None:
    random = np.random.default_rng(3)
    centres = [(0.35 * x, 0.35 * y, 0.0) for x in range(4) for y in range(4)]
    shapes: list[Shape] = [Box((0.06, 0.06, 0.06)), Cylinder(0.04, 0.05), Sphere(0.04)]
    renderer.load([visual(shapes[index % 3], index, 100 + index) for index in range(len(centres))])
    turns = [quaternion_from_euler(*random.uniform(-3, 3, 3)) for _ in centres]
    poses = matrices(*(Pose(centre, turn) for centre, turn in zip(centres, turns, strict=True)))
    eyes = [(1.4, 0.4, 2.2), (0.5, -0.5, 2.1), (0.4, 0.6, 2.5)]
    cameras = [view(f"c{index}", look_at(eye, (0.5, 0.5, 0.1)), 200, 160) for index, eye in enumerate(eyes)]
    images = renderer.render(poses, cameras)
    for camera in cameras:
        image = images[camera.name]
        assert image.instance is not None
        at = np.floor(pixels(camera, np.array(centres))).astype(int)
        inside = ((at >= 0) & (at < [200, 160])).all(axis=1)
        assert inside.sum() >= 12
        assert [int(image.instance[v, u]) for u, v in at[inside]] == (100 + np.flatnonzero(inside)).tolist()


def test_a_thin_patch_on_a_table_never_flickers_through(renderer: OpenGLRenderer) -> None:
    renderer.load([visual(Box((1.4, 1.4, 0.04)), 0, 1), visual(Box((0.1, 0.1, 0.001)), 1, 2)])
    poses = matrices(Pose((0.0, 0.0, -0.02)), Pose((0.1, 0.2, 0.0005)))
    grid = np.linspace(-0.04, 0.04, 15)
    points = np.array([(0.1 + x, 0.2 + y, 0.001) for x in grid for y in grid])
    for eye in ((1.3, 0.3, 0.9), (0.1, 2.5, 0.4), (0.0, 0.0, 2.0)):
        camera = view(pose=look_at(eye, (0.1, 0.2, 0.0)), width_px=128, height_px=128)
        image = renderer.render(poses, [replace(camera, fov_y_rad=0.15)])["camera"]
        assert image.instance is not None
        at = np.floor(pixels(replace(camera, fov_y_rad=0.15), points)).astype(int)
        assert (image.instance[at[:, 1], at[:, 0]] == 2).all()


def test_the_nearer_body_hides_the_farther_in_either_order(renderer: OpenGLRenderer) -> None:
    near, far = visual(Box((0.2, 0.2, 0.2)), 0, 1), visual(Box((0.2, 0.8, 0.8)), 1, 2)
    poses = matrices(Pose((1.0, 0.0, 0.0)), Pose((2.0, 0.0, 0.0)))
    for order in ([near, far], [far, near]):
        renderer.load(order)
        image = renderer.render(poses, [view()])["camera"]
        assert image.instance is not None
        assert image.instance[24, 32] == 1
        assert 2 in image.instance


# --- What is seen -----------------------------------------------------------------------------------------------------


def test_colours_keep_their_channels_and_faces_towards_the_light_are_brighter(renderer: OpenGLRenderer) -> None:
    renderer.load([visual(Box((0.4, 0.4, 0.4)), 0, 1, (0.8, 0.4, 0.2, 1.0))])
    image = renderer.render(matrices(Pose()), [view(pose=look_at((1.5, 0.0, 1.5), (0.0, 0.0, 0.0)))])["camera"]
    on_top, in_front = image.rgb[22, 32].astype(float), image.rgb[28, 32].astype(float)
    assert on_top.sum() > in_front.sum() > 0.4 * on_top.sum()
    for colour in (on_top, in_front):
        assert colour / colour[0] == pytest.approx([1.0, 0.5, 0.25], abs=0.02)


def test_nothing_is_seen_beyond_far_or_from_inside_and_the_background_is_light() -> None:
    short = OpenGLRenderer(far_m=2.0)
    try:
        short.load([visual(Box((0.2, 2.0, 2.0)), 0, 1), visual(Box((0.5, 0.5, 0.5)), 1, 2)])
        image = short.render(matrices(Pose((3.0, 0.0, 0.0)), Pose()), [view()])["camera"]
    finally:
        short.close()
    assert image.instance is not None
    assert not image.instance.any()
    assert not image.depth_m.any()
    assert (image.rgb > 200).all()


def test_creases_split_normals_and_round_sides_share_them() -> None:
    box = triangulate(Box((1.0, 2.0, 3.0)))
    surface = shaded_surface(box.vertices, box.faces)
    assert len(surface.vertices) == 24
    assert (np.abs(surface.normals).sum(axis=1) == 127).all()
    assert (np.abs(surface.normals).max(axis=1) == 127).all()
    pipe = triangulate(Cylinder(1.0, 1.0))
    surface = shaded_surface(pipe.vertices, pipe.faces)
    side = surface.normals[:, 2] == 0
    radial = surface.vertices[side, :2] / np.linalg.norm(surface.vertices[side, :2], axis=1, keepdims=True)
    assert side.sum() == 48
    assert surface.normals[side, :2] / 127 == pytest.approx(radial, abs=0.02)


# --- The same bits ----------------------------------------------------------------------------------------------------


def crowd(count: int) -> tuple[list[Visual], np.ndarray]:
    random = np.random.default_rng(count)
    shapes: list[Shape] = [Box((0.1, 0.2, 0.1)), Cylinder(0.1, 0.2), Sphere(0.12)]
    visuals = [visual(shapes[index % 3], index, index + 1, (*random.uniform(0, 1, 3), 1.0)) for index in range(count)]
    poses = [
        Pose(tuple(random.uniform(-0.6, 0.6, 3)), quaternion_from_euler(*random.uniform(-3, 3, 3))) for _ in visuals
    ]
    return visuals, matrices(*poses)


def test_a_camera_sees_the_same_bits_alone_in_a_batch_again_and_in_another_renderer(renderer: OpenGLRenderer) -> None:
    visuals, poses = crowd(40)
    eyes = [(1.5, 0.2, 0.3), (-1.2, 0.9, 0.5), (0.1, -1.6, 0.2), (0.0, 0.1, 1.9)]
    sizes = [(64, 48), (64, 48), (33, 57), (128, 128)]
    cameras = [
        view(f"c{i}", look_at(eye, (0, 0, 0)), *size) for i, (eye, size) in enumerate(zip(eyes, sizes, strict=True))
    ]
    renderer.load(visuals)
    batch = renderer.render(poses, cameras)
    again = renderer.render(poses, cameras[::-1])
    renderer.load(crowd(3)[0])
    renderer.render(crowd(3)[1], cameras)
    renderer.load(visuals)
    other = OpenGLRenderer()
    try:
        other.load(visuals)
        for camera in cameras:
            assert batch[camera.name].depth_m.any()
            assert_equal(batch[camera.name], again[camera.name])
            assert_equal(batch[camera.name], renderer.render(poses, [camera])[camera.name])
            assert_equal(batch[camera.name], other.render(poses, [camera])[camera.name])
    finally:
        other.close()


def test_many_scenes_leave_no_memory_behind(renderer: OpenGLRenderer) -> None:
    random = np.random.default_rng(0)
    faces = np.arange(30_000, dtype=np.int32).reshape(-1, 3)
    poses = np.eye(4)[None]

    def play(index: int) -> None:
        vertices = random.uniform(0.9, 0.901, (30_000, 3)).astype(np.float32)
        renderer.load([Visual(0, vertices, faces, BLUE, 1)])
        renderer.render(poses, [view(width_px=300 + index, height_px=300)])

    for index in range(4):
        play(index)
    before = psutil.Process().memory_info().rss
    for index in range(4, 54):  # About 1 MB of buffers and 1.4 MB of images each.
        play(index)
    assert psutil.Process().memory_info().rss - before < 15e6


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vertices", "faces"),
    [
        (np.zeros((3, 2)), np.array([[0, 1, 2]])),
        (np.zeros((3, 3)), np.array([0, 1, 2])),
        (np.zeros((3, 3)), np.array([[0, 1, 3]])),
        (np.zeros((3, 3)), np.array([[0, 1, -1]])),
        (np.full((3, 3), np.nan), np.array([[0, 1, 2]])),
    ],
)
def test_malformed_triangles_are_refused(renderer: OpenGLRenderer, vertices: np.ndarray, faces: np.ndarray) -> None:
    with pytest.raises(SceneError):
        renderer.load([Visual(0, vertices, faces, BLUE, 1)])


def test_a_node_without_a_pose_and_a_reversed_range_are_refused(renderer: OpenGLRenderer) -> None:
    renderer.load([visual(Sphere(0.1), 2, 1)])
    with pytest.raises(SceneError, match="must have a pose"):
        renderer.render(matrices(Pose(), Pose()), [view()])
    with pytest.raises(ConfigError, match="near to far"):
        OpenGLRenderer(near_m=1.0, far_m=0.5)


def test_an_empty_scene_is_all_background(renderer: OpenGLRenderer) -> None:
    renderer.load([])
    image = renderer.render(np.zeros((0, 4, 4)), [view()])["camera"]
    assert not image.depth_m.any()
    assert len(np.unique(image.rgb.reshape(-1, 3), axis=0)) == 1


def test_closing_twice_is_harmless() -> None:
    made = OpenGLRenderer()
    assert made.name.startswith("opengl: ")
    made.close()
    made.close()


# --- Which device draws -----------------------------------------------------------------------------------------------


class FakeContext:
    def __init__(self, name: str) -> None:
        self.info = {"GL_RENDERER": name}
        self.released = False

    def release(self) -> None:
        self.released = True

    def __enter__(self) -> "FakeContext":
        return self

    def __exit__(self, *_: object) -> None:
        return None


def with_devices(monkeypatch: pytest.MonkeyPatch, *names: str | None) -> list[FakeContext]:
    made: list[FakeContext] = []

    def create(*, device_index: int = 0, **_: object) -> FakeContext:
        if device_index >= len(names):
            raise Exception(f"requested device index {device_index}, but found {len(names)} devices")
        name = names[device_index]
        if name is None:
            raise Exception("eglInitialize failed (0x3001)")
        made.append(FakeContext(name))
        return made[-1]

    monkeypatch.setitem(sys.modules, "moderngl", SimpleNamespace(create_context=create))
    monkeypatch.delenv("LIBGL_ALWAYS_SOFTWARE", raising=False)
    monkeypatch.delenv("GLCONTEXT_DEVICE_INDEX", raising=False)
    return made


def test_a_gpu_is_preferred_and_what_is_not_used_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    made = with_devices(monkeypatch, "llvmpipe (LLVM 15)", None, "NVIDIA H200/PCIe/SSE2", "NVIDIA second")
    assert create_context().info["GL_RENDERER"] == "NVIDIA H200/PCIe/SSE2"
    assert [context.released for context in made] == [True, False]


def test_llvmpipe_draws_where_it_is_asked_for_or_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with_devices(monkeypatch, "NVIDIA H200/PCIe/SSE2", "llvmpipe (LLVM 15)")
    monkeypatch.setenv("LIBGL_ALWAYS_SOFTWARE", "1")
    assert create_context().info["GL_RENDERER"] == "llvmpipe (LLVM 15)"
    made = with_devices(monkeypatch, None, "llvmpipe (LLVM 15)")
    assert create_context().info["GL_RENDERER"] == "llvmpipe (LLVM 15)"
    assert not made[0].released


def test_missing_opengl_names_the_packages_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLCONTEXT_DEVICE_INDEX", "97")
    with pytest.raises(MissingDependencyError, match=r"EGL: requested device index 97.*libegl1.*libgl1-mesa-dri"):
        OpenGLRenderer()
    monkeypatch.setitem(sys.modules, "moderngl", None)
    with pytest.raises(MissingDependencyError, match="pip install moderngl"):
        OpenGLRenderer()


# --- Both renderers on one scene --------------------------------------------------------------------------------------


def test_opengl_and_tiny_renderer_agree_on_a_panda_at_a_table() -> None:
    from launch.benchmarks.render import compare

    scene = Scene(
        "both",
        bodies=(
            Body("table", (Part(Box((1.4, 1.4, 0.04))),), Pose((0.4, 0.0, -0.02))),
            Body("block", (Part(Box((0.05, 0.05, 0.05)), rgba=BLUE),), Pose((0.5, 0.1, 0.025)), mass_kg=0.2),
            Body("post", (Part(Cylinder(0.03, 0.2), rgba=BLUE),), Pose((0.4, -0.2, 0.1))),
        ),
        cameras=(
            Camera("front", look_at((1.5, 0.3, 0.9), (0.3, 0.0, 0.3)), 96, 80, 0.8),
            Camera("wrist", Pose((0.07, 0.0, -0.1)), 64, 64, 1.0, mount="arm"),
        ),
        robots=(RobotPlacement("arm", "panda"),),
    )
    images = []
    for choice in (RendererChoice.opengl, RendererChoice.tiny):
        simulator = BulletConfig(renderer=choice).build()
        try:
            simulator.reset(scene)
            images.append(list(simulator.observe("arm").images.values()))
        finally:
            simulator.close()
    agreement = compare(*images)
    assert set(np.unique(images[0][0].instance)) == set(scene.instance_ids().values()) | {0}
    assert agreement["instance_agreement"] >= 0.99
    assert agreement["depth_difference_median_m"] <= 0.0005


@pytest.mark.parametrize(("threads", "given", "asked"), [(1, None, "0"), (3, None, "3"), (1, "2", "2")])
def test_llvmpipe_draws_in_the_thread_of_the_simulator_unless_more_are_asked_for(monkeypatch, threads, given, asked):
    monkeypatch.delenv(SOFTWARE_THREADS, raising=False)
    if given:
        monkeypatch.setenv(SOFTWARE_THREADS, given)
    made = OpenGLRenderer(threads=threads)
    found = os.environ[SOFTWARE_THREADS]
    made.close()
    assert found == asked
