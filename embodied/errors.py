"""Errors that a caller may catch; each states the rule, the value and the remedy."""

from collections.abc import Iterable
from difflib import get_close_matches
from enum import Enum
from typing import ClassVar

LONGEST_VALUE = 2_000


class NotGiven(Enum):
    """Stands for no value, where None may be one; an enum member keeps its identity across processes."""

    VALUE = "not given"


class EmbodiedError(Exception):
    """Root of every error that this project raises on purpose.

    The message reads `<rule> Got <value>. <remedy>`: what must hold, what was given, and how to correct it. A kind of
    error has a default remedy, for rules that need no other.
    """

    usual_remedy: ClassVar[str] = ""

    def __init__(self, rule: str, *, value: object = NotGiven.VALUE, remedy: str = "") -> None:
        self.rule = rule
        self.value = value
        self.remedy = remedy or self.usual_remedy
        shown = "" if value is NotGiven.VALUE else f" Got {_shown(value)}."
        super().__init__(f"{rule}{shown}{' ' + self.remedy if self.remedy else ''}")

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process boundaries (Ray); the default would pass the finished message as the rule.
        return _rebuild, (type(self), self.rule, self.value, self.remedy)


class ConfigError(EmbodiedError):
    """A configuration key, type or value is wrong."""

    usual_remedy = "Change the setting and run again."


class PluginError(ConfigError):
    """A part of an installed package, or of a module that a command line names, cannot be used."""

    usual_remedy = "Repair its package, or uninstall it."


class SceneError(EmbodiedError, ValueError):
    """A scene, its JSON, a mesh or a URDF cannot be used."""

    usual_remedy = "Correct the scene; nothing was built."


class RobotModelError(SceneError):
    """A model file of a robot, its URDF files or its meshes cannot be used; no other robot is used instead."""

    usual_remedy = "Correct the model file or its URDF files; nothing was built."


class UnknownNameError(EmbodiedError):
    """A name is in no registry: a robot, body, camera, task, policy or suite."""


class CommandError(EmbodiedError):
    """A command was refused before the simulator saw it."""

    usual_remedy = "Send numbers within the limits of `robots.commands.check_command`; nothing moved."


class IntentError(EmbodiedError):
    """An intent is malformed, or the robot has no controller for it."""

    usual_remedy = "Send an intent as `embodied.types` describes it; nothing moved."


class PolicyFaultError(EmbodiedError):
    """A policy raised an exception, or it is or returned what no policy may; its episode is invalid, others go on."""

    usual_remedy = "Correct the policy; nothing moved."


class SpecError(EmbodiedError):
    """A field, action space or observation has an invalid declaration, or does not fit its user."""

    usual_remedy = "Correct the declaration; nothing was run."


class GoalError(EmbodiedError):
    """A goal or a limit of an episode is invalid, or the goal is not of the kind that its user needs."""

    usual_remedy = "Correct the task that sampled the episode."


class QuestionError(EmbodiedError):
    """An instruction or question about a lived day belongs to no template, or its slots or answers are invalid."""

    usual_remedy = "Correct the question; see `embodied.tasks.findingdory`."


class EventError(EmbodiedError):
    """An event of an episode is invalid, or does not fit its scene; a refused event has changed nothing."""

    usual_remedy = "Correct the events of the episode."


class PathError(EmbodiedError):
    """A path leaves the folder that confines it, or does not exist."""

    usual_remedy = "Choose another path."


class MissingDependencyError(EmbodiedError):
    """A library or system package that this choice needs is not installed."""


class SimulationError(EmbodiedError):
    """The physics diverged; the episode is invalid and the simulator must be reset."""


class MemoryBankError(EmbodiedError):
    """An event, query or file that the memory bank refuses; nothing was written."""

    usual_remedy = "Correct it and try again; nothing was written."


class PoseError(SceneError, MemoryBankError):
    """A pose, of a scene or of an event, is not finite or its orientation is not of unit length: it was not built."""

    usual_remedy = "Give finite metres and a unit quaternion xyzw; nothing was built or written."


class NumberTakenError(MemoryBankError):
    """A writer's number belongs to another event or is below its last one: the event is not in the log under it."""

    usual_remedy = "Continue above the writer's last number; nothing was written."


class AheadOfClockError(MemoryBankError):
    """An event lies further beyond the clock of a bank than the bank accepts."""

    usual_remedy = "Stamp events by the clock of the site, in seconds."


class NotPermittedError(MemoryBankError):
    """A client may not do this: write under another's name, write what is reserved for the site, or write at all."""

    usual_remedy = "Ask the operator of the bank for a credential that allows it; nothing was written."


class ConflictError(MemoryBankError):
    """The state on which this write was based has changed (a stale version, lease or epoch): read again and retry."""


class StaleLeaseError(MemoryBankError):
    """Effects were written under a lease that another has taken over, or of a subtask that has ended.

    Unlike after other errors the events of the call are in the log: these effects as claims, which no belief counts.
    """

    usual_remedy = "Stop this work: the lease is no longer yours. Nothing needs to be sent again."


class StorageError(MemoryBankError):
    """The disk of the memory bank is full or fails; nothing was written, and the write can be tried again."""


class CodecError(EmbodiedError):
    """A value cannot be written as a message between processes, or a message cannot be read; none of it was used."""

    usual_remedy = "Send what `embodied.codec` documents; nothing was used."


class OutageError(EmbodiedError):
    """Something outside this process, such as a policy server, has failed: the episode is played again on resuming."""

    usual_remedy = "Run the same command again once it is back."


class DataError(EmbodiedError):
    """A file of this project is truncated, altered, or of another version."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> UnknownNameError:
    """Returns the error for a `name` that is not among the `known` ones, with the nearest of them as its remedy.

    `kind` says in the message what is named.
    """
    options = sorted(known)
    near = get_close_matches(str(name), options, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    listed = ", ".join(options) or "nothing is registered"
    return UnknownNameError(f"A {kind} must be one that exists.", value=name, remedy=f"{hint}Known: {listed}.")


def _shown(value: object) -> str:
    """Returns a value as text of bounded length: a message is printed, logged, and sent to other processes."""
    try:
        text = repr(value)
    except RecursionError:
        return f"a {type(value).__name__} that is nested too deeply to be shown"
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}... ({len(text)} characters)"


def _rebuild(kind: type[EmbodiedError], rule: str, value: object, remedy: str) -> EmbodiedError:
    return kind(rule, value=value, remedy=remedy)
