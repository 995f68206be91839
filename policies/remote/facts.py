"""What a policy server states of itself: how it is spoken to, who it is, and what it reads and emits."""

from collections.abc import Mapping
from typing import Any

import msgspec

from policies.remote.dialects import DIALECTS, EMBODIED, Dialect

IDENTITY = ("name", "version", "weights")
MOST_TEXT = 200


class Facts(msgspec.Struct, frozen=True):
    """What is kept of a server's metadata: its dialect, its identity, and, for servers of ours, their declarations.

    `observation_spec` and `action_spec` are as `embodied.codec` writes them, None where requests go under the names of
    a file. `remembers` is whether the server says that its policy has a memory.
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
    """Returns what matters of a server's metadata: the texts under `name`, `version` and `weights` are its identity."""
    identity = {key: str(metadata[key])[:MOST_TEXT] for key in IDENTITY if isinstance(metadata.get(key), str)}
    ours = dialect.name == EMBODIED
    return Facts(
        dialect=dialect.name,
        identity={key: text for key, text in identity.items() if text},
        remembers=metadata.get("memory") is not False,
        observation_spec=metadata.get("observation_spec") if ours else None,
        action_spec=metadata.get("action_spec") if ours else None,
    )
