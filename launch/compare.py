"""Compares two evaluations episode by episode: `python -m launch.compare A B output=FILE.html`."""

import sys
from dataclasses import dataclass
from pathlib import Path

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from embodied.errors import ConfigError
from launch import cli
from launch.arguments import Arguments
from launch.folders import folder_arguments


@dataclass(kw_only=True)
class CompareConfig:
    """All settings of `python -m launch.compare`."""

    a: str = MISSING
    b: str = MISSING
    policy_a: str = ""
    policy_b: str = ""
    output: str = ""


def compare(composed: cli.Composed) -> None:
    """Prints the comparison, and writes the page where an output is named. Raises `ComparisonError`, `ConfigError`."""
    from embodied.evaluation.comparison import compare as run
    from embodied.evaluation.comparison_report import comparison_html, comparison_text
    from embodied.evaluation.finished_run import read_run
    from embodied.paths import write_atomically

    config: CompareConfig = composed.config
    output = Path(config.output)
    if config.output and output.suffix != ".html":
        raise ConfigError("output must name an .html file.", value=config.output)
    if bool(config.policy_a) != bool(config.policy_b):
        raise ConfigError(
            "policy_a and policy_b must be given together, or neither.", value=(config.policy_a, config.policy_b)
        )
    chosen = (config.policy_a, config.policy_b) if config.policy_a else None
    found = run(read_run(Path(config.a)), read_run(Path(config.b)), policies=chosen)
    cli.print_text(comparison_text(found))
    if config.output:
        write_atomically(output, comparison_html(found).encode())
        cli.print_text(f"\nPage: {output}")


def register(arguments: Arguments) -> None:
    """Registers with Hydra the schema to which sim_configs/compare.yaml refers."""
    del arguments
    ConfigStore.instance().store(name="compare_schema", node=CompareConfig)


def main() -> None:
    """Starts the command line with the settings of sim_configs/compare.yaml; the folders may be given by themselves."""
    folders, rest = folder_arguments(sys.argv[1:])
    sys.argv[1:] = [*(f"{name}={folder}" for name, folder in zip("ab", folders, strict=False)), *folders[2:], *rest]
    cli.enter(compare, config_name="compare", register=register)


if __name__ == "__main__":
    main()
