"""Builds every part of a run once, so that whatever cannot work is refused before anything starts."""

from dataclasses import dataclass

from embodied.rollout.episode import require_cameras
from embodied.rollout.worker import WorkerConfig


@dataclass(frozen=True)
class Parts:
    """What only the built parts know: who is privileged, and what makes the pixels."""

    privileged: tuple[str, ...]
    renderer: str


def rehearse(worker: WorkerConfig, *, seed: int, split: str) -> Parts:
    """Builds every part in this process, for the episode `seed` of `split` of each task; a recorder is begun as well.

    Raises whatever building a part raises, and `ConfigError` for a camera that the scenes lack.
    """
    policies = {name: policy.build() for name, policy in worker.policies.items()}
    simulator = worker.simulator.build()
    try:
        for task in worker.tasks.values():
            episode = task.sample(seed, split=split)
            for name, policy in policies.items():
                require_cameras(episode.scene, policy.cameras, user=f"policy {name!r}")
            for robot in episode.scene.robots:
                worker.controller.build(episode.scene, robot.name)
            if worker.recorder is not None:
                simulator.reset(episode)
                worker.recorder.build().on_begin(episode, simulator)
        return Parts(tuple(name for name, policy in policies.items() if policy.privileged), simulator.renderer)
    finally:
        simulator.close()
