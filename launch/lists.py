"""Lists the shipped episode lists, and writes new ones: `python -m launch.lists episodes=24 output=FILE.json`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from embodied.errors import ConfigError, unknown_name
from embodied.evaluation.episode_list import EpisodeList, listed, read_list, write_list
from embodied.evaluation.episode_seeds import SEED_STRIDE, balanced_seeds
from launch import cli, schema
from launch.arguments import Arguments

FOLDER = cli.CONFIGS / "lists"
SUFFIX = ".json"


@dataclass(kw_only=True)
class ListsConfig:
    """All settings of `python -m launch.lists`. The parts typed `Any` are checked by the schema of their group."""

    suite: Any = MISSING
    tier: schema.Tiers = schema.Tiers.strict
    split: str = "test"
    episodes: int = 100
    seed: int = 0
    output: str = ""


def find_list(named: str, *, suite: str) -> EpisodeList:
    """Returns the shipped list of that name, or the list in the file of that path, which must be of `suite`.

    Raises `UnknownNameError` for a name that is not shipped, `ConfigError` for another suite, and `ListError`.
    """
    shipped = "/" not in named and "." not in named
    if shipped and named not in shipped_lists():
        raise unknown_name("episode list", named, shipped_lists())
    episodes = read_list(FOLDER / f"{named}{SUFFIX}" if shipped else Path(named))
    if episodes.suite != suite:
        raise ConfigError(
            "An episode list must be of the suite that is played.",
            value=f"{named} of suite {episodes.suite}, played is {suite}",
            remedy=f"Set suite={episodes.suite}, or choose another list.",
        )
    return episodes


def shipped_lists() -> list[str]:
    """Returns the names of the lists that are shipped."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def lists(composed: cli.Composed) -> None:
    """Writes a list of the chosen episodes, or prints which lists are shipped. Raises `ConfigError`, `PathError`."""
    config: ListsConfig = composed.config
    if not config.output:
        for name in shipped_lists():
            cli.print_text(f"{name}: {described(read_list(FOLDER / f'{name}{SUFFIX}'))}")
        return
    output = Path(config.output)
    if output.suffix != SUFFIX:
        raise ConfigError("output must name a .json file.", value=config.output)
    if output.exists():
        raise ConfigError("output must be a new file: a list is frozen.", value=config.output)
    if not 1 <= config.episodes <= SEED_STRIDE or not 0 <= config.seed < 2**40:
        raise ConfigError(
            f"episodes must lie in [1, {SEED_STRIDE}], and seed in [0, 2**40).", value=(config.episodes, config.seed)
        )
    tasks = schema.build_tasks(config.suite, config.tier)
    seeds = {name: balanced_seeds(task, config.split, config.seed, config.episodes) for name, task in tasks.items()}
    made = listed(tasks, seeds, suite=config.suite.name, split=config.split)
    write_list(output, made)
    cli.print_text(f"{described(made)}\n\nList: {output}")


def described(episodes: EpisodeList) -> str:
    """Returns what a list holds, in one line."""
    counts = ", ".join(f"{len(one.seeds)} of {name}" for name, one in episodes.tasks.items())
    return f"suite {episodes.suite}, split {episodes.split}: {counts} (SHA-256 {episodes.sha256[:12]}...)"


def register(arguments: Arguments) -> None:
    """Registers with Hydra the schemas to which sim_configs/lists.yaml refers. Raises as `schema.register`."""
    schema.register(arguments)
    ConfigStore.instance().store(name="lists_schema", node=ListsConfig)


def main() -> None:
    """Starts the command line with the settings of sim_configs/lists.yaml."""
    cli.enter(lists, config_name="lists", register=register)


if __name__ == "__main__":
    main()
