"""A learned policy as evaluations choose it: by the name or the folder of its weights."""

from dataclasses import dataclass, replace
from pathlib import Path

from embodied.archive import file_sha256
from embodied.errors import ConfigError, MissingDependencyError
from embodied.protocols import Policy


@dataclass(kw_only=True)
class LearnedPolicyConfig:
    """`weights` is a name in `policies/pretrained`, or a folder that `launch.train` has shipped.

    `digest` is the SHA-256 of the weights, filled in by `pinned`: results of other weights are another run's.
    """

    weights: str = ""
    digest: str = ""

    @property
    def curves(self) -> Path | None:
        """Where its learning curves lie."""
        from policies.policy import CURVES, find_pretrained

        return find_pretrained(self.weights) / CURVES

    def pinned(self) -> "LearnedPolicyConfig":
        """Returns the same choice with the digest of the weights as they are. Raises `UnknownNameError`."""
        try:
            from policies.policy import WEIGHTS, find_pretrained
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                "A learned policy needs libraries of the extra 'train'.",
                value=error.name,
                remedy="pip install '.[train]'",
            ) from error
        return replace(self, digest=file_sha256(find_pretrained(self.weights) / WEIGHTS))

    def build(self) -> Policy:
        """Returns the policy. Raises `ConfigError` for weights that have changed, and what `from_pretrained` raises."""
        from policies.policy import WEIGHTS, from_pretrained

        found = from_pretrained(self.weights)
        digest = file_sha256(found.folder / WEIGHTS)
        if self.digest not in ("", digest):
            raise ConfigError(
                "Weights must not change while they are evaluated.", value=digest, remedy=f"Restore {self.digest}."
            )
        return found.build().policy(model_id=f"{found.family}-{digest[:12]}")
