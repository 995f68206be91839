"""Rearrange two blocks that look the same: remember which one was moved."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from embodied.geometry import Pose
from embodied.scenes.scene import Scene
from embodied.scenes.tabletop import CENTRE, block, button, centre_mark, detector, patch, place_detector, tabletop_scene
from embodied.tasks.expert import ExpertCourse, ExpertState, TaskExpert
from embodied.tasks.judging import choose, complete, fail, succeed
from embodied.tasks.memorybench import keyframes as to
from embodied.tasks.memorybench.base import MemoryTask, Tier
from embodied.tasks.memorybench.distances import to_button_m, to_carry_m, to_lift_m
from embodied.tasks.memorybench.layout import (
    CENTRE_DETECTOR_M,
    PUBLISHED_PAIR,
    PatchLayout,
    published_patches,
    random_on_patch,
    random_patches,
)
from embodied.tasks.memorybench.predicates import block_in, button_pressed, left_on, lifted, nothing_held
from embodied.types import Episode, Progress, WorldState

BLOCKS = ("block_0", "block_1")
PATCHES = ("patch_0", "patch_1")
INSTRUCTION = (
    "move the block from the centre to the empty patch, press the button, "
    "then move the block that has not been moved yet to the centre"
)


@dataclass(kw_only=True)
class RearrangeBlock(MemoryTask):
    """Move the centre block to the empty patch, press the button, move the other block to the centre.

    `block_i` is the block that belongs on `patch_i`: the target lies there from the start, the other one is brought
    from the centre. Once both lie on their patches only memory distinguishes them.

    Randomised. Faithful: the button only; which patch is empty is drawn uniformly (published: unequally often).
    Strict: the empty patch (every two seeds hold each once), centre and patches anywhere within reach and turned
    anyhow, button, offsets (+-1 cm along x and y) and yaws (+-45 degrees) of both blocks; the same errors befall
    every transport.

    Success. Faithful, in any order: `lifted` the centre block, `placed` it on the empty patch, `pressed`,
    `other_lifted`, `other_centred`, then nothing held; boxes as in `put_block_back`. Strict, in this order: `lifted`
    by more than 2.5 cm; `placed`, let go within the patch's detector; `pressed` by more than 3 mm with both blocks
    lying on their patches; `other_lifted`; `other_centred`, let go in the centre with the first still on its patch.

    Choice: the first block lifted by more than 2.5 cm after placing and pressing; in strict a wrong one is a failure.
    Chance is 1 / 2.
    """

    published_success: ClassVar[Mapping[str, float]] = {"SAM2Act+": 0.99, "SAM2Act": 0.82, "RVT-2": 0.52}

    @property
    def name(self) -> str:
        """The task's name in results."""
        return "rearrange_block"

    @property
    def expert(self) -> TaskExpert:
        """How one arm solves it."""
        return REARRANGE_BLOCK_EXPERT

    @property
    def instruction(self) -> str:
        """What the robot is asked to do."""
        return INSTRUCTION

    @property
    def candidates(self) -> tuple[str, ...]:
        """The blocks; the target is the one that starts on its patch."""
        return BLOCKS

    @property
    def phases(self) -> tuple[str, ...]:
        """Lifted, placed, pressed, other lifted, other centred."""
        return ("lifted", "placed", "pressed", "other_lifted", "other_centred")

    @property
    def cue_phases(self) -> tuple[str, ...]:
        """Placed and pressed; the faithful tier would count the lift later too."""
        return ("placed", "pressed")

    def advance(self, episode: Episode, progress: Progress, state: WorldState) -> Progress:
        """Returns the progress after one more control period has led to `state`."""
        if progress.done:
            return progress
        if self.choice_open(progress):
            for name in BLOCKS:
                progress = choose(progress, name) if lifted(state, name) else progress
        if self.tier is Tier.FAITHFUL:
            return self._advance_in_any_order(episode, progress, state)
        if progress.choice not in (None, episode.choice_goal.target):
            return fail(progress, f"wrong first choice: {progress.choice}")
        phase = self.phases[progress.phase]
        if not self._reached(phase, episode, state):
            return progress
        return succeed(progress, phase) if phase == "other_centred" else complete(progress, phase)

    def _reached(self, phase: str, episode: Episode, state: WorldState) -> bool:
        scene, other = episode.scene, episode.choice_goal.target
        mover = BLOCKS[1 - BLOCKS.index(other)]
        on_patch = {
            name: left_on(state, name, scene.region(detector(place)))
            for name, place in zip(BLOCKS, PATCHES, strict=True)
        }
        match phase:
            case "lifted":
                return lifted(state, mover)
            case "placed":
                return on_patch[mover]
            case "pressed":
                return all(on_patch.values()) and button_pressed(state)
            case "other_lifted":
                return lifted(state, other)
        return left_on(state, other, scene.region(detector(CENTRE))) and on_patch[mover]

    def remaining_m(self, episode: Episode, progress: Progress, state: WorldState) -> float:
        """Returns the way of the tool to block or button, and of the block to where it belongs next."""
        other = episode.choice_goal.target
        target = BLOCKS.index(other)
        mover = BLOCKS[1 - target]
        match self._next_phase(progress):
            case "lifted":
                return to_lift_m(state, mover)
            case "placed":
                return to_carry_m(state, mover, episode.scene.body(PATCHES[1 - target]).pose)
            case "pressed":
                return to_button_m(episode, state)
            case "other_lifted":
                return to_lift_m(state, other)
        return to_carry_m(state, other, episode.scene.body(CENTRE).pose)

    def _advance_in_any_order(self, episode: Episode, progress: Progress, state: WorldState) -> Progress:
        scene, other = episode.scene, episode.choice_goal.target
        target = BLOCKS.index(other)
        mover = BLOCKS[1 - target]
        centred = block_in(state, other, scene.region(detector(CENTRE)))
        facts = {
            "lifted": lifted(state, mover),
            "placed": block_in(state, mover, scene.region(detector(PATCHES[1 - target]))),
            "pressed": button_pressed(state),
            "other_lifted": lifted(state, other),
        }
        for phase, true in facts.items():
            progress = complete(progress, phase) if true else progress
        done = set(facts) <= set(progress.reached) and centred and nothing_held(state)
        return succeed(progress, "other_centred") if done else progress

    def _scene(self, name: str, variant: int, random: np.random.Generator) -> Scene:
        if self.tier is Tier.FAITHFUL:
            layout = published_patches(PUBLISHED_PAIR, random)
            noise = (0.0, 0.0)
        else:
            layout = random_patches(len(PATCHES), random)
            noise = (self.placement_noise_m, self.placement_noise_rad)
        mover = random_on_patch(layout.centre, *noise, random)
        other = random_on_patch(layout.patches[variant], *noise, random)
        starts = (other, mover) if variant == 0 else (mover, other)
        return _build(name, layout, starts, self.camera_px)


