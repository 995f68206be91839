"""Observers that make videos of an episode."""

from dataclasses import dataclass, replace

import msgspec
import numpy as np

from embodied.errors import ConfigError
from embodied.protocols import Simulator
from embodied.rollout.recording.video import Mp4Writer
from embodied.rollout.recording.visualisations import columns_for, panel
from embodied.rollout.requests import SPECTATOR
from embodied.types import Decision, Episode, EpisodeRecord, IntentFeedback, Progress, Request, WorldState


@dataclass(kw_only=True)
class VideoConfig:
    """A video of an episode, seen from camera `view` of the scene, in frames per simulated second.

    Visualisations that a policy makes are shown beside it, which makes the video wider.
    """

    view: str = "front"
    width_px: int = 320
    height_px: int = 240
    fps: int = 10

    def build(self) -> "VideoObserver":
        """Returns an observer of one episode. Raises `ConfigError` for odd sizes and rates outside 1 to 20."""
        if self.width_px < 2 or self.height_px < 2 or self.width_px % 2 or self.height_px % 2:
            raise ConfigError("video.width_px and video.height_px must be even.", value=(self.width_px, self.height_px))
        if not 1 <= self.fps <= 20:
            raise ConfigError("video.fps must lie in [1, 20].", value=self.fps, remedy="Control runs at 20 Hz.")
        return VideoObserver(self)


def with_spectator(episode: Episode, config: VideoConfig) -> Episode:
    """Returns `episode` with one more camera for the video, beside those that policies see.

    Raises `UnknownNameError` where the scene has no camera `config.view`.
    """
    view = episode.scene.camera(config.view)
    camera = msgspec.structs.replace(view, name=SPECTATOR, width_px=config.width_px, height_px=config.height_px)
    scene = msgspec.structs.replace(episode.scene, cameras=(*episode.scene.cameras, camera))
    return replace(episode, scene=scene)


class VideoObserver:
    """Records a video through the camera `SPECTATOR`, with the newest visualisations of the policy beside it.

    The first decision determines the number of visualisations and so the width of the video: earlier frames are held
    back.
    """

    def __init__(self, config: VideoConfig) -> None:
        self._fps, self._height_px = config.fps, config.height_px
        self._writer = Mp4Writer(fps=config.fps)
        self._frames = 0
        self._simulator: Simulator | None = None
        self._robot = ""
        self._held_back: list[np.ndarray] = []
        self._columns: int | None = None
        self._visualisations: dict[str, np.ndarray] = {}
        self._panel: np.ndarray | None = None

    def on_begin(self, episode: Episode, simulator: Simulator) -> None:
        """Takes the first frame."""
        self._simulator, self._robot = simulator, episode.scene.robots[0].name
        self._take_frame()

    def on_decision(self, request: Request, decision: Decision) -> None:
        """Keeps the visualisations, to be shown until there are newer ones. Raises `ConfigError` for malformed ones."""
        del request
        self._visualisations = {**self._visualisations, **decision.visualisations}
        height_px = self._height_px
        if self._columns is None:
            self._columns = columns_for(len(self._visualisations), height_px)
        if self._columns and decision.visualisations:
            self._panel = panel(self._visualisations, height_px=height_px, columns=self._columns)
        self._release()

    def on_feedback(self, robot: str, feedback: IntentFeedback) -> None:
        """A video shows what happens, not what was reported."""

    def on_step(self, state: WorldState, progress: Progress) -> None:
        """Takes a frame when one is due, and the last one."""
        if progress.done or round(state.time_s * self._fps, 6) >= self._frames:
            self._take_frame()

    def on_end(self, record: EpisodeRecord) -> None:
        """The last frame was taken by `on_step`."""

    def mp4(self) -> bytes:
        """Returns the video as H.264 in MP4; no bytes if the episode did not begin."""
        self._columns = self._columns or 0
        self._release()
        return self._writer.finish()

    def _take_frame(self) -> None:
        if self._simulator is not None:
            observation = self._simulator.observe(self._robot, (SPECTATOR,))
            self._held_back.append(observation.images[SPECTATOR].rgb)
            self._frames += 1
            self._release()

    def _release(self) -> None:
        """Writes the frames that were held back, once it is known how wide they are."""
        if self._columns is None:
            return
        for scene in self._held_back:
            self._writer.write(scene if self._panel is None else np.hstack([scene, self._panel]))
        self._held_back = []
