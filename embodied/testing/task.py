"""The contract of tasks: `check_task`."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import fields, replace

import numpy as np

from embodied.errors import UnknownNameError
from embodied.protocols import ChoiceTask, ShapedTask, Task
from embodied.scenes.scene import Scene
from embodied.testing.contract import Rule, global_random, leaves
from embodied.testing.ideal_world import home_state
from embodied.types import (
    Choice,
    ControllerStatus,
    Episode,
    IntentFeedback,
    Outcome,
    Progress,
    RobotState,
    WorldState,
    held_bodies,
)

States = Callable[[Episode], Sequence[WorldState]]
SEEDS = (0, 1, 2, 3)
SPLITS = ("train", "test")
COUNTERFACTUAL_FIELDS = ("id", "variant", "goal", "scene")

NAMES = Rule("names", "A task must have a name, and its episodes its name and tier.")
SAMPLING = Rule("sampling", "`sample` must give the same episode of a seed in any process and any order.")
SEED = Rule(
    "seeds", "Each seed and split must give an episode of its own that carries both; an unknown split is refused."
)
SCENE = Rule("scene_json", "`Scene.from_json(scene.to_json())` must give back the scene of an episode.")
PURE = Rule("pure", "The same episode, progress and state must give the same progress, and stay as they are.")
PROGRESS = Rule(
    "progress", "Phases that were reached must stay, a choice must be a candidate, a failure must have a reason."
)
COUNTERFACTUAL = Rule("counterfactual", "A counterfactual must differ from its episode in its variant alone.")
CHOICE = Rule("choice_open", "`choice_open` must be a bool that follows from the progress alone.")
REMAINING = Rule("remaining", "`remaining_m` must be finite and not negative, whatever phases were reached.")


def check_task(
    make: Callable[[], Task],
    *,
    seeds: Sequence[int] = SEEDS,
    splits: Sequence[str] = SPLITS,
    states: States | None = None,
) -> None:
    """Raises `ContractError`, which names the first broken rule, unless `make()` gives sound tasks.

    Episodes are sampled from all `seeds` in all `splits`. An outside package calls it in its tests::

        from embodied.testing import check_task
        check_task(MyTask)

    `states` returns the states on which an episode is judged, one a period; by default some that a robot can reach in
    the scene. A `ChoiceTask` and a `ShapedTask` are checked as such.
    """
    episodes = _check_sampling(make, seeds, splits)
    task = make()
    for episode in episodes[:: len(seeds)]:
        visited = (states or visited_states)(episode)
        _check_judgement(task, episode, visited)
        if isinstance(task, ChoiceTask):
            _check_counterfactual(task, episode, states or visited_states)
        if isinstance(task, ShapedTask):
            _check_remaining(task, episode, visited)


def visited_states(episode: Episode) -> list[WorldState]:
    """Returns the first state of the episode's scene, then some in which joints, contacts and grasps have changed."""
    scene, first = episode.scene, home_state(episode.scene)
    states = [first]
    for body in scene.bodies:
        for robot in scene.robots:
            pair = (body.name, robot.name) if body.name < robot.name else (robot.name, body.name)
            states.append(replace(first, contact=frozenset({pair})))
            if body.graspable and first.robots[robot.name].end_effectors:
                states.append(_holding(first, robot.name, body.name))
    states += [replace(first, joint=_joints(scene, upper=upper)) for upper in (True, False)]
    return [replace(state, time_s=0.05 * number) for number, state in enumerate(states)]


def _check_remaining(task: ShapedTask, episode: Episode, states: Sequence[WorldState]) -> None:
    with REMAINING:
        for count in range(len(task.phases) + 1):
            progress = Progress(reached=tuple(task.phases[:count]))
            for state in states:
                metres = task.remaining_m(episode, progress, state)
                if not (np.isfinite(metres) and metres >= 0.0):
                    raise REMAINING.broken(f"{metres!r} after {progress.reached}")


def _holding(state: WorldState, robot: str, body: str) -> WorldState:
    here = state.robots[robot]
    name, end_effector = next(iter(here.end_effectors.items()))
    held = {**here.end_effectors, name: replace(end_effector, held=body, gripper=0.0)}
    robots: dict[str, RobotState] = {**state.robots, robot: replace(here, end_effectors=held)}
    return replace(state, robots=robots, held=held_bodies(robots), pose={**state.pose, body: end_effector.tool})


def _joints(scene: Scene, *, upper: bool) -> dict[str, float]:
    return {joint.name: joint.upper if upper else joint.lower for joint in scene.joints if joint.kind != "fixed"}


