"""Environments keep their contract, and every rule of it catches those that break it."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.error import ResetNeeded

from embodied.environments.keyframe import KeyframeEnv
from embodied.errors import IntentError
from embodied.testing import ContractError, check_environment


def test_the_environment_of_keyframes_keeps_the_contract():
    check_environment(lambda: KeyframeEnv("put_block_back", "strict", camera_px=16), steps=1)


class Point(gymnasium.Env):
    """A point that is pushed; `info` holds the number of `pushes`. It keeps the contract, and those below break it."""

    def __init__(self):
        self.observation_space = spaces.Box(-100.0, 100.0, (2,), np.float64)
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float64)
        self.place = None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.pushes = self.np_random.uniform(-1.0, 1.0, 2), 0
        return self.seen(), self.info()

    def step(self, action):
        if self.place is None:
            raise ResetNeeded("call reset first")
        self.check(action)
        self.place, self.pushes = self.place + action, self.pushes + 1
        return self.seen(), self.reward(), False, False, self.info()

    def check(self, action):
        if np.shape(action) != (2,) or not np.isfinite(action).all():
            raise IntentError("An action must be two finite numbers.", value=action)

    def seen(self):
        return self.place.copy()

    def reward(self):
        return -float(np.linalg.norm(self.place))

    def info(self):
        return {"pushes": self.pushes}


class StartsAnyhow(Point):
    def step(self, action):
        if self.place is None:
            self.reset()
        return super().step(action)


class RaisesAttributeError(Point):
    def step(self, action):
        self.pushes += 1
        return super().step(action)


class IgnoresSeed(Point):
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = np.random.default_rng().uniform(-1.0, 1.0, 2)
        return self.seen(), self.info()


class OneEpisode(Point):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=7)


class ThreeNumbers(Point):
    def seen(self):
        return np.append(self.place, 0.0)


class Outside(Point):
    def seen(self):
        return self.place + 200.0


class Secretive(Point):
    def info(self):
        return {"pushes": self.pushes, "target": 3}


class OwnEpisode(Point):
    """`info` holds the number of `pushes` of an `episode`."""

    def info(self):
        return {"pushes": self.pushes, "episode": 7}


class ArrayReward(Point):
    def reward(self):
        return self.place


class EndlessReward(Point):
    def reward(self):
        return float("inf")


class FourValues(Point):
    def step(self, action):
        return super().step(action)[:4]


class NumpyFlag(Point):
    def step(self, action):
        seen, reward, _, truncated, info = super().step(action)
        return seen, reward, np.bool_(False), truncated, info


class ClipsInPlace(Point):
    def step(self, action):
        action *= 0.5
        return super().step(action)


class OneArray(Point):
    def step(self, action):
        here = self.place
        _, *rest = super().step(action)
        here[:] = self.place
        self.place = here
        return (here, *rest)

    def seen(self):
        return self.place


class Trembling(Point):
    def step(self, action):
        return super().step(action + 1e-9 * np.random.random(2))


class TakesNaN(Point):
    def check(self, action):
        if np.shape(action) != (2,):
            raise IntentError("An action must be two numbers.", value=action)


class RaisesValueError(Point):
    def check(self, action):
        if np.shape(action) != (2,):
            raise ValueError("two numbers are expected")


class MovesFirst(Point):
    def step(self, action):
        if self.place is not None:
            self.pushes += 1
        return super().step(action)


class ClosesOnce(Point):
    closed = False

    def close(self):
        if self.closed:
            raise RuntimeError("already closed")
        self.closed = True


class NoOptions(Point):
    def reset(self, *, seed=None):
        return super().reset(seed=seed)


PLANTED = [
    ("reset_first", StartsAnyhow),
    ("reset_first", RaisesAttributeError),
    ("seeds", IgnoresSeed),
    ("seeds", OneEpisode),
    ("spaces", ThreeNumbers),
    ("spaces", Outside),
    ("info", Secretive),
    ("reserved_info", OwnEpisode),
    ("steps", ArrayReward),
    ("steps", EndlessReward),
    ("steps", FourValues),
    ("steps", NumpyFlag),
    ("read_only_inputs", ClipsInPlace),
    ("results_stay", OneArray),
    ("determinism", Trembling),
    ("refusals", TakesNaN),
    ("refusals", RaisesValueError),
    ("refused_moves_nothing", MovesFirst),
    ("close_twice", ClosesOnce),
    ("gymnasium_api", NoOptions),
]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_environment_that_is_broken_below_keeps_the_contract():
    check_environment(Point)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("rule", "broken"), PLANTED, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_environment_is_refused_by_the_rule_that_it_breaks(rule, broken):
    with pytest.raises(ContractError) as caught:
        check_environment(broken)
    assert caught.value.name == rule, caught.value
