"""Reopen the drawer that was open: remember one of three like drawers."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from embodied.geometry import Pose, compose, inside_box
from embodied.scenes.scene import Detent, Region, Scene
from embodied.scenes.tabletop import DRAWER_OPEN_M, DRAWERS, FRONT_IN_DRAWER_M, button, chest, slide, tabletop_scene
from embodied.tasks.expert import ExpertCourse, ExpertState, TaskExpert
from embodied.tasks.judging import choose, complete, fail, succeed
from embodied.tasks.memorybench import keyframes as to
from embodied.tasks.memorybench.base import MemoryTask, Tier
from embodied.tasks.memorybench.distances import opening_m, to_button_m, to_handle_m
from embodied.tasks.memorybench.layout import ChestLayout, published_chest, random_chest
from embodied.tasks.memorybench.predicates import button_pressed
from embodied.types import Episode, Progress, WorldState

SHUT_M = 0.02
REOPENED_M = 0.19
SUCCESS_BOX = "success_box"
REOPEN_TO_M = DRAWER_OPEN_M - 0.004
INSTRUCTION = "shut the open drawer, press the button, then open the same drawer again"

_CATCH = Detent(position=0.0, capture=0.03, force=15.0)
_BOX = Region(SUCCESS_BOX, Pose((0.259, -0.1, 0.95)), (0.2, 0.2, 0.3))


@dataclass(kw_only=True)
class ReopenDrawer(MemoryTask):
    """Shut the open drawer, press the button, open the same drawer again.

    Randomised. Faithful: the button only; the open drawer is drawn uniformly (published: unequally often). Strict:
    the open drawer (every three seeds hold each once), place (8 x 6 cm) and yaw (0.45 rad) of the chest, button.
    Strict drawers have a catch that pulls them shut from 3 cm, so that none is left ajar.

    Success, in this order. `closed`: the drawer is open by less than 2 cm, after 21 cm. `pressed`: button down by
    more than 3 mm; in strict with all drawers closed. `reopened`: faithful, the middle of the drawer's front is in
    the published box of 0.2 x 0.2 x 0.3 m, which is about 14 cm; strict, it is open by more than 19 cm.

    Choice: the first drawer open by more than 2 cm after the press; in strict a wrong one is a failure.
    Chance is 1 / 3.
    """

    published_success: ClassVar[Mapping[str, float]] = {"SAM2Act+": 0.84, "SAM2Act": 0.48, "RVT-2": 0.6}

    @property
    def name(self) -> str:
        """The task's name in results."""
        return "reopen_drawer"

    @property
    def expert(self) -> TaskExpert:
        """How one arm solves it."""
        return REOPEN_DRAWER_EXPERT

    @property
    def instruction(self) -> str:
        """What the robot is asked to do."""
        return INSTRUCTION

    @property
    def candidates(self) -> tuple[str, ...]:
        """The drawers, from bottom to top."""
        return DRAWERS

    @property
    def phases(self) -> tuple[str, ...]:
        """Closed, pressed, reopened."""
        return ("closed", "pressed", "reopened")

    def advance(self, episode: Episode, progress: Progress, state: WorldState) -> Progress:
        """Returns the progress after one more control period has led to `state`."""
        if progress.done:
            return progress
        opening = {name: state.joint[slide(name)] for name in DRAWERS}
        shut = all(value < SHUT_M for value in opening.values())
        strict = self.tier is Tier.STRICT
        match progress.phase:
            case 0:
                return complete(progress, "closed") if opening[episode.choice_goal.target] < SHUT_M else progress
            case 1:
                counts = button_pressed(state) and (shut or not strict)
                return complete(progress, "pressed") if counts else progress
        if not shut:
            progress = choose(progress, max(opening, key=opening.__getitem__))
        if strict and progress.choice not in (None, episode.choice_goal.target):
            return fail(progress, f"wrong first choice: {progress.choice}")
        done = opening[episode.choice_goal.target] > REOPENED_M if strict else _front_in_box(episode, state)
        return succeed(progress, "reopened") if done else progress

    def remaining_m(self, episode: Episode, progress: Progress, state: WorldState) -> float:
        """Returns the way of the tool to what is handled next, and how far drawers still have to slide."""
        target = episode.choice_goal.target
        match self._next_phase(progress):
            case "closed":
                return to_handle_m(state, target) + opening_m(state, target)
            case "pressed":
                return to_button_m(episode, state) + sum(opening_m(state, drawer) for drawer in DRAWERS)
        return to_handle_m(state, target) + max(0.0, REOPENED_M - opening_m(state, target))

    def _scene(self, name: str, variant: int, random: np.random.Generator) -> Scene:
        strict = self.tier is Tier.STRICT
        layout = random_chest(random) if strict else published_chest(random)
        return _build(name, layout, DRAWERS[variant], _CATCH if strict else None, camera_px=self.camera_px)


def _front_in_box(episode: Episode, state: WorldState) -> bool:
    front = compose(state.pose[episode.choice_goal.target], Pose(FRONT_IN_DRAWER_M))
    box = episode.scene.region(SUCCESS_BOX)
    return inside_box(front.position_m, box.pose, box.size_m)


def _build(name: str, layout: ChestLayout, opened: str, catch: Detent | None, *, camera_px: int) -> Scene:
    chest_bodies, chest_joints = chest(layout.chest, opened=opened, detent=catch)
    button_bodies, button_joints = button(layout.button)
    return tabletop_scene(
        name,
        bodies=(*chest_bodies, *button_bodies),
        joints=(*chest_joints, *button_joints),
        regions=() if catch is not None else (_BOX,),
        camera_px=camera_px,
    )


def _open_drawer(episode: Episode, state: WorldState) -> str:
    del episode
    return max(DRAWERS, key=lambda name: state.joint[slide(name)])


def _course(episode: Episode, state: WorldState, expert_state: ExpertState) -> ExpertCourse:
    first, choice = expert_state["first"], expert_state["choice"]
    return ExpertCourse(
        cue=(
            partial(to.stay, state),
            partial(to.before_handle, state, first),
            partial(to.grasp_handle, state, first),
            partial(to.slide_drawer, state, first, to_m=0.0, let_go=True),
            partial(to.back_off, state),
            partial(to.above_button, episode),
            partial(to.press_button, episode),
        ),
        choice=(
            partial(to.before_handle, state, choice),
            partial(to.grasp_handle, state, choice),
            partial(to.slide_drawer, state, choice, to_m=REOPEN_TO_M, let_go=False),
        ),
    )


REOPEN_DRAWER_EXPERT = TaskExpert(_open_drawer, _course)
