"""The baselines of the splatting benchmark: a loop over points, OpenGL's point sprites, and Open3D's projection."""

import os
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np

from embodied.simulators.rendering.gl_context import SOFTWARE_THREADS, create_context, software_threads
from policies.sam2act.geometry import COLUMNS, DEPTHS, ROWS, VIEWS

FAR_M = 200.0  # The distance of Open3D's pinhole camera, for nearly parallel rays.
_VERTEX_SHADER = """
#version 430
uniform mat3 view_from_cube;
uniform float side_px;
in vec3 point;
in vec3 colour;
out vec3 place;
out vec3 paint;
void main() {
    place = point;
    paint = colour;
    gl_Position = vec4(view_from_cube * point, 1.0);
    gl_PointSize = side_px;
}
"""
_FRAGMENT_SHADER = """
#version 430
in vec3 place;
in vec3 paint;
layout(location = 0) out vec4 seen_place;
layout(location = 1) out vec4 seen_paint;
void main() {
    seen_place = vec4(place, 1.0);
    seen_paint = vec4(paint, 1.0);
}
"""


def loop(points: np.ndarray, rgb: np.ndarray, *, size: int, radius_px: int) -> np.ndarray:
    """Returns positions and colours (view, 6, `size`, `size`) of the nearest of `points` (point, 3) in the cube.

    `rgb` is uint8 (point, 3); a point covers `radius_px` around its pixel. Points are drawn one by one: this is the
    reference for splatting.
    """
    visualisations = np.zeros((len(VIEWS), 6, size, size), np.float32)
    nearest = np.full((len(VIEWS), size, size), np.inf, np.float32)
    colours = rgb.astype(np.float32) / 255
    for point, colour in zip(points, colours, strict=True):
        if not (np.abs(point) < 1).all():
            continue
        for view, ((row, down), (column, right), (axis, away)) in enumerate(zip(ROWS, COLUMNS, DEPTHS, strict=True)):
            middle = int((point[row] * down + 1) / 2 * size), int((point[column] * right + 1) / 2 * size)
            around = tuple(slice(max(at - radius_px, 0), at + radius_px + 1) for at in middle)
            closer = point[axis] * away < nearest[view][around]
            nearest[view][around][closer] = point[axis] * away
            visualisations[view, :3][:, *around][:, closer] = point[:, None]
            visualisations[view, 3:][:, *around][:, closer] = colour[:, None]
    return visualisations


class PointSprites:
    """OpenGL's own squares around points, nearest first, drawn by a GPU or by llvmpipe on `threads` threads."""

    def __init__(self, *, size: int, radius_px: int, threads: int) -> None:
        os.environ.setdefault(SOFTWARE_THREADS, software_threads(threads))
        gl, self._context = import_module("moderngl"), create_context()
        self.name = f"moderngl {version('moderngl')}: {self._context.info['GL_RENDERER']}"
        self._size = size
        with self._context:
            self._context.enable(gl.DEPTH_TEST | gl.PROGRAM_POINT_SIZE)
            self._program = self._context.program(_VERTEX_SHADER, _FRAGMENT_SHADER)
            self._program["side_px"] = 2.0 * radius_px + 1.0
            sides = (size, size * len(VIEWS))
            self._seen = (self._context.texture(sides, 4, dtype="f4"), self._context.texture(sides, 4))
            depth = self._context.depth_renderbuffer(sides)
            self._target = self._context.framebuffer(self._seen, depth)

    def draw(self, points: np.ndarray, rgb: np.ndarray) -> np.ndarray:
        """Returns places and colours (view, 6, size, size), read back."""
        with self._context:
            buffers = [self._context.buffer(np.ascontiguousarray(data)) for data in (points, rgb)]
            layout = [(buffers[0], "3f4", "point"), (buffers[1], "3f1", "colour")]
            array = self._context.vertex_array(self._program, layout, mode=0)
            self._target.use()
            self._target.clear()
            for view in range(len(VIEWS)):
                self._target.viewport = self._target.scissor = (0, view * self._size, self._size, self._size)
                self._program["view_from_cube"].write(_view_from_cube(view).T.astype("f4").tobytes())
                array.render()
            self._target.scissor = None
            place, paint = (texture.read() for texture in self._seen)
            for made in (array, *buffers):
                made.release()
        sides = (len(VIEWS), self._size, self._size, 4)
        places = np.frombuffer(place, np.float32).reshape(sides)[..., :3]
        colours = np.frombuffer(paint, np.uint8).reshape(sides)[..., :3].astype(np.float32) / 255
        return np.concatenate([places, colours], -1).transpose(0, 3, 1, 2)

    def close(self) -> None:
        """Frees the context."""
        self._context.release()


class Open3dProjection:
    """Open3D's projection of a cloud into an RGB-D image, once per view: one pixel per point, without squares.

    It supports pinhole cameras only, so they are 200 m away. Raises `ImportError` where Open3D is missing.
    """

    def __init__(self, *, size: int) -> None:
        open3d = import_module("open3d")
        self.name = f"open3d {version('open3d-cpu')}"
        self._make, self._tensor = open3d.t.geometry.PointCloud, open3d.core.Tensor
        focal, middle = size / 2 * FAR_M, size / 2 - 0.5  # Its pixel centres are at whole numbers.
        self._size = size
        self._intrinsics = self._tensor(np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1.0]]))
        self._extrinsics = []
        for view in range(len(VIEWS)):
            camera_from_cube = np.eye(4)
            camera_from_cube[:3, :3] = _view_from_cube(view)
            camera_from_cube[2, 3] = FAR_M
            self._extrinsics.append(self._tensor(camera_from_cube))

    def draw(self, points: np.ndarray, rgb: np.ndarray) -> np.ndarray:
        """Returns depths and colours (view, size, size, 4)."""
        cloud: Any = self._make(self._tensor(points))
        cloud.point["colors"] = self._tensor(rgb.astype(np.float32) / 255)
        seen = []
        for extrinsics in self._extrinsics:
            image = cloud.project_to_rgbd_image(
                self._size, self._size, self._intrinsics, extrinsics, depth_scale=1.0, depth_max=FAR_M + 1
            )
            seen.append(np.concatenate([image.depth.as_tensor().numpy(), image.color.as_tensor().numpy()], -1))
        return np.stack(seen)


def _view_from_cube(view: int) -> np.ndarray:
    """Columns, rows and depth of a view, from x, y and z in the cube."""
    rows = np.zeros((3, 3))
    for place, (axis, sign) in enumerate((COLUMNS[view], ROWS[view], DEPTHS[view])):
        rows[place, axis] = sign
    return rows
