"""Policies that look for the answer in seeds and in earlier episodes find it only where they are let."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec
import pytest

from embodied.controllers import ControllerConfig
from embodied.evaluation.controls import CONTROLS, OFF, SWAPPED, WIPED
from embodied.evaluation.evaluator import evaluate
from embodied.evaluation.metrics import chance_band
from embodied.evaluation.plan import Evaluation
from embodied.rollout.inline import InlineCompute
from embodied.rollout.job import EpisodeJob
from embodied.rollout.worker import SimulatorWorker, WorkerConfig
from embodied.seeding import derive_seed, stream
from embodied.simulators.bullet import BulletConfig
from embodied.tasks.registry import make_task
from embodied.types import Choice, Decision, Wait
from tests.evaluation.notebook import NAMES, CueTask, CueWorldConfig, Notebook, Page
from tests.fakes import BINS, FakeControllerConfig, FakeSimulatorConfig, FakeTask, carry_to

EPISODES = 120
TABLE, EPISODES_OF_A_TASK = 1_000, 40


def correct(folder, *, task, policy, salt, simulator=None):
    """How often the first choice was right, of `EPISODES` episodes that the evaluator plays."""
    worker = WorkerConfig(
        simulator=simulator or FakeSimulatorConfig(),
        controller=FakeControllerConfig(),
        tasks={"bin_block/strict": task},
        policies={"attacker": policy},
    )
    plan = Evaluation(suite="s", tier="strict", worker=worker, episodes=EPISODES, seed=0, salt=salt)
    results = evaluate(plan, compute=InlineCompute(worker), output=folder, config="", videos=0)
    entry = results["tasks"]["bin_block/strict"]["attacker"]["first_choice"]
    assert entry["reached"] == EPISODES
    return entry["correct"]


def put(page):
    """Carries the block to where `page` says, one keyframe per decision."""
    carry = {"written": page.written, "turn": page.turn + 1}
    return Decision(carry_to(BINS[page.written])[page.turn % 2 :][:1], carry=carry)


# --- A table of the seeds of all requests -----------------------------------------------------------------------------


@dataclass(kw_only=True)
class TableAttackConfig:
    """Knows what the first request's seed of each of many episodes would be without a salt, and their answers."""

    table: Mapping[int, str]

    def build(self):
        return TableAttack(self.table)


class TableAttack(Notebook):
    """Looks up its first request, and guesses where it finds nothing."""

    def __init__(self, table):
        super().__init__(cameras=())
        self._table = table

    def _decide(self, request):
        guess = self._table.get(request.seed) or str(stream(request.seed, "guess").choice(NAMES))
        page = Page(**(request.carry or {"written": guess}))
        return Decision(
            carry_to(BINS[page.written])[page.turn % 2 :][:1], carry={"written": page.written, "turn": page.turn + 1}
        )


def test_a_table_of_request_seeds_names_the_answer_without_a_salt_and_is_at_chance_with_one(tmp_path):
    episodes = [FakeTask().sample(seed) for seed in range(EPISODES)]
    table = {derive_seed(episode.seed, "policy", "arm", 0): episode.choice_goal.target for episode in episodes}
    attack = TableAttackConfig(table=table)
    assert correct(tmp_path / "unsalted", task=FakeTask(), policy=attack, salt="") == EPISODES
    low, high = chance_band(0.5, EPISODES)
    assert low <= correct(tmp_path / "salted", task=FakeTask(), policy=attack, salt="s2") <= high


class Asked:
    """Keeps the seed of each first request, and does nothing."""

    privileged = False

    def __init__(self, spec, seeds):
        self.observation_spec, self.action_spec = spec.observation_spec, spec.action_spec
        self._seeds = seeds

    def act(self, requests):
        self._seeds.append(requests[0].seed)
        return [Decision((Wait(0.05),)) for _ in requests]


@dataclass(kw_only=True)
class AskedConfig:
    seeds: list

    def build(self):
        return Asked(Notebook(cameras=()), self.seeds)


