"""The table of speeds in the manual of the bank is that of the measurements in `docs/results/bank`."""

import json
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def measured(name):
    return json.loads((DOCS / "results" / "bank" / f"{name}.json").read_text())


def speed_table():
    """Returns the lines of the table, from the results of its four benchmarks."""
    memory, load, size, faults = (measured(name) for name in ("memory", "load", "size", "faults"))
    reached, filtered = memory["reached"], memory["filtered"]["ways"]
    unfiltered = memory["unfiltered"]["ways"]
    exact = "exact" if memory["passes"]["filtered_exact"] and memory["passes"]["unfiltered_exact"] else "not exact"
    moments = f"{memory['settings']['moments']:,}"
    rates = (load["settings"]["clients"], load["settings"]["events_per_s"], load["settings"]["duration_s"])
    kills = faults["kills"]
    lost = "none lost or duplicated" if kills["passes"] else f"{kills['lost']} lost, {kills['doubled']} duplicated"
    return [
        f"| recall among {moments} moments (384-d): 10 % time, 10 % area, one robot | p95 "
        f"{filtered['bank']['p95_ms']:.1f} ms, {exact}; {reached['filtered_speedup_over_lancedb']:.0f} times faster "
        "than LanceDB with scalar indices | `what=memory` |",
        f"| the same, unfiltered | p95 {unfiltered['bank']['p95_ms']:.0f} ms, {exact}; LanceDB "
        f"{unfiltered['lancedb']['p95_ms']:.0f} ms | `what=memory` |",
        f"| last pose; pose as of a time; 1,000 changes | p99 {reached['last_pose_p99_ms']:.2f}; "
        f"{reached['as_of_pose_p99_ms']:.2f}; {reached['changes_p99_ms']:.1f} ms | `what=memory` |",
        f"| {rates[0]} robots x {rates[1]:g} events/s for {rates[2] / 60:g} minutes, one owner on Ray | "
        f"{load['kept']:,} written and kept; acknowledged in {load['acknowledgement']['p99_ms']:.0f} ms (p99) | "
        "`what=memory_service` |",
        f"| a million events of {size['settings']['robots']} robots, without vectors | "
        f"{size['reached']['mib_per_million_events']:.0f} MiB; rebuilt in {size['reached']['rebuild_s']:.1f} s, from a "
        f"snapshot in {size['reached']['rebuild_from_snapshot_s']:.1f} s | `what=memory_size` |",
        f"| {kills['kills']} kills of the owner while {kills['writers']} clients write | {kills['acknowledged']:,} "
        f"acknowledged events: {lost} | `what=memory_faults` |",
    ]


def test_the_table_of_speeds_is_that_of_its_measurements():
    lines = (DOCS / "memory_bank.md").read_text().splitlines()
    assert [line for line in speed_table() if line not in lines] == []
