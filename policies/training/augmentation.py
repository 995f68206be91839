"""SE(3) augmentation: the world frame is moved once per sequence, and everything expressed in it moves along."""

from collections.abc import Mapping, Sequence

import numpy as np

from embodied.geometry import multiply_quaternions, quaternion_from_yaw, rotation_matrix, transform_points
from policies.training.config import AugmentationConfig


class Augmentation:
    """Draws moves of the world.

    It is turned about the vertical axis in the middle of `workspace_m` ((low, high) for x, y, z).
    """

    def __init__(self, config: AugmentationConfig, workspace_m: Sequence[tuple[float, float]]) -> None:
        self._config = config
        self._low, self._high = np.transpose(np.asarray(workspace_m, dtype=np.float64))
        self.copies = config.copies

    def draw(self, random: np.random.Generator, intents_m: np.ndarray) -> tuple[np.ndarray, int]:
        """Returns a transform (4, 4) that keeps `intents_m` (T, 3) in the workspace, and the number of rejected draws.

        If every try is rejected, the transform is the identity. The same generator and intents give the same result.
        """
        for rejected in range(self._config.tries):
            moved = self._draw_once(random)
            placed = transform_points(moved, intents_m)
            if ((placed >= self._low) & (placed <= self._high)).all():
                return moved, rejected
        return np.eye(4), self._config.tries

    def _draw_once(self, random: np.random.Generator) -> np.ndarray:
        yaw_rad = random.uniform(-self._config.yaw_rad, self._config.yaw_rad)
        shift_m = random.uniform(-1.0, 1.0, 3) * self._config.shift_m
        middle_m = (self._low + self._high) / 2 * (1.0, 1.0, 0.0)
        moved = np.eye(4)
        moved[:3, :3] = rotation_matrix(quaternion_from_yaw(float(yaw_rad)))
        moved[:3, 3] = middle_m - moved[:3, :3] @ middle_m + shift_m
        return moved


def move_world(sequence: Mapping[str, np.ndarray], moved: np.ndarray) -> dict[str, np.ndarray]:
    """Returns a sequence of keyframes (arrays of `learner.Batch`, one episode) expressed in a world moved by `moved`.

    Cameras, tool and intents move; images and everything else stay.
    """
    turn = _yaw_quaternion(moved)
    return {
        **sequence,
        "world_from_camera": moved @ sequence["world_from_camera"],
        **{name: transform_points(moved, sequence[name]) for name in ("tool_position_m", "intent_position_m")},
        **{name: _turned(turn, sequence[name]) for name in ("tool_orientation", "intent_orientation")},
    }


def _yaw_quaternion(moved: np.ndarray) -> Sequence[float]:
    return quaternion_from_yaw(float(np.arctan2(moved[1, 0], moved[0, 0])))


def _turned(turn: Sequence[float], orientations: np.ndarray) -> np.ndarray:
    turned = [multiply_quaternions(turn, orientation) for orientation in orientations]
    return np.array(turned, dtype=np.float64).reshape(-1, 4)
