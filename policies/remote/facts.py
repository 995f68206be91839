"""The facts that a policy server states: its dialect, its identity, its observations and its actions."""

from collections.abc import Mapping
from typing import Any

import msgspec

from policies.remote.dialects import DIALECTS, EMBODIED, Dialect

IDENTITY = ("name", "version", "weights")
MOST_TEXT = 200


class Facts(msgspec.Struct, frozen=True):
    """The relevant metadata of a server: its dialect, its identity, and, for servers of ours, their declarations.

    `observation_spec` and `action_spec` are in the form of `embodied.codec`, None for a server that needs a file of
    names. `remembers` is whether the server states that its policy has a memory.
    """

    dialect: str
    identity: dict[str, str]
    remembers: bool = True
    observation_spec: Any = None
    action_spec: Any = None

    def chosen_dialect(self) -> Dialect:
        """Returns the dialect."""
        return DIALECTS[self.dialect]


def facts_of(metadata: Mapping[str, Any], dialect: Dialect) -> Facts:
    """Returns the relevant metadata of a server: the texts under `name`, `version` and `weights` are its identity."""
    identity = {key: str(metadata[key])[:MOST_TEXT] for key in IDENTITY if isinstance(metadata.get(key), str)}
    ours = dialect.name == EMBODIED
    return Facts(
        dialect=dialect.name,
        identity={key: text for key, text in identity.items() if text},
        remembers=metadata.get("memory") is not False,
        observation_spec=metadata.get("observation_spec") if ours else None,
        action_spec=metadata.get("action_spec") if ours else None,
    )
