"""Rewards of the Gymnasium environments: success alone, or success with potential-based shaping.

Shaping adds F = discount * potential(after) - potential(before) to the reward of every step. This leaves the order of
policies by their discounted return unchanged, and so the optimal ones: A. Ng, D. Harada and S. Russell, "Policy
invariance under reward transformations", ICML 1999. The potential of an episode that has terminated is 0, which
episodic tasks need: M. Grzes, "Reward shaping in episodic reinforcement learning", AAMAS 2017. A truncated episode has
not terminated.
"""

from math import exp

from embodied.errors import ConfigError, unknown_name
from embodied.protocols import ShapedTask, Task
from embodied.types import Episode, Outcome, Progress, WorldState

VARIANTS = ("sparse", "shaped")
LENGTH_M = 0.3  # Over this distance the closeness to the end of a phase falls to 1 / e.


class Rewards:
    """The rewards of one variant for a `task`; `discount` is that of the learner, and matters for shaping alone.

    Raises `UnknownNameError` for the variant `name`, and `ConfigError` for a discount outside of (0, 1] and for shaping
    of a task that names no `phases`.
    """

    def __init__(self, name: str, task: Task, *, discount: float) -> None:
        if name not in VARIANTS:
            raise unknown_name("reward", name, VARIANTS)
        if not 0.0 < discount <= 1.0:
            raise ConfigError("`discount` must lie in (0, 1].", value=discount)
        self._measured = task if isinstance(task, ShapedTask) else None
        self._shaped = name == "shaped"
        self._discount = discount
        self._potential = 0.0
        self._phases = tuple(getattr(task, "phases", ()))
        if self._shaped and not self._phases:
            raise ConfigError(
                "A shaped reward needs a task that names its `phases`.", value=task.name, remedy="Take reward='sparse'."
            )

    def begin(self, episode: Episode, state: WorldState, progress: Progress) -> None:
        """Notes the `state` and the `progress` in which an `episode` begins."""
        self._potential = self.potential(episode, state, progress) if self._shaped else 0.0

    def step(self, episode: Episode, state: WorldState, progress: Progress) -> float:
        """Returns the reward of the step of `episode` that has led to `state` and `progress`."""
        reward = 1.0 if progress.outcome is Outcome.SUCCESS else 0.0
        if not self._shaped:
            return reward
        before, self._potential = self._potential, self.potential(episode, state, progress)
        return reward + self._discount * self._potential - before

    def potential(self, episode: Episode, state: WorldState, progress: Progress) -> float:
        """Returns the share of the phases that `progress` has reached, in [0, 1]; 0 once the episode has terminated.

        Where the task knows how far the next phase of an `episode` is from `state` (`ShapedTask`), being near it counts
        for up to one phase more.
        """
        if progress.done and progress.outcome is not Outcome.TIMEOUT:
            return 0.0
        reached = sum(phase in progress.reached for phase in self._phases)
        if self._measured is not None and reached < len(self._phases):
            reached += exp(-self._measured.remaining_m(episode, progress, state) / LENGTH_M)
        return reached / len(self._phases)
