"""Frozen lists of episodes: the seeds of each task, in order, with digests that show any change."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from embodied.errors import ConfigError, DataError
from embodied.paths import write_atomically
from embodied.protocols import Task

SCHEMA = "embodied-memory/episode-list"
VERSION = 1
LIST_FILE = "episode_list.json"
FIRST_SPEC = 1


class ListError(DataError):
    """An episode list cannot be read, was edited, or names episodes that this code does not make."""


class TaskSeeds(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The episodes of one task, in the order in which they are played.

    `spec` is the version of the task's sampling; `episodes_sha256` covers the content of all episodes in their order.
    """

    task: str
    tier: str
    spec: int
    seeds: tuple[int, ...]
    episodes_sha256: str


class EpisodeList(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Episodes of one suite and split; `tasks` by their name in results, such as `task/tier`."""

    suite: str
    split: str
    tasks: dict[str, TaskSeeds]

    @property
    def sha256(self) -> str:
        """The digest of the whole content."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()

    @property
    def longest(self) -> int:
        """The largest number of episodes of a task."""
        return max(len(one.seeds) for one in self.tasks.values())

    def shortened(self, tasks: Mapping[str, Task], episodes: int | None) -> "EpisodeList":
        """Returns the first `episodes` (None: all) of each of `tasks`. Raises `ListError` where the list lacks some."""
        for name in tasks:
            if name not in self.tasks:
                raise ListError(
                    "Every task must be on the episode list.",
                    value=name,
                    remedy=f"The list holds {', '.join(self.tasks)}: choose among these with suite.tasks and tier.",
                )
        if episodes is None:
            return msgspec.structs.replace(self, tasks={name: self.tasks[name] for name in tasks})
        for name in tasks:
            if episodes > len(self.tasks[name].seeds):
                raise ListError(
                    "episodes must be at most the number on the episode list.",
                    value=episodes,
                    remedy=f"It holds {len(self.tasks[name].seeds)} of {name}; leave episodes out to play them all.",
                )
        seeds = {name: self.tasks[name].seeds[:episodes] for name in tasks}
        return listed(tasks, seeds, suite=self.suite, split=self.split)

    def require_alone(self, *, seed: int, split: str) -> None:
        """Raises `ConfigError` for a `seed` or another `split` beside the list, which names both."""
        if seed:
            raise ConfigError("seed must be left out where a list names the episodes.", value=seed)
        if split != self.split:
            raise ConfigError("split must be that of the episode list.", value=(split, self.split))


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    schema: str
    version: int
    suite: str
    split: str
    tasks: dict[str, TaskSeeds]
    sha256: str


def listed(tasks: Mapping[str, Task], seeds: Mapping[str, Sequence[int]], *, suite: str, split: str) -> EpisodeList:
    """Returns the list of the episodes `seeds` of `split`, by task, as the `tasks` of `suite` make them now."""
    return EpisodeList(
        suite=suite,
        split=split,
        tasks={
            name: TaskSeeds(
                task=task.name,
                tier=task.tier,
                spec=spec_of(task),
                seeds=tuple(seeds[name]),
                episodes_sha256=_episodes_sha256(task, seeds[name], split),
            )
            for name, task in tasks.items()
        },
    )


def spec_of(task: Task) -> int:
    """Returns the version of a task's sampling."""
    return int(getattr(task, "spec", FIRST_SPEC))


def write_list(path: Path, episodes: EpisodeList) -> None:
    """Writes a list as JSON that people can read. Raises `PathError`."""
    write_atomically(path, encode_list(episodes))


def encode_list(episodes: EpisodeList) -> bytes:
    """Returns the content of the file of a list: a line for each task, its seeds and digests, and the digest of all."""
    content = {
        "schema": SCHEMA,
        "version": VERSION,
        "suite": episodes.suite,
        "split": episodes.split,
        "tasks": dict(episodes.tasks),
        "sha256": episodes.sha256,
    }
    lines = [f"  {_json(key)}: {_json(value)}" for key, value in content.items() if key != "tasks"]
    tasks = ",\n".join(f"    {_json(name)}: {_json(one)}" for name, one in episodes.tasks.items())
    return ("{\n" + ",\n".join([*lines[:-1], f'  "tasks": {{\n{tasks}\n  }}', lines[-1]]) + "\n}\n").encode()


def read_list(path: Path) -> EpisodeList:
    """Returns the list in a file. Raises `ListError` for a file that is no list, or whose digest does not fit it."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_File)
    except (OSError, msgspec.DecodeError) as error:
        missing = isinstance(error, FileNotFoundError)
        raise ListError(
            "An episode list must be a readable JSON file.",
            value=str(path),
            remedy="There is none: write one with launch.lists." if missing else f"{error}.",
        ) from error
    if (found.schema, found.version) != (SCHEMA, VERSION):
        raise ListError(f"{path} must be of {SCHEMA!r} version {VERSION}.", value=(found.schema, found.version))
    episodes = EpisodeList(suite=found.suite, split=found.split, tasks=found.tasks)
    if episodes.sha256 != found.sha256:
        raise ListError(
            "The digest of an episode list must match its content: an edited list is another list.",
            value=f"{path} states {found.sha256}, its content has {episodes.sha256}",
            remedy="Restore the file, or write a list of its own with launch.lists.",
        )
    _check(episodes, path)
    return episodes


def require_same_episodes(episodes: EpisodeList, tasks: Mapping[str, Task]) -> None:
    """Raises `ListError` unless each of `tasks` makes the same episodes as when the list was written."""
    own = episodes.shortened(tasks, None)
    now = listed(tasks, {name: one.seeds for name, one in own.tasks.items()}, suite=own.suite, split=own.split)
    for name, difference in differences(own, now):
        raise ListError(
            f"The episodes of {name} must be the ones for which the list was written.",
            value=difference,
            remedy="Use the settings and the version with which it was written, or write another list.",
        )


def differences(first: EpisodeList, second: EpisodeList) -> Iterator[tuple[str, str]]:
    """Yields the name of each task of both lists whose episodes differ, and a description of the first difference."""
    for name in [name for name in first.tasks if name in second.tasks]:
        one, other = first.tasks[name], second.tasks[name]
        if first.split != second.split:
            yield name, f"split {first.split!r} and {second.split!r}"
        elif one.spec != other.spec:
            yield name, f"spec {one.spec} and {other.spec}"
        elif one.seeds != other.seeds:
            yield name, f"{len(one.seeds)} and {len(other.seeds)} seeds, which differ"
        elif one.episodes_sha256 != other.episodes_sha256:
            yield name, f"episodes with digest {one.episodes_sha256} and {other.episodes_sha256}"


def _check(episodes: EpisodeList, path: Path) -> None:
    for name, one in episodes.tasks.items():
        if not one.seeds or len(set(one.seeds)) < len(one.seeds) or min(one.seeds) < 0:
            raise ListError(f"{path} must list seeds from 0 on, each once, of task {name!r}.", value=len(one.seeds))
    if not episodes.tasks:
        raise ListError(f"{path} must list at least one task.", value=0)


def _episodes_sha256(task: Task, seeds: Sequence[int], split: str) -> str:
    digest = hashlib.sha256()
    for seed in seeds:
        digest.update(bytes.fromhex(task.sample(seed, split=split).digest))
    return digest.hexdigest()


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=-1).decode()
