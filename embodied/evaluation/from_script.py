"""Evaluations from a script: policies as objects or plain functions, without a command line and without Ray."""

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import Any

from embodied.controllers import ControllerConfig
from embodied.errors import ConfigError
from embodied.evaluation.evaluator import evaluate
from embodied.evaluation.plan import Evaluation
from embodied.protocols import Policy
from embodied.rollout.builders import PolicyBuilder
from embodied.rollout.episode_policies import is_stateless
from embodied.rollout.inline import InlineCompute
from embodied.rollout.policy_calls import build_policy
from embodied.rollout.worker import WorkerConfig
from embodied.simulators.bullet import BulletConfig
from embodied.specs import KEYFRAME, ActionSpec, ObservationSpec
from embodied.tasks.registry import make_task, suite_named
from embodied.types import Carry, Decision, Intent, Request, named

Answer = Intent | tuple[Intent, Carry | None] | Decision  # The types that a function may return.


class FunctionPolicy:
    """A policy made of a function from a request to the next intent of the robot.

    A function with memory returns a pair of an intent and a carry, a mapping of names to arrays and plain values: it
    gets the carry back as `request.carry`, which is None at first. It may also return a whole `Decision`. `cameras` are
    the cameras that the function needs, None for all. `action_spec` is the space of its intents.
    """

    privileged = False

    def __init__(
        self,
        decide: Callable[[Request], Answer],
        *,
        cameras: Sequence[str] | None = None,
        action_spec: ActionSpec = KEYFRAME,
    ) -> None:
        self.decide = decide
        self.observation_spec = ObservationSpec(cameras=None if cameras is None else tuple(cameras))
        self.action_spec = action_spec

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """Returns one decision per request."""
        return [_decision(self.decide(request)) for request in requests]


def _decision(answer: Any) -> Decision:
    if isinstance(answer, Decision):
        return answer
    intent, carry = answer if isinstance(answer, tuple) else (answer, None)
    return Decision((intent,), carry=carry)


@dataclass(kw_only=True)
class _Given:
    """A policy object, copied for each episode; the digest of its source is part of the run's id."""

    digest_of_source: str
    policy: InitVar[Policy]

    def __post_init__(self, policy: Policy) -> None:
        self._policy = policy

    def build(self) -> Policy:
        if is_stateless(self._policy):
            return self._policy
        try:
            return deepcopy(self._policy)
        except (TypeError, ValueError, NotImplementedError) as error:
            raise ConfigError(
                "It must be possible to copy a policy for each episode, so that it keeps nothing of earlier episodes.",
                value=f"{type(self._policy).__name__}: {error}",
                remedy="Give it `stateless = True` if it keeps nothing in itself (`testing.check_policy` proves that).",
            ) from error


def evaluate_policies(  # noqa: PLR0913 - the settings of an evaluation, by name
    policies: Mapping[str, Policy | PolicyBuilder | Callable[[Request], Answer]],
    *,
    output: str | Path,
    suite: str = "memorybench",
    tasks: Sequence[str] = (),
    tier: str = "strict",
    episodes: int = 10,
    seed: int = 0,
    videos: int = 0,
) -> Mapping[str, Any]:
    """Plays `episodes` of each task with each policy in this process, and returns the content of results.json.

    `policies` by the names that reports show, each a policy, a config with `build()` such as
    `policies.scripted.ExpertConfig()`, or a plain function, which is taken as `FunctionPolicy(function)`. `tasks` of
    `suite`, none for all; `tier` is ignored where a suite has none. The `seed` selects the episodes; `videos` is the
    largest number of videos per task. Rows and reports are written to the folder `output`, and the same call goes on
    where an earlier one stopped. Raises `UnknownNameError`, and `ConfigError` for settings out of range and for a
    folder that holds another run.
    """
    known = suite_named(suite)
    chosen = [make_task(name, tier=tier) for name in tasks or known.tasks]
    worker = WorkerConfig(
        simulator=BulletConfig(),
        controller=ControllerConfig(),
        tasks={named(task.name, task.tier): task for task in chosen},
        policies=_given(policies),
    )
    evaluation = Evaluation(suite=suite, tier=tier if known.tiers else "", worker=worker, episodes=episodes, seed=seed)
    settings = {"suite": suite, "tier": tier, "tasks": list(tasks), "episodes": episodes, "seed": seed}
    return evaluate(
        evaluation, compute=InlineCompute(worker), output=Path(output), config=json.dumps(settings), videos=videos
    )


def _given(policies: Mapping[str, Any]) -> dict[str, PolicyBuilder]:
    """Returns the builders of policies, configs and functions. Raises `ConfigError` for anything else."""
    if not isinstance(policies, Mapping):
        raise ConfigError(
            "Policies must be given by name.", value=type(policies).__name__, remedy="Write {'mine': policy}."
        )
    return {name: _builder(name, value) for name, value in policies.items()}


def _builder(name: str, value: Any) -> PolicyBuilder:
    if not inspect.isclass(value) and callable(getattr(value, "act", None)):
        return _Given(digest_of_source=_digest(value), policy=value)
    if not inspect.isclass(value) and callable(getattr(value, "build", None)):
        digest = hashlib.sha256(f"{_digest(value)} {value!r}".encode()).hexdigest()
        return _Given(digest_of_source=digest, policy=build_policy(name, value))
    if not inspect.isclass(value) and callable(value):
        decide: Any = value
        function = FunctionPolicy(decide)
        return _Given(digest_of_source=_digest(function), policy=function)
    raise ConfigError(
        f"Policy {name!r} must be an object with `act`, a config with `build`, or a function of a request.",
        value=value.__name__ if inspect.isclass(value) else value,
        remedy="Make an object of the class."
        if inspect.isclass(value)
        else "Those that are shipped are configs, such as ExpertConfig() of policies.scripted.",
    )


def _digest(policy: Any) -> str:
    """Returns the SHA-256 of the source of a policy or config, or of the function that a policy calls."""
    code = policy.decide if isinstance(policy, FunctionPolicy) else type(policy)
    try:
        file = Path(inspect.getfile(code))
        return hashlib.sha256(file.read_bytes() if file.is_file() else inspect.getsource(code).encode()).hexdigest()
    except (OSError, TypeError) as error:
        raise ConfigError(
            "A policy must be written in a file, so that results can name its source.",
            value=str(code),
            remedy="Move it from the interactive session into a module or script.",
        ) from error
