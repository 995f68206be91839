"""Rewards of the Gymnasium environments: success alone, success with progress, or with potential-based shaping.

The progress of a state is the share of the task's phases that were reached; the way to the next phase counts as a part
of it. `shaped` rewards every new best: its sum is largest for episodes that succeed, and a step back costs nothing.

`potential` adds F = discount * progress(after) - progress(before) instead. That leaves the order of policies by their
discounted return unchanged, and so the optimal ones: A. Ng, D. Harada and S. Russell, "Policy invariance under reward
transformations", ICML 1999. The potential of an episode that has terminated is 0, which episodic tasks need: M. Grzes,
"Reward shaping in episodic reinforcement learning", AAMAS 2017; a truncated episode has not terminated. For the same
reason all policies that never succeed are then equally good, however far they come.
"""

from math import exp

from embodied.errors import ConfigError, unknown_name
from embodied.protocols import ShapedTask, Task
from embodied.types import Episode, Outcome, Progress, WorldState

SPARSE, SHAPED, POTENTIAL = VARIANTS = ("sparse", "shaped", "potential")
LENGTH_M = 0.3  # Over this distance the nearness of the end of a phase falls to 1 / e.


class Rewards:
    """The rewards of one variant for a `task`; `discount` is that of the learner, and matters for potentials alone.

    Raises `UnknownNameError` for the variant `name`, and `ConfigError` for a discount outside of (0, 1] and for a task
    that names no `phases`, unless rewards are sparse.
    """

    def __init__(self, name: str, task: Task, *, discount: float) -> None:
        if name not in VARIANTS:
            raise unknown_name("reward", name, VARIANTS)
        if not 0.0 < discount <= 1.0:
            raise ConfigError("`discount` must lie in (0, 1].", value=discount)
        self._name = name
        self._measured = task if isinstance(task, ShapedTask) else None
        self._discount = discount
        self._before = 0.0
        self._phases = tuple(getattr(task, "phases", ()))
        if name != SPARSE and not self._phases:
            raise ConfigError(
                "A shaped reward needs a task that names its `phases`.", value=task.name, remedy="Take reward='sparse'."
            )

    def begin(self, episode: Episode, state: WorldState, progress: Progress) -> None:
        """Notes the `state` and the `progress` in which an `episode` begins."""
        self._before = 0.0 if self._name == SPARSE else self.progress_of(episode, state, progress)

    def step(self, episode: Episode, state: WorldState, progress: Progress) -> float:
        """Returns the reward of the step of `episode` that has led to `state` and `progress`."""
        success = 1.0 if progress.outcome is Outcome.SUCCESS else 0.0
        if self._name == SPARSE:
            return success
        before, now = self._before, self.progress_of(episode, state, progress)
        if self._name == SHAPED:
            self._before = max(before, now)
            return success + self._before - before
        terminated = progress.done and progress.outcome is not Outcome.TIMEOUT
        self._before = 0.0 if terminated else now
        return success + self._discount * self._before - before

    def progress_of(self, episode: Episode, state: WorldState, progress: Progress) -> float:
        """Returns the share of the phases that `progress` has reached, in [0, 1].

        Where the task knows how far the next phase of an `episode` is from `state` (`ShapedTask`), being near it counts
        for up to one phase more.
        """
        reached = sum(phase in progress.reached for phase in self._phases)
        if self._measured is not None and reached < len(self._phases):
            reached += exp(-self._measured.remaining_m(episode, progress, state) / LENGTH_M)
        return reached / len(self._phases)
