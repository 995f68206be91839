"""All cameras of a scene with OpenGL through EGL: colour, metric depth and instance ids; GPU or llvmpipe."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from embodied.errors import ConfigError, SceneError
from embodied.geometry import intrinsics_matrix
from embodied.scenes.scene import Rgba
from embodied.scenes.surfaces import ShadedSurface, joined, shaded_surface
from embodied.simulators.rendering.forking import suspend_before_forks, using_opengl
from embodied.simulators.rendering.gl_context import SOFTWARE_THREADS, create_context, software_threads
from embodied.types import CameraImage

NEAR_M = 0.01
FAR_M = 10.0
BACKGROUND = (0.90, 0.92, 0.95, 1.0)

_VERTEX_SHADER = """
#version 430
layout(std430, binding = 0) readonly buffer Clip { mat4 clip_from_part[]; };
layout(std430, binding = 1) readonly buffer World { mat4 world_from_part[]; };
layout(std430, binding = 2) readonly buffer Paint { vec4 paint[]; };
layout(std430, binding = 3) readonly buffer Instance { int instance_of[]; };
uniform uint first;
in vec3 position;
in vec4 normal;
in uint part;
out vec3 colour;
flat out int instance;
const vec3 sun = vec3(0.36, 0.48, 0.80);
void main() {
    gl_Position = clip_from_part[first + part] * vec4(position, 1.0);
    vec3 up = normalize(mat3(world_from_part[part]) * normal.xyz);
    float light = 0.52 + 0.12 * up.z + 0.34 * max(0.0, dot(up, sun));
    colour = paint[part].rgb * light;
    instance = instance_of[part];
}
"""
_FRAGMENT_SHADER = """
#version 430
in vec3 colour;
flat in int instance;
layout(location = 0) out vec4 seen_colour;
layout(location = 1) out int seen_instance;
layout(location = 2) out float seen_depth_m;
void main() {
    seen_colour = vec4(colour, 1.0);
    seen_instance = instance;
    seen_depth_m = 1.0 / gl_FragCoord.w;  // w of the clip space below is the distance along the optical axis.
}
"""
_BINDINGS = {"clip": 0, "world": 1, "paint": 2, "instance": 3}


@dataclass(frozen=True, eq=False)
class Visual:
    """Triangles that move with `node`: `vertices` (V, 3) in its frame, `faces` (F, 3) counter-clockwise outside.

    `instance` is the id that marks its pixels; the alpha of `rgba` is ignored: everything is opaque.
    """

    node: int
    vertices: np.ndarray
    faces: np.ndarray
    rgba: Rgba
    instance: int


@dataclass(frozen=True, eq=False)
class CameraView:
    """A pinhole camera now: `world_from_camera` (4, 4), x right, y down, z forward."""

    name: str
    width_px: int
    height_px: int
    fov_y_rad: float
    world_from_camera: np.ndarray

    @cached_property
    def camera_from_world(self) -> np.ndarray:
        """The inverse (4, 4) of its pose."""
        return np.linalg.inv(self.world_from_camera)

    @cached_property
    def intrinsics(self) -> np.ndarray:
        """Its intrinsic matrix (3, 3)."""
        return intrinsics_matrix(self.width_px, self.height_px, self.fov_y_rad)


class OpenGLRenderer:
    """Draws the triangles of one scene into any number of cameras.

    It belongs to the thread that made it: GL contexts cannot be moved. Before a fork its context is released, and each
    process makes one of its own when it next renders. Every camera is drawn whole into a target of its own, so an image
    never depends on the other requested ones: the same scene gives the same bits.
    """

    def __init__(self, *, threads: int = 1, near_m: float = NEAR_M, far_m: float = FAR_M) -> None:
        """Starts OpenGL on a GPU if there is one, else on llvmpipe with `threads`, unless LP_NUM_THREADS is set.

        Raises `MissingDependencyError` where no OpenGL 4.3 can be had through EGL.
        """
        if not 0.0 < near_m < far_m:
            raise ConfigError("A renderer must see from near to far, both positive.", value=(near_m, far_m))
        os.environ.setdefault(SOFTWARE_THREADS, software_threads(threads))
        self._context: Any = None
        self._range_m = (near_m, far_m)
        self._buffers: dict[str, Any] = {}
        self._array: Any = None
        self._part_nodes = np.zeros(0, dtype=np.int64)
        self._surfaces: dict[tuple[int, int], tuple[Visual, ShadedSurface]] = {}
        self._targets: dict[tuple[int, int, int], _Target] = {}
        self._drawn: set[tuple[int, int, int]] = set()
        self._visuals: tuple[Visual, ...] = ()
        self._rgba: np.ndarray | None = None  # Of the visuals, once they were painted.
        with self._in_context():
            self._device = str(self._context.info["GL_RENDERER"])
        suspend_before_forks(self)

    @property
    def name(self) -> str:
        """The renderer for the record, such as `opengl: llvmpipe (LLVM 15.0.6, 256 bits)`."""
        return f"opengl: {self._device}"

    def load(self, visuals: Sequence[Visual]) -> None:
        """Replaces the scene. Visuals that share their arrays with the last scene are not prepared again.

        Raises `SceneError` for arrays of wrong shape, values that are not finite, and faces without their vertices.
        """
        # Keyed by identity; the Visual is kept so that its arrays live as long as their ids are in use here.
        surfaces = {}
        for visual in visuals:
            key = (id(visual.vertices), id(visual.faces))
            surfaces[key] = self._surfaces.get(key) or (visual, shaded_surface(visual.vertices, visual.faces))
        with self._in_context():
            self._release_scene()
            self._release_targets(set(self._targets) - self._drawn)
            self._drawn = set()
            self._surfaces, self._visuals, self._rgba = surfaces, tuple(visuals), None
            self._part_nodes = np.array([visual.node for visual in visuals], dtype=np.int64)
            self._upload()

    def paint(self, rgba: np.ndarray) -> None:
        """Gives the loaded visuals other colours: `rgba` (V, 4) in [0, 1], in the order of `load`.

        Raises `SceneError` for another shape.
        """
        if rgba.shape != (len(self._part_nodes), 4):
            raise SceneError("There must be one colour per visual.", value=rgba.shape)
        with self._in_context():
            self._rgba = np.array(rgba, dtype=np.float32)
            if self._array is not None:
                self._buffers["paint"].write(self._rgba.tobytes())

    def render(self, node_poses: np.ndarray, cameras: Sequence[CameraView]) -> dict[str, CameraImage]:
        """Returns an image per camera, nodes standing at `node_poses` (N, 4, 4), world from node.

        Depth is along the optical axis, 0 beyond the far plane; instance 0 is the background.
        """
        if len(self._part_nodes) and len(node_poses) <= self._part_nodes.max():
            raise SceneError("Every node of the loaded scene must have a pose.", value=len(node_poses))
        keys = []
        with self._in_context():
            self._place(np.asarray(node_poses, dtype=np.float64), cameras)
            for index, view in enumerate(cameras):
                slot = sum(key[:2] == (view.width_px, view.height_px) for key in keys)
                keys.append((view.width_px, view.height_px, slot))
                if keys[-1] not in self._targets:
                    self._targets[keys[-1]] = _Target(self._context, view.width_px, view.height_px)
                self._targets[keys[-1]].begin()
                if self._array is not None:
                    self._program["first"] = index * len(self._part_nodes)
                    self._array.render()
            # Read only now: several threads of llvmpipe fill one camera's pixels while the next is prepared.
            images = {view.name: self._targets[key].image(view) for view, key in zip(cameras, keys, strict=True)}
        self._drawn.update(keys)
        return images

    def suspend(self) -> None:
        """Frees the context; the next call makes another one, with the same scene and colours."""
        if self._context is None:
            return
        with self._context:
            self._release_scene()
            self._release_targets(set(self._targets))
            self._program.release()
        self._context.release()
        self._context = None

    def close(self) -> None:
        """Frees the context and all it holds; calling it twice is harmless."""
        with using_opengl():
            self.suspend()
        self._surfaces, self._visuals = {}, ()

    @contextmanager
    def _in_context(self) -> Iterator[None]:
        """Makes the context current inside, and before that the context itself where there is none."""
        with using_opengl():
            if self._context is None:
                self._context = create_context()
                with self._context:
                    self._program = self._context.program(_VERTEX_SHADER, _FRAGMENT_SHADER)
                    self._upload()
            with self._context:
                yield

    def _upload(self) -> None:
        """Sends the triangles and colours of the scene."""
        visuals = self._visuals
        if not visuals:
            return
        vertices, indices = joined([self._surfaces[id(one.vertices), id(one.faces)][1] for one in visuals])
        own = np.array([visual.rgba for visual in visuals], dtype=np.float32)
        paint = own if self._rgba is None else self._rgba
        instances = np.array([visual.instance for visual in visuals], dtype=np.int32)
        self._buffers = {
            "vertices": self._context.buffer(vertices.tobytes()),
            "indices": self._context.buffer(indices.tobytes()),
            "paint": self._context.buffer(paint.tobytes()),
            "instance": self._context.buffer(instances.tobytes()),
            "world": self._context.buffer(reserve=64 * len(visuals), dynamic=True),
            "clip": self._context.buffer(reserve=64 * len(visuals), dynamic=True),
        }
        layout = (self._buffers["vertices"], "3f 4i1 1u", "position", "normal", "part")
        self._array = self._context.vertex_array(self._program, [layout], self._buffers["indices"])
        self._bind()

    def _place(self, node_poses: np.ndarray, cameras: Sequence[CameraView]) -> None:
        if self._array is None or not cameras:
            return
        world = node_poses[self._part_nodes]
        clip_from_world = np.stack(
            [_clip_from_camera(view, *self._range_m) @ view.camera_from_world for view in cameras]
        )
        clip = clip_from_world[:, None] @ world[None]
        needed = 64 * len(cameras) * len(world)
        if self._buffers["clip"].size < needed:
            self._buffers["clip"].orphan(needed)
            self._bind()
        # OpenGL stores matrices by columns.
        self._buffers["world"].write(np.ascontiguousarray(world.transpose(0, 2, 1), dtype=np.float32))
        self._buffers["clip"].write(np.ascontiguousarray(clip.transpose(0, 1, 3, 2), dtype=np.float32))

    def _bind(self) -> None:
        """Gives the shaders their buffers, and sets what stays the same for all images of the scene."""
        for name, binding in _BINDINGS.items():
            self._buffers[name].bind_to_storage_buffer(binding)
        self._context.enable_only(self._context.DEPTH_TEST | self._context.CULL_FACE)
        self._context.front_face = "cw"  # Images are drawn top row first, which mirrors every triangle.

    def _release_scene(self) -> None:
        if self._array is not None:
            self._array.release()
            self._array = None
        for buffer in self._buffers.values():
            buffer.release()
        self._buffers = {}

    def _release_targets(self, keys: set[tuple[int, int, int]]) -> None:
        for key in keys:
            self._targets.pop(key).release()


class _Target:
    """The render target of one camera: colour, instance and depth in metres."""

    def __init__(self, context: Any, width_px: int, height_px: int) -> None:
        size = (width_px, height_px)
        self._attachments = [
            context.texture(size, 4),
            context.texture(size, 1, dtype="i4"),
            context.texture(size, 1, dtype="f4"),
        ]
        self._depth = context.depth_renderbuffer(size)
        self._framebuffer = context.framebuffer(self._attachments, self._depth)

    def begin(self) -> None:
        """Clears it and makes it the one that is drawn into."""
        self._framebuffer.use()
        on, off = (True,) * 4, (False,) * 4
        self._framebuffer.color_mask = (on, off, off)
        self._framebuffer.clear(*BACKGROUND)
        self._framebuffer.color_mask = (off, on, on)
        self._framebuffer.clear()
        self._framebuffer.color_mask = (on, on, on)

    def image(self, view: CameraView) -> CameraImage:
        """Returns the rendered image."""
        shape = (view.height_px, view.width_px)
        instance = np.frombuffer(self._read(1, components=1, dtype="i4"), np.int32).reshape(shape)
        return CameraImage(
            rgb=np.frombuffer(self._read(0, components=3, dtype="f1"), np.uint8).reshape(*shape, 3),
            depth_m=np.frombuffer(self._read(2, components=1, dtype="f4"), np.float32).reshape(shape),
            instance=instance,
            intrinsics=view.intrinsics.copy(),
            world_from_camera=np.array(view.world_from_camera, dtype=np.float64),
        )

    def release(self) -> None:
        """Frees it."""
        for thing in (self._framebuffer, self._depth, *self._attachments):
            thing.release()

    def _read(self, attachment: int, *, components: int, dtype: str) -> bytes:
        return self._framebuffer.read(components=components, attachment=attachment, alignment=1, dtype=dtype)


def _clip_from_camera(view: CameraView, near_m: float, far_m: float) -> np.ndarray:
    """Returns the projection (4, 4) of a camera frame x right, y down, z forward; w is z, and y stays downward.

    Since OpenGL counts rows upward, the first row of what it draws is then the top row of the image.
    """
    intrinsics = view.intrinsics
    clip = np.zeros((4, 4))
    clip[0, 0] = 2.0 * intrinsics[0, 0] / view.width_px
    clip[1, 1] = 2.0 * intrinsics[1, 1] / view.height_px
    clip[2, 2] = (far_m + near_m) / (far_m - near_m)
    clip[2, 3] = -2.0 * far_m * near_m / (far_m - near_m)
    clip[3, 2] = 1.0
    return clip
