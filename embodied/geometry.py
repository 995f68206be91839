"""Poses, rotations and cameras. Transforms read right to left: `world_from_camera @ camera_from_tool`."""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from embodied.errors import PoseError, SceneError

Vector3 = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]

UNIT_TOLERANCE = 1e-3
CAMERA_FROM_GL = np.diag([1.0, -1.0, -1.0, 1.0])


class Pose(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A rigid placement: `position_m` in metres and `orientation` as a unit quaternion xyzw.

    Lists and arrays are taken too, and become tuples. Raises `PoseError` for other than three and four numbers, for
    numbers that are not finite, and for a quaternion off unit length by more than 0.001.
    """

    position_m: Vector3 = (0.0, 0.0, 0.0)
    orientation: Quaternion = (0.0, 0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        # Plain floats, and the common case first: an episode creates thousands of poses per second.
        if type(self.position_m) is tuple and type(self.orientation) is tuple and _is_rigid(self):
            return
        for name in ("position_m", "orientation"):
            msgspec.structs.force_setattr(self, name, _listed(getattr(self, name)))
        if len(self.position_m) != 3 or len(self.orientation) != 4:
            raise PoseError(
                "A pose must have a position of 3 and a quaternion of 4 numbers.",
                value=(self.position_m, self.orientation),
            )
        x, y, z, w = self.orientation
        try:
            finite = all(map(math.isfinite, (*self.position_m, x, y, z, w)))
        except (TypeError, OverflowError):
            finite = False
        if not finite:
            raise PoseError("A pose must be of finite numbers.", value=(self.position_m, self.orientation))
        norm = math.sqrt(x * x + y * y + z * z + w * w)
        if abs(norm - 1.0) > UNIT_TOLERANCE:
            raise PoseError(
                "An orientation must be a unit quaternion xyzw.",
                value=self.orientation,
                remedy=f"Its length is {norm:.4f}: divide by it.",
            )

    @property
    def matrix(self) -> np.ndarray:
        """The homogeneous (4, 4) transform, parent from this frame."""
        return matrix_from_pose(self)

    @property
    def yaw_rad(self) -> float:
        """The heading about world z, of the frame's x axis."""
        axis = rotation_matrix(self.orientation)[:, 0]
        return float(np.arctan2(axis[1], axis[0]))


def _is_rigid(pose: Pose) -> bool:
    """Returns whether a pose of tuples is certainly valid; where it is not, the single checks give the reason."""
    try:
        px, py, pz = pose.position_m
        x, y, z, w = pose.orientation
        # A sum is finite only where its terms are; a length within the tolerance excludes NaN and infinity.
        return math.isfinite(px + py + pz) and abs(math.sqrt(x * x + y * y + z * z + w * w) - 1.0) <= UNIT_TOLERANCE
    except (TypeError, ValueError, OverflowError):
        return False


def _listed(values: object) -> tuple[float, ...]:
    """Returns a list, tuple or array as a tuple, which can be sent, compared and hashed."""
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    if not isinstance(listed, list | tuple):
        raise PoseError("A pose must have a position of 3 and a quaternion of 4 numbers.", value=values)
    return tuple(listed)


def vector3(values: Sequence[float] | np.ndarray) -> Vector3:
    """Returns three plain floats."""
    x, y, z = map(float, values)
    return (x, y, z)


def quaternion(values: Sequence[float] | np.ndarray) -> Quaternion:
    """Returns four plain floats, scaled to unit length. Raises `PoseError` for four zeros."""
    x, y, z, w = map(float, values)
    norm = math.sqrt(x * x + y * y + z * z + w * w)
    if norm == 0.0:
        raise PoseError("A quaternion must have a length.", value=(x, y, z, w), remedy="(0, 0, 0, 1) turns nothing.")
    return (x / norm, y / norm, z / norm, w / norm)


def rotation_matrix(orientation: Sequence[float]) -> np.ndarray:
    """Returns the (3, 3) rotation of a unit quaternion xyzw."""
    x, y, z, w = orientation
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternion_from_matrix(rotation: np.ndarray) -> Quaternion:
    """Returns the unit quaternion xyzw, w >= 0, of a (3, 3) rotation (Shepperd's method: divides by the largest)."""
    r = np.asarray(rotation, dtype=np.float64)
    trace = r[0, 0] + r[1, 1] + r[2, 2]
    candidates = [r[0, 0], r[1, 1], r[2, 2], trace]
    i = int(np.argmax(candidates))
    values = np.empty(4)
    if i == 3:
        values[:] = [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], 1 + trace]
    else:
        j, k = (i + 1) % 3, (i + 2) % 3
        values[i] = 1 + r[i, i] - r[j, j] - r[k, k]
        values[j] = r[j, i] + r[i, j]
        values[k] = r[k, i] + r[i, k]
        values[3] = r[k, j] - r[j, k]
    if values[3] < 0:
        values = -values
    return quaternion(values)


