"""What a robot sees just before it must choose, and the forms in which probes are shown it."""

import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from embodied.errors import DataError
from embodied.geometry import invert, pose_from_matrix, transform_points
from embodied.scenes.tabletop import ROBOT_BASE_M

DEPTH_UNIT_M = 5e-5  # 16 bits then reach 3.2 m, beyond every camera's table.
CROP_SIZE_M = 0.2
DEPTH_REACH_M = 0.1
CROP_SIDE_PX = 32
IMAGE_SIDE_PX = 64
COARSE_SIDE_PX = 16
SAME_BEARING_RAD = 1e-3


@dataclass(frozen=True, eq=False)
class ChoiceSighting:
    """One observation at the decision point, as arrays.

    `rgb` uint8 (camera, height, width, 3); `depth` uint16 (camera, height, width) in units of `DEPTH_UNIT_M`;
    `intrinsics` (camera, 3, 3); `world_from_camera` (camera, 4, 4); `body` float32 (feature,): proprioception, the
    clock's time in seconds (0 where hidden) and the number of intents so far. `candidates_m` float32 (candidate, 3)
    says where the candidates are, in the order of `Episode.candidates`: it places crops, and no probe sees it.
    `target` is the index of the right one, `seed` the episode's.
    """

    rgb: np.ndarray
    depth: np.ndarray
    intrinsics: np.ndarray
    world_from_camera: np.ndarray
    body: np.ndarray
    candidates_m: np.ndarray
    target: np.ndarray
    seed: np.ndarray

    def to_bytes(self) -> bytes:
        """Returns the sighting as a compressed `.npz`."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **{field.name: getattr(self, field.name) for field in fields(self)})
        return buffer.getvalue()

    @staticmethod
    def read(path: Path) -> "ChoiceSighting":
        """Reads what `to_bytes` wrote. Raises `DataError` for a file that is not such."""
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
                return ChoiceSighting(**{field.name: stored[field.name] for field in fields(ChoiceSighting)})
        except (ValueError, KeyError, OSError, EOFError, BadZipFile, zlib.error) as error:
            raise DataError(
                "A sighting must be a whole file of this version.", value=str(path), remedy="Delete it and run again."
            ) from error


def depth_units(depth_m: np.ndarray) -> np.ndarray:
    """Returns depth as uint16 in units of `DEPTH_UNIT_M`; what is farther counts as farthest."""
    return np.clip(np.rint(depth_m / DEPTH_UNIT_M), 0, np.iinfo(np.uint16).max).astype(np.uint16)


def bodies(sightings: Sequence[ChoiceSighting]) -> np.ndarray:
    """Returns proprioception, time and step (sample, feature)."""
    return np.stack([sighting.body for sighting in sightings])


def reaches(sightings: Sequence[ChoiceSighting]) -> np.ndarray:
    """Returns the body beside each candidate's place, in the world and among all: (sample, candidate, feature, 1, 1).

    Memory of where the arm has been may be in its posture: this form asks which candidate the posture leans to.
    """
    found = []
    for sighting in sightings:
        places_m = sighting.candidates_m
        body = np.broadcast_to(sighting.body, (len(places_m), len(sighting.body)))
        found.append(np.concatenate([body, places_m, places_m - places_m.mean(axis=0)], axis=1))
    return np.stack(found)[..., None, None]


def indices(sightings: Sequence[ChoiceSighting]) -> np.ndarray:
    """Returns the target of each sighting (sample,), as its number among `Episode.candidates`."""
    return np.array([int(sighting.target) for sighting in sightings])


def ranks(sightings: Sequence[ChoiceSighting]) -> np.ndarray:
    """Returns the target of each sighting (sample,), counted as a robot could point: from right to left, bottom up.

    Right to left is by the bearing from the robot's foot; candidates above each other are counted from below.
    """
    return np.array([int(np.flatnonzero(_pointing_order(sighting) == sighting.target)[0]) for sighting in sightings])


def images(sightings: Sequence[ChoiceSighting], *, side_px: int = IMAGE_SIDE_PX) -> np.ndarray:
    """Returns all cameras as (sample, 4 * camera, side, side): red, green, blue in [0, 1] and depth in metres.

    Pixels are averaged over blocks, so `side_px` must divide the height and the width.
    """
    return np.stack([_averaged(_channels(sighting), side_px) for sighting in sightings])


def coarse_pixels(sightings: Sequence[ChoiceSighting]) -> np.ndarray:
    """Returns all cameras at 16 x 16 as plain features (sample, feature)."""
    return images(sightings, side_px=COARSE_SIDE_PX).reshape(len(sightings), -1)


def crops(sightings: Sequence[ChoiceSighting]) -> np.ndarray:
    """Returns what every camera shows around every candidate: (sample, candidate, 4 * camera, 32, 32).

    A crop is the square of `CROP_SIZE_M` that faces the camera at the candidate's distance, centred where it appears.
    Depth is relative to the candidate, cut at `DEPTH_REACH_M` and scaled to [-1, 1]; outside the image all is 0.
    """
    return np.stack([_crops_of(sighting) for sighting in sightings])


def _pointing_order(sighting: ChoiceSighting) -> np.ndarray:
    x_m, y_m, z_m = (sighting.candidates_m - np.array(ROBOT_BASE_M, dtype=np.float32)).T
    bearing_rad = np.arctan2(y_m, x_m)
    stacked = np.ptp(bearing_rad) < SAME_BEARING_RAD
    return np.argsort(z_m if stacked else bearing_rad, kind="stable")


def _channels(sighting: ChoiceSighting) -> np.ndarray:
    colour = sighting.rgb.astype(np.float32) / 255.0
    depth = sighting.depth.astype(np.float32)[..., None] * DEPTH_UNIT_M
    return np.moveaxis(np.concatenate([colour, depth], axis=-1), -1, 1).reshape(-1, *sighting.depth.shape[1:])


def _averaged(planes: np.ndarray, side_px: int) -> np.ndarray:
    channels, height, width = planes.shape
    blocks = planes.reshape(channels, side_px, height // side_px, side_px, width // side_px)
    return blocks.mean(axis=(2, 4), dtype=np.float32)


def _crops_of(sighting: ChoiceSighting) -> np.ndarray:
    found = np.zeros((len(sighting.candidates_m), len(sighting.rgb), 4, CROP_SIDE_PX, CROP_SIDE_PX), np.float32)
    for camera in range(len(sighting.rgb)):
        camera_from_world = invert(pose_from_matrix(sighting.world_from_camera[camera])).matrix
        for candidate, centre_m in enumerate(transform_points(camera_from_world, sighting.candidates_m)):
            if centre_m[2] > DEPTH_REACH_M:  # Behind the camera or in its very face there is nothing to see.
                found[candidate, camera] = _crop(sighting, camera, centre_m)
    return found.reshape(len(found), -1, CROP_SIDE_PX, CROP_SIDE_PX)


def _crop(sighting: ChoiceSighting, camera: int, centre_m: np.ndarray) -> np.ndarray:
    """Samples the nearest pixels of a square around a point of the camera's frame."""
    height, width = sighting.depth.shape[1:]
    matrix = sighting.intrinsics[camera]
    column, row = (matrix[axis, axis] * centre_m[axis] / centre_m[2] + matrix[axis, 2] for axis in (0, 1))
    reach_px = matrix[0, 0] * CROP_SIZE_M / 2 / centre_m[2]
    offsets = (np.arange(CROP_SIDE_PX) + 0.5) / CROP_SIDE_PX * 2 - 1
    columns, rows = (np.floor(middle + reach_px * offsets).astype(int) for middle in (column, row))
    seen = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))[None]
    pick = np.ix_(rows.clip(0, height - 1), columns.clip(0, width - 1))
    colour = sighting.rgb[camera][pick].astype(np.float32) / 255.0
    depth_m = sighting.depth[camera][pick].astype(np.float32) * DEPTH_UNIT_M - centre_m[2]
    depth = np.clip(depth_m / DEPTH_REACH_M, -1.0, 1.0)[..., None]
    return np.moveaxis(np.concatenate([colour, depth], axis=-1) * seen[..., None], -1, 0)
