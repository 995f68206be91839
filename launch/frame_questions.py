"""The settings of `python -m launch.evaluate suite=findingdory_offline`, which scores files and plays nothing."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from embodied.evaluation.frame_questions import ANSWERS, BEST_CONSTANT, FLOORS, ORACLE, SUITE, FramePlan
from embodied.tasks.findingdory.annotations import FRAMES
from launch import cli
from launch.arguments import OVERRIDE, Arguments, names_of


@dataclass(kw_only=True)
class FrameQuestionsConfig:
    """All settings of the suite findingdory_offline."""

    suite: str = SUITE
    annotations: str = MISSING
    policy: Any = None
    answers: str = ""
    constant: int = BEST_CONSTANT
    frames: int = FRAMES
    seed: int = 0
    output: str = MISSING


def requested(words: Sequence[str]) -> bool:
    """Returns whether the words of a command line choose this suite."""
    return any(_chooses(word) for word in words)


def _chooses(word: str) -> bool:
    match = OVERRIDE.fullmatch(word)
    return match is not None and match[1] == "suite" and match[2].strip("'\"") == SUITE


def score(composed: cli.Composed) -> None:
    """Scores the answers, prints the table of floors, ceiling and answers, and the path of the report."""
    from embodied.evaluation.frame_questions import score as run
    from embodied.evaluation.frame_report import terminal_table

    config: FrameQuestionsConfig = composed.config
    own = [*FLOORS, ORACLE, *([ANSWERS] if config.answers else [])]
    plan = FramePlan(
        annotations=Path(config.annotations),
        policies=own if config.policy is None else names_of(config.policy, "policy"),
        answers=Path(config.answers) if config.answers else None,
        constant=config.constant,
        frames=config.frames,
        seed=config.seed,
    )
    output = cli.job_folder(config.output)
    results = run(plan, output=output, config=composed.text)
    cli.print_text(f"\n{terminal_table(results)}\n\nReport: {output / 'report.html'}")


def register(arguments: Arguments) -> None:
    """Registers with Hydra the schema to which sim_configs/frame_questions.yaml refers."""
    del arguments
    ConfigStore.instance().store(name="frame_questions_schema", node=FrameQuestionsConfig)


def enter() -> None:
    """Starts the command line with the settings of sim_configs/frame_questions.yaml."""
    # Hydra would look for the suite among those whose episodes are played.
    sys.argv[1:] = [word for word in sys.argv[1:] if not _chooses(word)]
    cli.enter(score, config_name="frame_questions", register=register)
