"""Observations per second against PyBullet's own renderer, and whether the pixels of both agree."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from embodied.errors import ConfigError
from embodied.evaluation.provenance import cpu, versions
from embodied.geometry import CAMERA_FROM_GL, Pose
from embodied.robots.assets import asset_root, stock_urdf_path
from embodied.robots.catalogue import robot_model
from embodied.robots.meshes import visual_meshes
from embodied.robots.visuals import link_visuals
from embodied.scenes.scene import Scene
from embodied.scenes.tabletop import ROBOT, block, button, on_table, patch, tabletop_scene
from embodied.simulators.bullet import BulletConfig, BulletSimulator
from embodied.simulators.bullet.bodies import create_bodies
from embodied.simulators.bullet.client import connect
from embodied.simulators.rendering.choice import RendererChoice
from embodied.simulators.rendering.opengl import FAR_M, NEAR_M
from embodied.types import CameraImage
from launch.benchmark import Benchmark

SPEEDUP_WANTED = {128: 12.0, 224: 15.0}
AGREEMENT_WANTED = 0.97
DEPTH_WANTED_M = 0.005


@dataclass(kw_only=True)
class RenderBenchConfig:
    """The sides of the square cameras, and how often each method is timed.

    One slow call is compared with `batch` fast ones.
    """

    sizes_px: list[int] = field(default_factory=lambda: [128, 224])
    rounds: int = 15
    batch: int = 10

    def check(self) -> None:
        """Raises `ConfigError` for counts that are not positive."""
        if self.rounds < 1 or self.batch < 1 or not self.sizes_px or min(self.sizes_px) < 1:
            raise ConfigError("render.sizes_px, render.rounds and render.batch must be at least 1.", value=self)


def measure(config: RenderBenchConfig) -> dict[str, Any]:
    """Returns, per size, observations of four cameras per second by three methods, and how far two of them agree.

    `opengl` is a whole `observe`; `stock` is PyBullet's `getCameraImage` (TinyRenderer) alone, with the robot's
    published meshes; `tiny` is a whole `observe` through TinyRenderer, with the meshes that `opengl` uses. The three
    are measured in turns, under the same load. Agreement is between `opengl` and `tiny`.
    """
    config.check()
    opengl = BulletConfig(renderer=RendererChoice.opengl).build()
    tiny = BulletConfig(renderer=RendererChoice.tiny).build()
    try:
        sizes = {str(size_px): _measure_size(config, opengl, tiny, size_px) for size_px in config.sizes_px}
        renderer = opengl.renderer
    finally:
        opengl.close()
        tiny.close()
    stock = stock_urdf_path(robot_model("panda"))
    return {
        "what": "render",
        "cpu": cpu(),
        "versions": versions(),
        "renderer": renderer,
        "cameras": [camera.name for camera in table_scene(1).cameras],
        "robot_triangles": {
            "low_poly": sum(len(mesh.faces) for mesh in visual_meshes(stock)),
            "stock": sum(len(mesh.faces) for mesh in link_visuals(stock)),
        },
        "sizes_px": sizes,
    }


def table_scene(camera_px: int) -> Scene:
    """Returns the table with two blocks, three patches and a button, under the arm's home."""
    bodies, joints = button(on_table(0.05, 0.3))
    places = [on_table(0.3, -0.25), on_table(0.4, 0.0, 0.4), on_table(0.3, 0.25)]
    return tabletop_scene(
        "render_bench",
        bodies=[
            *(patch(f"patch_{index}", place) for index, place in enumerate(places)),
            block("block_0", 0.3, -0.25, 0.2),
            block("block_1", 0.15, 0.1, 0.9),
            *bodies,
        ],
        joints=joints,
        camera_px=camera_px,
    )


