"""Checks of evaluations whose policies are decided by other processes."""

from embodied.errors import ConfigError
from embodied.evaluation.plan import Evaluation
from embodied.evaluation.preflight import Parts
from embodied.evaluation.results import ResultsFolder, is_outage
from embodied.rollout.compute import Compute
from embodied.types import EpisodeRecord


def require_one_at_a_time(parts: Parts, compute: Compute) -> None:
    """Raises `ConfigError` for concurrent episodes of policies whose server would mix their memories."""
    if parts.one_at_a_time and compute.episodes_at_once > 1:
        raise ConfigError(
            "Episodes of a policy whose server does not keep their memories apart must be played one at a time.",
            value=(*parts.one_at_a_time, f"{compute.episodes_at_once} at once"),
            remedy="Set compute.workers=1 or compute=inline, or serve it with sessions.",
        )


def earlier_records(folder: ResultsFolder, evaluation: Evaluation) -> list[EpisodeRecord]:
    """Returns the valid records of an earlier part of the run, without episodes that an outage ended.

    Raises `ConfigError` if there are some and the identity of a policy's server is unknown.
    """
    policies = evaluation.worker.policies
    unknown = [name for name, policy in policies.items() if not getattr(policy, "resumable", True)]
    if folder.has_rows and unknown:
        raise ConfigError(
            "A run must not continue with a policy whose server does not state its weights.",
            value=unknown,
            remedy="Choose another output folder; give policy_options.NAME.identity=TEXT from the beginning of a run "
            "that is to be resumed.",
        )
    return [record for record in folder.records(evaluation.run, evaluation.parts) if not is_outage(record)]
