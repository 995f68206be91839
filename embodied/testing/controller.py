"""The contract of controllers: `check_controller`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, get_args

import numpy as np

from embodied.errors import IntentError
from embodied.protocols import Controller
from embodied.robots.commands import arm_targets, check_command, openings
from embodied.robots.robot import RobotModel
from embodied.testing.contract import Leaves, Rule, global_random, leaves, read_only
from embodied.testing.ideal_world import Follow
from embodied.types import ActionChunk, Command, ControllerReport, ControllerStatus, Intent, WorldState

LONGEST_PERIODS = 4000

HANDLES = Rule("handles", "A controller must carry out the intents of `handles`, and refuse all others.")
DETERMINISM = Rule("determinism", "The same intent, states and seed must give the same commands, bit for bit.")
INPUTS = Rule(
    "read_only_inputs", "A controller must neither write to what it is given nor keep it.", "Copy the arrays."
)
RESULTS = Rule("results_stay", "Commands that were returned must not change later.", "Return copies.")
COMMANDS = Rule("commands", "Every command must fit the robot, as `robots.commands.check_command` checks it.")
ENDS = Rule("ends", "Every intent must end in a report that says DONE, or FAILED with a reason.")
TICK_AFTER_END = Rule("tick_after_end", "A tick without a running intent must raise `IntentError`.")
REFUSALS = Rule("refusals", "A malformed intent must raise `IntentError`.")
UNMOVED = Rule("refused_moves_nothing", "A refused intent must not move the robot or change what it does next.")
CANCEL = Rule(
    "cancel", "`cancel` must end the intent with a CANCELLED report, after which the arm stays and a base stops."
)
HOLD = Rule("hold", "`hold` must keep the robot still: arms and grippers at their last targets, a base at rest.")


@dataclass(frozen=True, eq=False)
class _Robot:
    """The subject of a check: a maker of controllers, the state in which they begin, and the effect of a command."""

    make: Callable[[], Controller]
    robot: str
    model: RobotModel
    state: WorldState
    follower: Callable[[], Follow]

    def run(
        self,
        controller: Controller,
        intent: Intent,
        *,
        limit: int = LONGEST_PERIODS,
        copies: list[Leaves] | None = None,
        begun: Callable[[], None] = lambda: None,
    ) -> list[Any]:
        """Returns the commands of an intent and its report at the end, which is absent after `limit` periods.

        The `controller` is given the `intent`. `copies` receives a copy of each as it was returned; `begun` is
        called once the intent has begun.
        """
        state, follow = read_only(self.state), self.follower()
        outcome: Command | ControllerReport | None = controller.begin(intent, state, seed=7)
        begun()
        found: list[Any] = [] if outcome is None else [outcome]
        while not isinstance(outcome, ControllerReport) and len(found) < limit:
            outcome = controller.tick(state)
            found.append(outcome)
            if copies is not None:
                copies.append(leaves(outcome))
            if isinstance(outcome, Command):
                with COMMANDS:
                    check_command(self.robot, self.model, outcome)
                state = read_only(follow(state, outcome))
        return found


def check_controller(  # noqa: PLR0913 - a controller is one robot's, in one world
    make: Callable[[], Controller],
    intents: Sequence[Intent],
    *,
    robot: str,
    model: RobotModel,
    state: WorldState,
    follower: Callable[[], Follow],
    refused: Sequence[object] = (),
) -> None:
    """Raises `ContractError`, which names the first broken rule, unless `make()` gives sound controllers.

    `intents` are those that it must carry out, on `robot` of `model`. An outside package calls it in its tests, with
    one feasible intent or more of every type that the controller takes::

        from embodied.testing import check_controller, home_state, obedient
        check_controller(make, intents, robot="arm", model=robot_model("panda"), state=home_state(scene),
                         follower=lambda: obedient(scene, "arm", period_s=0.05))

    `follower()` returns a function from a state and a command to the next state; `refused` are further intents that the
    controller must refuse. All intents begin in `state`.
    """
    checked = _Robot(make, robot, model, state, follower)
    _check_handles(checked, intents)
    for intent in intents:
        _check_run(checked, intent)
        _check_inputs(checked, intent)
        _check_cancel(checked, intent)
    malformed = [(repr(intent), intent) for intent in refused]
    malformed += [broken for intent in intents for broken in _malformed(intent)]
    _check_refusals(checked, malformed, intents)


def _check_handles(checked: _Robot, intents: Sequence[Intent]) -> None:
    with HANDLES:
        handles = checked.make().handles
        if not isinstance(handles, frozenset) or not all(isinstance(kind, type) for kind in handles):
            raise HANDLES.broken(handles)
        missing = [kind.__name__ for kind in handles if not any(type(intent) is kind for intent in intents)]
        if missing or not handles:
            raise HANDLES.broken(f"{sorted(missing)} without an intent to try, of {len(handles)} types")
        for intent in intents:
            if type(intent) not in handles:
                raise HANDLES.broken(f"{type(intent).__name__} is not among {sorted(map(str, handles))}")
            checked.make().begin(intent, checked.state, seed=1)
    others = [_example(kind) for kind in get_args(Intent) if kind not in handles]
    for other in [*others, object()]:
        HANDLES.require_refusal(
            f"{type(other).__name__}, which it does not handle",
            lambda intent=other: checked.make().begin(intent, checked.state, seed=1),  # type: ignore[arg-type]
            IntentError,
        )


def _example(kind: type) -> Any:
    """Returns an intent of a type without regard to its values: it is refused for its type."""
    return object.__new__(kind)


def _check_run(checked: _Robot, intent: Intent) -> None:
    name = type(intent).__name__
    first, second = checked.make(), checked.make()
    copies: list[Leaves] = []
    again: list[Leaves] = []
    with DETERMINISM:
        with global_random(1):
            run = checked.run(first, intent, copies=copies)
        with global_random(2):
            checked.run(second, intent, copies=again)
        DETERMINISM.require_same(f"commands of two controllers for {name}", copies, again)
    with ENDS:
        report = run[-1]
        if not isinstance(report, ControllerReport):
            raise ENDS.broken(f"{name} is still running after {LONGEST_PERIODS} periods")
        failed = report.status is ControllerStatus.FAILED
        if report.status is ControllerStatus.CANCELLED or failed != bool(report.reason):
            raise ENDS.broken(f"{name} ended in {report}")
    TICK_AFTER_END.require_refusal(f"a tick after {name} ended", lambda: first.tick(checked.state), IntentError)
    TICK_AFTER_END.require_refusal("a tick before any intent", lambda: checked.make().tick(checked.state), IntentError)
    held = first.hold()
    with RESULTS:
        for before, command in zip(copies, run, strict=False):
            RESULTS.require_same("a command when it was returned and later", before, command)
    with HOLD:
        _require_still(checked, HOLD, held, run)


def _check_inputs(checked: _Robot, intent: Intent) -> None:
    with INPUTS:
        before = leaves((intent, checked.state))
        baseline = checked.run(checked.make(), intent)
        INPUTS.require_same("the intent and the state before and after", before, (intent, checked.state))
        if not isinstance(intent, ActionChunk):
            return
        handed = replace(intent, values=intent.values.copy())
        changed = checked.run(checked.make(), handed, begun=lambda: handed.values.fill(0.0))
        INPUTS.require_same("commands before and after the chunk was changed", baseline, changed)


def _check_cancel(checked: _Robot, intent: Intent) -> None:
    controller = checked.make()
    with CANCEL:
        baseline = checked.run(checked.make(), intent)
        run = checked.run(controller, intent, limit=max(1, len(baseline) // 2))
        report = controller.cancel()
        if not isinstance(report, ControllerReport) or report.status is not ControllerStatus.CANCELLED:
            raise CANCEL.broken(report)
    CANCEL.require_refusal("a tick after `cancel`", lambda: controller.tick(checked.state), IntentError)
    with CANCEL:
        _require_still(checked, CANCEL, controller.hold(), run)
        _require_still(checked, CANCEL, controller.hold(), [Command()])
        if not isinstance(checked.run(controller, intent)[-1], ControllerReport):
            raise CANCEL.broken(f"{type(intent).__name__} never ends after another one was cancelled")
    with HOLD:
        _require_still(checked, HOLD, checked.make().hold(), [])


def _require_still(checked: _Robot, rule: Rule, held: Command, commands: Sequence[Any]) -> None:
    """Raises `ContractError` where `held`, which follows the commands, moves an arm or gripper or lets a base roll."""
    if not isinstance(held, Command):
        raise rule.broken(f"`hold` returned {held!r}")
    check_command(checked.robot, checked.model, held)
    arms: dict[str, Any] = {}
    grippers: dict[str, float] = {}
    velocity = np.zeros(0)
    for command in (command for command in commands if isinstance(command, Command)):
        arms |= arm_targets(checked.model, command)
        grippers |= openings(checked.model, command)
        velocity = velocity if command.base_velocity is None else np.asarray(command.base_velocity)
    for name, target in arm_targets(checked.model, held).items():
        if name not in arms or not np.array_equal(target, arms[name]):
            raise rule.broken(f"`hold` moves the arm {name!r}")
    for name, opening in openings(checked.model, held).items():
        if opening != grippers.get(name):
            raise rule.broken(f"`hold` moves the gripper {name!r} to {opening}")
    after = velocity if held.base_velocity is None else np.asarray(held.base_velocity)
    if after.any():
        raise rule.broken(f"the base goes on at {after.tolist()}")


def _check_refusals(checked: _Robot, malformed: Sequence[tuple[str, Any]], intents: Sequence[Intent]) -> None:
    for what, intent in malformed:
        controller = checked.make()
        REFUSALS.require_refusal(
            what, lambda sent=intent, to=controller: to.begin(sent, checked.state, seed=1), IntentError
        )
        UNMOVED.require_refusal(
            f"a tick after a refused {what}", lambda to=controller: to.tick(checked.state), IntentError
        )
        with UNMOVED:
            _require_still(checked, UNMOVED, controller.hold(), [])
    with UNMOVED:
        for good in intents:
            baseline = checked.run(checked.make(), good)
            controller = checked.make()
            for _, intent in malformed:
                try:
                    controller.begin(intent, checked.state, seed=1)
                except IntentError:
                    continue
            UNMOVED.require_same("commands after refused intents", baseline, checked.run(controller, good))


def _malformed(intent: Intent) -> Iterator[tuple[str, Any]]:
    """Yields the intent with NaN, or a vector too short, in one field after another, and what is wrong with it."""
    if not is_dataclass(intent):
        return
    for field in fields(intent):
        value, name = getattr(intent, field.name), f"{type(intent).__name__}.{field.name}"
        if isinstance(value, float):
            yield f"{name} = NaN", replace(intent, **{field.name: float("nan")})
        elif isinstance(value, tuple) and all(isinstance(item, float) for item in value):
            yield f"{name} with NaN", replace(intent, **{field.name: (float("nan"), *value[1:])})
            yield f"{name} too short", replace(intent, **{field.name: value[:-1]})
        elif isinstance(value, np.ndarray):
            spoiled = value.astype(float)
            spoiled.flat[-1] = np.nan
            yield f"{name} with NaN", replace(intent, **{field.name: spoiled})
            yield f"{name} too narrow", replace(intent, **{field.name: value[:, :-1]})
