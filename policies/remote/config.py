"""The settings of a policy behind a socket, and the checks of its server before a run begins."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embodied.errors import ConfigError, EmbodiedError

if TYPE_CHECKING:
    from policies.remote.connection import Address
    from policies.remote.facts import Facts
    from policies.remote.names import ServerNames
    from policies.remote.policy import RemotePolicy
    from policies.remote.translation import Translation

MOST_MB = 1024
MOST_ROWS = 256


@dataclass(kw_only=True)
class RemotePolicyConfig:
    """A policy that another process serves, on this machine or another one; see docs/tutorials/remote.md.

    Attributes:
        url: the address of the server, such as ws://127.0.0.1:8000
        names: the server's keys: libero, robomme, or a YAML file below names_root; not used for servers of this project
        names_root: the folder that must hold a file of names
        dialect: how episodes begin: auto, openpi, robomme, behavior, roboarena or embodied
        replan_rows: rows of each answer that are carried out before the next request
        identity: a name of the served policy if its server does not state its weights; without it no run is resumed
        token_file: a file whose first line is the token
        token_env: the environment variable that holds the token
        tls_certificate: a PEM file to trust, for a server whose certificate no authority has signed
        insecure: whether the token may be sent unencrypted to other machines
        connect_timeout_s: until a connection is open and the server has sent its metadata
        answer_timeout_s: until an answer has come
        outage_s: how long an unreachable server is tried again
        message_mb: the longest answer
        replay_mb: requests that are kept to restore sessions after an outage
    """

    url: str = ""
    names: str = "libero"
    names_root: str = "."
    dialect: str = "auto"
    replan_rows: int = 5
    identity: str = ""
    token_file: str = ""
    token_env: str = ""
    tls_certificate: str = ""
    insecure: bool = False
    connect_timeout_s: float = 10.0
    answer_timeout_s: float = 60.0
    outage_s: float = 120.0
    message_mb: int = 64
    replay_mb: int = 256

    def pinned(self) -> "ServedPolicy":
        """Returns the policy with the identity that its server states now.

        Raises `ConfigError` for settings out of range, a server that does not answer, and one that does not fit them;
        what `load_names` raises; `MissingDependencyError` without the extra `serving`.
        """
        from policies.remote.connection import Connection
        from policies.remote.dialects import chosen_dialect
        from policies.remote.facts import facts_of
        from policies.remote.names import load_names

        self._check()
        address = self.address(self.read_token(), self.read_certificate())
        try:
            connection = Connection(address)
        except ConfigError:
            raise
        except EmbodiedError as error:
            raise ConfigError(error.rule, value=error.value, remedy=error.remedy) from error
        connection.close()
        facts = facts_of(connection.metadata, chosen_dialect(self.dialect, connection.metadata))
        ours = facts.action_spec is not None  # Servers with sessions may still use keys of their own.
        names, digest = (None, "") if ours else load_names(self.names, self.names_root)
        served = ServedPolicy(
            settings=self,
            facts=facts,
            names=names,
            names_sha256=digest,
            token=address.token,
            certificate=address.certificate,
        )
        served.build()  # Settings that do not fit are refused here, before anything starts.
        return served

    def build(self) -> "RemotePolicy":
        """Returns the policy. Raises as `pinned`."""
        return self.pinned().build()

    def address(self, token: str, certificate: str) -> "Address":
        """Returns the address of the server with its limits. Raises `ConfigError`."""
        from policies.remote.connection import Address

        address = Address(
            url=self.url,
            token=token,
            certificate=certificate,
            connect_timeout_s=self.connect_timeout_s,
            answer_timeout_s=self.answer_timeout_s,
            message_bytes=self.message_mb * 2**20,
        )
        address.check(insecure=self.insecure)
        return address

    def read_token(self) -> str:
        """Returns the token, "" without one. Raises `ConfigError` where it cannot be read."""
        if self.token_file and self.token_env:
            raise ConfigError("A token must come from a file or an environment variable, not both.")
        if self.token_env and not os.environ.get(self.token_env):
            raise ConfigError("The environment variable of a token must be set.", value=self.token_env)
        if not self.token_file:
            return os.environ[self.token_env] if self.token_env else ""
        try:
            lines = Path(self.token_file).read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError("The file of a token must be readable text.", value=self.token_file) from error
        if not lines or not lines[0].strip().isprintable() or not lines[0].strip():
            raise ConfigError("The first line of a token's file must be the token.", value=self.token_file)
        return lines[0].strip()

    def read_certificate(self) -> str:
        """Returns the certificate to trust, PEM text, "" without one: workers elsewhere need not have the file.

        Raises `ConfigError` where it cannot be read.
        """
        from embodied.access import trusting
        from policies.remote.connection import CERTIFICATE

        if not self.tls_certificate:
            return ""
        try:
            certificate = Path(self.tls_certificate).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                "tls_certificate must be a text file that can be read.", value=self.tls_certificate
            ) from error
        trusting(certificate, CERTIFICATE)
        return certificate

    def _check(self) -> None:
        if not self.url:
            raise ConfigError(
                "A remote policy must have an address.", remedy="Set policy_options.remote.url=ws://HOST:PORT."
            )
        for name in ("connect_timeout_s", "answer_timeout_s"):
            if not 0.0 < getattr(self, name) < 86400.0:
                raise ConfigError(f"{name} of a remote policy must be positive.", value=getattr(self, name))
        if not 0.0 <= self.outage_s < 86400.0:
            raise ConfigError("outage_s of a remote policy must not be negative.", value=self.outage_s)
        for name, most in (("message_mb", MOST_MB), ("replay_mb", 64 * MOST_MB), ("replan_rows", MOST_ROWS)):
            if not 1 <= getattr(self, name) <= most:
                raise ConfigError(f"{name} of a remote policy must lie in [1, {most}].", value=getattr(self, name))


@dataclass(kw_only=True, frozen=True)
class ServedPolicy:
    """A remote policy with the facts about its server: the builder that workers get.

    `run_id` identifies the run if the server does not state what it serves: no two runs are then the same.
    """

    settings: RemotePolicyConfig
    facts: "Facts"
    names: "ServerNames | None" = None
    names_sha256: str = ""
    token: str = field(default="", repr=False)
    certificate: str = field(default="", repr=False)
    run_id: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def resumable(self) -> bool:
        """Whether the identity of the served policy is known, so that rows of earlier and later runs are comparable."""
        return bool(self.settings.identity or self.facts.identity.get("weights"))

    @property
    def decisive(self) -> Mapping[str, Any]:
        """The settings that determine results, and so the identity of a run: never the address or the token."""
        settings = self.settings
        return {
            "server": self.facts.identity,
            "identity": settings.identity if self.resumable else self.run_id,
            "dialect": self.facts.dialect,
            "names": self.names_sha256,
            "replan_rows": settings.replan_rows if self.names is not None else 0,
        }

    def build(self) -> "RemotePolicy":
        """Returns the policy, which connects at its first request.

        Raises `ConfigError` and `UnknownNameError` for names that do not fit our spaces and robots.
        """
        from policies.remote.policy import RemotePolicy, ResettableRemotePolicy
        from policies.remote.sessions import OutageLimits, shared_sessions

        settings, dialect = self.settings, self.facts.chosen_dialect()
        limits = OutageLimits(outage_s=settings.outage_s, replay_bytes=settings.replay_mb * 2**20)
        sessions = shared_sessions(settings.address(self.token, self.certificate), dialect, limits, self._require_same)
        kind = ResettableRemotePolicy if dialect.resets and self.facts.remembers else RemotePolicy
        return kind(
            self._translation(),
            sessions,
            one_episode_at_a_time=not dialect.sessions,
            remarks=(self._introduction(), *self._doubts()),
        )

    def _translation(self) -> "Translation":
        from policies.remote.translation import NamedTranslation, own_translation

        if self.names is not None:
            return NamedTranslation(self.names, rows=self.settings.replan_rows)
        return own_translation(self.facts.observation_spec, self.facts.action_spec)

    def _require_same(self, metadata: Mapping[str, Any]) -> None:
        """Raises `ConnectionLostError` if the server has another identity after an outage; the right one may return."""
        from policies.remote.connection import ConnectionLostError
        from policies.remote.dialects import chosen_dialect
        from policies.remote.facts import facts_of

        facts = facts_of(metadata, chosen_dialect(self.settings.dialect, metadata))
        if (facts.identity, facts.dialect) != (self.facts.identity, self.facts.dialect):
            raise ConnectionLostError(
                f"The server must be the one that began the run, {self.facts.identity} ({self.facts.dialect}).",
                value=(facts.identity, facts.dialect),
                remedy="Serve that one again, or start another run.",
            )

    def _introduction(self) -> str:
        stated = ", ".join(f"{key} {text}" for key, text in self.facts.identity.items())
        given = f"identity={self.settings.identity}" if self.settings.identity else "nothing of itself"
        return f"It is served elsewhere ({self.facts.dialect}); its server states {stated or given}."

    def _doubts(self) -> list[str]:
        doubts = []
        if not self.facts.chosen_dialect().resets:
            doubts.append("Its server has no reset: each episode had a connection of its own, and nothing proves that "
                          "its memory was empty at the beginning.")  # fmt: skip
        if not self.resumable:
            doubts.append("Nothing states which weights were served, so that this run cannot be resumed.")
        return doubts
