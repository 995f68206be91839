"""Policies on Ray actors of their own, on a GPU where there is one, which decide for many simulator workers."""

import faulthandler
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from embodied.errors import ConfigError, EmbodiedError, OutageError
from embodied.protocols import HintConditioned, Policy, ResettableMemory
from embodied.rollout.builders import PolicyBuilder
from embodied.rollout.policy_calls import build_policy, decisions_of
from embodied.rollout.policy_placement import OutsidePolicy, Placeable
from embodied.rollout.ray.node import WorkerCode, shared_value
from embodied.rollout.ray.worker_output import POLICY_FILES, redirect_output
from embodied.rollout.worker import WorkerConfig, limit_threads, thread_environment
from embodied.specs import ActionSpec, ObservationSpec
from embodied.types import Decision, Request

WINDOW_S = 0.005
LARGEST_BATCH = 64
CALLS_AT_ONCE = 256

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HostedFacts:
    """What a policy declares, for those that cannot see it: see `protocols.Policy` and its capabilities."""

    observation_spec: ObservationSpec
    action_spec: ActionSpec
    takes_hints: bool
    resettable: bool


class Batches:
    """Calls a policy with the requests of several clients at once, in the thread of `caller`.

    A batch begins with its first request and takes what comes within `window_s`: less where requests of all `clients`
    have come, or `LARGEST_BATCH` requests.
    """

    def __init__(
        self, act: Callable[[list[Request]], list[Decision]], *, clients: int, window_s: float = WINDOW_S
    ) -> None:
        self._act = act
        self._clients = clients
        self._window_s = window_s
        self._waiting: SimpleQueue[tuple[Sequence[Request], Future[list[Decision]]]] = SimpleQueue()
        self._caller = ThreadPoolExecutor(1)
        threading.Thread(target=self._run, daemon=True).start()

    def decide(self, requests: Sequence[Request]) -> list[Decision]:
        """Returns one decision per request. Raises whatever the policy raises for them, and for them alone."""
        answer: Future[list[Decision]] = Future()
        self._waiting.put((requests, answer))
        return answer.result()

    def _run(self) -> None:
        while True:
            self._answer(self._gathered())

    def _gathered(self) -> list[tuple[Sequence[Request], Future[list[Decision]]]]:
        group = [self._waiting.get()]
        due_s = time.monotonic() + self._window_s
        while len(group) < self._clients and sum(len(requests) for requests, _ in group) < LARGEST_BATCH:
            try:
                group.append(self._waiting.get(timeout=max(0.0, due_s - time.monotonic())))
            except Empty:
                break
        return group

    def _answer(self, group: list[tuple[Sequence[Request], "Future[list[Decision]]"]]) -> None:
        """Answers a group; where its batch fails, each client's requests are decided by themselves."""
        batch = [request for requests, _ in group for request in requests]
        call = self._caller.submit(self._act, batch)
        error = call.exception()
        if error is None:
            decisions = iter(call.result())
            for requests, answer in group:
                answer.set_result([next(decisions) for _ in requests])
        elif len(group) > 1:
            for one in group:
                self._answer([one])
        else:
            group[0][1].set_exception(error)


