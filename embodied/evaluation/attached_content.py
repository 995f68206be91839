"""`attached.json`: what a report shows besides rows and results, kept so that shards can be merged without its sources.

These are the learning curves of policies, from the folders of their weights, and the pages of episodes, from banks.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from embodied.errors import DataError
from embodied.evaluation.curves import Curves
from embodied.evaluation.memory_pages import Page
from embodied.paths import write_atomically
from embodied.types import NORMAL, EpisodeRecord, Outcome

ATTACHED_FILE = "attached.json"
SCHEMA = "embodied-memory/attached"
VERSION = 1
Pages = Sequence[tuple[EpisodeRecord, Page]]


class PageOf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The page of one episode, which these three identify within its run."""

    policy: str
    control: str
    episode: str
    page: Page


class AttachedContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of the file; `curves` are by policy, stage by stage."""

    schema: str = SCHEMA
    version: int = VERSION
    curves: dict[str, tuple[Curves, ...]] = {}
    pages: tuple[PageOf, ...] = ()


def write_attached(folder: Path, curves: Mapping[str, Sequence[Curves]], pages: Pages) -> None:
    """Writes the file of the run in `folder`: the `curves` and the `pages` of its report, where there are some."""
    kept = AttachedContent(
        curves={name: tuple(stages) for name, stages in curves.items()},
        pages=tuple(PageOf(record.policy, record.control, record.episode, page) for record, page in pages),
    )
    if kept.curves or kept.pages:
        write_atomically(folder / ATTACHED_FILE, msgspec.json.encode(kept) + b"\n")


def read_attached(folder: Path) -> AttachedContent:
    """Returns what the report of the run in `folder` shows besides, which may be nothing. Raises `DataError`."""
    path = folder / ATTACHED_FILE
    if not path.exists():
        return AttachedContent()
    try:
        found = msgspec.json.decode(path.read_bytes(), type=AttachedContent)
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(
            f"{ATTACHED_FILE} must be as launch.evaluate has written it.",
            value=f"{path}: {error}",
            remedy="Run the command of that folder again, which writes it anew.",
        ) from error
    if (found.schema, found.version) != (SCHEMA, VERSION):
        raise DataError(f"{path} must be of {SCHEMA!r} version {VERSION}.", value=(found.schema, found.version))
    return found


def merged_pages(
    attached: Sequence[AttachedContent], records: Sequence[EpisodeRecord], recorded: Sequence[EpisodeRecord]
) -> list[tuple[EpisodeRecord, Page]]:
    """Returns the pages of one episode for each task of `records`: those that the report of the whole run would show.

    That is one among the `recorded`, if there is one, else one that succeeded; `attached` is the content of each shard.
    """
    found = {(one.policy, one.control, one.episode): [] for part in attached for one in part.pages}
    for one in (one for part in attached for one in part.pages):
        found[one.policy, one.control, one.episode].append(one.page)
    kept: list[tuple[EpisodeRecord, Page]] = []
    for task in dict.fromkeys(record.task_and_tier for record in records):
        own = [record for record in records if record.task_and_tier == task and _key(record) in found]
        for record in preferred(own, recorded)[:1]:
            kept += [(record, page) for page in found[_key(record)]]
    return kept


def preferred(records: Sequence[EpisodeRecord], recorded: Sequence[EpisodeRecord]) -> list[EpisodeRecord]:
    """Returns episodes of one task in the order in which a report would show their pages."""
    return sorted(records, key=lambda r: (r not in recorded, r.control != NORMAL, r.outcome is not Outcome.SUCCESS))


def _key(record: EpisodeRecord) -> tuple[str, str, str]:
    return record.policy, record.control, record.episode
