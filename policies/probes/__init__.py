"""Leak probes: classifiers that measure what the observation just before a choice gives away about the target."""

from policies.probes.config import ProbeConfig
from policies.probes.samples import Labelled, ProbeKind

__all__ = ["Labelled", "ProbeConfig", "ProbeKind"]
