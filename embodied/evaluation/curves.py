"""Learning curves of policies: read from the files of their training, drawn for the report."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from embodied.errors import DataError
from embodied.evaluation.plots import INK, PALETTE, as_svg, new_figure
from embodied.rollout.builders import PolicyBuilder

STEP = "step"
STAGE = "stage"
LOSS = "loss"
TRAINING, VALIDATION = "train_", "validation_"
DEEPEST = 1e-3


@dataclass(frozen=True)
class Curves:
    """Metrics of one stage of a training by name, one value per step of `steps`; None where a step has none."""

    steps: tuple[float, ...]
    metrics: Mapping[str, tuple[float | None, ...]]

    @property
    def losses(self) -> Mapping[str, tuple[float | None, ...]]:
        """The metrics whose name contains "loss"; all of them if there is none."""
        found = {name: values for name, values in self.metrics.items() if LOSS in name.lower()}
        return found or self.metrics


def curves_of(policies: Mapping[str, PolicyBuilder]) -> dict[str, tuple[Curves, ...]]:
    """Returns the curves, stage by stage, of policies whose configuration has a path `curves`. Raises `DataError`."""
    paths = {name: getattr(policy, "curves", None) for name, policy in policies.items()}
    return {name: read_curves(Path(path)) for name, path in paths.items() if path is not None}


def read_curves(path: Path) -> tuple[Curves, ...]:
    """Returns the curves in a file such as `{"step": [0, 100], "train_loss": [2.5, null]}`, stage by stage.

    A column `stage` identifies the stages of a training; without it there is one. Raises `DataError` for a file that is
    missing or has other content.
    """
    try:
        columns = msgspec.json.decode(path.read_bytes(), type=dict[str, list[float | None]])
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(
            "Learning curves must be a JSON file of lists of numbers.", value=str(path), remedy=str(error)
        ) from error
    steps = columns.pop(STEP, [])
    stages = columns.pop(STAGE, [1.0] * len(steps))
    odd = [name for name, values in {STAGE: stages, **columns}.items() if len(values) != len(steps)]
    odd += [name for name, values in ((STEP, steps), (STAGE, stages)) if None in values]
    if odd:
        raise DataError(
            f"Learning curves must have a list {STEP!r}, and as many values of each metric.",
            value=f"{path}: {odd[0]}",
            remedy=f"Write null where a step has no value; {STEP} and {STAGE} always have one.",
        )
    stretches = [[row for row, at in enumerate(stages) if at == stage] for stage in dict.fromkeys(stages)]
    return tuple(_curves_of(steps, columns, rows) for rows in stretches) or (Curves((), {}),)


def _curves_of(steps: list[float | None], columns: Mapping[str, list[float | None]], rows: list[int]) -> Curves:
    """Returns the curves of some rows, without the metrics that have no value there."""
    metrics = {name: tuple(values[row] for row in rows) for name, values in columns.items()}
    known = {name: values for name, values in metrics.items() if any(value is not None for value in values)}
    return Curves(tuple(step for row in rows if (step := steps[row]) is not None), known)


def curves_figure(curves: Curves, *, policy: str) -> str:
    """Returns the losses of a stage over its steps; those of validation are dotted, in the colour of training's.

    The scale is logarithmic where all are positive, and ends at `DEEPEST` of the largest value.
    """
    from matplotlib.ticker import FuncFormatter, NullFormatter

    figure, axes = new_figure(2.8)
    values = [value for metric in curves.losses.values() for value in metric if value is not None]
    bases = list(dict.fromkeys(map(_base, curves.losses)))
    named: set[str] = set()
    for name, metric in curves.losses.items():
        known = [(step, value) for step, value in zip(curves.steps, metric, strict=True) if value is not None]
        shown = [step for step, _ in known], [value for _, value in known]
        colour = PALETTE[bases.index(_base(name)) % len(PALETTE)]
        style = ":" if name.startswith(VALIDATION) else "-"
        fresh = _base(name) not in named  # Training and validation share one colour and one label.
        named.add(_base(name))
        axes.plot(*shown, style, color=colour, linewidth=1.5, label=name.replace("_", " ") if fresh else None)
    if values and min(values) > 0.0:
        axes.set_yscale("log")
        axes.set_ylim(bottom=max(min(values), max(values) * DEEPEST))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(which="both", labelsize=8.5, length=0)
    dotted = (
        "; dotted: the validation loss of the same colour"
        if any(name.startswith(VALIDATION) for name in curves.losses)
        else ""
    )
    axes.set_xlabel(f"step of the training{dotted}")
    axes.set_ylabel("loss" if all(LOSS in name.lower() for name in curves.losses) else "value", color=INK)
    axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.6)
    if values:
        axes.legend(frameon=False, fontsize=8, labelcolor=INK, loc="center left", bbox_to_anchor=(1.02, 0.5))
    return as_svg(figure, f"curves-{policy}")


def _base(name: str) -> str:
    """Returns the name of a metric without the prefix of training or validation."""
    return name.removeprefix(VALIDATION).removeprefix(TRAINING)
