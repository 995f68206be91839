"""Calls of policies, which anybody may have written: what they raise, are or return that no policy may is one error."""

import sysconfig
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, get_args

import embodied
from embodied.codec import require_carry
from embodied.errors import CodecError, ConfigError, EmbodiedError, PolicyFaultError
from embodied.protocols import Policy, PolicyWrapper
from embodied.rollout.builders import PolicyBuilder
from embodied.specs import ActionSpec, ObservationSpec
from embodied.types import ControllerReport, Decision, Intent, Moment, Request

_OWN_FOLDERS = tuple(
    str(Path(embodied.__file__).parents[1] / name) + "/" for name in ("embodied", "policies", "launch")
)
_LIBRARY_FOLDERS = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_INTENTS: tuple[type, ...] = get_args(Intent)
LONGEST_TEXT = 300


class DecisionPendingError(Exception):
    """Raised by a policy whose decisions come from outside the loop, until it has one: it passes through the loop."""


def build_policy(label: str, builder: PolicyBuilder) -> Policy:
    """Returns the policy that `builder` builds for the policy called `label`.

    Raises `PolicyFaultError` where `build` raises an exception or returns what is no policy, and every `EmbodiedError`
    of `build` as it is, a `ConfigError` with the label before it.
    """
    try:
        with _ExceptionsOf("build"):
            policy = builder.build()
        require_policy(policy, origin=type(builder).__name__)
    except PolicyFaultError as error:
        raise labelled(error, label) from error.__cause__
    except ConfigError as error:
        if type(error) is not ConfigError or label in error.rule:
            raise
        raise ConfigError(f"Policy {label!r}: {error.rule}", value=error.value, remedy=error.remedy) from error
    return policy


def decisions_of(policy: Policy, requests: Sequence[Request]) -> list[Decision]:
    """Returns the decisions of `policy` for `requests`, one each, after checking what they are.

    Raises `PolicyFaultError` for an exception of `act`, for a carry that cannot cross processes, and as
    `require_decisions`. Every `EmbodiedError` and `DecisionPendingError` passes through.
    """
    with _ExceptionsOf("act"):
        decisions = policy.act(requests)
    try:
        require_decisions(decisions, len(requests))
        for decision in decisions:
            _require_carry(decision)
    except PolicyFaultError as error:
        raise labelled(error, where=f" from {_place_of(policy)}") from None
    return list(decisions)


def labelled(error: PolicyFaultError, label: str = "", *, where: str = "") -> PolicyFaultError:
    """Returns `error` with the `label` of the policy that it is about, and `where` in an episode it was found."""
    rule = error.rule.replace("A policy", f"Policy {label!r}", 1) if label else error.rule
    return PolicyFaultError(rule, value=f"{error.value}{where}", remedy=error.remedy)


def require_policy(policy: object, *, origin: str = "") -> None:
    """Raises `PolicyFaultError` unless `policy` has what every policy has; `origin` names what has built it."""
    by = f" from {origin}" if origin else ""
    if not callable(getattr(policy, "act", None)):
        remedy = "End build with `return`." if policy is None else "Give it `act(self, requests)`."
        raise PolicyFaultError(
            "A policy must be an object with a method `act`.", value=f"{_kind(policy)}{by}", remedy=remedy
        )
    wanted: Mapping[str, tuple[type, str]] = {
        "observation_spec": (ObservationSpec, "Write such as observation_spec = ObservationSpec(cameras=('front',))."),
        "action_spec": (ActionSpec, "Write action_spec = KEYFRAME, from embodied.specs, for a policy of `MoveTo`."),
        "privileged": (bool, "Write privileged = False."),
    }
    for name, (kind, remedy) in wanted.items():
        found = getattr(policy, name, None)
        if not isinstance(found, kind):
            given = f"{type(policy).__name__}.{name} = {_kind(found)}" if hasattr(policy, name) else _kind(policy)
            raise PolicyFaultError(f"A policy must have `{name}`, of type {kind.__name__}.", value=given, remedy=remedy)


