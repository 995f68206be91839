from dataclasses import replace

import numpy as np
import pytest
import torch

from embodied.errors import ConfigError, MemoryBankError
from embodied.protocols import HintConditioned, Policy, ResettableMemory
from embodied.types import Decision, MemoryContext, MoveTo
from policies.sam2act import MemoryKind
from policies.sam2act.learner import Sam2ActLearner
from tests.policies.sam2act.small import batch_of, observation, request, small_config, small_policy

KINDS = [kind for kind in MemoryKind if kind is not MemoryKind.off]


def played(policy: Policy, seeds, *, carry=None, first_step: int = 0) -> list[Decision]:
    decisions = []
    for step, seed in enumerate(seeds, first_step):
        (decision,) = policy.act([request(seed, step=step, carry=carry)])
        carry = decision.carry
        decisions.append(decision)
    return decisions


def target(decision: Decision) -> MoveTo:
    (intent,) = decision.intents
    assert isinstance(intent, MoveTo)
    return intent


def same(left: Decision, right: Decision) -> bool:
    return target(left) == target(right) and all(
        np.allclose(a.embedding, b.embedding, atol=1e-5) for a, b in zip(left.moments, right.moments, strict=True)
    )


@pytest.mark.parametrize("kind", list(MemoryKind))
def test_a_batch_decides_what_its_rows_decide_one_by_one(kind):
    policy = small_policy(kind)
    carries = [played(policy, range(seed, seed + 3))[-1].carry for seed in (10, 20)]
    requests = [request(5, step=3, carry=carries[0]), request(6, step=3, carry=carries[1]), request(7, step=0)]
    together = policy.act(requests)
    apart = [policy.act([one])[0] for one in requests]
    assert all(same(left, right) for left, right in zip(together, apart, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_policy_whose_carry_is_lost_goes_on_from_its_moments(kind):
    policy = small_policy(kind)
    before = played(policy, range(6))
    moments = tuple(replace(moment, step=step) for step, decision in enumerate(before) for moment in decision.moments)
    kept = policy.act([request(6, step=6, carry=before[-1].carry)])[0]
    resumed = policy.act([request(6, step=6, memory=MemoryContext(moments))])[0]
    assert target(kept) == target(resumed)
    assert kept.carry.keys() == resumed.carry.keys()
    for name, value in kept.carry.items():
        assert np.array_equal(value, resumed.carry[name])


def test_an_observation_without_a_camera_of_the_policy_is_refused_with_the_cameras_that_it_needs():
    policy, good = small_policy(), request(0)
    cameras = policy.observation_spec.cameras
    images = {name: image for name, image in good.observation.images.items() if name != cameras[-1]}
    with pytest.raises(ConfigError) as caught:
        policy.act([good, replace(good, observation=replace(good.observation, images=images))])
    assert repr(list(cameras)) in caught.value.rule
    assert caught.value.value == sorted(images)
    assert "observation_spec.cameras" in caught.value.remedy


def test_the_proprioception_of_another_robot_is_refused():
    good = request(0)
    other = replace(good.observation, proprio=good.observation.proprio[:-1])
    with pytest.raises(ConfigError, match="proprioception of"):
        small_policy().act([replace(good, observation=other)])


def test_moments_of_another_model_are_refused():
    (stored,) = small_policy(seed=1).act([request(0)])[0].moments
    with pytest.raises(MemoryBankError, match="only hold what its own model wrote"):
        small_policy().act([request(1, step=1, memory=MemoryContext((stored,)))])


def scores_with(policy, carry, seed: int = 9) -> np.ndarray:
    return policy.act([request(seed, step=4, carry=carry, visualisations=True)])[0].visualisations["whole table"]


def test_what_is_seen_depends_on_what_was_seen_before_unless_it_is_wiped_or_swapped():
    policy = small_policy()
    assert isinstance(policy, ResettableMemory)
    one, other = (played(policy, seeds)[-1].carry for seeds in ((0, 1, 2, 3), (30, 31, 32, 33)))
    assert (scores_with(policy, one) != scores_with(policy, other)).any()
    assert (scores_with(policy, policy.wiped(one)) == scores_with(policy, policy.wiped(other))).all()
    assert (scores_with(policy, policy.wiped(one)) != scores_with(policy, one)).any()
    assert (scores_with(policy, policy.swapped(one, other)) == scores_with(policy, other)).all()


def test_only_what_has_a_memory_can_be_played_without_it():
    kinds = {
        kind: isinstance(small_config(kind).build().policy(model_id="new"), ResettableMemory) for kind in MemoryKind
    }
    assert [kind for kind, remembers in kinds.items() if not remembers] == [MemoryKind.off]


def test_pictures_come_only_where_they_are_asked_for_and_decide_nothing():
    policy = small_policy()
    plain, shown = (policy.act([request(2, visualisations=asked)])[0] for asked in (False, True))
    assert not plain.visualisations
    assert target(plain) == target(shown)
    assert {picture.dtype for picture in shown.visualisations.values()} == {np.dtype(np.uint8)}


def test_a_hint_is_where_the_closer_look_is_taken():
    policy = small_policy()
    assert isinstance(policy, HintConditioned)
    assert policy.takes_hints
    hint = MoveTo((0.31, -0.22, 0.93), (1.0, 0.0, 0.0, 0.0), gripper_open=True)
    led = target(policy.act([request(2, hint=hint)])[0])
    reach_m = small_config().fine_half_m
    assert all(abs(a - b) <= reach_m for a, b in zip(led.position_m, hint.position_m, strict=True))
    assert led.position_m != target(policy.act([request(2)])[0]).position_m


def test_images_of_several_sizes_are_refused():
    seen = observation(0)
    front = seen.images["front"]
    cropped = replace(front, rgb=front.rgb[:8], depth_m=front.depth_m[:8])
    odd = replace(request(0), observation=replace(seen, images={**seen.images, "front": cropped}))
    with pytest.raises(ConfigError, match="images of one size"):
        small_policy().act([odd])


@pytest.mark.parametrize("kind", [MemoryKind.window, MemoryKind.merging])
def test_training_shows_the_network_what_a_played_episode_would(kind):
    torch.manual_seed(3)
    learner = Sam2ActLearner(small_config(kind)).eval()
    network = learner.network
    seen = [observation(seed) for seed in range(6)]
    batch = batch_of([seen], torch.from_numpy(learner.tokenise("put the block back"))[None])
    aim = network.config.cube.normalised(batch["intent_position_m"][0])
    looks = []
    network.coarse.transformer.register_forward_hook(lambda _module, _given, made: looks.append(made))
    with torch.no_grad():
        learner(batch)
        memory = network.memory
        assert memory is not None
        state = memory.init_state(1)
        for step in range(6):
            tokens = looks[0][step : step + 1]
            read, _ = memory.read(state, tokens.flatten(1, 2), batch["time"][:, step])
            fused = memory.fuse(tokens.flatten(1, 2), read, state)
            written = network.memory_tokens(tokens, aim[step : step + 1])
            state = memory.consolidate(memory.write(state, written, batch["time"][:, step], torch.tensor([True])))
            whole = learner._with_memory(batch, looks[0], aim)[0][step]
            assert torch.allclose(whole.flatten(0, 1), fused[0], atol=1e-4)
