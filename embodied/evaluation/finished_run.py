"""The output of an evaluation, read from its folder to be merged or compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from embodied.errors import DataError
from embodied.evaluation.episode_list import LIST_FILE, EpisodeList, read_list
from embodied.evaluation.results import EPISODES_FILE, RESULTS_FILE, decode_row, is_outage
from embodied.types import NORMAL, EpisodeRecord


@dataclass(frozen=True)
class FinishedRun:
    """The content of the output folder of an evaluation, or of a shard of one."""

    folder: Path
    results: Mapping[str, Any]
    episodes: EpisodeList
    records: Sequence[EpisodeRecord]

    @property
    def run(self) -> Mapping[str, Any]:
        """The settings and the provenance of the run."""
        return self.results["run"]

    def played(self, task: str) -> list[tuple[str, str]]:
        """Returns the policies and controls with which every episode of `task` was played, in the order of results."""
        tampered = self.results.get("controls", {}).get(task, {})
        return [
            (policy, control)
            for policy in self.results["tasks"][task]
            for control in (NORMAL, *tampered.get(policy, {}))
        ]


def read_run(folder: Path) -> FinishedRun:
    """Returns the content of the output folder `folder`. Raises `DataError` unless it is a finished evaluation."""
    try:
        results = msgspec.json.decode((folder / RESULTS_FILE).read_bytes(), type=dict[str, Any])
        lines = (folder / EPISODES_FILE).read_bytes().splitlines()
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(
            "A folder of results must be that of a finished launch.evaluate.",
            value=f"{folder}: {error}",
            remedy="The command in its config.yaml plays what is missing.",
        ) from error
    if not (folder / LIST_FILE).exists():
        raise DataError(
            f"Results must have the list of their episodes, {LIST_FILE}.",
            value=str(folder),
            remedy="An older version has written them: run the same command again.",
        )
    episodes, records = read_list(folder / LIST_FILE), [decode_row(line) for line in lines]
    found: dict[tuple[str, str, str], EpisodeRecord] = {}
    for record in records:
        key = record.policy, record.control, record.episode
        if key not in found or is_outage(found[key]):
            found[key] = record
    return FinishedRun(folder, results, episodes, list(found.values()))
