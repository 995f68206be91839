"""The report of a scoring by frames: a table for the terminal, Markdown, and one HTML file."""

from collections.abc import Mapping
from typing import Any

from embodied.evaluation.report_lines import NEVER, interval, percent
from embodied.evaluation.templating import templates
from embodied.evaluation.text_table import text_table
from embodied.tasks.findingdory.table import GROUPS, TEMPLATES

_SHORT = {
    "Object Recall": "Recall",
    "Interaction": "Inter",
    "Conditional Interaction": "Cond",
    "Object Attributes": "Attr",
    "Spatial Relationship": "Spat",
    "Room Visitation": "Room",
    "Interaction Order": "Order",
    "Time-Based": "Time",
    "Duration Tracking": "Dur",
    "Unordered Revisitation": "Unord",
    "Ordered Revisitation": "Ord",
}
NAMES = {
    "random": "floor: uniform frames (exact expectation)",
    "constant": "floor: always frame {constant}",
    "last": "floor: always the last frame",
    "oracle": "ceiling: a valid frame wherever there is one",
    "answers": "answers",
}


def terminal_table(results: Mapping[str, Any]) -> str:
    """Returns the means of each policy by category, in percent, and remarks, for a terminal."""
    overall = results["overall"]
    columns = [
        ("policy", [name_of(results, name) for name in overall]),
        ("all % [95 %]", [f"{percent(one['mean'])} {interval(one['ci95'])}" for one in overall.values()]),
        *((_SHORT[group], [_group(one, group) for one in overall.values()]) for group in GROUPS),
    ]
    lines = [line.rstrip() for line in text_table(columns, words=1)]
    return "\n".join([*lines, "", _counts(results), *results["run"].get("remarks", [])])


def markdown(results: Mapping[str, Any]) -> str:
    """Returns `report.md`."""
    return templates().get_template("frames.md.j2").render(**_content(results))


def html(results: Mapping[str, Any], *, config: str) -> str:
    """Returns `report.html`; `config` is the text of config.yaml."""
    return templates().get_template("frames.html.j2").render(**_content(results), config=config)


def name_of(results: Mapping[str, Any], policy: str) -> str:
    """Returns the name of a policy in reports, which says of floors and of the ceiling what they are."""
    return NAMES[policy].format(constant=results["run"]["constant"])


def _counts(results: Mapping[str, Any]) -> str:
    run = results["run"]
    return (
        f"{run['questions']} questions about {run['days']} days; {run['unsolvable']} have no valid frame and count as "
        f"failures. Means over templates; intervals resample whole days {run['resamples']:,} times."
    )


def _group(one: Mapping[str, Any], group: str) -> str:
    return percent(one["groups"][group]) if group in one["groups"] else NEVER


def _content(results: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what both templates of the report show."""
    overall = results["overall"]
    return {
        "run": results["run"],
        "counts": _counts(results),
        "groups": list(GROUPS),
        "policies": [
            {
                "name": name_of(results, name),
                "chosen": name in results["run"]["policies"],
                "mean": percent(one["mean"]),
                "ci95": interval(one["ci95"]),
                "groups": [_group(one, group) for group in GROUPS],
            }
            for name, one in overall.items()
        ],
        "names": [name_of(results, name) for name in overall],
        "rows": [
            {
                "group": template.group,
                "slug": slug,
                "questions": next(iter(results["tasks"][slug].values()))["episodes"],
                "values": [percent(one["templates"][slug]) for one in overall.values()],
            }
            for slug, template in TEMPLATES.items()
            if slug in results["tasks"]
        ],
        "failures": [
            {"policy": name_of(results, name), "reason": reason, "count": count}
            for name in results["run"]["policies"]
            for reason, count in overall[name].get("reasons", {}).items()
        ],
        "drawn": percent(overall["random"]["drawn"]),
        "remarks": results["run"].get("remarks", []),
    }
