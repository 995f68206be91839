"""The contract of policies: `check_policy`."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from embodied.codec import decode, encode, require_carry
from embodied.errors import CodecError
from embodied.protocols import Policy, ResettableMemory
from embodied.rollout.episode_policies import is_stateless
from embodied.rollout.policy_calls import require_decisions, require_policy
from embodied.testing.contract import Rule, global_random, leaves, read_only, require_finite_and_unit, shares_memory
from embodied.types import Carry, Decision, Moment, Request

BUILT = Rule(
    "built",
    "A config must be a dataclass whose `build()` returns a policy.",
    "Write @dataclass(kw_only=True) above the class of the config, and a default for each of its settings.",
)
DECLARED = Rule(
    "declared", "A policy must declare an `ObservationSpec`, an `ActionSpec`, and whether it is privileged."
)
DECISIONS = Rule("decisions", "Each request must get one decision, whose intents and moments are finite and in units.")
DETERMINISM = Rule("determinism", "A second instance must decide the same.", "Draw from `Request.seed` alone.")
BATCH = Rule("batch", "A batch must give what its rows give one by one, in any order.")
INPUTS = Rule("read_only_inputs", "A policy must not write to its requests, nor hand on their arrays.", "Copy them.")
CARRY = Rule(
    "carry",
    "All state must be in the carry, a mapping of names to arrays and plain values: it decides the same in any "
    "instance, any time, also after it has crossed processes.",
)
STATELESS = Rule(
    "stateless",
    "A policy that declares `stateless` must decide the same whatever it was asked before.",
    "Keep everything in the carry, or leave `stateless` out: the policy is then built anew for each episode.",
)
TRUTH = Rule("privileged", "A policy that is not privileged must decide without the truth.")
VISUALISATIONS = Rule(
    "visualisations", "Pictures must be uint8 (height, width, 3), only where asked for, and change nothing."
)
RESETTABLE = Rule("resettable_memory", "`wiped` and `swapped` must return new carries and leave theirs as they are.")
STATELESS_TURNS, STATELESS_DECISIONS = 3, 3


def check_policy(make: Callable[[], Policy], requests: Sequence[Request], *, tolerance: float = 0.0) -> None:
    """Raises `ContractError`, which names the first broken rule, unless `make()` gives sound policies.

    `requests` are first requests of episodes. An outside package calls it in its tests, with two or more first requests
    that differ::

        from embodied.testing import check_policy
        check_policy(MyPolicyConfig().build, requests)

    `make()` returns policies of the same weights. Numbers of decisions may differ by `tolerance` between a batch and
    its rows, as they do where a network sums in another order.
    """
    with BUILT:
        _require_decorated(getattr(make, "__self__", None))
        policy = make()
    with DECLARED:
        require_policy(policy)
    firsts = [request if policy.privileged else replace(request, truth=None) for request in requests]
    decisions = _check_determinism(make, firsts)
    later = [_next(request, decision) for request, decision in zip(firsts, decisions, strict=True)]
    for asked in (firsts, later):
        _check_batch(make(), asked, tolerance)
        _check_inputs(make(), asked)
        _check_visualisations(make(), asked)
    _check_carry(make, firsts, later)
    if is_stateless(policy):
        _check_stateless(make, firsts, tolerance)
    if not policy.privileged:
        with TRUTH:
            TRUTH.require_same("decisions with and without truth", make().act(firsts), make().act(list(requests)))
    if isinstance(policy, ResettableMemory):
        _check_memory(policy, later)


def _require_decorated(config: object) -> None:
    """Raises `ContractError` for a config whose class has settings of its own, but is not decorated as a dataclass."""
    kind = type(config)
    own = [name for name, text in vars(kind).get("__annotations__", {}).items() if "ClassVar" not in str(text)]
    if (
        config is not None
        and own
        and callable(getattr(config, "build", None))
        and "__dataclass_params__" not in vars(kind)
    ):
        raise BUILT.broken(f"{kind.__name__} with the settings {', '.join(own)}, which is not decorated")


def _next(request: Request, decision: Decision) -> Request:
    """Returns the request after a decision, in a static world."""
    return replace(request, step=request.step + 1, seed=request.seed + 1, carry=decision.carry)


def _check_determinism(make: Callable[[], Policy], requests: Sequence[Request]) -> list[Decision]:
    with DECISIONS, global_random(1):
        decisions = make().act(requests)
        _require_decisions(requests, decisions)
    with CARRY:
        for decision in decisions:
            _require_carry(decision.carry)
    with DETERMINISM, global_random(2):
        DETERMINISM.require_same("decisions of two instances", decisions, make().act(requests))
    return decisions


def _require_decisions(requests: Sequence[Request], decisions: Sequence[Decision]) -> None:
    require_decisions(decisions, len(requests))
    for decision in decisions:
        require_finite_and_unit(DECISIONS, decision.intents)
        for moment in decision.moments:
            _require_moment(moment)


def _require_carry(carry: Carry | None) -> None:
    try:
        require_carry(carry)
    except CodecError as error:
        raise CARRY.broken(f"{error.rule} Got {error.value!r}") from error


def _require_moment(moment: Moment) -> None:
    require_finite_and_unit(DECISIONS, moment)
    length = float(np.linalg.norm(moment.embedding))
    if moment.embedding.ndim != 1 or abs(length - 1.0) > 1e-3:
        raise DECISIONS.broken(f"an embedding {moment.embedding.shape} of length {length:.4f}, not (D,) of length 1")
    if not moment.model_id or (moment.tokens is not None and moment.tokens.ndim != 2):
        raise DECISIONS.broken(f"a moment of model {moment.model_id!r} whose tokens are not (N, D)")


def _check_batch(policy: Policy, requests: Sequence[Request], tolerance: float) -> None:
    with BATCH:
        together = policy.act(requests)
        for request, decision in zip(requests, together, strict=True):
            (alone,) = policy.act([request])
            BATCH.require_same("a row and the same request alone", decision, alone, tolerance=tolerance)
        turned = policy.act(list(requests)[::-1])[::-1]
        BATCH.require_same("rows in another order", together, turned, tolerance=tolerance)


def _check_inputs(policy: Policy, requests: Sequence[Request]) -> None:
    with INPUTS:
        before = leaves(list(requests))
        decisions = policy.act(requests)
        INPUTS.require_same("requests before and after", before, list(requests))
        seen = [request.observation for request in requests]
        if shares_memory(decisions, seen):
            raise INPUTS.broken("an array of an observation within a decision")
        INPUTS.require_same(
            "decisions on read-only arrays", decisions, policy.act([read_only(one) for one in requests])
        )


def _check_carry(make: Callable[[], Policy], firsts: Sequence[Request], later: Sequence[Request]) -> None:
    with CARRY:
        used = make()
        used.act(firsts)
        before = leaves([request.carry for request in later])
        decisions = used.act(later)
        CARRY.require_same("carries before and after", before, [request.carry for request in later])
        CARRY.require_same("decisions on the same carry, asked twice", decisions, used.act(later))
        CARRY.require_same("decisions of an instance that never saw the episode", decisions, make().act(later))
        copied = [replace(request, carry=decode(encode(request.carry))) for request in later]
        CARRY.require_same("decisions on a carry that was sent as a message", decisions, make().act(copied))


def _check_stateless(make: Callable[[], Policy], firsts: Sequence[Request], tolerance: float) -> None:
    """Plays all episodes with one policy, one after another and interleaved, and each with a policy of its own."""
    with STATELESS:
        alone = [_decisions(make(), [request])[0] for request in firsts]
        one = make()
        for turn in range(STATELESS_TURNS):
            order = [(place + turn) % len(firsts) for place in range(len(firsts))]
            mine = {place: _decisions(one, [firsts[place]])[0] for place in order}
            for place in order:
                STATELESS.require_same("an episode played after others", alone[place], mine[place], tolerance=tolerance)
            together = _decisions(one, firsts)
            STATELESS.require_same("episodes played side by side", alone, together, tolerance=tolerance)


def _decisions(policy: Policy, firsts: Sequence[Request]) -> list[list[Decision]]:
    """Returns the first decisions of each episode, all episodes being asked in turn, in a world that stands still."""
    requests, found = list(firsts), [list[Decision]() for _ in firsts]
    for _ in range(STATELESS_DECISIONS):
        for place, request in enumerate(requests):
            (decision,) = policy.act([request])
            found[place].append(decision)
            requests[place] = _next(request, decision)
    return found


def _check_visualisations(policy: Policy, requests: Sequence[Request]) -> None:
    with VISUALISATIONS:
        plain = policy.act(requests)
        drawn = policy.act([replace(request, visualisations=True) for request in requests])
        if any(decision.visualisations for decision in plain):
            raise VISUALISATIONS.broken("pictures that were not asked for")
        for decision in drawn:
            for name, image in decision.visualisations.items():
                if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                    raise VISUALISATIONS.broken(f"{name!r} is {image.dtype} {image.shape}")
        bare = [replace(decision, visualisations={}) for decision in drawn]
        VISUALISATIONS.require_same("decisions with and without pictures", plain, bare)


def _check_memory(policy: ResettableMemory, later: Sequence[Request]) -> None:
    with RESETTABLE:
        carry, donor = later[0].carry, later[-1].carry
        if carry is None or donor is None:
            raise RESETTABLE.broken("no carry, which would hold the memory")
        before = leaves((carry, donor))
        wiped, swapped = policy.wiped(carry), policy.swapped(carry, donor)
        RESETTABLE.require_same("carries before and after", before, (carry, donor))
        RESETTABLE.require_same("a wiped carry, wiped again", wiped, policy.wiped(wiped))
        RESETTABLE.require_same("a carry with its own memory", carry, policy.swapped(carry, carry))
        RESETTABLE.require_same("a carry swapped there and back", carry, policy.swapped(swapped, carry))
        RESETTABLE.require_same("wiped carries with and without a swap before", wiped, policy.wiped(swapped))
        if type(wiped) is not type(carry) or type(swapped) is not type(carry):
            raise RESETTABLE.broken(f"{type(wiped).__name__} and {type(swapped).__name__}")