def quaternion_from_euler(roll_rad: float, pitch_rad: float, yaw_rad: float) -> Quaternion:
    """Returns the quaternion of fixed-axis rotations by `roll_rad` about x, `pitch_rad` about y, `yaw_rad` about z.

    They are applied in this order (URDF's rpy).
    """
    cr, sr = np.cos(roll_rad / 2), np.sin(roll_rad / 2)
    cp, sp = np.cos(pitch_rad / 2), np.sin(pitch_rad / 2)
    cy, sy = np.cos(yaw_rad / 2), np.sin(yaw_rad / 2)
    return quaternion(
        [
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
            cr * cp * cy + sr * sp * sy,
        ]
    )


def quaternion_from_yaw(yaw_rad: float) -> Quaternion:
    """Returns the rotation about world z."""
    return (0.0, 0.0, float(np.sin(yaw_rad / 2)), float(np.cos(yaw_rad / 2)))


def quaternion_from_axis_angle(rotation: Sequence[float] | np.ndarray) -> Quaternion:
    """Returns the quaternion of an axis-angle vector, radians."""
    vector = np.asarray(rotation, dtype=np.float64)
    angle = float(np.linalg.norm(vector))
    half = np.sinc(angle / (2 * np.pi)) / 2  # sin(angle / 2) / angle, safe at zero
    return quaternion([*(vector * half), np.cos(angle / 2)])


def multiply_quaternions(left: Sequence[float], right: Sequence[float]) -> Quaternion:
    """Returns `left * right`: first `right` is applied, then `left`."""
    x1, y1, z1, w1 = left
    x2, y2, z2, w2 = right
    return quaternion(
        [
            w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
            w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2,
            w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2,
            w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2,
        ]
    )


def interpolate(start: Pose, end: Pose, fraction: float) -> Pose:
    """Returns the pose at `fraction` in [0, 1] from `start` to `end`: linear in position, shorter arc in orientation.

    The arc is traversed at constant speed (Shoemake, Animating Rotation with Quaternion Curves, 1985).
    """
    position = [(1.0 - fraction) * a + fraction * b for a, b in zip(start.position_m, end.position_m, strict=True)]
    dot = math.fsum(a * b for a, b in zip(start.orientation, end.orientation, strict=True))
    sign, angle = math.copysign(1.0, dot), math.acos(min(1.0, abs(dot)))
    left, right = 1.0 - fraction, fraction
    if angle > 1e-6:  # Below that, linear interpolation has the same result within rounding.
        left, right = (math.sin(share * angle) / math.sin(angle) for share in (left, right))
    turned = [left * a + right * sign * b for a, b in zip(start.orientation, end.orientation, strict=True)]
    return Pose(vector3(position), quaternion(turned))


def angle_between(left: Sequence[float], right: Sequence[float]) -> float:
    """Returns the angle in [0, pi] between two orientations."""
    dot = min(1.0, abs(float(np.dot(left, right))))
    return 2.0 * float(np.arccos(dot))


