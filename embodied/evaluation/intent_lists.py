"""`intents.jsonl`: what robots did in each episode, intent by intent, and how each intent ended."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from embodied.rollout.intent_outcomes import IntentOutcome
from embodied.rollout.job import JobResult
from embodied.types import EpisodeRecord

INTENTS_FILE = "intents.jsonl"
Key = tuple[str, str, str]  # Policy, control and episode.


class _Line(msgspec.Struct, frozen=True):
    policy: str
    control: str
    episode: str
    intents: tuple[IntentOutcome, ...]


def append_intents(folder: Path, result: JobResult) -> None:
    """Appends the intents of an episode to the file of the run in `folder`, where it has some.

    The line of an episode that is played again counts in place of the earlier one. A line that a kill has left
    incomplete is ended first, and is skipped on reading.
    """
    if not result.intents:
        return
    record = result.record
    line = msgspec.json.encode(_Line(record.policy, record.control, record.episode, result.intents))
    with (folder / INTENTS_FILE).open("ab+") as file:
        if file.tell():
            file.seek(-1, 2)
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line + b"\n")


def read_intents(folder: Path) -> dict[Key, Sequence[IntentOutcome]]:
    """Returns the intents of each episode that the file of the run in `folder` lists, where there is one."""
    path = folder / INTENTS_FILE
    found: dict[Key, Sequence[IntentOutcome]] = {}
    for content in path.read_bytes().splitlines() if path.exists() else ():
        try:
            line = msgspec.json.decode(content, type=_Line)
        except msgspec.DecodeError:
            continue
        found[line.policy, line.control, line.episode] = line.intents
    return found


def merge_intents(folders: Sequence[Path], output: Path) -> None:
    """Writes the intents of the shards in `folders` into the folder `output` of the whole run."""
    content = b"".join(
        line + b"\n"
        for folder in folders
        if (folder / INTENTS_FILE).exists()
        for line in (folder / INTENTS_FILE).read_bytes().splitlines()
    )
    if content:
        (output / INTENTS_FILE).write_bytes(content)


def intents_of(record: EpisodeRecord, found: Mapping[Key, Sequence[IntentOutcome]]) -> Sequence[IntentOutcome]:
    """Returns the intents of an episode, none where they were not recorded."""
    return found.get((record.policy, record.control, record.episode), ())
