"""What a policy saw and meant, in the video of an episode."""

import io
from dataclasses import replace

import av
import numpy as np
import pytest

from embodied.errors import ConfigError
from embodied.rollout.job import EpisodeJob
from embodied.rollout.recording.video_observer import VideoConfig
from embodied.rollout.recording.visualisations import MOST_COLUMNS, TILE_PX, columns_for, panel
from embodied.rollout.worker import SimulatorWorker, WorkerConfig
from tests.evaluation.notebook import CueTask, CueWorldConfig, NotebookConfig
from tests.fakes import FakeControllerConfig

JOB = EpisodeJob("r", "bin_block/strict/3", "bin_block/strict", "draws", seed=3)
CONFIG = WorkerConfig(
    simulator=CueWorldConfig(),
    controller=FakeControllerConfig(),
    tasks={"bin_block/strict": CueTask()},
    policies={"draws": NotebookConfig(draws=True), "plain": NotebookConfig()},
    video=VideoConfig(width_px=320, height_px=240),
)


def frames(video):
    with av.open(io.BytesIO(video)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_video_shows_the_scene_and_beside_it_what_the_policy_drew_from_the_first_frame_on():
    plain = frames(SimulatorWorker(CONFIG).run(replace(JOB, policy="plain", video=True)).video)
    drawn = frames(SimulatorWorker(CONFIG).run(replace(JOB, video=True)).video)
    assert len(drawn) == len(plain)
    assert plain[0].shape == (240, 320, 3)
    for frame, alone in zip(drawn, plain, strict=True):
        assert frame.shape == (240, 320 + TILE_PX, 3)
        assert float(np.abs(frame[:, :310].astype(int) - alone[:, :310]).mean()) < 3.0
        assert frame[60:70, 370:390].mean() == pytest.approx(200, abs=12)  # The heat map.
        assert frame[160:165, 370:390].mean() == pytest.approx(90, abs=12)  # The picture below it.


def test_pictures_are_asked_for_in_videos_alone_and_change_nothing():
    recorded = SimulatorWorker(CONFIG).run(replace(JOB, video=True)).record
    quiet = SimulatorWorker(CONFIG).run(JOB).record
    assert replace(recorded, wall_s=0.0) == replace(quiet, wall_s=0.0)


@pytest.mark.parametrize(("count", "columns"), [(0, 0), (1, 1), (2, 1), (3, 2), (8, 4), (99, MOST_COLUMNS)])
def test_a_video_has_room_for_eight_pictures(count, columns):
    assert columns_for(count, 240) == columns


@pytest.mark.parametrize("shape", [(1, 1), (5, 500), (480, 640), (300, 7)])
@pytest.mark.parametrize("height_px", [2, 14, 48, 240, 482])
def test_pictures_of_any_size_fit_their_tiles(shape, height_px):
    sheet = panel({"a": np.full((*shape, 3), 255, np.uint8)}, height_px=height_px, columns=2)
    assert sheet.shape == (height_px, 2 * min(TILE_PX, height_px), 3)
    assert sheet.shape[1] % 2 == 0
    assert sheet.max() == 255 or height_px <= 14


def test_a_picture_is_labelled_and_keeps_its_proportions():
    wide = np.zeros((10, 20, 3), np.uint8)
    wide[...] = (255, 0, 0)
    sheet = panel({"top_heat_map": wide}, height_px=240, columns=1)
    red = (sheet == (255, 0, 0)).all(axis=-1)
    assert (red.any(axis=0).sum(), red.any(axis=1).sum()) == (106, 53)
    unlabelled = panel({"": wide}, height_px=240, columns=1)
    assert (sheet != unlabelled).any(axis=(1, 2)).nonzero()[0].max() < 14


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)],
)
def test_an_array_that_is_no_picture_is_refused_by_name(wrong):
    with pytest.raises(ConfigError, match="'heat' of a decision must be uint8"):
        panel({"heat": wrong}, height_px=240, columns=1)