def matrix_from_pose(pose: Pose) -> np.ndarray:
    """Returns the homogeneous (4, 4) transform of a pose."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_matrix(pose.orientation)
    matrix[:3, 3] = pose.position_m
    return matrix


def matrices_from_poses(poses: Sequence[Pose]) -> np.ndarray:
    """Returns the homogeneous (N, 4, 4) transforms of N poses, bit for bit those of `matrix_from_pose`."""
    values = np.array([(*pose.position_m, *pose.orientation) for pose in poses]).reshape(-1, 7)
    x, y, z, w = values[:, 3:].T
    matrices = np.zeros((len(values), 4, 4))
    matrices[:, 0, 0], matrices[:, 0, 1] = 1 - 2 * (y * y + z * z), 2 * (x * y - z * w)
    matrices[:, 0, 2], matrices[:, 1, 0] = 2 * (x * z + y * w), 2 * (x * y + z * w)
    matrices[:, 1, 1], matrices[:, 1, 2] = 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)
    matrices[:, 2, 0], matrices[:, 2, 1] = 2 * (x * z - y * w), 2 * (y * z + x * w)
    matrices[:, 2, 2], matrices[:, 3, 3] = 1 - 2 * (x * x + y * y), 1.0
    matrices[:, :3, 3] = values[:, :3]
    return matrices


def pose_from_matrix(matrix: np.ndarray) -> Pose:
    """Returns the pose of a homogeneous (4, 4) transform."""
    return Pose(vector3(matrix[:3, 3]), quaternion_from_matrix(matrix[:3, :3]))


def compose(left: Pose, right: Pose) -> Pose:
    """Returns `left @ right`: a from b, b from c, gives a from c."""
    if (
        right.position_m[0] == 0.0 == right.position_m[1]
    ):  # Along z, as in tool frames: the same digits, without arrays.
        x, y, z, w = left.orientation
        (px, py, pz), along = left.position_m, right.position_m[2]
        shift = (2 * (x * z + y * w) * along, 2 * (y * z - x * w) * along, (1 - 2 * (x * x + y * y)) * along)
        return Pose(
            (shift[0] + px, shift[1] + py, shift[2] + pz), multiply_quaternions(left.orientation, right.orientation)
        )
    position = rotation_matrix(left.orientation) @ np.asarray(right.position_m) + left.position_m
    return Pose(tuple(position.tolist()), multiply_quaternions(left.orientation, right.orientation))


def invert(pose: Pose) -> Pose:
    """Returns the inverse transform."""
    x, y, z, w = pose.orientation
    conjugate = (-x, -y, -z, w)
    position = -(rotation_matrix(conjugate) @ np.asarray(pose.position_m))
    return Pose(tuple(position.tolist()), conjugate)


def transform_points(matrix: np.ndarray, points_m: np.ndarray) -> np.ndarray:
    """Returns `points_m` (..., 3) moved by a homogeneous (4, 4) transform."""
    return points_m @ matrix[:3, :3].T + matrix[:3, 3]


def look_at(eye_m: Vector3, target_m: Vector3, *, up: Vector3 = (0.0, 0.0, 1.0)) -> Pose:
    """Returns the pose of a camera at `eye_m` that looks at `target_m`: x right, y down, z forward.

    Raises `SceneError` where the view is along `up` or has no length.
    """
    forward = np.subtract(target_m, eye_m)
    right = np.cross(forward, up)
    if np.linalg.norm(right) < 1e-9:
        raise SceneError(
            "A camera must look at another point, not along its up axis.",
            value=(eye_m, target_m, up),
            remedy="Choose another `up`.",
        )
    forward, right = forward / np.linalg.norm(forward), right / np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward], axis=1)
    return Pose(eye_m, quaternion_from_matrix(rotation))


def intrinsics_matrix(width_px: int, height_px: int, fov_y_rad: float) -> np.ndarray:
    """Returns the (3, 3) pinhole matrix of `width_px` x `height_px` square pixels, centred on the image.

    `fov_y_rad` is the vertical field of view.
    """
    focal = height_px / (2 * np.tan(fov_y_rad / 2))
    return np.array([[focal, 0.0, width_px / 2], [0.0, focal, height_px / 2], [0.0, 0.0, 1.0]])


def points_from_depth(depth_m: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Returns camera-frame points (height, width, 3) of a depth image, pixel centres at half-integers."""
    height, width = depth_m.shape
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    x = (u - intrinsics[0, 2]) / intrinsics[0, 0] * depth_m
    y = (v - intrinsics[1, 2]) / intrinsics[1, 1] * depth_m
    return np.stack([x, y, depth_m], axis=-1)


def inside_box(point_m: Sequence[float], box: Pose, size_m: Sequence[float]) -> bool:
    """Returns whether `point_m` in the world lies in a box of edge lengths `size_m` centred on `box`."""
    local = rotation_matrix(box.orientation).T @ (np.asarray(point_m) - box.position_m)
    return bool(np.all(np.abs(local) <= np.asarray(size_m) / 2))


def boxes_overlap(left: Pose, left_size_m: Sequence[float], right: Pose, right_size_m: Sequence[float]) -> bool:
    """Returns whether two oriented boxes touch or overlap (separating axis theorem: 15 axes).

    `left` and `right` are the poses of their centres, `left_size_m` and `right_size_m` their edge lengths.
    """
    a, b = rotation_matrix(left.orientation), rotation_matrix(right.orientation)
    crosses = [np.cross(a[:, i], b[:, j]) for i in range(3) for j in range(3)]
    axes = np.array([*a.T, *b.T, *crosses])
    axes = axes[np.linalg.norm(axes, axis=1) > 1e-9]
    reach = np.abs(axes @ a) @ (np.asarray(left_size_m) / 2) + np.abs(axes @ b) @ (np.asarray(right_size_m) / 2)
    gap = np.abs(axes @ np.subtract(right.position_m, left.position_m))
    return bool(np.all(gap <= reach + 1e-12))
