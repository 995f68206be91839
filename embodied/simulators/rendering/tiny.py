"""TinyRenderer, PyBullet's own rasteriser: the fallback where there is no OpenGL."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from embodied.geometry import CAMERA_FROM_GL, intrinsics_matrix
from embodied.simulators.rendering.opengl import BACKGROUND, FAR_M, NEAR_M, CameraView
from embodied.types import CameraImage

_LINK_SHIFT = 24
_UID_MASK = (1 << _LINK_SHIFT) - 1


class TinyRenderer:
    """Renders the bodies of one PyBullet client, which must have been made with their visuals.

    `instances` maps (body uid, link, -1 for the base) to instance ids; whatever it lacks is drawn as instance 0.
    Colours differ slightly from OpenGL's, since PyBullet has its own light.
    """

    name = "tiny"

    def __init__(self, bullet: Any, instances: Mapping[tuple[int, int], int]) -> None:
        self._bullet = bullet
        # PyBullet marks pixels uid + (link + 1 << 24), and -1 where it sees nothing.
        codes = {uid + (link + 1 << _LINK_SHIFT): instance for (uid, link), instance in instances.items()}
        self._codes = np.array(sorted(codes), dtype=np.int64)
        self._ids = np.array([codes[code] for code in sorted(codes)], dtype=np.int32)

    def render(self, cameras: Sequence[CameraView]) -> dict[str, CameraImage]:
        """Returns an image per camera of the world as it stands in PyBullet now."""
        return {view.name: self._image(view) for view in cameras}

    def _image(self, view: CameraView) -> CameraImage:
        bullet = self._bullet
        world_from_camera = np.array(view.world_from_camera, dtype=np.float64)
        gl_from_world = np.linalg.inv(world_from_camera @ CAMERA_FROM_GL)
        _, _, rgba, buffer, codes = bullet.getCameraImage(
            view.width_px,
            view.height_px,
            viewMatrix=gl_from_world.T.ravel().tolist(),
            projectionMatrix=self._projection(view),
            renderer=bullet.ER_TINY_RENDERER,
            flags=bullet.ER_SEGMENTATION_MASK_OBJECT_AND_LINKINDEX,
        )
        shape = (view.height_px, view.width_px)
        rgb = np.array(rgba, dtype=np.uint8).reshape(*shape, 4)[:, :, :3]
        buffer = np.asarray(buffer, dtype=np.float64).reshape(shape)
        codes = np.asarray(codes, dtype=np.int64).reshape(shape)
        depth_m = FAR_M * NEAR_M / (FAR_M - (FAR_M - NEAR_M) * buffer)
        background = np.rint(255 * np.array(BACKGROUND[:3])).astype(np.uint8)
        return CameraImage(
            rgb=np.where((codes >= 0)[:, :, None], rgb, background),
            depth_m=np.where(codes >= 0, depth_m, 0.0).astype(np.float32),
            instance=self._instances(codes),
            intrinsics=intrinsics_matrix(view.width_px, view.height_px, view.fov_y_rad),
            world_from_camera=world_from_camera,
        )

    def _projection(self, view: CameraView) -> list[float]:
        matrix = list(
            self._bullet.computeProjectionMatrixFOV(
                float(np.degrees(view.fov_y_rad)), view.width_px / view.height_px, NEAR_M, FAR_M
            )
        )
        # TinyRenderer looks through the corners of pixels; half a pixel further are their centres.
        matrix[8] += 1.0 / view.width_px
        matrix[9] += 1.0 / view.height_px
        return matrix

    def _instances(self, codes: np.ndarray) -> np.ndarray:
        if len(self._codes) == 0:
            return np.zeros(codes.shape, dtype=np.int32)
        place = np.searchsorted(self._codes, codes).clip(max=len(self._codes) - 1)
        return np.where(self._codes[place] == codes, self._ids[place], 0).astype(np.int32)
