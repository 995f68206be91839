"""What policies are shown: their own history at their own rate, and neither steps nor time where both would betray."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from embodied.errors import ConfigError, SpecError
from embodied.rollout.episode import EpisodeContext, play
from embodied.rollout.requests import as_seen, check_policy_fits
from embodied.specs import KEYFRAME, ActionSpec, Field, ObservationSpec
from embodied.types import HIDDEN_STEP, Clock, Decision, Limits, MemoryContext, Moment, Outcome, Wait
from tests.fakes import PERIOD_S, FakeController, FakeSimulator, FakeTask, fake_scene

RATED = ActionSpec("ee_delta", (Field("translation", (3,), unit="m"),), rate_hz=10.0)


@dataclass
class Watching:
    """Waits for `duration_s` at every decision and keeps its requests."""

    observation_spec: ObservationSpec
    action_spec: ActionSpec = KEYFRAME
    duration_s: float = 0.25
    privileged: bool = False
    seen: list = field(default_factory=list)

    def act(self, requests):
        self.seen += requests
        return [Decision((Wait(self.duration_s),)) for _ in requests]


def play_with(policy, **overrides):
    task = FakeTask(overrides={"limits": Limits(sim_time_s=1.5), **overrides})
    context = EpisodeContext(FakeSimulator(), task, policy, lambda _: {"arm": FakeController("arm")})
    return play(task.sample(0), context)


def test_a_history_holds_observations_at_the_policys_own_rate_with_the_newest_last():
    policy = Watching(ObservationSpec(cameras=("front",), history=3, rate_hz=10.0))
    play_with(policy)
    times = [[round(one.time_s, 2) for one in request.history] for request in policy.seen]
    assert times[:4] == [[0.0], [0.1, 0.2, 0.25], [0.3, 0.4, 0.5], [0.6, 0.7, 0.75]]
    assert all(request.history[-1] is request.observation for request in policy.seen)
    assert all(set(one.images) == {"front"} for request in policy.seen for one in request.history)


def test_a_history_of_one_is_no_history():
    policy = Watching(ObservationSpec(cameras=()))
    play_with(policy)
    assert {request.history for request in policy.seen} == {()}


@pytest.mark.parametrize("clock", [Clock.KEYFRAMES, Clock.HIDDEN])
def test_a_policy_of_a_rated_space_sees_neither_steps_nor_time_where_seconds_are_hidden(clock):
    policy = Watching(ObservationSpec(cameras=(), history=2, rate_hz=20.0), action_spec=RATED)
    play_with(policy, clock=clock)
    assert {request.step for request in policy.seen} == {HIDDEN_STEP}
    assert {one.time_s for request in policy.seen for one in (request.observation, *request.history)} == {None}


def test_it_sees_both_where_the_clock_shows_seconds_and_keyframe_policies_see_their_steps():
    rated = Watching(ObservationSpec(cameras=()), action_spec=RATED)
    play_with(rated, clock=Clock.SECONDS)
    assert [request.step for request in rated.seen[:3]] == [0, 1, 2]
    assert rated.seen[1].observation.time_s == pytest.approx(0.25)
    keyframes = Watching(ObservationSpec(cameras=()))
    play_with(keyframes, clock=Clock.KEYFRAMES)
    assert [request.observation.time_s for request in keyframes.seen[:3]] == [0.0, 1.0, 2.0]


def test_what_a_rated_policy_remembers_is_in_order_and_has_no_seconds():
    rated = Watching(ObservationSpec(cameras=()), action_spec=RATED)
    play_with(rated)
    moments = tuple(
        Moment(np.ones(2, np.float32), None, "m", time_s, (0.0, 0.0, 0.0), "arm", "e", step=step)
        for time_s, step in ((3.7, 4), (9.2, 11))
    )
    request = replace(rated.seen[0], clock=Clock.KEYFRAMES, memory=MemoryContext(moments))
    shown = as_seen(request, rated).memory.moments
    assert [(moment.time_s, moment.step) for moment in shown] == [(0.0, None), (1.0, None)]
    assert as_seen(request, Watching(ObservationSpec(cameras=()))).memory.moments == moments


def test_a_wrapper_sees_everything():
    @dataclass
    class Wrapping(Watching):
        inner: object = None

    rated = Watching(ObservationSpec(cameras=()), action_spec=RATED)
    wrapper = Wrapping(ObservationSpec(cameras=()), action_spec=RATED, inner=rated)
    play_with(wrapper, clock=Clock.KEYFRAMES)
    assert [request.step for request in wrapper.seen[:3]] == [0, 1, 2]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ObservationSpec(cameras=("front",), image_px=(13, 16)), r"'front' must have the size.*\(12, 16\)"),
        (ObservationSpec(cameras=(), history=2, rate_hz=7.0), r"observations must divide the control rate.*7\.0"),
        (ObservationSpec(cameras=("back",)), "Did you mean|back"),
    ],
)
def test_a_policy_that_does_not_fit_the_scene_is_refused(spec, message):
    policy = Watching(spec)
    with pytest.raises(ConfigError, match=message):
        check_policy_fits(fake_scene(), policy, cameras=spec.cameras, period_s=PERIOD_S)
    with pytest.raises(ConfigError):
        play_with(policy)


def test_an_action_rate_that_does_not_divide_the_control_rate_is_refused():
    policy = Watching(ObservationSpec(cameras=()), action_spec=replace(RATED, rate_hz=30.0))
    with pytest.raises(ConfigError, match="actions must divide the control rate"):
        check_policy_fits(fake_scene(), policy, cameras=(), period_s=PERIOD_S)


def test_the_history_of_an_episode_begins_anew():
    policy = Watching(ObservationSpec(cameras=(), history=4, rate_hz=20.0))
    assert play_with(policy).progress.outcome is Outcome.TIMEOUT
    first = len(policy.seen)
    play_with(policy)
    assert len(policy.seen[first].history) == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"image_px": 64}, ["pair (height, width)", "Got 64", "(128, 128)"]),
        ({"image_px": (64, 0)}, ["pair (height, width)", "Got (64, 0)"]),
        ({"image_px": {"front": 64}}, ["pair (height, width)", "'front'"]),
        ({"image_px": "64"}, ["pair (height, width)", "Got '64'"]),
        ({"cameras": "front"}, ["tuple of names", "Got 'front'", "('front',)"]),
        ({"cameras": (1,)}, ["tuple of names", "Got (1,)"]),
    ],
)
def test_a_size_that_is_no_pair_and_cameras_that_are_no_names_are_refused_where_they_are_declared(fields, words):
    with pytest.raises(SpecError) as caught:
        ObservationSpec(**fields)
    assert all(word in str(caught.value) for word in words)
