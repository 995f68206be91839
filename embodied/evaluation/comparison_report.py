"""A comparison of two runs for people: a table for the terminal, and one HTML page with videos side by side."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from embodied.evaluation.comparison import Comparison, Contrast, Pair, chosen, settings_that_differ
from embodied.evaluation.finished_run import FinishedRun
from embodied.evaluation.report_lines import percent
from embodied.evaluation.templating import templates
from embodied.evaluation.text_table import text_table
from embodied.evaluation.videos import video_path
from embodied.types import NORMAL, EpisodeRecord

LISTED_IN_TERMINAL = 20


def comparison_text(comparison: Comparison) -> str:
    """Returns the table of contrasts, the remarks and the first episodes that differ, for a terminal."""
    rows = [_row(contrast) for contrast in comparison.contrasts]
    columns = [(title, [row[key] for row in rows]) for title, key in _COLUMNS]
    differing = comparison.differing
    found = [f"The runs differ in {len(differing)} of {len(comparison.pairs)} episodes."]
    found += [f"  {_line(pair)}" for pair in differing[:LISTED_IN_TERMINAL]]
    if len(differing) > LISTED_IN_TERMINAL:
        found.append(f"  and {len(differing) - LISTED_IN_TERMINAL} more; output=FILE.html lists them all.")
    heads = [f"{name}: {run.folder}, run {run.run['id']}" for name, run in _named(comparison)]
    return "\n".join([*heads, "", *text_table(columns, words=3), "", *comparison.remarks, "", *found])


def comparison_html(comparison: Comparison) -> str:
    """Returns the page: the runs, contrasts, and every episode that differs, with the available videos."""
    return templates().get_template("comparison.html.j2").render(
        runs=[
            {"name": name, "folder": str(run.folder), "run": run.run, "report": (run.folder / "report.html").as_posix()}
            for name, run in _named(comparison)
        ],
        columns=_COLUMNS,
        rows=[_row(contrast) for contrast in comparison.contrasts],
        remarks=comparison.remarks,
        settings=settings_that_differ(comparison.a, comparison.b),
        total=len(comparison.pairs),
        differing=[_difference(pair, comparison) for pair in comparison.differing],
        list_sha256=comparison.a.episodes.sha256,
    )  # fmt: skip


_COLUMNS = (
    ("task", "task"), ("policy", "policy"), ("measure", "measure"), ("episodes", "episodes"), ("A %", "a"),
    ("B %", "b"), ("B - A [95 %]", "difference"), ("only A", "only_a"), ("only B", "only_b"), ("p", "p"),
)  # fmt: skip


def _named(comparison: Comparison) -> tuple[tuple[str, FinishedRun], tuple[str, FinishedRun]]:
    return ("A", comparison.a), ("B", comparison.b)


def _row(contrast: Contrast) -> Mapping[str, str]:
    (a, b), (low, high) = contrast.rates, contrast.ci95
    return {
        "task": contrast.task,
        "policy": _players(*contrast.policies, contrast.control),
        "measure": contrast.measure,
        "episodes": str(contrast.episodes),
        "a": percent(a),
        "b": percent(b),
        "difference": f"{100 * (b - a):+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]" if contrast.episodes else "-",
        "only_a": str(contrast.only_a),
        "only_b": str(contrast.only_b),
        "p": "-" if contrast.p is None or not contrast.episodes else f"{contrast.p:.3g}",
    }


def _players(a: str, b: str, control: str) -> str:
    names = a if a == b else f"{a} / {b}"
    return names if control == NORMAL else f"{names}, {control}"


def _line(pair: Pair) -> str:
    names = _players(pair.a.policy, pair.b.policy, pair.a.control)
    return f"{pair.a.task_and_tier} seed {pair.a.seed}, {names}: {_outcome_text(pair.a)} | {_outcome_text(pair.b)}"


def _outcome_text(record: EpisodeRecord) -> str:
    choice = f", chose {chosen(record)}" if record.choice is not None else ""
    return f"{record.outcome.value}{choice}"


def _difference(pair: Pair, comparison: Comparison) -> Mapping[str, Any]:
    target = next((str(one.choice["target"]) for one in (pair.a, pair.b) if one.choice is not None), "")
    sides: Sequence[Mapping[str, Any]] = [
        {
            "name": name,
            "record": record,
            "chosen": chosen(record),
            "right": record.choice is not None and bool(record.choice["correct"]),
            "video": _video(run, record),
        }
        for (name, run), record in zip(_named(comparison), (pair.a, pair.b), strict=True)
    ]
    return {
        "task": pair.a.task_and_tier,
        "players": _players(pair.a.policy, pair.b.policy, pair.a.control),
        "seed": pair.a.seed,
        "target": target,
        "sides": sides,
        "recorded": any(side["video"] for side in sides),
    }


def _video(run: FinishedRun, record: EpisodeRecord) -> str:
    """Returns the video of an episode in base64, "" where none was made."""
    path = video_path(run.folder, record)
    return base64.b64encode(path.read_bytes()).decode() if path.is_file() else ""
