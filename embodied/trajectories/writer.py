"""Writes format 2."""

from pathlib import Path

import numpy as np

from embodied.trajectories.container import write_container
from embodied.trajectories.decisions import decisions_to_json
from embodied.trajectories.frames import Frames, encode, is_image
from embodied.trajectories.header import DECISIONS, header_bytes
from embodied.trajectories.trajectory import Trajectory, check_trajectory


def write_trajectory(path: Path, trajectory: Trajectory) -> str:
    """Writes `trajectory` to `path`, whole or not at all, and returns the SHA-256 of the file.

    The same trajectory gives the same bytes. Raises `DataError` where its columns do not fit its features.
    """
    check_trajectory(trajectory)
    frames: dict[str, Frames] = {}
    arrays: dict[str, np.ndarray] = {}
    rows: dict[str, int] = {}
    for feature in trajectory.features:
        column = trajectory.columns[feature.name]
        rows[feature.track] = len(column)
        if isinstance(column, Frames):
            frames[feature.name] = column
        elif is_image(feature):
            frames[feature.name] = encode(feature, column)
        else:
            arrays[feature.name] = column
    if trajectory.decisions:
        arrays[DECISIONS] = np.frombuffer(decisions_to_json(trajectory.decisions), np.uint8)
    header = header_bytes(trajectory, rows, {name: column.codec for name, column in frames.items()})
    return write_container(path, header, arrays, {name: column.coded for name, column in frames.items()})
