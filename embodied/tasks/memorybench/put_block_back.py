"""Put the block back where it was: remember one place among many."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from embodied.errors import ConfigError
from embodied.geometry import Pose
from embodied.scenes.scene import Scene
from embodied.scenes.tabletop import (
    BUTTON,
    CENTRE,
    block,
    button,
    centre_mark,
    detector,
    patch,
    place_detector,
    tabletop_scene,
)
from embodied.tasks.expert import ExpertCourse, ExpertState, TaskExpert
from embodied.tasks.judging import choose, complete, fail, succeed
from embodied.tasks.memorybench import keyframes as to
from embodied.tasks.memorybench.base import MemoryTask, Tier
from embodied.tasks.memorybench.distances import to_button_m, to_carry_m
from embodied.tasks.memorybench.layout import (
    CENTRE_DETECTOR_M,
    PUBLISHED_PATCHES,
    PatchLayout,
    published_patches,
    random_on_patch,
    random_patches,
)
from embodied.tasks.memorybench.predicates import (
    block_in,
    button_pressed,
    button_released,
    left_on,
    lowered_onto,
    nothing_held,
    over,
)
from embodied.types import Episode, Progress, WorldState

BLOCK = "block"
INSTRUCTION = "move the block to the centre, press the button, then put the block back where it was"


@dataclass(kw_only=True)
class PutBlockBack(MemoryTask):
    """Move the block from its patch to the centre, press the button, put the block back on the patch it came from.

    Randomised. Faithful: the button only; the start patch is drawn uniformly (the published demonstrations have
    the four unequally often). Strict: start patch (every k seeds hold each once), ring of patches anywhere within
    reach and turned anyhow, button, block offset (+-1 cm along x and y) and yaw (+-45 degrees); the same errors
    befall every transport.

    Success. Faithful: left its patch, reached the centre, button down by more than 3 mm, in any order; then on its
    own patch with nothing held; detectors are boxes of 7.5 x 7.5 x 3 cm (centre 12.5 x 12.5 x 3 cm) that the block
    touches. Strict, in this order: `left` its patch; `centred`, let go in the centre; `pressed` with the block lying
    there, 1 + `distractor_presses` times, the button up (within 1 mm) in between; `returned`, let go within the
    detector of its own patch. Detectors then judge the middle of the block.

    Choice: the first patch over which the block comes lower than 3 cm above lying there, once all presses are done;
    in strict a wrong one is a failure. Chance is 1 / `patches`.
    """

    patches: int = 4
    distractor_presses: int = 0

    published_success: ClassVar[Mapping[str, float]] = {"SAM2Act+": 1.0, "SAM2Act": 0.35, "RVT-2": 0.5}

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.patches <= 16:
            raise ConfigError("`patches` must lie in 2 to 16.", value=self.patches)
        if not 0 <= self.distractor_presses <= 50:
            raise ConfigError("`distractor_presses` must lie in 0 to 50.", value=self.distractor_presses)
        if self.tier is Tier.FAITHFUL and (self.patches, self.distractor_presses) != (4, 0):
            raise ConfigError(
                "The faithful tier has 4 patches and no distractor presses.",
                value=(self.patches, self.distractor_presses),
                remedy="Use tier=strict.",
            )

    @property
    def name(self) -> str:
        """`put_block_back`, with the options that differ from the published task."""
        patches = f"_{self.patches}_patches" if self.patches != 4 else ""
        presses = f"_{self.distractor_presses}_distractors" if self.distractor_presses else ""
        return f"put_block_back{patches}{presses}"

    @property
    def extra_presses(self) -> int:
        """Presses beyond the first."""
        return self.distractor_presses

    @property
    def expert(self) -> TaskExpert:
        """How one arm solves it."""
        return PUT_BLOCK_BACK_EXPERT

    @property
    def instruction(self) -> str:
        """What the robot is asked to do."""
        return INSTRUCTION

    @property
    def candidates(self) -> tuple[str, ...]:
        """The patches."""
        return tuple(f"patch_{index}" for index in range(self.patches))

    @property
    def phases(self) -> tuple[str, ...]:
        """Left, centred, pressed (and released) as often as asked, returned."""
        earlier = (f"{what}_{n}" for n in range(1, self.distractor_presses + 1) for what in ("pressed", "released"))
        return ("left", "centred", *earlier, "pressed", "returned")

    def advance(self, episode: Episode, progress: Progress, state: WorldState) -> Progress:
        """Returns the progress after one more control period has led to `state`."""
        if progress.done:
            return progress
        if self.tier is Tier.FAITHFUL:
            return self._advance_in_any_order(episode, progress, state)
        phase = self.phases[progress.phase]
        if phase == "returned":
            return self._judge_return(episode, progress, state)
        return complete(progress, phase) if self._reached(phase, episode, state) else progress

    def _reached(self, phase: str, episode: Episode, state: WorldState) -> bool:
        if phase == "left":
            own = episode.scene.region(detector(episode.choice_goal.target))
            return not over(state, BLOCK, own.pose, own.size_m[0])
        if not left_on(state, BLOCK, episode.scene.region(detector(CENTRE))):
            return False
        if phase.startswith("pressed"):
            return button_pressed(state)
        return button_released(state) if phase.startswith("released") else True

    def remaining_m(self, episode: Episode, progress: Progress, state: WorldState) -> float:
        """Returns the way of the tool to block or button, and of the block to the centre or to its own patch."""
        phase = self._next_phase(progress)
        if phase.startswith("pressed"):
            return to_button_m(episode, state)
        if phase.startswith("released"):
            return max(0.0, state.joint[BUTTON])
        place = CENTRE if phase in ("left", "centred") else episode.choice_goal.target
        return to_carry_m(state, BLOCK, episode.scene.body(place).pose)

    def _judge_return(self, episode: Episode, progress: Progress, state: WorldState) -> Progress:
        for name in episode.choice_goal.candidates:
            region = episode.scene.region(detector(name))
            if lowered_onto(state, BLOCK, region.pose, region.size_m[0] / 0.75):
                progress = choose(progress, name)
        if progress.choice not in (None, episode.choice_goal.target):
            return fail(progress, f"wrong first choice: {progress.choice}")
        home = left_on(state, BLOCK, episode.scene.region(detector(episode.choice_goal.target)))
        return succeed(progress, "returned") if home else progress

    def _advance_in_any_order(self, episode: Episode, progress: Progress, state: WorldState) -> Progress:
        own = episode.scene.region(detector(episode.choice_goal.target))
        facts = {
            "left": not block_in(state, BLOCK, own),
            "centred": block_in(state, BLOCK, episode.scene.region(detector(CENTRE))),
            "pressed": button_pressed(state),
        }
        for phase, true in facts.items():
            progress = complete(progress, phase) if true else progress
        if not self.choice_open(progress):
            return progress
        for name in episode.choice_goal.candidates:
            if block_in(state, BLOCK, episode.scene.region(detector(name))):
                progress = choose(progress, name)
        done = block_in(state, BLOCK, own) and nothing_held(state)
        return succeed(progress, "returned") if done else progress

    def _scene(self, name: str, variant: int, random: np.random.Generator) -> Scene:
        if self.tier is Tier.FAITHFUL:
            layout = published_patches(PUBLISHED_PATCHES, random)
            start = layout.patches[variant]
        else:
            layout = random_patches(self.patches, random)
            start = random_on_patch(layout.patches[variant], self.placement_noise_m, self.placement_noise_rad, random)
        return _build(name, layout, start, self.camera_px)


def _build(name: str, layout: PatchLayout, start: Pose, camera_px: int) -> Scene:
    bodies, joints = button(layout.button)
    named = [(f"patch_{index}", pose) for index, pose in enumerate(layout.patches)]
    return tabletop_scene(
        name,
        bodies=(
            centre_mark(layout.centre),
            *(patch(patch_name, pose, layout.patch_m) for patch_name, pose in named),
            *bodies,
            block(BLOCK, *start.position_m[:2], start.yaw_rad),
        ),
        joints=joints,
        regions=(
            place_detector(CENTRE, layout.centre, CENTRE_DETECTOR_M),
            *(place_detector(patch_name, pose, layout.detector_m) for patch_name, pose in named),
        ),
        camera_px=camera_px,
    )


def _only_block(episode: Episode, state: WorldState) -> str:
    del episode, state
    return BLOCK


def _course(episode: Episode, state: WorldState, expert_state: ExpertState) -> ExpertCourse:
    centre, choice = episode.scene.body(CENTRE).pose, episode.scene.body(expert_state["choice"]).pose
    return ExpertCourse(
        cue=(
            partial(to.above_block, state, BLOCK),
            partial(to.grasp_block, state, BLOCK),
            partial(to.carry_over, state, BLOCK, centre),
            partial(to.set_down, state, BLOCK, centre),
            partial(to.rise, state),
            partial(to.above_button, episode),
            partial(to.press_button, episode),
        ),
        between=(
            partial(to.release_button, episode),
            partial(to.above_block, state, BLOCK),
            partial(to.grasp_block, state, BLOCK),
        ),
        choice=(
            partial(to.carry_over, state, BLOCK, choice),
            partial(to.set_down, state, BLOCK, choice),
        ),
    )


PUT_BLOCK_BACK_EXPERT = TaskExpert(_only_block, _course, repeat_until="pressed")
