"""Scripted experts of MemoryBench: pure functions of what is true and of how many keyframes came before."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from embodied.errors import unknown_name
from embodied.scenes.tabletop import CENTRE, DRAWER_OPEN_M, DRAWERS, slide
from embodied.tasks.memorybench import keyframes as to
from embodied.tasks.memorybench.put_block_back import BLOCK
from embodied.tasks.memorybench.rearrange_block import BLOCKS, PATCHES
from embodied.types import Episode, Intent, Progress, Wait, WorldState

REOPEN_TO_M = DRAWER_OPEN_M - 0.004
_REST = Wait(0.5)
_Keyframes = tuple[Callable[[], Intent], ...]


@dataclass(frozen=True)
class ExpertState:
    """What an expert carries from keyframe to keyframe.

    `choice` is the candidate that it believes to be right, unused before memory is needed; `first` the body that it
    handles before that, as seen at the start; `step` the index of the next keyframe.
    """

    choice: str
    first: str
    step: int = 0


@dataclass(frozen=True)
class _Plan:
    """How one task is solved. `decision` is the index of the first keyframe that depends on `ExpertState.choice`."""

    decision: int
    first: Callable[[Episode, WorldState], str]
    keyframes: Callable[[Episode, WorldState, ExpertState], _Keyframes]
    press: int


def initial_expert_state(episode: Episode, state: WorldState, choice: str) -> ExpertState:
    """Returns the expert's state in an episode that begins in `state`. Raises `UnknownNameError` without an expert."""
    return ExpertState(choice=choice, first=_plan(episode.task).first(episode, state))


def expert_state_after_press(episode: Episode, state: WorldState, choice: str) -> ExpertState:
    """Returns the state of an expert that has done all that precedes the choice: the keyframe after the press is next.

    Raises `UnknownNameError` without an expert.
    """
    return replace(initial_expert_state(episode, state, choice), step=_plan(episode.task).press + 1)


def next_keyframe(
    episode: Episode, progress: Progress, state: WorldState, expert_state: ExpertState
) -> tuple[Intent, ExpertState]:
    """Returns the keyframe of `expert_state.step`, from true poses now, and the expert's state before the next one.

    The button is pressed until the task counts it; after the last keyframe the arm rests.
    """
    plan = _plan(episode.task)
    step = expert_state.step
    if step == plan.press + 2 and step < plan.decision and "pressed" not in progress.reached:
        step = plan.press
    steps = plan.keyframes(episode, state, expert_state)
    intent = steps[step]() if step < len(steps) else _REST
    return intent, replace(expert_state, step=step + 1)


def decision_step(task: str) -> int:
    """Returns the `ExpertState.step` of the first keyframe that needs memory; nothing earlier may reveal the target.

    Raises `UnknownNameError` for a task without an expert.
    """
    return _plan(task).decision


def _reopen_drawer(episode: Episode, state: WorldState, expert_state: ExpertState) -> _Keyframes:
    first, choice = expert_state.first, expert_state.choice
    return (
        partial(to.stay, state),
        partial(to.before_handle, state, first),
        partial(to.grasp_handle, state, first),
        partial(to.slide_drawer, state, first, to_m=0.0, let_go=True),
        partial(to.back_off, state),
        partial(to.above_button, episode),
        partial(to.press_button, episode),
        partial(to.before_handle, state, choice),
        partial(to.grasp_handle, state, choice),
        partial(to.slide_drawer, state, choice, to_m=REOPEN_TO_M, let_go=False),
    )


def _put_block_back(episode: Episode, state: WorldState, expert_state: ExpertState) -> _Keyframes:
    centre, choice = episode.scene.body(CENTRE).pose, episode.scene.body(expert_state.choice).pose
    return (
        partial(to.above_block, state, BLOCK),
        partial(to.grasp_block, state, BLOCK),
        partial(to.carry_over, state, BLOCK, centre),
        partial(to.set_down, state, BLOCK, centre),
        partial(to.rise, state),
        partial(to.above_button, episode),
        partial(to.press_button, episode),
        partial(to.release_button, episode),
        partial(to.above_block, state, BLOCK),
        partial(to.grasp_block, state, BLOCK),
        partial(to.carry_over, state, BLOCK, choice),
        partial(to.set_down, state, BLOCK, choice),
    )


def _rearrange_block(episode: Episode, state: WorldState, expert_state: ExpertState) -> _Keyframes:
    first, choice = expert_state.first, expert_state.choice
    centre = episode.scene.body(CENTRE).pose
    empty = episode.scene.body(PATCHES[BLOCKS.index(first)]).pose
    return (
        partial(to.above_block, state, first),
        partial(to.grasp_block, state, first),
        partial(to.carry_over, state, first, empty),
        partial(to.set_down, state, first, empty),
        partial(to.rise, state),
        partial(to.above_button, episode),
        partial(to.press_button, episode),
        partial(to.above_block, state, choice),
        partial(to.grasp_block, state, choice),
        partial(to.carry_over, state, choice, centre),
        partial(to.set_down, state, choice, centre),
    )


def _open_drawer(episode: Episode, state: WorldState) -> str:
    del episode
    return max(DRAWERS, key=lambda name: state.joint[slide(name)])


def _only_block(episode: Episode, state: WorldState) -> str:
    del episode, state
    return BLOCK


def _centre_block(episode: Episode, state: WorldState) -> str:
    centre = episode.scene.body(CENTRE).pose.position_m
    return min(BLOCKS, key=lambda name: float(np.linalg.norm(np.subtract(state.pose[name].position_m, centre))))


_PLANS = {
    "reopen_drawer": _Plan(7, _open_drawer, _reopen_drawer, press=6),
    "put_block_back": _Plan(10, _only_block, _put_block_back, press=6),
    "rearrange_block": _Plan(7, _centre_block, _rearrange_block, press=6),
}


def _plan(task: str) -> _Plan:
    # Variants append their options to the name: `put_block_back_8_patches`.
    for name, plan in _PLANS.items():
        if task == name or task.startswith(f"{name}_"):
            return plan
    raise unknown_name("task with an expert", task, _PLANS)