@pytest.mark.proof
@pytest.mark.parametrize("name", ["reopen_drawer", "put_block_back", "rearrange_block"])
def test_a_table_of_seeds_of_a_real_task_names_every_answer_without_a_salt_and_none_with_one(name):
    task = make_task(name, options={"camera_px": 8, "keyframe_limit": 1})
    table = {derive_seed(seed, "policy", "panda", 0): task.sample(seed).choice_goal.target for seed in range(TABLE)}
    hits = {}
    for salt in ("", "5a17" * 8):
        seeds = []
        config = WorkerConfig(
            simulator=BulletConfig(), controller=ControllerConfig(), tasks={name: task},
            policies={"asked": AskedConfig(seeds=seeds)},
        )  # fmt: skip
        worker = SimulatorWorker(config)
        for seed in range(0, TABLE, TABLE // EPISODES_OF_A_TASK):
            worker.run(EpisodeJob("r", f"{name}/test/{seed}", name, "asked", seed=seed, salt=salt))
        worker.close()
        targets = [task.sample(seed).choice_goal.target for seed in range(0, TABLE, TABLE // EPISODES_OF_A_TASK)]
        hits[salt] = [table.get(asked) == target for asked, target in zip(seeds, targets, strict=True)]
    assert [sum(found) for found in hits.values()] == [EPISODES_OF_A_TASK, 0]


# --- Counting cards ---------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class BlocksTask(CueTask):
    """Every two consecutive seeds hold both answers once, as by spec 1."""

    def sample(self, seed, *, split="test"):
        episode = super().sample(seed, split=split)
        target = NAMES[int(stream(seed // 2, "blocks").permutation(2)[seed % 2])]
        goal = Choice(episode.choice_goal.candidates, target)
        scene = msgspec.structs.replace(episode.scene, name=target)  # The world shows it.
        return replace(episode, variant=NAMES.index(target), goal=goal, scene=scene)


class CardCounter(Notebook):
    """Forgets the cue of its episode, but counts those of earlier ones in itself."""

    def __init__(self, *, stateless):
        super().__init__()
        self.stateless = stateless
        self.cues = []

    def _decide(self, request):
        page = Page(**(request.carry or {"written": self._expected(request)}))
        if request.carry is None:
            self.cues.append(NAMES[int(request.observation.images["front"].rgb[0, 0, 0]) - 1])
        return Decision(
            carry_to(BINS[page.written])[page.turn % 2 :][:1], carry={"written": page.written, "turn": page.turn + 1}
        )

    def _expected(self, request):
        if len(self.cues) % 2:
            return NAMES[1 - NAMES.index(self.cues[-1])]
        return str(stream(request.seed, "guess").choice(NAMES))


@dataclass(kw_only=True)
class CardCounterConfig:
    stateless: bool

    def build(self):
        return CardCounter(stateless=self.stateless)


def test_counting_the_answers_of_earlier_episodes_pays_only_for_a_policy_that_lives_on(tmp_path):
    low, high = chance_band(0.5, EPISODES)
    settings = {"task": BlocksTask(), "salt": "5a17", "simulator": CueWorldConfig()}
    kept = correct(tmp_path / "kept", policy=CardCounterConfig(stateless=True), **settings)
    assert kept > high, "An instance that plays all episodes knows every second answer."
    assert low <= correct(tmp_path / "anew", policy=CardCounterConfig(stateless=False), **settings) <= high


# --- Memory in the policy itself --------------------------------------------------------------------------------------


class Diary(Notebook):
    """Keeps the cue in itself instead of its carry, where no control could change it."""

    def __init__(self):
        super().__init__()
        self.cue = None

    def _decide(self, request):
        seen = int(request.observation.images["front"].rgb[0, 0, 0]) - 1
        if seen >= 0:
            self.cue = NAMES[seen]
        bin_ = self.cue or str(stream(request.seed, "guess").choice(NAMES))
        return Decision(carry_to(BINS[bin_])[request.step % 2 :][:1], carry={"written": None})


@dataclass(kw_only=True)
class DiaryConfig:
    def build(self):
        return Diary()


def test_controls_change_what_a_policy_keeps_in_itself_as_well(tmp_path):
    worker = WorkerConfig(
        simulator=CueWorldConfig(),
        controller=FakeControllerConfig(),
        tasks={"bin_block/strict": CueTask()},
        policies={"diary": DiaryConfig()},
        controls={name: CONTROLS[name]() for name in (OFF, WIPED, SWAPPED)},
    )
    plan = Evaluation(suite="s", tier="strict", worker=worker, episodes=60, seed=0, salt="5a17")
    results = evaluate(plan, compute=InlineCompute(worker), output=tmp_path, config="", videos=0)
    low, high = chance_band(0.5, 60)
    assert results["tasks"]["bin_block/strict"]["diary"]["first_choice"]["correct"] == 60
    entries = results["controls"]["bin_block/strict"]["diary"]
    assert low <= entries[OFF]["first_choice"]["correct"] <= high
    assert low <= entries[WIPED]["first_choice"]["correct"] <= high
    assert entries[SWAPPED]["follows_donor"]["followed"] == 60
