"""Sampling: balanced, reproducible, and blind to the variant."""

import hashlib
import subprocess
import sys
from dataclasses import dataclass, fields

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embodied.errors import ConfigError, UnknownNameError
from embodied.scenes.scene import Scene
from embodied.scenes.tabletop import DRAWERS, slide
from embodied.tasks.judging import OnFailure
from embodied.tasks.memorybench.suite import MEMORYBENCH
from embodied.tasks.registry import SUITES, TASKS, make_task, suite_named
from embodied.types import Clock, ControllerStatus, IntentFeedback, Outcome, Progress

KINDS = [(name, tier) for name in MEMORYBENCH.tasks for tier in ("faithful", "strict")]
VARIANTS = [
    ("reopen_drawer", {}),
    ("put_block_back", {}),
    ("put_block_back", {"patches": 8}),
    ("put_block_back", {"patches": 16, "distractor_presses": 3}),
    ("rearrange_block", {}),
]
FRESH = """
import hashlib
from embodied.tasks.registry import make_task
digest = hashlib.sha256()
for name in ("reopen_drawer", "put_block_back", "rearrange_block"):
    for tier in ("faithful", "strict"):
        for seed in (41, 0, 7):
            episode = make_task(name, tier=tier).sample(seed)
            digest.update(repr((episode.id, episode.choice_goal.target, episode.scene.to_json())).encode())
print(digest.hexdigest())
"""


@settings(deadline=None)
@given(st.integers(-50, 10_000), st.sampled_from(VARIANTS), st.sampled_from(["train", "test"]))
def test_by_spec_1_every_aligned_block_of_strict_seeds_holds_every_variant_once(block, variant, split):
    name, options = variant
    task = make_task(name, options={**options, "spec": 1})
    count = len(task.candidates)
    names = (task.name, "strict", split)
    drawn = [task._variant(seed, names) for seed in range(count * block, count * (block + 1))]
    assert sorted(drawn) == list(range(count))


def test_by_spec_1_the_order_of_variants_differs_between_blocks():
    task = make_task("put_block_back", options={"spec": 1})
    orders = {tuple(task._variant(4 * block + i, ("a", "b", "c")) for i in range(4)) for block in range(60)}
    assert len(orders) > 12


