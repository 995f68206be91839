"""Each episode has a policy of its own, so that nothing a policy keeps in itself is known in the next episode."""

from collections.abc import Callable, Mapping

from embodied.errors import unknown_name
from embodied.protocols import Policy
from embodied.rollout.builders import PolicyBuilder
from embodied.rollout.policy_calls import build_policy


def is_stateless(policy: Policy) -> bool:
    """Returns whether `policy` declares that one instance may play all episodes (see `protocols.Policy`)."""
    return getattr(policy, "stateless", False) is True


class EpisodePolicies:
    """Builds the policies of a worker: anew for each episode, but for those that are stateless, which are kept.

    `built` is called after each construction, which may load libraries.
    """

    def __init__(self, builders: Mapping[str, PolicyBuilder], built: Callable[[], None]) -> None:
        self._builders = builders
        self._built = built
        self._stateless: dict[str, Policy] = {}

    def new(self, name: str) -> Policy:
        """Returns a policy called `name` that has played no episode, or a stateless one.

        Raises `UnknownNameError`, and whatever building it raises.
        """
        if name in self._stateless:
            return self._stateless[name]
        if name not in self._builders:
            raise unknown_name("policy of this run", name, self._builders)
        policy = build_policy(name, self._builders[name])
        self._built()
        if is_stateless(policy):
            self._stateless[name] = policy
        return policy
