"""The seeds of an evaluation: a balanced list in random order, drawn once from the settings of the run."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice

from embodied.protocols import Task
from embodied.rollout.chain import chain_length
from embodied.seeding import stream
from embodied.types import Choice

# The least common multiple of 1 to 16: a whole number of blocks of seeds, whatever the number of variants.
SEED_STRIDE = 720720
SEED_SPACE = 2**48  # Seeds stay exact in JSON readers that know only doubles.
DRAWS_PER_EPISODE = 64


def balanced_seeds(task: Task, split: str, seed: int, count: int) -> tuple[int, ...]:
    """Returns the seeds of `count` episodes of `task`: a pure function of task, tier, `split`, `seed` and `count`.

    If the goal is a choice, each position among the candidates is the target equally often, or once more than others if
    `count` cannot be divided: seeds are drawn from [0, 2**48), the first ones of each target are taken until it has its
    share, and the order is shuffled. So a seed and its position in the list give no information about the target beyond
    what the earlier seeds give. Seeds of other goals are used as drawn. A chain of episodes has consecutive seeds, from
    a multiple of its length on. Tasks with `seeds_in_order` get consecutive seeds from `seed * SEED_STRIDE` on.

    Raises:
        ConfigError: For a chain of wrong length.
        UnknownNameError: For a split that the task does not have.
    """
    length, first = chain_length(task), seed * SEED_STRIDE
    if getattr(task, "seeds_in_order", False):
        return tuple(range(first, first + count))
    if length > 1:
        starts = islice(_drawn(task, split, seed), -(-count // length))
        return tuple(start * length + place for start in starts for place in range(length))[:count]
    return tuple(_shuffled(task, split, seed, _chosen(task, split, seed, count)))


def _drawn(task: Task, split: str, seed: int) -> Iterator[int]:
    """Yields different seeds without end; those of two tasks, tiers, splits or lists have nothing in common."""
    draw, seen = stream(seed, "episode list", task.name, task.tier, split), set[int]()
    while True:
        number = int(draw.integers(SEED_SPACE))
        if number not in seen:
            seen.add(number)
            yield number


def _chosen(task: Task, split: str, seed: int, count: int) -> list[int]:
    """Returns the first seeds that fill the share of every target, in the order in which they were drawn."""
    numbers = _drawn(task, split, seed)
    goal = task.sample(next(_drawn(task, split, seed)), split=split).goal
    if not isinstance(goal, Choice):
        return [next(numbers) for _ in range(count)]
    targets = len(goal.candidates)
    share, rest = divmod(count, targets)
    favoured = stream(seed, "episode list", task.name, task.tier, split, "rest", count).permutation(targets)[:rest]
    wanted = Counter({target: share + (target in favoured) for target in range(targets)})
    chosen: list[int] = []
    for _ in range(DRAWS_PER_EPISODE * (count + targets)):
        if len(chosen) == count:
            break
        number = next(numbers)
        goal = task.sample(number, split=split).choice_goal
        target = goal.candidates.index(goal.target)
        if wanted[target] > 0:
            wanted[target] -= 1
            chosen.append(number)
    # If some targets never occur, the missing seeds are used as drawn.
    return chosen + [next(numbers) for _ in range(count - len(chosen))]


def _shuffled(task: Task, split: str, seed: int, numbers: list[int]) -> list[int]:
    order = stream(seed, "episode list", task.name, task.tier, split, "order", len(numbers)).permutation(len(numbers))
    return [numbers[place] for place in order]
