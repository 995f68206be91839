import io
import os
import subprocess
import sys
from dataclasses import replace

import av
import numpy as np
import pytest

from embodied.errors import ConfigError, UnknownNameError
from embodied.rollout.job import EpisodeJob
from embodied.rollout.recording.video import Mp4Writer
from embodied.rollout.recording.video_observer import VideoConfig
from embodied.rollout.requests import SPECTATOR
from embodied.rollout.worker import SimulatorWorker, WorkerConfig
from embodied.types import Limits, Outcome
from tests.fakes import FakeControllerConfig, FakePolicyConfig, FakeSimulatorConfig, FakeTask

CONFIG = WorkerConfig(
    simulator=FakeSimulatorConfig(),
    controller=FakeControllerConfig(),
    tasks={"bin_block/strict": FakeTask()},
    policies={"expert": FakePolicyConfig(privileged=True), "guesser": FakePolicyConfig()},
)
JOB = EpisodeJob(run="r", episode="bin_block/strict/test/3", task="bin_block/strict", policy="expert", seed=3)


def row(result):
    return replace(result.record, wall_s=0.0, attempt=0)


def frames(mp4):
    with av.open(io.BytesIO(mp4)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)], container.streams.video[0]


def test_a_record_says_what_was_played_and_how_it_ended():
    record = SimulatorWorker(CONFIG).run(replace(JOB, attempt=2)).record
    episode = CONFIG.tasks[JOB.task].sample(3)
    assert (record.run, record.episode, record.attempt) == ("r", JOB.episode, 2)
    assert (record.task, record.tier, record.policy) == ("bin_block", "strict", "expert")
    assert (record.variant, record.seed, record.outcome) == (episode.variant, 3, Outcome.SUCCESS)
    assert record.phases == ("taken", "binned")
    assert record.choice == {
        "chosen": episode.choice_goal.target,
        "target": episode.choice_goal.target,
        "correct": True,
    }
    assert record.steps == 2
    assert record.wall_s > 0.0


def test_a_wrong_choice_is_on_record_and_no_choice_is_none():
    worker = SimulatorWorker(CONFIG)
    records = [worker.run(replace(JOB, policy="guesser", seed=seed)).record for seed in range(20)]
    correct = [record.choice["correct"] for record in records if record.choice]
    assert len(correct) == 20
    assert 3 <= sum(correct) <= 17
    hasty = replace(CONFIG, tasks={JOB.task: FakeTask(overrides={"limits": Limits(intents=25, sim_time_s=0.1)})})
    assert SimulatorWorker(hasty).run(JOB).record.choice is None


def test_the_same_job_gives_the_same_record_in_any_order_and_worker():
    jobs = [replace(JOB, policy=policy, seed=seed) for seed in range(5) for policy in CONFIG.policies]
    worker = SimulatorWorker(CONFIG)
    forward = {(job.policy, job.seed): row(worker.run(job)) for job in jobs}
    backward = {(job.policy, job.seed): row(worker.run(job)) for job in reversed(jobs)}
    other = {(job.policy, job.seed): row(SimulatorWorker(CONFIG).run(job)) for job in jobs}
    assert forward == backward == other


def test_an_unknown_task_or_policy_is_named_with_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'bin_block/strict'"):
        SimulatorWorker(CONFIG).run(replace(JOB, task="bin_blok/strict"))
    with pytest.raises(UnknownNameError, match="Did you mean 'expert'"):
        SimulatorWorker(CONFIG).run(replace(JOB, policy="expret"))


def test_closing_a_worker_closes_its_simulator_once_and_it_can_play_again():
    worker = SimulatorWorker(CONFIG)
    worker.close()
    worker.run(JOB)
    worker.close()
    worker.close()
    assert worker.run(JOB).record.outcome is Outcome.SUCCESS


# --- Video ------------------------------------------------------------------------------------------------------------