class PolicyWorker:
    """The actor: holds the policies of a run that may be shared, and batches the requests for each.

    It loads `code`, and computes with `threads` within `limits`. What it prints goes to the file `output` (a folder and
    a name), also after a restart.
    """

    def __init__(self, code: WorkerCode, limits: "PolicyWorkerLimits", threads: int, output: tuple[str, str]) -> None:
        redirect_output(*output)
        self._code = code
        self._limits = limits
        self._threads = threads
        self._policies: dict[str, Policy] = {}
        self._batches: dict[str, Batches] = {}
        self._tickets = 0
        self._building = threading.Lock()
        self._deciding = threading.Lock()

    def facts(self, builders: Sequence[Any]) -> dict[str, HostedFacts]:
        """Builds all policies and returns what those declare that may be shared, by name. Raises what building raises.

        Left out are those that are shown the truth, keep something in themselves, or are served elsewhere anyway.
        """
        with self._building:
            if not self._policies:
                self._build(builders)
        return {
            name: HostedFacts(
                policy.observation_spec,
                policy.action_spec,
                takes_hints=isinstance(policy, HintConditioned) and policy.takes_hints,
                resettable=isinstance(policy, ResettableMemory),
            )
            for name, policy in self._policies.items()
        }

    def ticket(self) -> int:
        """Returns how many clients have asked before, so that they can be spread over several actors."""
        with self._building:
            self._tickets += 1
            return self._tickets - 1

    def decide(self, builders: Sequence[Any], name: str, requests: Sequence[Request]) -> list[Decision]:
        """Returns a decision of the policy `name` on each of `requests`, made in a batch with those of other clients.

        After a restart the policies are built once more from `builders`.
        """
        self.facts(builders)
        return self._batches[name].decide(requests)

    def wiped(self, builders: Sequence[Any], name: str, carry: Any) -> Any:
        """Returns what `wiped` of the policy `name` returns for `carry`; `builders` as in `decide`."""
        self.facts(builders)
        return _resettable(self._policies[name]).wiped(carry)

    def swapped(self, builders: Sequence[Any], name: str, carry: Any, donor: Any) -> Any:
        """Returns `carry` with the memory of `donor`, from the policy `name`; `builders` as in `decide`."""
        self.facts(builders)
        return _resettable(self._policies[name]).swapped(carry, donor)

    def _build(self, reference: Sequence[Any]) -> None:
        limit_threads(self._threads)
        self._code.load()
        builders: Mapping[str, PolicyBuilder] = shared_value(reference)
        built = {name: build_policy(name, builder) for name, builder in builders.items()}
        limit_threads(self._threads)
        found = {name: policy for name, policy in built.items() if is_shareable(policy)}
        for policy in found.values():
            if isinstance(policy, Placeable) and ray.get_gpu_ids():
                policy.to_device("cuda")
        clients = -(-self._limits.clients // self._limits.actors)
        self._batches = {name: Batches(partial(self._act, name), clients=clients) for name in found}
        self._policies = found

    def _act(self, name: str, requests: list[Request]) -> list[Decision]:
        """Asks a policy. One that hangs ends this process, which Ray starts again: so no request waits for ever."""
        with self._deciding:  # The watchdog is one for the whole process; it works though a policy holds Python's lock.
            faulthandler.dump_traceback_later(self._limits.decision_s, exit=True)
            try:
                return decisions_of(self._policies[name], requests)
            finally:
                faulthandler.cancel_dump_traceback_later()


def is_shareable(policy: Policy) -> bool:
    """Returns whether one instance of a policy may decide for several workers."""
    stateless = getattr(policy, "stateless", False) is True
    return stateless and not policy.privileged and not isinstance(policy, OutsidePolicy)


def _resettable(policy: Policy) -> ResettableMemory:
    assert isinstance(policy, ResettableMemory)  # Only then a client has these methods.
    return policy


class HostedPolicy:
    """Stands in a simulator worker for a policy on an actor."""

    privileged = False
    stateless = True

    def __init__(self, name: str, actor: Any, facts: HostedFacts, builders: Sequence[Any], *, timeout_s: float) -> None:
        self.observation_spec = facts.observation_spec
        self.action_spec = facts.action_spec
        self.takes_hints = facts.takes_hints
        self._name = name
        self._actor = actor
        self._builders = builders
        self._timeout_s = timeout_s

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """Returns one decision per request. Raises what the policy raises, and `OutageError` where no actor answers."""
        return self._call("decide", list(requests))

    def _call(self, method: str, *values: Any) -> Any:
        pending = getattr(self._actor, method).remote(self._builders, self._name, *values)
        try:
            return ray.get(pending, timeout=self._timeout_s)
        except RayTaskError as error:
            if isinstance(error.cause, EmbodiedError):
                raise error.cause from error
            raise
        except GetTimeoutError as error:
            ray.kill(self._actor, no_restart=False)  # It is started anew for the next request.
            raise OutageError(f"A policy worker must answer within {self._timeout_s:g} s.", value=self._name) from error
        except RayActorError as error:
            raise OutageError("A policy worker must not die again and again.", value=str(error)[:200]) from error


class ResettableHostedPolicy(HostedPolicy):
    """A policy on an actor that has a memory."""

    def wiped(self, carry: Any) -> Any:
        """Returns the carry with an empty memory."""
        return self._call("wiped", carry)

    def swapped(self, carry: Any, donor: Any) -> Any:
        """Returns the carry with the memory of the donor."""
        return self._call("swapped", carry, donor)


@dataclass(frozen=True, eq=False)
class HostedPolicyBuilder:
    """Builds what stands for the policy `name` on one of `actors`; clients are spread over them in turn.

    `builders` is a list that holds a reference to the builders of all policies, as `node.shared_value` reads it.
    """

    name: str
    actors: Sequence[Any]
    facts: HostedFacts
    builders: Sequence[Any]
    timeout_s: float

    def build(self) -> HostedPolicy:
        """Returns the policy."""
        turn: Any = ray.get(self.actors[0].ticket.remote())
        kind = ResettableHostedPolicy if self.facts.resettable else HostedPolicy
        actor = self.actors[turn % len(self.actors)]
        return kind(self.name, actor, self.facts, self.builders, timeout_s=self.timeout_s)


@dataclass(frozen=True)
class PolicyWorkerLimits:
    """How many actors there are, for how many simulator workers, and how long they may take.

    Attributes:
        actors: of policies
        clients: simulator workers
        start_deadline_s: until an actor is ready
        decision_s: until a batch is decided; an actor that takes longer is started again
        answer_s: until a simulator worker has its answer, restarts included
        max_restarts: of each actor
    """

    actors: int
    clients: int
    start_deadline_s: float
    decision_s: float
    answer_s: float
    max_restarts: int


@contextmanager
def hosted_policies(config: WorkerConfig, code: WorkerCode, limits: PolicyWorkerLimits) -> Iterator[WorkerConfig]:
    """Starts the actors, and yields `config` with the policies on them that can be shared.

    The actors load `code`, and `limits` bounds their number and their time. Raises what building a policy raises, and
    `ConfigError` where an actor does not start in time.
    """
    builders = [ray.put({**config.team_policies, **config.policies})]
    actors = [_started(config, code, limits, number) for number in range(1, limits.actors + 1)]
    try:
        facts = _facts_of(actors, builders, limits)
        hosted = {
            name: HostedPolicyBuilder(name, tuple(actors), fact, builders, timeout_s=limits.answer_s)
            for name, fact in facts.items()
        }
        own = [name for name in config.policies if name not in hosted]
        if own:
            _log.info("Decided in the workers of the simulator: %s.", ", ".join(own))
        yield replace(
            config,
            policies={name: hosted.get(name, one) for name, one in config.policies.items()},
            team_policies={name: hosted.get(name, one) for name, one in config.team_policies.items()},
        )
    finally:
        for actor in actors:
            ray.kill(actor, no_restart=True)


def _started(config: WorkerConfig, code: WorkerCode, limits: PolicyWorkerLimits, number: int) -> Any:
    gpus = ray.cluster_resources().get("GPU", 0.0)
    remote_class: Any = ray.remote(PolicyWorker)
    return remote_class.options(
        num_cpus=1,
        num_gpus=min(1.0, gpus / limits.actors),
        max_concurrency=CALLS_AT_ONCE,
        max_restarts=limits.max_restarts,
        max_task_retries=limits.max_restarts,  # A decision follows from its request, so that it may be made again.
        runtime_env={"env_vars": {**thread_environment(config.threads), "PYTHONPATH": code.python_path}},
    ).remote(code, limits, config.threads, (config.log_folder, POLICY_FILES.format(number)))


def _facts_of(actors: Sequence[Any], builders: Sequence[Any], limits: PolicyWorkerLimits) -> dict[str, HostedFacts]:
    pending = [actor.facts.remote(builders) for actor in actors]
    try:
        return ray.get(pending, timeout=limits.start_deadline_s)[0]
    except RayTaskError as error:
        if isinstance(error.cause, EmbodiedError):
            raise error.cause from error
        raise
    except GetTimeoutError as error:
        raise ConfigError(
            f"A policy worker must be ready within {limits.start_deadline_s:g} s.",
            value=limits.actors,
            remedy="Raise compute.start_deadline_s, or lower compute.policy_workers.",
        ) from error
