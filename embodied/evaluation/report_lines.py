"""The figures of `results.json` as text: the rows of a report's tables, and the remarks beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from embodied.evaluation.controls import SWAPPED
from embodied.evaluation.metrics import chance_band
from embodied.types import NORMAL, Interval

NEVER = "-"


@dataclass(frozen=True)
class Line:
    """One row of the main table as text: the results of `policy` on `task` under `control`.

    `judged` and `judged_interval` are of the column that is compared with chance.
    """

    task: str
    policy: str
    control: str
    privileged: bool
    success: str
    interval: str
    judged: str
    judged_interval: str
    choices: str
    follows: str
    conclusion: str
    chance: str
    band: str
    invalid: int
    episodes: int


def lines(results: Mapping[str, Any]) -> list[Line]:
    """Returns the rows of the main table of `results.json`."""
    return [
        _line(task, policy, control, entry, results)
        for task in results["tasks"]
        for policy, by_control in by_policy(results, task).items()
        for control, entry in by_control.items()
    ]


def by_policy(results: Mapping[str, Any], task: str) -> dict[str, dict[str, Mapping[str, Any]]]:
    """Returns the entries of a task by policy and control, the normal one first."""
    tampered = results.get("controls", {}).get(task, {})
    return {policy: {NORMAL: entry, **tampered.get(policy, {})} for policy, entry in results["tasks"][task].items()}


def remarks(results: Mapping[str, Any]) -> list[str]:
    """Returns the remarks on a run: tasks whose failed intents did not end episodes, and controls that are missing."""
    notes = failure_remarks(results) + team_remarks(results["run"]) + memory_remarks(results["run"])
    notes += [f"{name}: {remark}" for name, own in results["run"].get("outside", {}).items() for remark in own]
    notes += [
        f"{task}: a failed intent did not end an episode (on_failure={reaction}), so rates differ from other runs."
        for task, reaction in results["run"].get("on_failure", {}).items()
    ]
    for policy, obstacles in results["run"].get("not_played", {}).items():
        for reason in dict.fromkeys(obstacles.values()):
            controls = [control for control, why in obstacles.items() if why == reason]
            notes.append(f"{policy} was not played under {', '.join(controls)}: {reason}.")
    for task, policies in results.get("controls", {}).items():
        for policy, by_control in policies.items():
            missing = by_control.get(SWAPPED, {}).get("follows_donor", {}).get("without_donor", 0)
            if missing:
                total = by_control[SWAPPED]["episodes"]
                notes.append(f"{task}, {policy}: {missing} of {total} swapped episodes had no donor and are invalid.")
    return notes


def _players(policy: str, run: Mapping[str, Any]) -> set[str]:
    """Returns the policies that play when `policy` is evaluated: itself, and those of the team."""
    return {policy, *(one["policy"] for one in run.get("team", {}).values() if one["policy"])}


def failure_remarks(results: Mapping[str, Any]) -> list[str]:
    """Returns a remark on each policy that has made episodes invalid."""
    remarks = []
    for policy, failure in results.get("policy_failures", {}).items():
        more = (
            f" It was then stopped: {failure['not_played']} episodes were not played." if failure["not_played"] else ""
        )
        remarks.append(f"{policy} made {failure['episodes']} episodes invalid: {failure['reason']}{more}")
    return remarks


def team_remarks(run: Mapping[str, Any]) -> list[str]:
    """Returns the remarks on a team: the policy of each robot, the dispatcher, and the latency of decisions."""
    notes = []
    for robot, one in run.get("team", {}).items():
        parts = [f"played by {one['policy']}"] if one["policy"] else []
        parts += [f"sees {', '.join(one['cameras']) or 'no camera'}"] if one["cameras"] is not None else []
        parts += [f"instructed {one['instruction']!r}"] if one["instruction"] is not None else []
        notes += [f"Robot {robot}: {'; '.join(parts)}."] if parts else []
    if "dispatcher" in run:
        notes.append("Robots wait for the assignments of a dispatcher; see config.yaml.")
    if "latency" in run:
        mean_s, deviation_s = run["latency"]["mean_s"], run["latency"]["deviation_s"]
        spread = f" (deviation {deviation_s:g} s)" if deviation_s else ""
        notes.append(f"A decision takes {mean_s:g} s{spread}, while the world goes on.")
    return notes


def memory_remarks(run: Mapping[str, Any]) -> list[str]:
    """Returns the remarks on the bank: whether names and categories come from perception or from the simulator."""
    if "memory" not in run:
        return []
    names = {
        "own": "Perception identifies things by itself (memory.identity=own)",
        "given": "Names in the bank come from the simulator; reading it is privileged (memory.identity=given)",
    }
    labels = {
        "own": "it describes them by colour and shape (memory.labels=own).",
        "given": "their categories come from the simulator's table (memory.labels=given).",
    }
    memory = run["memory"]
    remarks = [f"{names[memory['identity']]}; {labels[memory['labels']]}"]
    if "refused" in memory:
        remarks.append(f"The bank refused {memory['refused']} events; episodes went on without them.")
    return remarks


def published(results: Mapping[str, Any]) -> list[str]:
    """Returns the published results of other authors for the tasks of `results.json`, a sentence each."""
    return [
        f"Published success on {task}: {', '.join(f'{policy} {percent(rate)} %' for policy, rate in rates.items())}."
        for task, rates in results.get("published", {}).items()
    ]


def conclusion(entry: Mapping[str, Any], column: Mapping[str, Any] | None) -> str:
    """Returns the position of the values of a column: above, below or within the 95 % band of chance."""
    if column is None or entry["chance"] is None:
        return NEVER
    reached, correct = entry[column["name"]]["reached"], entry[column["name"]]["correct"]
    if reached == 0:
        return "never chose"
    low, high = chance_band(entry["chance"], reached)
    if low == 0 and high == reached:
        return "too few episodes to tell"
    return "below chance" if correct < low else "above chance" if correct > high else "like chance"


def column_against_chance(results: Mapping[str, Any], task: str) -> Mapping[str, Any] | None:
    """Returns the column of a task that is compared with chance, None where there is none."""
    return next((column for column in results["run"]["columns"][task] if column["against_chance"]), None)


def title_against_chance(results: Mapping[str, Any]) -> str:
    """Returns the title of the column that is compared with chance, "" where no task has one."""
    columns = [column_against_chance(results, task) for task in results["tasks"]]
    return " / ".join(dict.fromkeys(column["title"] for column in columns if column is not None))


def explanations(results: Mapping[str, Any]) -> dict[str, str]:
    """Returns the meaning of the columns of all tasks, by title, where they need an explanation."""
    columns = [column for own in results["run"]["columns"].values() for column in own]
    return {column["title"]: column["explanation"] for column in columns if column["explanation"]}


@dataclass(frozen=True)
class Measure:
    """One row of the table of measures as text: a column of a task that is not compared with chance."""

    task: str
    policy: str
    control: str
    title: str
    value: str
    interval: str
    episodes: int


def measures(results: Mapping[str, Any]) -> list[Measure]:
    """Returns the rows of the table of measures; empty where no task measures anything but its choice."""
    return [
        _measure(task, policy, control, column, entry[column["name"]])
        for task in results["tasks"]
        for column in results["run"]["columns"][task]
        if not column["against_chance"]
        for policy, by_control in by_policy(results, task).items()
        for control, entry in by_control.items()
    ]


def _measure(task: str, policy: str, control: str, column: Mapping[str, Any], found: Mapping[str, Any]) -> Measure:
    reached = found["reached"]
    if column["interval"] == Interval.WILSON:
        value = f"{percent(found['correct'] / reached)} %" if reached else NEVER
        bounds = interval(found["ci95"]) if reached else ""
    else:
        value = f"{found['mean']:.4g}" if reached else NEVER
        bounds = "[{:.4g}, {:.4g}]".format(*found["ci95"]) if found["ci95"] else ""
    return Measure(task, policy, control, column["title"], value, bounds, reached)


def _line(task: str, policy: str, control: str, entry: Mapping[str, Any], results: Mapping[str, Any]) -> Line:
    column = column_against_chance(results, task)
    judged = {"reached": 0, "correct": 0, "ci95": None} if column is None else entry[column["name"]]
    reached, correct, chance = judged["reached"], judged["correct"], entry["chance"]
    low, high = (0, 0) if chance is None else chance_band(chance, reached)
    follows = entry.get("follows_donor", {"reached": 0})
    return Line(
        task=task,
        policy=policy,
        control=control,
        privileged=bool(_players(policy, results["run"]).intersection(results["run"]["privileged"])),
        success=percent(entry["success_rate"]),
        interval=interval(entry["ci95"]),
        judged=percent(correct / reached) if reached else NEVER,
        judged_interval=interval(judged["ci95"]) if reached else "",
        choices=f"{correct} of {reached}",
        follows=f"{percent(follows['followed'] / follows['reached'])} {interval(follows['ci95'])}"
        if follows["reached"]
        else NEVER,
        conclusion=conclusion(entry, column),
        chance=NEVER if chance is None else percent(chance),
        band=f"{percent(low / reached)}-{percent(high / reached)}" if reached and chance is not None else NEVER,
        invalid=entry["invalid"],
        episodes=entry["episodes"],
    )


def interval(bounds: Sequence[float]) -> str:
    """Returns bounds of a share in percent, in brackets."""
    return f"[{percent(bounds[0])}, {percent(bounds[1])}]"


def percent(share: float) -> str:
    """Returns a share in percent, without the sign."""
    return f"{100 * share:.1f}"
