"""The controllers' part of the loop: intents begin with their placement error, run, and end."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from embodied.rollout.action_noise import moved_holder, release_errors, with_action_noise
from embodied.rollout.limits import require_intents_left
from embodied.rollout.team import RobotSlot
from embodied.seeding import derive_seed
from embodied.types import (
    Command,
    ControllerReport,
    ControllerStatus,
    Episode,
    IntentFeedback,
    MoveTo,
    WorldState,
    holder_name,
)


class Intents:
    """Runs the queued intents of an episode's robots. `publish(robot, feedback)` is called for every one that ends.

    Grasps of bodies that no joint holds are counted by holder: the count chooses the draw of the placement error.
    """

    def __init__(self, episode: Episode, publish: Callable[[str, IntentFeedback], None]) -> None:
        self._episode = episode
        self._publish = publish
        self._jointed = frozenset(joint.child for joint in episode.scene.joints)
        self._grasps: Counter[str] = Counter()

    def count_grasps(self, before: WorldState, now: WorldState) -> None:
        """Counts what is held now and was not held by the same end effector in the previous state."""
        for holder, body in now.held.items():
            if body != before.held.get(holder) and self._is_free(body):
                self._grasps[holder] += 1

    def next_command(self, slot: RobotSlot, state: WorldState) -> Command | IntentFeedback | None:
        """Returns the robot's command; the feedback of an intent that has failed; None once it has no intents left.

        Raises `EndedError` where the limit of intents is reached.
        """
        while slot.running is not None or slot.queue:
            answer = self._start(slot, state) if slot.running is None else None
            answer = slot.controller.tick(state) if answer is None else answer
            if isinstance(answer, Command):
                return answer if isinstance(slot.running, MoveTo) else self._with_release_error(slot, state, answer)
            feedback = slot.end_intent(answer)
            self._publish(slot.robot, feedback)
            if feedback.status is not ControllerStatus.DONE:
                return feedback
        return None

    def _start(self, slot: RobotSlot, state: WorldState) -> ControllerReport | None:
        require_intents_left(self._episode.limits, slot)
        intent = slot.queue.popleft()
        holder = moved_holder(state, slot.robot, intent)
        if self._is_free(state.held.get(holder)):
            intent = with_action_noise(self._episode, holder, grasp_count=self._grasps[holder], intent=intent)
        seed = derive_seed(self._episode.seed, "controller", slot.robot, slot.intents)
        slot.intents += 1
        slot.running = intent
        return slot.controller.begin(intent, state, seed=seed)

    def _with_release_error(self, slot: RobotSlot, state: WorldState, command: Command) -> Command:
        """Adds the placement error of free bodies that this command may release; a `MoveTo` carries its own."""
        robot = slot.robot
        only = len(state.robots[robot].end_effectors) < 2
        names = {holder_name(robot, name, only=only): name for name in state.robots[robot].end_effectors}
        held = {holder: self._grasps[holder] for holder in names if self._is_free(state.held.get(holder))}
        errors = release_errors(self._episode, held) if held and command.gripper is not None else {}
        if not errors:
            return command
        return replace(command, release_error={names[holder]: error for holder, error in errors.items()})

    def _is_free(self, body: str | None) -> bool:
        return body is not None and body not in self._jointed
