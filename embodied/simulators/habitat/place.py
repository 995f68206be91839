"""The place in which a scene is drawn: empty, or one of a dataset; and the worker that keeps it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embodied.geometry import Pose, quaternion
from embodied.scenes.export import z_up_pose
from embodied.simulators.remote import RemoteWorker
from embodied.simulators.rendering.opengl import FAR_M, NEAR_M


@dataclass(frozen=True)
class PlacedThing:
    """A rigid object that a place of a dataset holds: its handle there, its id in images, its pose, and its mobility.

    `instance` is the semantic id of the dataset; images show it behind the ids of the scene (see `HabitatConfig`).
    """

    handle: str
    instance: int
    pose: Pose
    fixed: bool


class DrawnPlace:
    """Opens the place whenever the cameras are others, and starts a new worker where the last one has ended.

    `start` makes a worker; `folder` is where settings are written; `dataset` and `scene` name the place, "" for an
    empty one.
    """

    def __init__(self, start: Callable[[], RemoteWorker], folder: Path, *, dataset: str = "", scene: str = "") -> None:
        self._start = start
        self._folder = folder
        self._worker: RemoteWorker | None = None
        self._dataset, self._scene = dataset, scene
        self._cameras: list[dict[str, Any]] = []
        self._open_for: list[dict[str, Any]] | None = None
        self._session = 0
        self._things: tuple[PlacedThing, ...] = ()

    @property
    def furnished(self) -> bool:
        """Whether the place is one of a dataset."""
        return bool(self._dataset or self._scene)

    @property
    def worker(self) -> RemoteWorker:
        """The worker; a new one where the last has ended, in which nothing is open."""
        if self._worker is None or not self._worker.alive:
            self.close()
            self._worker = self._start()
        return self._worker

    @property
    def things(self) -> tuple[PlacedThing, ...]:
        """What the place held when it was opened last."""
        return self._things

    def enter(self) -> int:
        """Opens the place where it is not open; returns the number of the session.

        A session ends with `leave` and with the worker: what was added has to be added again in the next one.
        """
        worker = self.worker
        if self._open_for != self._cameras:
            opened = worker.call(
                "open",
                cameras=self._cameras,
                range_m=(NEAR_M, FAR_M),
                dataset=self._dataset,
                scene=self._scene,
                folder=self._settings_folder(),
            )
            self._open_for = self._cameras
            self._session += 1
            self._things = tuple(_thing(one) for one in opened["things"])
        return self._session

    def _settings_folder(self) -> str:
        """Returns a folder with settings for an empty place, "" for those of Habitat.

        Image-based lighting is of no use to flat shading, and its preparation takes a software renderer 20 s. Habitat
        omits it only where the images that it names are absent.
        """
        if self.furnished:
            return ""
        path = self._folder / "data" / "default.pbr_config.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"ibl_blut_filename": "absent.png", "ibl_envmap_filename": "absent.hdr"}))
        return str(self._folder)

    def leave(self, cameras: Sequence[dict[str, Any]]) -> None:
        """Ends the session; the next one has these `cameras`, and the place stays open if it was opened with them."""
        self._cameras = list(cameras)
        self._session += 1
        if self._open_for is not None and self._worker is not None and self._worker.alive:
            self._worker.call("remove")

    def close(self) -> None:
        """Ends the worker; calling it twice is harmless."""
        if self._worker is not None:
            self._worker.close()
        self._worker, self._open_for = None, None


def _thing(found: dict[str, Any]) -> PlacedThing:
    values = np.asarray(found["pose"], dtype=np.float64)
    pose = z_up_pose(values[:3].tolist(), quaternion(values[3:]))
    return PlacedThing(found["handle"], found["id"], pose, found["static"])