def test_a_video_shows_simulated_time_at_its_rate_and_changes_nothing():
    config = replace(CONFIG, video=VideoConfig(width_px=64, height_px=48, fps=10))
    plain, recorded = SimulatorWorker(config).run(JOB), SimulatorWorker(config).run(replace(JOB, video=True))
    assert plain.video is None
    assert row(plain) == row(recorded)
    assert recorded.video
    visualisations, stream = frames(recorded.video)
    assert stream.codec_context.name == "h264"
    assert stream.average_rate == 10
    assert visualisations[0].shape == (48, 64, 3)
    assert len(visualisations) == pytest.approx(recorded.record.sim_time_s * 10 + 1, abs=1)


def test_a_video_shows_its_own_episode():
    """Two episodes of equal length, whose block ends in different bins: the frames agree up to where it is taken."""
    config = replace(CONFIG, video=VideoConfig(width_px=64, height_px=48, fps=10))
    by_target = {FakeTask().sample(seed).choice_goal.target: seed for seed in range(8)}
    left, right = (
        frames(
            SimulatorWorker(config).run(replace(JOB, episode=f"bin_block/strict/{seed}", seed=seed, video=True)).video
        )[0]
        for _, seed in sorted(by_target.items())
    )
    assert len(left) == len(right)
    apart = [float(np.abs(one.astype(int) - other).max()) for one, other in zip(left, right, strict=True)]
    assert max(apart[:3]) < 20.0, apart
    assert apart[-1] > 60.0, apart


def test_policies_that_read_all_cameras_do_not_see_the_spectator():
    class Curious(FakePolicyConfig):
        def build(self):
            policy = super().build()
            policy.cameras = None
            built.append(policy)
            return policy

    built = []
    config = replace(CONFIG, policies={"expert": Curious(privileged=True)})
    SimulatorWorker(config).run(replace(JOB, video=True))
    assert built
    assert all(SPECTATOR not in request.observation.images for request in built[0].seen)


def test_the_same_frames_give_the_same_video():
    def video():
        writer = Mp4Writer(fps=10)
        for index in range(30):
            writer.write(np.full((48, 64, 3), index * 8, dtype=np.uint8))
        return writer.finish()

    assert video() == video()
    visualisations, _ = frames(video())
    assert [round(float(picture.mean()) / 8) for picture in visualisations] == pytest.approx(list(range(30)), abs=1)


def test_odd_sizes_and_wild_rates_are_refused_and_no_frames_are_no_video():
    assert Mp4Writer(fps=10).finish() == b""
    for wrong in (VideoConfig(width_px=63), VideoConfig(height_px=0), VideoConfig(fps=0), VideoConfig(fps=60)):
        with pytest.raises(ConfigError):
            wrong.build()
    with pytest.raises(ConfigError):
        Mp4Writer(fps=10).write(np.zeros((47, 64, 3), dtype=np.uint8))
    with pytest.raises(UnknownNameError):
        SimulatorWorker(replace(CONFIG, video=VideoConfig(view="fornt"))).run(replace(JOB, video=True))


# --- Threads and imports ----------------------------------------------------------------------------------------------


def test_threads_are_set_and_not_inherited():
    code = (
        "import os, torch\n"
        "from tests.rollout.test_worker import CONFIG, SimulatorWorker\n"
        "torch.set_num_threads(7)\n"
        "SimulatorWorker(CONFIG)\n"
        "print(torch.get_num_threads(), os.environ['OMP_NUM_THREADS'], os.environ['LP_NUM_THREADS'])\n"
    )
    inherited = os.environ | {"OMP_NUM_THREADS": "7", "LP_NUM_THREADS": "7"}
    shown = subprocess.run([sys.executable, "-c", code], env=inherited, capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["1", "1", "0"]  # llvmpipe counts the threads beside the calling one.


def test_inline_rollouts_import_neither_ray_nor_torch():
    code = (
        "import sys\n"
        "from embodied.rollout.compute import ComputeConfig, ComputeKind\n"
        "from tests.rollout.test_worker import CONFIG, JOB\n"
        "with ComputeConfig(kind=ComputeKind.inline).build(CONFIG) as compute:\n"
        "    print(*(result.record.outcome for result in compute.run([JOB])))\n"
        "print({'ray', 'torch', 'pybullet'} & set(sys.modules))\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["success", "set()"]