def require_decisions(decisions: object, count: int) -> None:
    """Raises `PolicyFaultError` unless `decisions` are what `act` must return for `count` requests.

    The numbers in intents are checked by controllers, those of moments by the bank.
    """
    if not isinstance(decisions, list | tuple):
        remedy = "End `act` with `return [...]`." if decisions is None else "Return a list, also for one request."
        raise PolicyFaultError("A policy must return a list of decisions.", value=_kind(decisions), remedy=remedy)
    if len(decisions) != count:
        rule = f"A policy must answer all {count} requests."
        raise PolicyFaultError(rule, value=f"{len(decisions)} decisions", remedy="Return one decision per request.")
    for decision in decisions:
        _require_decision(decision)


def _require_decision(decision: object) -> None:
    if not isinstance(decision, Decision):
        rule, remedy = "A policy must return objects of type Decision.", "Wrap intents: Decision((intent,))."
        raise PolicyFaultError(rule, value=_kind(decision), remedy=remedy)
    parts: Mapping[str, tuple[Any, Any, Any]] = {
        "intents": (decision.intents, _INTENTS, "Write Decision((intent,)): one intent needs the comma."),
        "moments": (decision.moments, Moment, "Give moments as a tuple."),
    }
    for name, (values, kinds, remedy) in parts.items():
        if not isinstance(values, tuple):
            rule = f"A policy must return decisions whose `{name}` are a tuple."
            raise PolicyFaultError(rule, value=_kind(values), remedy=remedy)
        for value in values:
            if not isinstance(value, kinds):
                known = ", ".join(kind.__name__ for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
                rule = f"A policy must return decisions whose `{name}` are of {known}."
                raise PolicyFaultError(rule, value=_kind(value))
    if decision.report is not None and not isinstance(decision.report, ControllerReport):
        raise PolicyFaultError("A policy must report with a ControllerReport, or None.", value=_kind(decision.report))
    if not decision.intents and decision.report is None:
        raise PolicyFaultError(
            "A policy must return decisions with at least one intent.",
            value="no intents",
            remedy="Return `Wait` to hold still, or report that the assignment has ended.",
        )


def _require_carry(decision: Decision) -> None:
    try:
        require_carry(decision.carry)
    except CodecError as error:
        rule = "A policy must return a carry of names with arrays and plain values."
        raise PolicyFaultError(rule, value=str(error.value), remedy=f"{error.rule} {error.remedy}") from None


def full_traceback(error: EmbodiedError) -> str:
    """Returns the traceback of the exception behind a `PolicyFaultError`; "" where there is none."""
    if not isinstance(error, PolicyFaultError) or error.__cause__ is None:
        return ""
    return "".join(traceback.format_exception(error.__cause__))


class _ExceptionsOf:
    """Inside, an exception of the policy's method `method` becomes a `PolicyFaultError`; its cause is the exception."""

    def __init__(self, method: str) -> None:
        self._method = method

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception) or isinstance(error, EmbodiedError | DecisionPendingError):
            return
        shown = " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_TEXT]
        frame = _raised_at(trace)
        of_camera = isinstance(error, KeyError) and "images[" in (frame.line or "")
        raise PolicyFaultError(
            f"A policy must not raise an exception in `{self._method}`.",
            value=f"{shown} in {Path(frame.filename).name}:{frame.lineno}",
            remedy="Requests have the images of the cameras that `observation_spec` names." if of_camera else "",
        ) from error


def _raised_at(trace: TracebackType | None) -> traceback.FrameSummary:
    """Returns the innermost frame that is the user's: outside this project, and of no library."""
    frames = list(traceback.extract_tb(trace))
    outside = [frame for frame in frames if not frame.filename.startswith(_OWN_FOLDERS)]
    users = [frame for frame in outside if not frame.filename.startswith(_LIBRARY_FOLDERS)]
    return (users or outside or frames)[-1]


def _place_of(policy: Policy) -> str:
    """Returns the name of the code that decides, with its file and line where it has a source."""
    while isinstance(policy, PolicyWrapper):
        policy = policy.inner
    act: Callable[..., Any] = getattr(policy, "decide", policy.act)
    code = getattr(act, "__code__", None)
    return "act" if code is None else f"{act.__name__} in {Path(code.co_filename).name}:{code.co_firstlineno}"


def _kind(value: object) -> str:
    return "None" if value is None else type(value).__name__