@pytest.mark.parametrize(
    ("name", "tier", "options"),
    [(n, "strict", o) for n, o in VARIANTS] + [(n, t, {}) for n, t in KINDS if t != "strict"],
)
def test_variants_are_independent_draws_of_seed_split_task_and_tier(name, tier, options):
    task = make_task(name, tier=tier, options=options)
    count, drawn = len(task.candidates), 4800
    by_split = {
        split: np.array([task._variant(seed, (name, tier, split)) for seed in range(drawn)])
        for split in ("train", "validation", "test")
    }
    for variants in by_split.values():
        assert _chi_square(variants, count) < _limit(count)
        for lag in (1, 2, 3, count):  # A variant says nothing about those of the seeds after it...
            assert _chi_square(variants[:-lag] * count + variants[lag:], count * count) < _limit(count * count)
        sums = [len(set(block)) for block in variants[: drawn // count * count].reshape(-1, count)]
        assert min(sums) < count, "...nor are blocks of seeds balanced."
    pairs = by_split["train"] * count + by_split["test"]
    assert _chi_square(pairs, count * count) < _limit(count * count)


def _chi_square(drawn: np.ndarray, kinds: int) -> float:
    counts, expected = np.bincount(drawn, minlength=kinds), len(drawn) / kinds
    return float(((counts - expected) ** 2 / expected).sum())


def _limit(kinds: int) -> float:
    """Returns a bound that a sum of squares of independent draws exceeds about once in 100,000 times."""
    return (kinds - 1) + 4.3 * np.sqrt(2 * (kinds - 1)) + 8.0


def test_both_versions_of_the_sampling_have_the_same_layouts_and_faithful_episodes():
    for name in MEMORYBENCH.tasks:
        old, new = (make_task(name, options={"spec": spec}) for spec in (1, 2))
        places = [
            [
                {body.name: body.pose for body in task.sample(seed).scene.bodies if body.category != "block"}
                for seed in range(6)
            ]
            for task in (old, new)
        ]
        assert places[0] == places[1]
        assert [old.sample(seed).variant for seed in range(32)] != [new.sample(seed).variant for seed in range(32)]
        old, new = (make_task(name, tier="faithful", options={"spec": spec}) for spec in (1, 2))
        assert [old.sample(seed).digest for seed in range(6)] == [new.sample(seed).digest for seed in range(6)]


def test_an_unknown_version_of_the_sampling_is_refused():
    with pytest.raises(ConfigError, match="`spec` of a memory task must be 1 or 2"):
        make_task("put_block_back", options={"spec": 3})


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_nothing_but_what_is_to_be_remembered_depends_on_the_variant(name, options):
    task = make_task(name, options=options)
    for seed in range(4):
        scenes = [
            task._scene("s", variant, np.random.Generator(np.random.Philox(seed)))
            for variant in range(min(4, len(task.candidates)))
        ]
        for scene in scenes[1:]:
            assert _without_memory(scene) == _without_memory(scenes[0])


def _without_memory(scene: Scene):
    fixed = [body for body in scene.bodies if body.category != "block"]
    joints = [msgspec.structs.replace(joint, position=0.0) for joint in scene.joints]
    return fixed, joints, scene.regions, scene.cameras, scene.robots


@pytest.mark.parametrize("tier", ["faithful", "strict"])
@pytest.mark.parametrize("name", MEMORYBENCH.tasks)
def test_a_counterfactual_episode_has_the_same_layout_and_the_next_answer_and_an_id_of_its_own(name, tier):
    task = make_task(name, tier=tier)
    for seed in range(4):
        episode = task.sample(seed)
        counterfactual = task.counterfactual(episode)
        assert counterfactual == task.counterfactual(episode)
        following = task.candidates[(episode.variant + 1) % len(task.candidates)]
        assert counterfactual.choice_goal.target == following != episode.choice_goal.target
        assert counterfactual.id == f"{episode.id}-counterfactual" == counterfactual.scene.name
        assert _without_memory(counterfactual.scene) == _without_memory(episode.scene)
        assert (
            counterfactual.scene.bodies != episode.scene.bodies or counterfactual.scene.joints != episode.scene.joints
        )
        logged = ("id", "scene", "goal", "variant")
        assert {f.name: getattr(counterfactual, f.name) for f in fields(counterfactual) if f.name not in logged} == {
            f.name: getattr(episode, f.name) for f in fields(episode) if f.name not in logged
        }
        circle = episode
        for _ in task.candidates:
            circle = task.counterfactual(circle)
        assert (circle.choice_goal.target, circle.scene.bodies) == (episode.choice_goal.target, episode.scene.bodies)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
def test_the_choice_opens_with_the_last_press_and_stays_open(name, options):
    task = make_task(name, options=options)
    opened = [task.choice_open(Progress(reached=task.phases[:count])) for count in range(len(task.phases) + 1)]
    last_press = task.phases.index("pressed")
    assert opened == [count > last_press for count in range(len(task.phases) + 1)]


def test_in_the_faithful_tier_the_choice_opens_once_all_before_it_is_done_in_any_order():
    task = make_task("put_block_back", tier="faithful")
    assert not task.choice_open(Progress(reached=("pressed", "centred")))
    assert task.choice_open(Progress(reached=("pressed", "centred", "left")))
    task = make_task("rearrange_block", tier="faithful")
    assert task.choice_open(Progress(reached=("pressed", "placed")))


def test_in_rearrange_both_blocks_draw_the_same_offsets_whatever_the_variant():
    task = make_task("rearrange_block")
    offsets = []
    for variant in (0, 1):
        scene = task._scene("s", variant, np.random.Generator(np.random.Philox(5)))
        on_patch, patch = scene.body(f"block_{variant}").pose, scene.body(f"patch_{variant}").pose
        offsets.append(np.subtract(on_patch.position_m, patch.position_m))
    assert offsets[0] == pytest.approx(offsets[1])


def test_offsets_and_yaws_fill_the_range_of_the_placement_noise():
    task = make_task("put_block_back")
    offsets, yaws = [], []
    for seed in range(200):
        episode = task.sample(seed)
        block = episode.scene.body("block").pose
        offsets.append(
            np.subtract(block.position_m, episode.scene.body(episode.choice_goal.target).pose.position_m)[:2]
        )
        yaws.append(block.yaw_rad)
    noise = task.sample(0)
    assert np.abs(offsets).max() <= noise.placement_noise_m + 1e-9
    assert np.abs(yaws).max() <= noise.placement_noise_rad + 1e-9
    for values, bound in (
        (np.array(offsets)[:, 0], 0.01),
        (np.array(offsets)[:, 1], 0.01),
        (np.array(yaws), np.pi / 4),
    ):
        quarters = np.histogram(values, bins=4, range=(-bound, bound))[0]
        assert quarters.min() > 30, "Uniform: about 50 in each quarter."


@pytest.mark.parametrize(("name", "tier"), KINDS)
def test_scenes_survive_json(name, tier):
    scene = make_task(name, tier=tier).sample(5).scene
    assert Scene.from_json(scene.to_json()) == scene


def test_a_fresh_process_samples_the_same_bytes():
    here = hashlib.sha256()
    for name in MEMORYBENCH.tasks:
        for tier in ("faithful", "strict"):
            for seed in (41, 0, 7):
                episode = make_task(name, tier=tier).sample(seed)
                here.update(repr((episode.id, episode.choice_goal.target, episode.scene.to_json())).encode())
    there = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=True)
    assert there.stdout.split()[-1] == here.hexdigest()


def test_splits_and_seeds_and_tiers_have_layouts_of_their_own():
    scenes = [
        make_task("reopen_drawer", tier=tier).sample(seed, split=split).scene.body("button_base").pose
        for tier in ("strict", "faithful")
        for seed in (0, 1)
        for split in ("train", "test")
    ]
    assert len({pose.position_m for pose in scenes}) == 8


def test_strict_hides_durations_and_adds_noise_and_faithful_does_not():
    strict, faithful = (make_task("put_block_back", tier=tier).sample(0) for tier in ("strict", "faithful"))
    assert (strict.clock, faithful.clock) == (Clock.KEYFRAMES, Clock.SECONDS)
    assert strict.placement_noise_m > 0.0
    assert strict.placement_noise_rad == pytest.approx(np.pi / 4)
    assert (faithful.placement_noise_m, faithful.placement_noise_rad) == (0.0, 0.0)


def test_strict_targets_are_a_third_each_of_the_open_drawer():
    episodes = [make_task("reopen_drawer", options={"spec": 1}).sample(seed) for seed in range(9)]
    assert sorted(episode.choice_goal.target for episode in episodes) == sorted([*DRAWERS] * 3)
    for episode in episodes:
        assert episode.scene.joint(slide(episode.choice_goal.target)).position == 0.21


@pytest.mark.parametrize("suite", list(SUITES))
def test_suites_name_tasks_that_exist(suite):
    assert set(suite_named(suite).tasks) <= set(TASKS)


def test_unknown_names_come_with_the_nearest_right_one():
    for call in (
        lambda: make_task("put_block_bakc"),
        lambda: suite_named("memorybenhc"),
        lambda: make_task("put_block_back", tier="strikt"),
        lambda: make_task("put_block_back").sample(0, split="tst"),
    ):
        with pytest.raises(UnknownNameError, match="Did you mean"):
            call()


def test_options_of_a_wrong_name_or_type_are_refused():
    with pytest.raises(ConfigError, match="Did you mean 'patches'"):
        make_task("put_block_back", options={"patchs": 8})
    with pytest.raises(ConfigError, match="whole number"):
        make_task("put_block_back", options={"patches": 8.5})
    with pytest.raises(ConfigError, match="whole number"):
        make_task("put_block_back", options={"patches": True})
    with pytest.raises(ConfigError, match="a number"):
        make_task("put_block_back", options={"time_limit_s": "long"})
    with pytest.raises(ConfigError, match=r"must be one of end, continue\. Got 'contine'\. Did you mean 'continue'"):
        make_task("put_block_back", options={"on_failure": "contine"})
    with pytest.raises(ConfigError, match="one of its fields"):
        make_task("put_block_back", options={"tier": "strict"})
    with pytest.raises(ConfigError, match="positive"):
        make_task("put_block_back", options={"camera_px": 0})


def test_a_camera_size_reaches_the_scene():
    scene = make_task("rearrange_block", options={"camera_px": 64}).sample(0).scene
    assert {(camera.width_px, camera.height_px) for camera in scene.cameras} == {(64, 64)}


def test_a_failed_intent_ends_an_episode_as_published_unless_learners_may_err():
    feedback = IntentFeedback("MoveTo", ControllerStatus.FAILED, "blocked")
    progress = Progress(reached=("left",))
    for on_failure, outcome in (("end", Outcome.FAILURE), ("continue", Outcome.RUNNING)):
        task = make_task("put_block_back", options={"on_failure": on_failure})
        after = task.after_failure(task.sample(0), progress, feedback, "panda")
        assert (after.outcome, after.reached) == (outcome, ("left",))
        assert after.reason == ("controller: blocked" if on_failure == "end" else "")


def test_nothing_was_published_of_episodes_that_go_on_after_a_failure():
    assert make_task("put_block_back", tier="faithful").published
    assert make_task("put_block_back", tier="faithful", options={"on_failure": "continue"}).published == {}


@dataclass(kw_only=True)
class Typed:
    """A task of another suite, as far as its options go."""

    order: OnFailure = OnFailure.END
    count: int = 1
    share: float = 0.5
    shown: bool = True
    words: str = ""
    scene: Scene | None = None


def test_options_may_be_numbers_booleans_texts_and_choices(monkeypatch):
    monkeypatch.setitem(TASKS.own, "typed", Typed)
    given = {"order": "continue", "count": 2, "share": 1, "shown": False, "words": "where is it?"}
    made = make_task("typed", options=given)
    assert made == Typed(order=OnFailure.CONTINUE, count=2, share=1, shown=False, words="where is it?")
    for wrong in ({"shown": 1}, {"words": 3}, {"share": True}, {"count": "2"}, {"order": 0}, {"scene": None}):
        with pytest.raises(ConfigError):
            make_task("typed", options=wrong)
