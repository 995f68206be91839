"""Names of things in a bank: unique across robots and restarts, and without a meaning."""

import re
from collections import Counter
from collections.abc import Iterable

_NUMBERED = re.compile(r"(?P<prefix>.*)-(?P<number>\d+)")


class ObjectNames:
    """Gives new things of a site the names `<site>/<robot>/<kind>-<number>`, such as `hall/panda/object-0007`.

    `known` are the names that the bank already has: a robot that starts again counts on from them. Two robots never
    give the same name, since each writes its own into it.
    """

    def __init__(self, site: str, known: Iterable[str] = ()) -> None:
        self._site = site
        self._counts: Counter[str] = Counter()
        for name in known:
            match = _NUMBERED.fullmatch(name)
            if match and name.startswith(f"{site}/"):
                prefix, number = match["prefix"], int(match["number"])
                self._counts[prefix] = max(self._counts[prefix], number)

    def new(self, robot: str, kind: str) -> str:
        """Returns the next name of a thing of `kind` that `robot` saw first."""
        prefix = f"{self._site}/{robot}/{kind}"
        self._counts[prefix] += 1
        return f"{prefix}-{self._counts[prefix]:04d}"
