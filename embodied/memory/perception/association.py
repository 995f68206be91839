"""Which remembered thing a seen one is, where no instance id says so: by place, colour and size."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from embodied.memory.perception.colours import colour_distance
from embodied.memory.perception.objects import SeenObject

NEAR_M = 0.05
ALIKE_COLOUR = 20.0
SIZE_SLACK_M = 0.01
SIZE_SLACK_SHARE = 0.3


def associate(
    seen: Sequence[SeenObject], remembered: Mapping[str, SeenObject], *, vacant: Collection[str]
) -> dict[int, str]:
    """Returns the name of the remembered thing that each of `seen` is, by its index; those that are new are left out.

    A pair must be of one category, of like colour and like size. Pairs within 5 cm come first, nearest first; then a
    thing that appeared elsewhere is taken for one whose old place is `vacant`, that is, seen to be empty. As long as
    the old place is out of sight, the two may well be twins, and stay two.
    """
    alike = [
        (index, name) for index, thing in enumerate(seen) for name, known in remembered.items() if _alike(thing, known)
    ]
    gaps = {pair: _gap_m(seen[pair[0]], remembered[pair[1]]) for pair in alike}
    near = sorted((pair for pair in alike if gaps[pair] <= NEAR_M), key=lambda pair: (gaps[pair], pair))
    far = sorted(
        (pair for pair in alike if gaps[pair] > NEAR_M and pair[1] in vacant), key=lambda pair: (gaps[pair], pair)
    )
    named: dict[int, str] = {}
    for index, name in [*near, *far]:
        if index not in named and name not in named.values():
            named[index] = name
    return named


def _alike(left: SeenObject, right: SeenObject) -> bool:
    ours, theirs = np.sort(left.box.size_m), np.sort(right.box.size_m)
    slack = SIZE_SLACK_M + SIZE_SLACK_SHARE * np.maximum(ours, theirs)
    return bool(
        left.category == right.category
        and colour_distance(left.colour, right.colour) <= ALIKE_COLOUR
        and np.all(np.abs(ours - theirs) <= slack)
    )


def _gap_m(left: SeenObject, right: SeenObject) -> float:
    return float(np.linalg.norm(np.subtract(left.box.pose.position_m, right.box.pose.position_m)))