def _measure_size(
    config: RenderBenchConfig, opengl: BulletSimulator, tiny: BulletSimulator, size_px: int
) -> dict[str, Any]:
    scene = table_scene(size_px)
    opengl.reset(scene)
    tiny.reset(scene)
    mine, theirs = opengl.observe(ROBOT).images, tiny.observe(ROBOT).images
    stock = _StockPanda(scene, opengl)
    try:
        rates = _take_turns(
            config.rounds,
            {
                "opengl": (lambda: opengl.observe(ROBOT), config.batch),
                "stock": (lambda: stock.look(list(mine.values())), 1),
                "tiny": (lambda: tiny.observe(ROBOT), 1),
            },
        )
    finally:
        stock.close()
    speedup = rates["opengl"] / rates["stock"]
    agreement = compare(list(mine.values()), list(theirs.values()))
    wanted = SPEEDUP_WANTED.get(size_px)
    return {
        "observations_per_s": {name: round(rate, 2) for name, rate in rates.items()},
        "speedup_over_stock": round(speedup, 1),
        **agreement,
        "passes": bool(
            (wanted is None or speedup >= wanted)
            and agreement["instance_agreement"] >= AGREEMENT_WANTED
            and agreement["depth_difference_median_m"] <= DEPTH_WANTED_M
        ),
    }


def compare(left: Sequence[CameraImage], right: Sequence[CameraImage]) -> dict[str, float]:
    """Returns the share of pixels with equal instances, and the median depth difference where both see something."""
    same = np.concatenate([_instances(a) == _instances(b) for a, b in zip(left, right, strict=True)])
    ours = np.concatenate([image.depth_m.ravel() for image in left])
    theirs = np.concatenate([image.depth_m.ravel() for image in right])
    both = (ours > 0) & (theirs > 0)
    return {
        "instance_agreement": round(float(same.mean()), 5),
        "depth_difference_median_m": round(float(np.median(np.abs(ours[both] - theirs[both]))), 6),
    }


def _instances(image: CameraImage) -> np.ndarray:
    if image.instance is None:
        raise ConfigError("Images must have instances to be compared.")
    return image.instance.ravel()


def _take_turns(rounds: int, ways: dict[str, tuple[Callable[[], object], int]]) -> dict[str, float]:
    """Returns the median rate per second of each method; a method is a call and how often it is made in a round."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (call, repeats) in ways.items():
            started_s = time.perf_counter()
            for _ in range(repeats):
                call()
            times[name].append((time.perf_counter() - started_s) / repeats)
    return {name: 1.0 / statistics.median(seconds) for name, seconds in times.items()}


class _StockPanda:
    """A PyBullet world of the same bodies, the robot with its published meshes, seen with `getCameraImage`."""

    def __init__(self, scene: Scene, like: BulletSimulator) -> None:
        self._bullet = connect()
        create_bodies(self._bullet, scene, asset_root=asset_root(), visuals=True)
        model, state = robot_model("panda"), like.state().robots[ROBOT]
        base: Pose = scene.robot(ROBOT).base
        uid = self._bullet.loadURDF(
            str(stock_urdf_path(model)), base.position_m, base.orientation, useFixedBase=model.fixed
        )
        names = [self._bullet.getJointInfo(uid, index)[1].decode() for index in range(self._bullet.getNumJoints(uid))]
        for name, position_rad in zip(model.joints, state.joint_position_rad, strict=True):
            self._bullet.resetJointState(uid, names.index(name), float(position_rad))

    def look(self, like: Sequence[CameraImage]) -> None:
        """Renders from the camera pose of each image of `like`."""
        for image in like:
            height_px, width_px = image.depth_m.shape
            fov_y_deg = float(np.degrees(2 * np.arctan(height_px / (2 * image.intrinsics[1, 1]))))
            gl_from_world = np.linalg.inv(image.world_from_camera @ CAMERA_FROM_GL)
            self._bullet.getCameraImage(
                width_px,
                height_px,
                viewMatrix=gl_from_world.T.ravel().tolist(),
                projectionMatrix=self._bullet.computeProjectionMatrixFOV(
                    fov_y_deg, width_px / height_px, NEAR_M, FAR_M
                ),
                renderer=self._bullet.ER_TINY_RENDERER,
                flags=self._bullet.ER_SEGMENTATION_MASK_OBJECT_AND_LINKINDEX,
            )

    def close(self) -> None:
        """Frees the world."""
        self._bullet.disconnect()


BENCHMARK = Benchmark(
    configs={"render": RenderBenchConfig},
    measure=lambda _, config: measure(config),
)
