"""Builds every part of a run once, so that an invalid part is refused before anything starts."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from embodied.errors import unknown_name
from embodied.evaluation.provenance import outside_sources
from embodied.plugins import recorded_use
from embodied.protocols import Policy
from embodied.rollout.builders import PolicyBuilder
from embodied.rollout.episode_policies import is_stateless
from embodied.rollout.policy_calls import build_policy
from embodied.rollout.policy_placement import OutsidePolicy
from embodied.rollout.requests import check_policy_fits, require_cameras
from embodied.rollout.team import agents_of, team_agents
from embodied.rollout.worker import WorkerConfig, build_controller


@dataclass(frozen=True)
class Parts:
    """Facts that only the built parts show: privileged policies, renderers, and combinations that cannot be played.

    `obstacles` gives the reason by policy and control, such as "no memory"; it omits playable combinations. `sources`
    identify the code of plugins that is used, by package. `remarks` must stand in the report: they concern policies
    that other processes decide; those of `one_at_a_time` must not play several episodes at once. One instance of each
    of the `stateless` policies plays many episodes.
    """

    privileged: tuple[str, ...]
    renderer: str
    obstacles: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    sources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    remarks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    one_at_a_time: tuple[str, ...] = ()
    stateless: tuple[str, ...] = ()


def preflight(worker: WorkerConfig, *, seeds: Mapping[str, int], split: str) -> Parts:
    """Builds every part of `worker` in this process, for one episode of `split` of each task, at the seed in `seeds`.

    A recorder is begun as well. Raises whatever building a part raises, `PolicyFaultError` for an object that is not a
    policy, and `ConfigError` for a camera that the scenes lack.
    """
    with recorded_use() as used:
        parts = _built(worker, seeds=seeds, split=split)
    return replace(parts, sources=outside_sources(worker, used))


def _built(worker: WorkerConfig, *, seeds: Mapping[str, int], split: str) -> Parts:
    policies = {name: build_policy(name, policy) for name, policy in worker.policies.items()}
    team = {name: policies.get(name) or build_policy(name, builder) for name, builder in _team_builders(worker).items()}
    worker.latency.build()
    simulator = worker.simulator.build()
    try:
        for name_of_task, task in worker.tasks.items():
            episode = task.sample(seeds[name_of_task], split=split)
            for name, policy in policies.items():
                for robot, agent in agents_of(episode, policy, team_agents(worker.team, {"": policy, **team})).items():
                    cameras, own = agent.wanted_cameras, agent.cameras is not None
                    user = f"robot {robot!r}" if own else f"policy {agent.name or name!r}"
                    require_cameras(episode.scene, cameras, user=user)
                    check_policy_fits(episode.scene, agent.policy, cameras=cameras, period_s=simulator.control_period_s)
            if worker.dispatcher is not None:
                worker.dispatcher.build(episode)
            for robot in episode.scene.robots:
                build_controller(worker, episode.scene, robot.name)
            if worker.recorder is not None:
                simulator.reset(episode.scene)
                worker.recorder.build().on_begin(episode, simulator)
        playing = {**policies, **team}
        outside = {name: policy for name, policy in playing.items() if isinstance(policy, OutsidePolicy)}
        return Parts(
            privileged=tuple(name for name, policy in playing.items() if policy.privileged),
            renderer=simulator.renderer,
            obstacles=_obstacles(worker, policies),
            remarks={name: policy.remarks for name, policy in outside.items()},
            one_at_a_time=tuple(name for name, policy in outside.items() if policy.one_episode_at_a_time),
            stateless=tuple(name for name, policy in playing.items() if is_stateless(policy)),
        )
    finally:
        simulator.close()


def _team_builders(worker: WorkerConfig) -> dict[str, PolicyBuilder]:
    """Returns the policies that the team names. Raises `UnknownNameError` for one that the run lacks."""
    known = {**worker.team_policies, **worker.policies}
    named = sorted({one.policy for one in worker.team.values() if one.policy})
    for name in named:
        if name not in known:
            raise unknown_name("policy of the team", name, known)
    return {name: known[name] for name in named}


def _obstacles(worker: WorkerConfig, policies: Mapping[str, Policy]) -> dict[str, dict[str, str]]:
    found = {
        name: {control: kind.obstacle(policy) for control, kind in worker.controls.items() if kind.obstacle(policy)}
        for name, policy in policies.items()
    }
    return {name: obstacles for name, obstacles in found.items() if obstacles}
