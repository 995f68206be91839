"""Two robots: one moves a block, the other fetches it, with a shared memory bank and without."""

import tempfile
from pathlib import Path
from typing import Any

from embodied.memory import SimulatedClock, open_bank
from launch.benchmark import Benchmark
from launch.benchmarks.two_robots.picture import draw
from launch.benchmarks.two_robots.scenario import Course, play_variant


def measure(*, seed: int, picture: Path | None = None) -> dict[str, Any]:
    """Returns how both variants end, each with a bank file of its own, and draws them into `picture` (PNG)."""
    courses: dict[str, Course] = {}
    for name, asks in (("with the bank", True), ("without", False)):
        with (
            tempfile.TemporaryDirectory(prefix="stem-") as folder,
            open_bank(f"sqlite:///{folder}/site.db", clock=SimulatedClock()) as bank,
        ):
            courses[name] = play_variant(bank, asks=asks, seed=seed, pictured=picture is not None)
    if picture is not None:
        draw(courses, picture)
    return {
        "what": "two_robots",
        "bank": "beliefs of the robots: identity=own, labels=own; nothing from the simulator's truth",
        **{
            name: {
                "outcome": str(course.ending.progress.outcome),
                "reason": course.ending.progress.reason,
                "reached": list(course.ending.progress.reached),
                "asked_for": course.entity,
                "missed_the_block_by_m": round(course.miss_m, 4),
                "simulated_s": round(course.ending.sim_time_s, 2),
            }
            for name, course in courses.items()
        },
    }


BENCHMARK = Benchmark(measure=lambda run: measure(seed=run.seed, picture=run.output.with_suffix(".png")))