def _check_sampling(make: Callable[[], Task], seeds: Sequence[int], splits: Sequence[str]) -> list[Episode]:
    wanted = [(seed, split) for split in splits for seed in seeds]
    with SAMPLING:
        task, other = make(), make()
        with global_random(1):
            episodes = [task.sample(seed, split=split) for seed, split in wanted]
        with global_random(2):
            before = random.getstate(), np.random.get_state()[1].tobytes()  # type: ignore[union-attr]
            again = [other.sample(seed, split=split) for seed, split in reversed(wanted)][::-1]
            after = random.getstate(), np.random.get_state()[1].tobytes()  # type: ignore[union-attr]
        SAMPLING.require_same("episodes of two instances, in two orders", episodes, again)
        if before != after:
            raise SAMPLING.broken("a draw from a global random generator")
    with NAMES:
        if not task.name or not isinstance(task.tier, str):
            raise NAMES.broken((task.name, task.tier))
        for episode in episodes:
            if (episode.task, episode.tier) != (task.name, task.tier):
                raise NAMES.broken(f"an episode of {(episode.task, episode.tier)} by {(task.name, task.tier)}")
    with SEED:
        for (seed, split), episode in zip(wanted, episodes, strict=True):
            if (episode.seed, episode.split) != (seed, split):
                raise SEED.broken(f"an episode of {(episode.seed, episode.split)} for {(seed, split)}")
        if len({episode.id for episode in episodes}) < len(episodes):
            raise SEED.broken(f"ids {sorted(episode.id for episode in episodes)}")
    SEED.require_refusal("a split that does not exist", lambda: task.sample(0, split="no split"), UnknownNameError)
    with SCENE:
        for episode in episodes:
            SCENE.require_same("the scene and that read back", episode.scene, Scene.from_json(episode.scene.to_json()))
    return episodes


def _check_judgement(task: Task, episode: Episode, states: Sequence[WorldState]) -> None:
    with PURE:
        before = leaves((episode, list(states)))
        progress = task.begin(episode, states[0])
        PURE.require_same("two beginnings", progress, task.begin(episode, states[0]))
        for state in states:
            kept = leaves(progress)
            later = task.advance(episode, progress, state)
            PURE.require_same("two advances", later, task.advance(episode, progress, state))
            PURE.require_same("a progress before and after", kept, progress)
            _require_progress(episode, progress, later)
            _check_failure(task, episode, progress)
            if later.done:
                break
            progress = later
        PURE.require_same("the episode and its states before and after", before, (episode, list(states)))


def _check_failure(task: Task, episode: Episode, progress: Progress) -> None:
    feedback = IntentFeedback("MoveTo", ControllerStatus.FAILED, "out of reach")
    robot = episode.scene.robots[0].name if episode.scene.robots else "robot"
    kept = leaves((progress, feedback))
    failed = task.after_failure(episode, progress, feedback, robot)
    PURE.require_same("two failures", failed, task.after_failure(episode, progress, feedback, robot))
    PURE.require_same("a progress before and after a failure", kept, (progress, feedback))
    _require_progress(episode, progress, failed)


def _require_progress(episode: Episode, before: Progress, after: Progress) -> None:
    with PROGRESS:
        if not isinstance(after, Progress):
            raise PROGRESS.broken(after)
        if after.reached[: before.phase] != before.reached or len(set(after.reached)) < after.phase:
            raise PROGRESS.broken(f"phases {before.reached}, then {after.reached}")
        candidates = episode.goal.candidates if isinstance(episode.goal, Choice) else ()
        if after.choice is not None and after.choice not in candidates:
            raise PROGRESS.broken(f"the choice {after.choice!r} among {candidates}")
        if before.choice is not None and after.choice != before.choice:
            raise PROGRESS.broken(f"the choice {before.choice!r}, then {after.choice!r}")
        if not isinstance(after.outcome, Outcome) or (after.outcome is Outcome.FAILURE and not after.reason):
            raise PROGRESS.broken(f"outcome {after.outcome!r} for the reason {after.reason!r}")


def _check_counterfactual(task: ChoiceTask, episode: Episode, states: States) -> None:
    with CHOICE:
        progress = task.begin(episode, states(episode)[0])
        answers = [task.choice_open(progress), task.choice_open(progress)]
        if not all(isinstance(answer, bool) for answer in answers) or answers[0] is not answers[1]:
            raise CHOICE.broken(answers)
    with COUNTERFACTUAL:
        before = leaves(episode)
        other = task.counterfactual(episode)
        COUNTERFACTUAL.require_same("two counterfactuals", other, task.counterfactual(episode))
        COUNTERFACTUAL.require_same("the episode before and after", before, episode)
        if other.id == episode.id or other.variant == episode.variant:
            raise COUNTERFACTUAL.broken(f"id {other.id!r} and variant {other.variant}, as in the episode itself")
        for field in fields(episode):
            if field.name not in COUNTERFACTUAL_FIELDS:
                one, changed = getattr(episode, field.name), getattr(other, field.name)
                COUNTERFACTUAL.require_same(f"`{field.name}` of both", one, changed)
        goal, asked = episode.choice_goal, other.choice_goal
        if asked.candidates != goal.candidates or asked.target == goal.target:
            raise COUNTERFACTUAL.broken(f"{asked}, where the episode has {goal}")
        for part in ("robots", "cameras", "regions"):
            one, changed = getattr(episode.scene, part), getattr(other.scene, part)
            COUNTERFACTUAL.require_same(f"{part} of both scenes", one, changed)
        for part in ("bodies", "joints"):
            names = [[thing.name for thing in getattr(scene, part)] for scene in (episode.scene, other.scene)]
            COUNTERFACTUAL.require_same(f"names of {part} of both scenes", *names)
