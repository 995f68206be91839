"""The contract of environments: `check_environment`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from embodied.errors import EmbodiedError
from embodied.testing.contract import Rule, leaves

Environment = Any  # `gymnasium.Env`, which is an optional dependency.

API = Rule("gymnasium_api", "An environment must pass `gymnasium.utils.env_checker.check_env`.")
SEEDS = Rule("seeds", "The same seed must begin the same episode, bit for bit, in any instance; others differ.")
DETERMINISM = Rule("determinism", "The same seed and actions must give the same steps, bit for bit.")
SPACES = Rule("spaces", "The observation space must contain every observation.")
STEPS = Rule("steps", "A step must give an observation, a finite reward, two flags and information.")
INFORMATION = Rule("info", "Every key of `info` must be in the documentation of the environment.")
RESERVED = Rule("reserved_info", "`info` must leave to wrappers the keys that Gymnasium and Stable-Baselines3 reserve.")
INPUTS = Rule("read_only_inputs", "An environment must not write to an action.", "Copy the array.")
RESULTS = Rule("results_stay", "Observations that were returned must not change later.", "Return copies.")
REFUSALS = Rule("refusals", "An action of the wrong shape, or not finite, must raise a documented error.")
UNMOVED = Rule("refused_moves_nothing", "A refused action must not change what happens next.")
ORDER = Rule("reset_first", "A step before the first reset must raise `gymnasium.error.ResetNeeded`.")
CLOSE = Rule("close_twice", "Closing an environment twice must be harmless.")
RESERVED_KEYS = frozenset(
    {"episode", "final_obs", "final_info", "final_observation", "terminal_observation", "TimeLimit.truncated"}
)


def check_environment(make: Callable[[], Environment], *, seeds: Sequence[int] = (3, 4), steps: int = 2) -> None:
    """Raises `ContractError`, which names the first broken rule, unless `make()` gives sound Gymnasium environments.

    An outside package calls it in its tests::

        from embodied.testing import check_environment
        check_environment(MyEnv)

    Each of the `seeds`, at least two, begins an episode; `steps` random actions are then taken.
    """
    from gymnasium.error import ResetNeeded

    first, second = make(), make()
    try:
        ORDER.require_refusal("a step before a reset", lambda: first.step(_action(first, 0)), ResetNeeded)
        _check_seeds(first, second, seeds)
        _check_steps(first, second, seeds[0], steps)
        _check_refusals(first, seeds[0])
        _check_api(make)
    finally:
        with CLOSE:
            for environment in (first, first, second, second):
                environment.close()


def _check_api(make: Callable[[], Environment]) -> None:
    from gymnasium.utils.env_checker import check_env

    environment = make()
    try:
        with API:
            check_env(environment.unwrapped, skip_render_check=True)
    finally:
        environment.close()


def _action(environment: Environment, number: int) -> Any:
    environment.action_space.seed(number)
    return environment.action_space.sample()


def _check_seeds(first: Environment, second: Environment, seeds: Sequence[int]) -> None:
    with SEEDS:
        beginnings = [first.reset(seed=seed) for seed in seeds]
        kept = [leaves(beginning) for beginning in beginnings]
        again = [second.reset(seed=seed) for seed in reversed(seeds)][::-1]
        SEEDS.require_same(
            "beginnings in two instances", [dict(one) for one in kept], [dict(leaves(one)) for one in again]
        )
        if len({repr(sorted(one.items())) for one in map(_printable, kept)}) < len(seeds):
            raise SEEDS.broken(f"the same beginning for different seeds of {list(seeds)}")
    with SPACES:
        for observation, _ in beginnings:
            _require_contained(first, observation)
    with INFORMATION:
        _require_documented(first, beginnings[0][1])


def _printable(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value.tobytes() if isinstance(value, np.ndarray) else value for key, value in values.items()}


def _require_contained(environment: Environment, observation: Any) -> None:
    if not environment.observation_space.contains(observation):
        raise SPACES.broken(f"{observation!r:.300} outside of {environment.observation_space!r:.300}")


def _require_documented(environment: Environment, information: Any) -> None:
    kinds = type(environment.unwrapped).__mro__
    text = " ".join(kind.__doc__ or "" for kind in kinds if kind.__module__.partition(".")[0] != "gymnasium")
    reserved = [key for key in information if key in RESERVED_KEYS or key.startswith("_")]
    if reserved:
        raise RESERVED.broken(reserved)
    missing = [key for key in information if f"`{key}`" not in text and f'"{key}"' not in text]
    if missing:
        raise INFORMATION.broken(f"{missing} without a word in the docstring of {kinds[0].__name__}")


def _check_steps(first: Environment, second: Environment, seed: int, steps: int) -> None:
    with STEPS:
        beginning = first.reset(seed=seed)
        kept, copies = [beginning[0]], [leaves(beginning[0])]
        played = []
        for number in range(steps):
            action = _action(first, number)
            before = leaves(action)
            result = first.step(action)
            INPUTS.require_same("an action before and after", before, action)
            _require_step(first, result)
            kept.append(result[0])
            copies.append(leaves(result[0]))
            played.append(dict(leaves(result)))
            if result[2] or result[3]:
                break
    with RESULTS:
        for before, observation in zip(copies, kept, strict=True):
            RESULTS.require_same("an observation when it was returned and later", before, observation)
    with DETERMINISM:
        second.reset(seed=seed)
        again = [dict(leaves(second.step(_action(second, number)))) for number in range(len(played))]
        DETERMINISM.require_same("steps of two instances", played, again)


def _require_step(environment: Environment, result: Any) -> None:
    if not isinstance(result, tuple) or len(result) != 5:
        raise STEPS.broken(result)
    observation, reward, terminated, truncated, information = result
    if not (isinstance(reward, int | float) and np.isfinite(reward)):
        raise STEPS.broken(f"a reward of {reward!r}")
    if not (isinstance(terminated, bool) and isinstance(truncated, bool) and isinstance(information, dict)):
        raise STEPS.broken((terminated, truncated, type(information).__name__))
    with SPACES:
        _require_contained(environment, observation)
    with INFORMATION:
        _require_documented(environment, information)


def _check_refusals(environment: Environment, seed: int) -> None:
    with UNMOVED:
        environment.reset(seed=seed)
        expected = leaves(environment.step(_action(environment, 0)))
        environment.reset(seed=seed)
    good = np.asarray(_action(environment, 0))
    wrong = [("an action of the wrong shape", np.zeros(good.size + 1))]
    if good.dtype.kind == "f":
        wrong.append(("an action that is NaN", np.full_like(good, np.nan)))
    for what, action in wrong:
        REFUSALS.require_refusal(what, lambda sent=action: environment.step(sent), EmbodiedError)
    with UNMOVED:
        UNMOVED.require_same(
            "a step with and without refusals before", expected, environment.step(_action(environment, 0))
        )