def _build(name: str, layout: PatchLayout, starts: tuple[Pose, Pose], camera_px: int) -> Scene:
    bodies, joints = button(layout.button)
    named = list(zip(PATCHES, layout.patches, strict=True))
    return tabletop_scene(
        name,
        bodies=(
            centre_mark(layout.centre),
            *(patch(patch_name, pose, layout.patch_m) for patch_name, pose in named),
            *bodies,
            *(
                block(block_name, *start.position_m[:2], start.yaw_rad)
                for block_name, start in zip(BLOCKS, starts, strict=True)
            ),
        ),
        joints=joints,
        regions=(
            place_detector(CENTRE, layout.centre, CENTRE_DETECTOR_M),
            *(place_detector(patch_name, pose, layout.detector_m) for patch_name, pose in named),
        ),
        camera_px=camera_px,
    )


def _centre_block(episode: Episode, state: WorldState) -> str:
    centre = episode.scene.body(CENTRE).pose.position_m
    return min(BLOCKS, key=lambda name: float(np.linalg.norm(np.subtract(state.pose[name].position_m, centre))))


def _course(episode: Episode, state: WorldState, expert_state: ExpertState) -> ExpertCourse:
    first, choice = expert_state["first"], expert_state["choice"]
    centre = episode.scene.body(CENTRE).pose
    empty = episode.scene.body(PATCHES[BLOCKS.index(first)]).pose
    return ExpertCourse(
        cue=(
            partial(to.above_block, state, first),
            partial(to.grasp_block, state, first),
            partial(to.carry_over, state, first, empty),
            partial(to.set_down, state, first, empty),
            partial(to.rise, state),
            partial(to.above_button, episode),
            partial(to.press_button, episode),
        ),
        choice=(
            partial(to.above_block, state, choice),
            partial(to.grasp_block, state, choice),
            partial(to.carry_over, state, choice, centre),
            partial(to.set_down, state, choice, centre),
        ),
    )


REARRANGE_BLOCK_EXPERT = TaskExpert(_centre_block, _course)
