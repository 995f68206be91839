"""Policies that keep notes, for controls of memory: what they do depends on what is written down alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np

from embodied.protocols import Simulator
from embodied.scenes.scene import Scene
from embodied.seeding import stream
from embodied.specs import KEYFRAME, ObservationSpec
from embodied.tasks.expert import ExpertState, keyframe_expert
from embodied.types import CameraImage, Carry, Choice, Decision, Episode, Moment, Progress, Request
from tests.fakes import BINS, FakeSimulator, FakeSimulatorConfig, FakeTask, carry_to

NAMES = sorted(BINS)
HIDDEN = -1


# --- A tiny world whose answer is shown at the start ------------------------------------------------------------------


@dataclass(kw_only=True)
class CueTask(FakeTask):
    """The block is to go into the bin that was shown at the start; memory must choose once it is taken.

    Counterfactual episodes end after `counterfactual_limit_s`, so that a short one never comes to its choice.
    """

    counterfactual_limit_s: float = 20.0

    def sample(self, seed: int, *, split: str = "test") -> Episode:
        episode = super().sample(seed, split=split)
        return replace(episode, scene=_showing(episode.choice_goal.target, episode.scene))

    def choice_open(self, progress: Progress) -> bool:
        return "taken" in progress.reached

    def counterfactual(self, episode: Episode) -> Episode:
        variant = (episode.variant + 1) % len(NAMES)
        return replace(
            episode, id=f"{episode.id}-counterfactual", variant=variant,
            goal=Choice(episode.choice_goal.candidates, NAMES[variant]),
            limits=replace(episode.limits, sim_time_s=self.counterfactual_limit_s),
            scene=_showing(NAMES[variant], episode.scene),
        )  # fmt: skip


def _showing(target: str, scene: Scene) -> Scene:
    return msgspec.structs.replace(scene, name=target)


class CueWorld(FakeSimulator):
    """Its cameras show which bin is right, in their first pixel, until the first command."""

    def reset(self, scene: Scene) -> None:
        super().reset(scene)
        self._cue = NAMES.index(scene.name) if scene.name in NAMES else HIDDEN

    def _image(self, name: str) -> CameraImage:
        image = super()._image(name)
        image.rgb[0, 0] = 1 + (self._cue if self.time_s == 0.0 else HIDDEN)
        return image


@dataclass(kw_only=True)
class CueWorldConfig(FakeSimulatorConfig):
    def build(self) -> Simulator:
        return CueWorld()


@dataclass(frozen=True)
class Page:
    """`written` is the memory; `turn` is no memory of what was seen."""

    written: str | None = None
    turn: int = 0


@dataclass
class Notebook:
    """Writes down what it is shown, takes the block, and puts it where its notes say, or anywhere without notes."""

    cameras: Sequence[str] | None = ("front",)
    privileged: bool = False
    takes_hints: bool = False
    draws: bool = False
    seen: list[Request] = field(default_factory=list)

    action_spec = KEYFRAME

    @property
    def observation_spec(self) -> ObservationSpec:
        return ObservationSpec(cameras=None if self.cameras is None else tuple(self.cameras))

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        self.seen += requests
        return [self._decide(request) for request in requests]

    def _decide(self, request: Request) -> Decision:
        page = Page(**(request.carry or {}))
        seen = int(request.observation.images["front"].rgb[0, 0, 0]) - 1
        written = page.written if seen == HIDDEN else NAMES[seen]
        bin_ = written or str(stream(request.seed, "guess").choice(NAMES))
        visualisations = {}
        if self.draws and request.visualisations:
            visualisations = {"heat_map": np.full((8, 8, 3), 200, np.uint8), "wrist": np.full((6, 12, 3), 90, np.uint8)}
        return Decision(
            carry_to(BINS[bin_])[page.turn % 2 :][:1],
            moments=(moment(request),),
            carry={"written": written, "turn": page.turn + 1},
            visualisations=visualisations,
        )

    def wiped(self, carry: Carry) -> Carry:
        return {**carry, "written": None}

    def swapped(self, carry: Carry, donor: Carry) -> Carry:
        return {**carry, "written": donor["written"]}


@dataclass(kw_only=True)
class NotebookConfig:
    draws: bool = False

    def build(self) -> Notebook:
        return Notebook(draws=self.draws)


def moment(request: Request) -> Moment:
    return Moment(
        np.array([1.0], np.float32), None, "notes", float(request.step), (0.0, 0.0, 0.0),
        request.observation.robot, "episode",
    )  # fmt: skip


# --- The real tasks ---------------------------------------------------------------------------------------------------


class CheckpointWriter:
    """The expert's hands, led by notes: it writes down the target at the start, and guesses without any."""

    cameras: Sequence[str] | None = ()

    action_spec = KEYFRAME

    @property
    def observation_spec(self) -> ObservationSpec:
        return ObservationSpec(cameras=None if self.cameras is None else tuple(self.cameras))

    privileged = True
    takes_hints = True

    def __init__(self, *, writes: bool) -> None:
        self._writes = writes

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        return [self._decide(request) for request in requests]

    def _decide(self, request: Request) -> Decision:
        truth = request.truth
        assert truth is not None
        episode, state, expert = truth.episode, truth.state, keyframe_expert(truth.expert, truth.episode.task)
        guess = str(stream(episode.seed, "guess").choice(episode.choice_goal.candidates))
        notes = request.carry
        if notes is None:
            written = episode.choice_goal.target if self._writes else None
            notes = {"written": written, "expert_state": expert.begin(episode, state, guess)}
        expert_state: ExpertState = {**notes["expert_state"], "choice": notes["written"] or guess}
        intent, expert_state = expert.next_keyframe(episode, truth.progress, state, expert_state)
        return Decision((request.hint or intent,), carry={**notes, "expert_state": expert_state})

    def wiped(self, carry: Carry) -> Carry:
        return {**carry, "written": None}

    def swapped(self, carry: Carry, donor: Carry) -> Carry:
        return {**carry, "written": donor["written"]}


@dataclass(kw_only=True)
class ScribeConfig:
    writes: bool = True

    def build(self) -> CheckpointWriter:
        return CheckpointWriter(writes=self.writes)
